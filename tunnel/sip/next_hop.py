"""The next hop of a request: route set against remote target (RFC 3261 sections 12.2.1.1 and 16.6), or a known flow."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from tunnel.address import Address, is_private
from tunnel.errors import BadPacket
from tunnel.sip.bindings import Bindings
from tunnel.sip.contacts import Opened, without_headers
from tunnel.sip.face_index import FaceAddresses
from tunnel.sip.flow import Flow
from tunnel.sip.name_addr import NameAddr
from tunnel.sip.policy import Answer, NextHop
from tunnel.sip.sender import sip_uri
from tunnel.sip.uri import SipUri

__all__ = [
    "Target",
    "default_transport",
    "leads_nowhere",
    "literal_target",
    "next_hop",
    "turning",
    "way_to",
    "without_uri_headers",
]


@dataclass(frozen=True, slots=True)
class Target:
    """One place to try: transport, IP address and port, and the name that TLS is to prove."""

    transport: str
    address: Address
    server_name: str = ""


def next_hop(
    request_uri: bytes, routes: Sequence[bytes], flow: Flow | None
) -> tuple[NextHop | Answer, tuple[bytes, ...]]:
    """Where a request for ``request_uri`` with these Route values goes, and the Route values it then has.

    ``flow`` is the only way to a party behind a NAT of its own and wins over addresses, where no route stands before it.
    A first route without ``lr`` is a strict router: it becomes the Request-URI (RFC 3261 section 16.6 step 6).
    """
    if not routes:
        return NextHop(request_uri, request_uri, flow), ()
    try:
        first = NameAddr.parse_untrusted(routes[0]).uri
    except BadPacket:
        return Answer(400, "Bad Request", "the first Route cannot be read"), ()
    if not isinstance(first, SipUri):
        return Answer(416, "Unsupported URI Scheme", "only sip and sips can be followed"), ()
    if first.has_param("lr"):
        return NextHop(request_uri, first.text), tuple(routes)
    return NextHop(first.text, first.text), (*routes[1:], b"<" + request_uri + b">")


def without_uri_headers(hop: NextHop) -> NextHop:
    """The hop with a Request-URI that has no headers: they have no place there, and a proxy passes none on (RFC 3261 section
    19.1.1, RFC 4475 section 3.1.2.11)."""
    uri = sip_uri(hop.request_uri) if b"?" in hop.request_uri else None
    return hop if uri is None else replace(hop, request_uri=without_headers(uri))


def way_to(opened: Opened, bindings: Bindings, now: float) -> tuple[NextHop | Answer, tuple[bytes, ...]]:
    """The way to the Contact that a mask stood for: its path, its flow, or its own address (FIELD-NOTES S3-10)."""
    binding = bindings.get(opened.key, now)
    if binding is None:
        return next_hop(opened.request_uri, (), None)
    return next_hop(opened.request_uri, binding.path, binding.flow if binding.needs_flow else None)


def leads_nowhere(text: bytes, face: FaceAddresses, may_send: Callable[[Address], bool], *, outside: bool) -> bool:
    """Whether the URI ``text`` names an address that is of no use without a flow: one of another network than this face's.

    A public face that has a private address itself (behind a cloud's NAT, in a laboratory) may reach others.
    """
    uri = sip_uri(text)
    if uri is None:
        return False
    try:
        there = Address(uri.host, 0)
        is_foreign = is_private(there.ip) and not any(is_private(at.ip) for _, at in face.bound)
    except ValueError:
        return False
    return is_foreign if outside else not may_send(there)


def turning(way: tuple[NextHop | Answer, tuple[bytes, ...]]) -> tuple[NextHop | Answer, tuple[bytes, ...]]:
    """``way``, which a party named itself, and which may be the face itself: what it names there lies beyond the wall."""
    hop, routes = way
    return (replace(hop, turns=True) if isinstance(hop, NextHop) else hop), routes


def default_transport(uri: SipUri) -> str:
    """The transport a URI asks for without DNS: its parameter, else TLS for ``sips``, else UDP (RFC 3263 section 4.1)."""
    if uri.scheme == "sips":
        return "tls"
    return uri.transport or "udp"


def literal_target(uri: SipUri) -> Target | None:
    """The target of a URI whose host is an IP address; None for a name, which must be looked up."""
    maddr = uri.param("maddr")
    host = maddr.decode("latin-1").strip("[]") if maddr else uri.host
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return None
    transport = default_transport(uri)
    port = uri.port if uri.port is not None else 5061 if transport == "tls" else 5060
    return Target(transport, Address(host, port), host)
