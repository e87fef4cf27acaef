"""Who sent a message: the name its bindings go by, and whether it sits behind a NAT that it does not know of."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from tunnel.address import Address, is_private
from tunnel.errors import BadPacket
from tunnel.sip.contacts import OWNER_BYTES
from tunnel.sip.flow import Flow
from tunnel.sip.message import Message, parse_untrusted
from tunnel.sip.name_addr import NameAddr
from tunnel.sip.uri import SipUri

__all__ = [
    "address_in",
    "check_lists_untrusted",
    "contact_uri",
    "is_natted",
    "is_out_of_reach",
    "is_readable",
    "owner_of",
    "registration_of",
    "sip_uri",
    "uri_of_value",
]

_HIDDEN = ("contact", "refer-to", "referred-by")
_LISTS = ("contact", "record-route", "route", "path", "refer-to", "referred-by", "supported")


def owner_of(message: Message, flow: Flow) -> bytes:
    """The name of the user agent that sent ``message``: who it says it is, and the IP address it comes from.

    A REGISTER speaks for the address-of-record in To, whoever sends it (RFC 3261 section 10.2).
    """
    third_party = message.is_request and message.method != "REGISTER"
    who = address_in(message, "from" if third_party else "to")
    digest = hashlib.blake2b(who + b"\0" + flow.remote.host.encode(), digest_size=OWNER_BYTES)
    return digest.digest()


def registration_of(register: Message) -> bytes:
    """What a REGISTER has in common with its refreshes wherever they come from: To and Call-ID (RFC 3261 section 10.2.4)."""
    header = register.header("to")
    who = header.value if header is not None else b""
    return hashlib.blake2b(who + b"\0" + register.call_id, digest_size=OWNER_BYTES).digest()


def address_in(message: Message, name: str) -> bytes:
    """The URI in the header of that name without its parameters: of To in a REGISTER the address-of-record."""
    header = message.header(name)
    if header is None:
        return b""
    try:
        address = NameAddr.parse_untrusted(header.value)
    except BadPacket:
        return header.value
    return address.uri.text.split(b";")[0] if isinstance(address.uri, SipUri) else address.uri_text


def is_natted(request: Message, flow: Flow) -> bool:
    """Whether somebody changed the source of ``request`` on its way (FIELD-NOTES S3-1).

    The top Via names another IP address; or another port, which is no sign of a NAT by itself, as many a phone sends
    from another port than it listens on. But who asks for ``rport`` listens where it sends from (RFC 3581 section 3).
    """
    via = request.top_via
    moved = not flow.reliable and via.rport is not None and via.sent_by.port != flow.remote.port
    return moved or _differs(via.host, flow)


def is_out_of_reach(message: Message, flow: Flow, may_send: Callable[[Address], bool]) -> bool:
    """Whether the Contact in ``message`` leads nowhere from here, so that only ``flow`` leads back to its sender.

    A private address that the face does not send to (``may_send``), or that a public peer shows, is of no use to
    anybody, nor is a name that no DNS knows (RFC 6761, RFC 6762). With proxies on the way in a route set it is theirs to
    deliver, and nobody else's business (T4b).
    """
    uri = contact_uri(message)
    if uri is None:
        return False
    if uri.host.rstrip(".").endswith((".invalid", ".local")):
        return True
    if not _differs(uri.host, flow):
        return False
    contact = Address(uri.host, 0)
    if is_private(contact.ip) and not is_private(flow.remote.ip):
        return True
    return not may_send(contact)


def _differs(host: str, flow: Flow) -> bool:
    """Whether ``host`` is an IP address, and not the one ``flow`` leads to; a name may well be its name."""
    try:
        return Address(host, 0).ip != flow.remote.ip
    except ValueError:
        return False


def check_lists_untrusted(message: Message) -> None:
    """Read once the lists that relaying a message reads, so that it is refused before anything was done for it.

    Raises BadPacket when a quote or an angle bracket in one of them is not closed, and when a request bears an address
    that is to be hidden and cannot be read: it could neither pass nor be left out.
    """
    for name in _LISTS:
        message.values(name)
    for name in _HIDDEN if message.is_request else ():
        for value in message.values(name):
            NameAddr.parse_untrusted(value.text)


def contact_uri(message: Message) -> SipUri | None:
    """The URI of the first Contact, None where there is none that can be read."""
    values = message.values("contact")
    return uri_of_value(values[0].text) if values else None


def uri_of_value(value: bytes) -> SipUri | None:
    """The SIP URI in a name-addr or addr-spec value; None where there is none that can be read."""
    try:
        uri = NameAddr.parse_untrusted(value).uri
    except BadPacket:
        return None
    return uri if isinstance(uri, SipUri) else None


def sip_uri(text: bytes) -> SipUri | None:
    """The SIP URI ``text``; None where it is none."""
    try:
        return SipUri.parse_untrusted(text)
    except BadPacket:
        return None


def is_readable(data: bytes) -> bool:
    """Whether what grew on its way out still keeps our own limits: its CANCEL and ACK are made from it."""
    try:
        parse_untrusted(data)
    except BadPacket:
        return False
    return True
