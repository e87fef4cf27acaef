"""How late a media batch is: its one-way delay, compared with the best one of the last half minute.

The clocks of both ends are never compared, only differences of the same two clocks at different times; the window is
short enough that their drift (some 0.1 ms in a second at worst) does not add up.
"""

from __future__ import annotations

import math
from collections import deque

__all__ = ["Lateness"]

# --- numbers of ours -----------------------------------------------------------------------------------------------
_BUCKET_S = 5.0
_BUCKETS = 6  # half a minute: 200 ppm of drift make 6 ms; the idle pace of pings still feeds each bucket
_REBASE_S = 3.0  # when all were late for so long the path itself has become longer: late sound is better than none
_MAX_AGE_MS = 150.0  # nothing older than this is worth playing (ITU-T G.114)
_LEAST_ALLOWANCE_MS = 100.0  # on a path that is long by itself: one retransmission must still fit

_MASK = 0xFFFFFFFF
_HALF = 0x80000000


class Lateness:
    """The sliding minimum of one connection's one-way delay."""

    __slots__ = ("_best", "_bucket", "_bucket_end", "_late_best", "_late_since", "_offset", "_older", "allowance_ms")

    def __init__(self) -> None:
        self.allowance_ms = _MAX_AGE_MS
        self._offset: int | None = None
        self._older: deque[float] = deque(maxlen=_BUCKETS - 1)
        self._bucket = math.inf  # the least delay of the bucket of now
        self._best = math.inf  # the least of all buckets
        self._bucket_end = 0.0
        self._late_since: float | None = None
        self._late_best = math.inf

    def reset(self) -> None:
        """A new connection, perhaps from a new process with a clock of its own: forget everything."""
        self.allowance_ms = _MAX_AGE_MS
        self._offset = None
        self._late_since = None
        self._start_window(math.inf, 0.0)

    def allow_for(self, least_rtt_s: float) -> None:
        """A round trip takes at least this: half of it is part of every packet's age, and is taken off."""
        self.allowance_ms = max(_LEAST_ALLOWANCE_MS, _MAX_AGE_MS - least_rtt_s * 500)

    def observe(self, stamp_ms: int, now: float) -> float:
        """Something stamped ``stamp_ms`` (mod 2^32) arrived: returns how many ms later than the best it is."""
        raw = int(now * 1000) - stamp_ms
        if self._offset is None:
            self._offset = raw
        delay = ((raw - self._offset + _HALF) & _MASK) - _HALF
        if now >= self._bucket_end:
            self._turn(now)
        if delay < self._bucket:
            self._bucket = delay
            if delay < self._best:
                self._best = delay
        return delay - self._best

    def is_late(self, stamp_ms: int, now: float) -> bool:
        """Whether a media batch stamped ``stamp_ms`` that arrives now is too old to be played."""
        excess = self.observe(stamp_ms, now)
        if excess <= self.allowance_ms:
            self._late_since = None
            return False
        delay = excess + self._best
        if self._late_since is None:
            self._late_since, self._late_best = now, delay
        self._late_best = min(self._late_best, delay)
        if now - self._late_since < _REBASE_S:
            return True
        self._start_window(self._late_best, now)
        self._late_since = None
        return delay - self._best > self.allowance_ms

    def _start_window(self, best: float, now: float) -> None:
        self._older.clear()
        self._bucket = self._best = best
        self._bucket_end = now + _BUCKET_S

    def _turn(self, now: float) -> None:
        """Close the bucket; buckets of a time in which nothing came are empty."""
        passed = min(int((now - self._bucket_end) / _BUCKET_S), _BUCKETS)
        self._older.append(self._bucket)
        self._older.extend([math.inf] * passed)
        self._best = min(self._older)
        self._bucket = math.inf
        self._bucket_end = now + _BUCKET_S
