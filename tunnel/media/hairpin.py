"""Media that a face sends to itself: calls between two parties of one side that meet at a switch of the other side.

Two leases of one face then have each other for remote. Should both faces do so with the same two streams, packets would
go round for ever: so a packet that has left by a hairpin does not leave by it again.
"""

from __future__ import annotations

__all__ = ["Once"]

# --- numbers of ours -----------------------------------------------------------------------------------------------
_GENERATION_S = 1.0  # a packet is remembered for one to two of these; the way round takes less
_GENERATION_PACKETS = 4096  # a stream of 4,000 packets a second; a faster one is remembered for a shorter time


class Once:
    """Knows the packets of the last second or two by their hashes."""

    __slots__ = ("_before", "_lately", "_turns_at")

    def __init__(self) -> None:
        self._lately: set[int] = set()
        self._before: set[int] = set()
        self._turns_at = 0.0

    def admits(self, packet: bytes, now: float) -> bool:
        """Whether ``packet`` was not seen lately; it has been from now on."""
        if now >= self._turns_at or len(self._lately) >= _GENERATION_PACKETS:
            self._before, self._lately = self._lately, set()
            self._turns_at = now + _GENERATION_S
        seen = hash(packet)
        if seen in self._lately or seen in self._before:
            return False
        self._lately.add(seen)
        return True
