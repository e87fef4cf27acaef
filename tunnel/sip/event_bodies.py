"""Our masks in the XML of reginfo (RFC 3680) and dialog-info (RFC 4235), restored on their own side (SIP-RULES G3).

A busy-lamp field picks a call up by the URI that it reads there, so an inside phone must read an inside URI. Whole URIs
that bear a live mask of this side change, and no other byte.
"""

from __future__ import annotations

import re
from xml.sax.saxutils import escape, unescape

from tunnel.errors import BadPacket
from tunnel.sip.contacts import MASK_PARAM, ContactMasks
from tunnel.sip.message import Message
from tunnel.sip.uri import SipUri

__all__ = ["without_masks"]

# Our number: masks that are opened in one body; beyond it they stay, which is what others get anyhow.
MOST_MASKS = 256
_KINDS = frozenset([b"application/reginfo+xml", b"application/dialog-info+xml"])
_ENTITIES = {"&quot;": '"', "&apos;": "'"}
_URI = re.compile(rb"sips?:[^\s\"'<>]++", re.IGNORECASE)
_MARK = b";" + MASK_PARAM.encode("ascii") + b"="


def without_masks(message: Message, masks: ContactMasks, now: float) -> bytes | None:
    """The body of ``message`` with the exact URIs in the place of our masks; None where nothing changes."""
    kind = message.header("content-type")
    if message.header("content-encoding") or kind is None or _MARK not in message.body:
        return None
    if kind.value.partition(b";")[0].strip().lower() not in _KINDS:
        return None

    opened_so_far = 0

    def restored(match: re.Match[bytes]) -> bytes:
        nonlocal opened_so_far
        if _MARK not in match[0] or opened_so_far == MOST_MASKS:
            return match[0]
        opened_so_far += 1
        text = unescape(match[0].decode("latin-1"), _ENTITIES).encode("latin-1")
        try:
            uri = SipUri.parse_untrusted(text)
        except BadPacket:
            return match[0]
        opened = masks.open_own(uri, now)
        if opened is None:
            return match[0]
        exact = opened.uri + (b"?" + uri.headers if uri.headers else b"")
        return escape(exact.decode("latin-1"), {'"': "&quot;", "'": "&apos;"}).encode("latin-1")

    body = _URI.sub(restored, message.body)
    return body if body != message.body else None
