"""What a tenant may use: calls at once, new calls a second (SIP-RULES K)."""

from __future__ import annotations

from tunnel.sip.policy import Answer

__all__ = ["CallLimits"]

RETRY_AFTER_S = 10


class CallLimits:
    """The limits of one tenant, shared by all its agents. 0 means no limit.

    New calls are metered by a bucket that holds one second's worth and fills evenly.
    """

    def __init__(self, max_calls: int, calls_per_second: float) -> None:
        self.max_calls = max_calls
        self.calls_per_second = calls_per_second
        self.active = 0
        self._tokens = 0.0
        self._filled_at: float | None = None

    def refuse(self, now: float) -> Answer | None:
        """Take one new call; an Answer when there is no room for it."""
        if self.max_calls and self.active >= self.max_calls:
            return Answer(503, "Service Unavailable", "all calls of this tenant are in use", RETRY_AFTER_S, "call_cap")
        if not self.calls_per_second:
            return None
        capacity = max(1.0, self.calls_per_second)
        gained = capacity if self._filled_at is None else (now - self._filled_at) * self.calls_per_second
        self._tokens = min(capacity, self._tokens + gained)
        self._filled_at = now
        if self._tokens < 1.0:
            return Answer(503, "Service Unavailable", "too many new calls a second", 1, "call_rate")
        self._tokens -= 1.0
        return None
