"""How long a subscription lives by what a message says of it (RFC 6665 sections 4.1.2 and 4.1.3)."""

from __future__ import annotations

import re

from tunnel.sip.message import Message

__all__ = ["lasts_s"]

# Ours, for one that does not say how long it lasts (most event packages default to an hour or less).
_DEFAULT_S = 3600.0

_STATE_EXPIRES = re.compile(rb"(?i);[ \t]*expires[ \t]*=[ \t]*([0-9]{1,10})")


def lasts_s(message: Message) -> float:
    """Seconds from now on; 0 when it has ended."""
    state = message.header("subscription-state")
    if state is not None:
        if state.value.lower().startswith(b"terminated"):
            return 0.0
        match = _STATE_EXPIRES.search(state.value)
        if match is not None:
            return float(match[1])
    header = message.header("expires")
    return float(header.value) if header is not None and header.value.isdigit() else _DEFAULT_S
