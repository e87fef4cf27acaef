"""Calls whose parties both vanished without a BYE (SIP-RULES I8): found by silence, never by a session timer of ours."""

from __future__ import annotations

from collections.abc import Callable

from tunnel.sip.dialog import Call, CallTable

__all__ = ["LONGEST_SILENCE_S", "OrphanWatch"]

# --- numbers of the rules (I8) -------------------------------------------------------------------------------------
LONGEST_SILENCE_S = 7200.0

# Our number: how often all calls are looked at; an orphan holds its ports for so much longer.
_LOOK_EVERY_S = 60.0


class OrphanWatch:
    """Looks at the calls of one half proxy once a minute while there are any; ``close`` is told which are orphans.

    One is where neither party sent SIP, RTP or RTCP for two hours, or for the session interval that they agreed on if
    that is longer, and where no hold explains it.
    """

    def __init__(self, calls: CallTable, close: Callable[[Call, float], None]) -> None:
        self._calls = calls
        self._close = close
        self._next: float | None = None

    def deadline(self) -> float | None:
        return self._next

    @property
    def is_armed(self) -> bool:
        return self._next is not None

    def arm(self, now: float) -> None:
        """There is a call: look again in a minute."""
        self._next = now + _LOOK_EVERY_S

    def tick(self, now: float) -> None:
        for call in self._calls:
            if not call.ended and is_orphan(call, now):
                self._close(call, now)
        self._next = now + _LOOK_EVERY_S if len(self._calls) else None


def is_orphan(call: Call, now: float) -> bool:
    """Whether nothing was heard of the parties of ``call`` for as long as one may wait."""
    since = now - max(LONGEST_SILENCE_S, call.session_expires_s)
    if call.alive_at > since or call.media is None or call.media.is_held:
        return False
    active_at = call.media.active_at()
    return active_at is None or active_at <= since
