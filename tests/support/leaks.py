"""What a message shows of the inside: the addresses that the pair is to hide, wherever they stand in what leaves.

The inside of the tests is 10.1.0.0/16 and fd00:1::/32.
"""

from __future__ import annotations

import re

from tunnel.errors import BadPacket
from tunnel.sip.message import Message
from tunnel.sip.name_addr import NameAddr
from tunnel.sip.uri import SipUri

__all__ = ["INSIDE", "PATH_LINES", "SHOWN_IN_BASIC", "hidden_places", "leaks"]

OCTET = rb"\.(?:25[0-5]|2[0-4][0-9]|1?[0-9]{1,2})"
INSIDE = re.compile(rb"10\.1" + OCTET + OCTET + rb"(?![0-9])|fd00:1:", re.IGNORECASE)
# A type of body that says of itself that it is no SDP (SIP-RULES G4).
NO_SDP = re.compile(
    rb"(?!multipart|application[ \t]*/[ \t]*sdp[ \t]*(?:;|\Z))[-!%*_+`'~.\w]+[ \t]*/[ \t]*[-!%*_+`'~.\w]+[ \t]*(;|\Z)",
    re.I,
)
_SDP_ADDRESSES = re.compile(rb"(?m)^(?:[oc]=|a=(?:rtcp|candidate|remote-candidates|source-filter|acap)[: ]).*")
# What is never edited and so may name an inside host: known, and said in the manual (SIP-RULES E).
NEVER_EDITED = frozenset({"call-id", "from", "to", "in-reply-to", "replaces", "user-agent"})
# What ``hide = "basic"`` leaves as it is (SIP-RULES B2, D3).
SHOWN_IN_BASIC = frozenset({"via", "record-route", "route"})
PATH_LINES = re.compile(rb"(?im)^(?:via|record-route|route)[ \t]*:[^\r\n]*")


def leaks(message: Message, passed: frozenset[str] = frozenset()) -> set[bytes]:
    """The inside addresses in ``message``, but for the headers ``passed`` and for what is never edited: a body that says
    it is no SDP among it (G4)."""
    shown = [_start_line(message), message.body if _may_be_sdp(message) else b""]
    shown += [message.line(header) for header in message.headers if header.name not in NEVER_EDITED | passed]
    return set(INSIDE.findall(b"\r\n".join(shown)))


def hidden_places(message: Message) -> set[bytes]:
    """The inside addresses where the pair hides them, whatever a twisted message says elsewhere (SIP-RULES E, J): hosts
    and parameters of URIs, Via, the lines of an SDP that bear addresses, where it is an offer, an answer or a menu."""
    shown = [_start_line(message), *message.lines("via")]
    if message.cseq_method in ("INVITE", "ACK", "PRACK", "UPDATE", "OPTIONS") and _may_be_sdp(message):
        shown += _SDP_ADDRESSES.findall(message.body)
    routed = ("path", "service-route") if message.cseq_method == "REGISTER" else ()
    for name in ("contact", "route", "record-route", "refer-to", "referred-by", *routed):
        for value in message.values(name):
            try:
                uri = NameAddr.parse_untrusted(value.text).uri
            except BadPacket:
                shown.append(value.text)
            else:
                shown.append(uri.hostport + uri.text[slice(*uri.params_span)] if isinstance(uri, SipUri) else b"")
    return set(INSIDE.findall(b"\r\n".join(shown)))


def _start_line(message: Message) -> bytes:
    return message.raw.split(b"\r\n", 1)[0]


def _may_be_sdp(message: Message) -> bool:
    kind = message.header("content-type")
    return kind is None or not NO_SDP.match(kind.value)
