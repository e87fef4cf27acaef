"""A clock that stands still until it is told to move."""

from __future__ import annotations

__all__ = ["VirtualClock"]


class VirtualClock:
    """Seconds, monotonic; starts far from zero, as real ones do."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def advance(self, seconds: float) -> float:
        """Move on and return the new time."""
        self.now += seconds
        return self.now
