"""Liveness of one connection: when to ping, when to give it up, and how long a round trip takes.

Anything heard proves the path; pings see to it that a living peer says something at our pace, whatever its own is.
As far as firewalls go an idle link could do with a ping every 25 s, but a link that died in silence must be noticed
within 15 s, and that takes one every 5 s: so the idle pace is fixed there, below every idle timeout met in the field.
"""

from __future__ import annotations

__all__ = ["BUSY_PACE_S", "BUSY_SILENCE_S", "IDLE_PACE_S", "IDLE_SILENCE_S", "Keepalive"]

# --- numbers of ours -----------------------------------------------------------------------------------------------
BUSY_PACE_S = 0.5  # while calls are up
BUSY_SILENCE_S = 2.0  # four pings unanswered; counted from the last thing heard, so a cut is noticed within 2 s
IDLE_PACE_S = 5.0
IDLE_SILENCE_S = 12.0  # two pings unanswered and 2 s for a slow path; leaves 3 s of the 15

# --- numbers of a standard (RFC 6298 section 2) --------------------------------------------------------------------
_SMOOTHING = 1 / 8


class Keepalive:
    """The clockwork of one session; started anew with each connection."""

    __slots__ = ("_busy", "_heard", "_next_ping", "least_rtt_s", "smoothed_rtt_s")

    def __init__(self) -> None:
        self.smoothed_rtt_s: float | None = None
        self.least_rtt_s: float | None = None
        self._busy = False
        self._heard = 0.0
        self._next_ping = 0.0

    @property
    def next_ping(self) -> float:
        """When the next ping is due."""
        return self._next_ping

    @property
    def dead_at(self) -> float:
        """When the connection is dead unless something is heard before."""
        return self._heard + (BUSY_SILENCE_S if self._busy else IDLE_SILENCE_S)

    def start(self, now: float) -> None:
        """A new connection is up: nothing is known about it, ping at once."""
        self.smoothed_rtt_s = self.least_rtt_s = None
        self._heard = self._next_ping = now

    def set_busy(self, busy: bool, now: float) -> None:
        """Calls are up, or none. The first call pings at once, and the silence before it does not count."""
        if busy and not self._busy:
            self._heard = max(self._heard, now)
            self._next_ping = min(self._next_ping, now)
        self._busy = busy

    def heard(self, now: float) -> None:
        """Something, anything, came from the other end."""
        self._heard = now

    def ping(self, now: float) -> int:
        """A ping leaves now: returns its stamp."""
        self._next_ping = now + (BUSY_PACE_S if self._busy else IDLE_PACE_S)
        return int(now * 1_000_000)

    def pong(self, stamp_us: int, now: float) -> None:
        """A ping with this stamp was answered. A stamp from the future is none of ours and is ignored."""
        rtt_s = now - stamp_us / 1_000_000
        if rtt_s < 0:
            return
        if self.smoothed_rtt_s is None or self.least_rtt_s is None:
            self.smoothed_rtt_s = self.least_rtt_s = rtt_s
            return
        self.smoothed_rtt_s += (rtt_s - self.smoothed_rtt_s) * _SMOOTHING
        self.least_rtt_s = min(self.least_rtt_s, rtt_s)
