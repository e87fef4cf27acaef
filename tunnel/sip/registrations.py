"""What the answer to a REGISTER means for the bindings of its sender (SIP-RULES F2)."""

from __future__ import annotations

from tunnel.errors import BadPacket
from tunnel.sip.bindings import Binding, gruu_key
from tunnel.sip.contacts import without_headers
from tunnel.sip.flow import Flow
from tunnel.sip.grammar import number
from tunnel.sip.half import Half
from tunnel.sip.message import Message, Value
from tunnel.sip.name_addr import NameAddr
from tunnel.sip.sender import address_in, registration_of, sip_uri, uri_of_value
from tunnel.sip.wall import RequestCrossed

__all__ = ["granted_s", "note_registration"]

# Our numbers: what a registrar means that says nothing, how long a registration is believed, how much later it is
# forgotten than it ends.
DEFAULT_S = 3600
LONGEST_S = 86_400
GRACE_S = 32


def note_registration(
    half: Half, request: Message, crossed: RequestCrossed, flow: Flow, answer: Message, now: float
) -> None:
    """A registrar accepted ``request``, which came by ``flow``: each of its Contacts lives as long as ``answer`` says."""
    owner = crossed.binding
    aor = address_in(request, "to")
    if any(value.text == b"*" for value in request.values("contact")):
        half.bindings.forget_all(aor)
        return
    listed = _listed(half, answer, now)
    path = tuple(value.text for value in request.values("path"))
    for value in request.values("contact"):
        uri = uri_of_value(value.text)
        if uri is None:
            continue
        contact = without_headers(uri)
        listing = listed.get(contact)
        lasts_s = 0 if listing is None else _expires_of_value(listing.text, _expires_of(answer, DEFAULT_S))
        if not listed:
            lasts_s = granted_s(request, answer)
        if lasts_s:
            until = now + min(lasts_s, LONGEST_S) + GRACE_S
            name = registration_of(request)
            gruus = _gruus(listing) if listing is not None else ()
            half.bindings.register(
                Binding(owner, contact, flow, crossed.natted, until, path, name, aor=aor, gruus=gruus)
            )
        else:
            half.bindings.forget(owner, contact)


def granted_s(request: Message, answer: Message) -> int:
    """The longest life that ``answer`` gives to what ``request`` registered; 0 where nothing is registered now."""
    default = _expires_of(answer, _expires_of(request, DEFAULT_S))
    granted = [_expires_of_value(value.text, default) for value in answer.values("contact")]
    if granted:
        return min(max(granted), LONGEST_S)
    asked = [_expires_of_value(value.text, default) for value in request.values("contact") if value.text != b"*"]
    return min(max(asked, default=0), LONGEST_S)


def _listed(half: Half, answer: Message, now: float) -> dict[bytes, Value]:
    """The Contacts of this side that the registrar lists, each with the value it stands in."""
    listed = {}
    for value in answer.values("contact"):
        uri = uri_of_value(value.text)
        opened = half.masks.open_own(uri, now) if uri is not None else None
        if opened is not None:
            listed[opened.uri] = value
    return listed


def _gruus(value: Value) -> tuple[bytes, ...]:
    """The keys of the GRUUs that the registrar gave a Contact (RFC 5627 section 5.3)."""
    address = NameAddr.parse_untrusted(value.text)
    quoted = (address.param(name) for name in ("pub-gruu", "temp-gruu"))
    uris = (sip_uri(text.strip(b'"')) for text in quoted if text)
    return tuple(gruu_key(uri) for uri in uris if uri is not None)


def _expires_of(message: Message, default: int) -> int:
    header = message.header("expires")
    return _seconds(header.value, default) if header is not None else default


def _expires_of_value(value: bytes, default: int) -> int:
    try:
        expires = NameAddr.parse_untrusted(value).param("expires")
    except BadPacket:
        return default
    return default if expires is None else _seconds(expires, default)


def _seconds(text: bytes, default: int) -> int:
    seconds = number(text)
    return default if seconds is None else min(seconds, LONGEST_S)
