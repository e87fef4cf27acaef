"""The SDP in a SIP message, as the media rooms want it (SIP-RULES G)."""

from __future__ import annotations

from tunnel.media.body import SipBody, find_sdp_untrusted, replace_sdp
from tunnel.media.exchange import Carriage, carriage_of
from tunnel.media.sdp import Sdp
from tunnel.media.sdp_edit import rewrite
from tunnel.sip.message import Message

__all__ = ["bears_media", "body_of", "carriage", "without_media"]

# Where offers and answers travel (RFC 6337 section 2.2); what else bears SDP only talks of media.
_MEDIA_METHODS = frozenset({"INVITE", "ACK", "PRACK", "UPDATE"})


def bears_media(message: Message) -> bool:
    """Whether an offer or answer may be in ``message``."""
    return bool(message.body) and message.cseq_method in _MEDIA_METHODS


def body_of(message: Message) -> SipBody:
    kind, encoding = message.header("content-type"), message.header("content-encoding")
    return SipBody(message.body, kind.value if kind else b"", encoding.value if encoding else b"")


def carriage(message: Message) -> Carriage:
    """What ``message`` may do to an offer/answer exchange."""
    return carriage_of(message.cseq_method, message.status, message.header("rseq") is not None)


def without_media(message: Message, address: str) -> bytes | None:
    """The body with ``address`` in its SDP and no ports, for what no call has media for: an OPTIONS that tells of codecs
    (RFC 3264 section 9), an answer that comes after the end. None where there is no SDP; raises BadPacket where there
    may be one that cannot be read."""
    if not bears_media(message) and not (message.body and message.cseq_method == "OPTIONS"):
        return None
    body = body_of(message)
    found = find_sdp_untrusted(body)
    sdps = [Sdp.parse_untrusted(body.content[each.start : each.end]) for each in found]
    copies = [rewrite(sdp, [None] * len(sdp.media), address, address) for sdp in sdps]
    return replace_sdp(body, found, copies) if found else None
