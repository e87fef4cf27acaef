"""What one half proxy has to look at, and when: transactions at their deadlines, calls when they may be forgotten."""

from __future__ import annotations

import heapq
import itertools
from typing import Protocol

from tunnel.sip.dialog import Call

__all__ = ["Agenda", "Timed"]

# Our number: how often what lives long is looked at.
LOOK_AGAIN_S = 60.0


class Timed(Protocol):
    """Something with a deadline; equal only to itself."""

    def deadline(self) -> float | None: ...

    def tick(self, now: float) -> None: ...


class Agenda:
    """Deadlines in order; a deadline that has moved is found out when it comes."""

    def __init__(self) -> None:
        self._timers: list[tuple[float, int, Timed]] = []
        self._order = itertools.count()

    def schedule(self, timed: Timed) -> None:
        """Have ``timed`` ticked at its deadline; to be called after each change of it."""
        at = timed.deadline()
        if at is not None:
            heapq.heappush(self._timers, (at, next(self._order), timed))

    def expire(self, call: Call, at: float, now: float) -> None:
        """Forget ``call`` at ``at``, unless it is said otherwise before.

        It is looked at again and again till then: a timer of days would keep what has long been forgotten.
        """
        call.expires_at = at
        soon = min(at, now + LOOK_AGAIN_S)
        if call.looked_at is None or soon < call.looked_at:
            call.looked_at = soon
            heapq.heappush(self._timers, (soon, next(self._order), call))

    def due(self, now: float) -> list[Timed]:
        """Those whose deadline has come, each once."""
        found: dict[int, Timed] = {}
        while self._timers and self._timers[0][0] <= now:
            due, _, timed = heapq.heappop(self._timers)
            at = timed.deadline()
            if isinstance(timed, Call) and timed.looked_at == due:
                timed.looked_at = None
            if at is not None and at <= now:
                found[id(timed)] = timed
            elif at is not None and isinstance(timed, Call) and timed.looked_at is None:
                self.expire(timed, at, now)
        return list(found.values())

    def deadline(self) -> float | None:
        return self._timers[0][0] if self._timers else None

    def clear(self) -> None:
        self._timers.clear()
