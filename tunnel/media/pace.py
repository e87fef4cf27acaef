"""How often the pump wakes: at each packet while few come, by a tick while many do.

A wake costs 20 to 40 us whatever it brings, a packet in a batch 2 to 3: under load, waiting a moment is what saves.
"""

from __future__ import annotations

__all__ = ["Pace"]

# --- numbers of ours, measured: see tests/bench --------------------------------------------------------------------
_TICK_ABOVE = (
    6000  # packets per second: with a hundred calls the pair adds less than 1 ms (S4-10), and no tick can that
)
_EVENT_BELOW = 5500  # under it, so that the pump does not change its mind all the time
_SLOW_TICK_ABOVE = 10_000  # 1 ms more of delay, a fifth less of CPU
_TICK_S, _SLOW_TICK_S = 0.001, 0.002
_WINDOW_S = 0.1


class Pace:
    """The rate of the last tenth of a second decides about the next one."""

    __slots__ = ("_packets", "_since", "tick_s")

    def __init__(self, now: float) -> None:
        self.tick_s = 0.0
        self._packets = 0
        self._since = now

    def observe(self, packets: int, now: float) -> float:
        """So many packets came with this wake: how long to wait for the next; 0 = until something comes."""
        self._packets += packets
        elapsed = now - self._since
        if elapsed >= _WINDOW_S:
            rate = self._packets / elapsed
            self._packets, self._since = 0, now
            if rate > _SLOW_TICK_ABOVE:
                self.tick_s = _SLOW_TICK_S
            elif rate > _TICK_ABOVE or (self.tick_s and rate > _EVENT_BELOW):
                self.tick_s = _TICK_S
            else:
                self.tick_s = 0.0
        return self.tick_s
