"""Which port pairs of a face are held, resting or free (3-#13, T12, T13).

A pair goes round: free -> held (``take``) -> resting (``release``, ``bind_failed``) -> free. Every pair is in exactly
one of the three places. The free ones are handed out first in, first out: a port rests as long as the range allows.
"""

from __future__ import annotations

from collections import Counter, deque

from tunnel.errors import LocalMisuse
from tunnel.media.plane import LedgerFull

__all__ = ["QUARANTINE_S", "PortLedger"]

# --- numbers of the rules (I6, 3-#13) ------------------------------------------------------------------------------
QUARANTINE_S = 30.0
_HIGH_WATER = 0.9


class PortLedger:
    """The even/odd port pairs from ``low`` to ``high`` (both included); a pair is named by its even port.

    When nine tenths of the pairs are held or resting, calls that hold none yet are refused: the last tenth is for
    further streams and forks of the calls that are up.
    """

    __slots__ = ("_free", "_held", "_per_call", "_range", "_resting", "_size")

    def __init__(self, low: int, high: int) -> None:
        even = low + low % 2
        self._range = range(low, high + 1)
        self._free = deque(range(even, high, 2))
        if not self._free:
            raise LocalMisuse(f"no even/odd port pair from {low} to {high}")
        self._size = len(self._free)
        self._held: dict[int, int] = {}  # pair: call
        self._per_call: Counter[int] = Counter()
        self._resting: deque[tuple[float, int]] = deque()  # end of quarantine, pair; in order of time

    @property
    def size(self) -> int:
        """How many pairs the range has."""
        return self._size

    @property
    def held(self) -> int:
        """How many pairs are with calls."""
        return len(self._held)

    @property
    def resting(self) -> int:
        """How many pairs are in quarantine, or were until nobody asked since."""
        return len(self._resting)

    def covers(self, port: int) -> bool:
        """Whether ``port`` is of the range."""
        return port in self._range

    def is_held(self, port: int) -> bool:
        """Whether ``port`` is of a pair that a call has."""
        return port - port % 2 in self._held

    def take(self, call: int, now: float) -> int:
        """The pair that has rested longest, for ``call``. Raises LedgerFull."""
        self._wake(now)
        busy = self._size - len(self._free)
        if not self._free or (busy >= self._high_water and call not in self._per_call):
            raise LedgerFull(f"{busy} of {self._size} media port pairs are held or resting")
        pair = self._free.popleft()
        self._held[pair] = call
        self._per_call[call] += 1
        return pair

    def bind_failed(self, pair: int, now: float) -> None:
        """Somebody else has one of its ports: not held after all, and not to be tried again for a while."""
        self.release(pair, now)

    def release(self, pair: int, now: float) -> None:
        """The call has done with it; it rests for QUARANTINE_S. Raises LocalMisuse if it was not held."""
        call = self._held.pop(pair, None)
        if call is None:
            raise LocalMisuse(f"port pair {pair} was released but is not held")
        self._per_call[call] -= 1
        if not self._per_call[call]:
            del self._per_call[call]
        self._resting.append((now + QUARANTINE_S, pair))

    @property
    def _high_water(self) -> int:
        return self._size - int(self._size * (1 - _HIGH_WATER) + 1e-9)

    def _wake(self, now: float) -> None:
        while self._resting and self._resting[0][0] <= now:
            self._free.append(self._resting.popleft()[1])
