"""Where a request goes next: route set, remote target, or the flow of a user agent behind a NAT."""

from __future__ import annotations

import pytest

from tunnel.address import Address
from tunnel.sip.bindings import Binding, Bindings
from tunnel.sip.contacts import Opened
from tunnel.sip.flow import Flow
from tunnel.sip.next_hop import Target, default_transport, literal_target, next_hop, way_to
from tunnel.sip.policy import Answer, NextHop
from tunnel.sip.uri import SipUri

FLOW = Flow("udp", Address("203.0.113.10", 5060), Address("198.51.100.7", 40000))
URI = b"sip:bob@192.168.1.20;x=y"


def test_without_a_route_the_target_is_the_way_or_its_flow() -> None:
    assert next_hop(URI, (), None) == (NextHop(URI, URI), ())
    assert next_hop(URI, (), FLOW) == (NextHop(URI, URI, FLOW), ())


def test_a_loose_route_is_the_way_and_stays() -> None:
    routes = (b"<sip:p1.example;lr>", b"Proxy <sip:p2.example;lr>;x")
    assert next_hop(URI, routes, None) == (NextHop(URI, b"sip:p1.example;lr"), routes)


def test_a_route_stands_before_a_flow() -> None:
    hop, _ = next_hop(URI, (b"<sip:p1.example;lr>",), FLOW)
    assert hop == NextHop(URI, b"sip:p1.example;lr")


def test_a_strict_router_gets_itself_as_request_uri() -> None:
    hop, routes = next_hop(URI, (b"<sip:old.example>", b"<sip:p2.example;lr>"), None)
    assert hop == NextHop(b"sip:old.example", b"sip:old.example")
    assert routes == (b"<sip:p2.example;lr>", b"<" + URI + b">")


@pytest.mark.parametrize(("route", "status"), [(b"<sip:unclosed", 400), (b"<tel:+49>", 416)])
def test_a_route_that_leads_nowhere_is_refused(route: bytes, status: int) -> None:
    answer, _ = next_hop(URI, (route,), None)
    assert isinstance(answer, Answer)
    assert answer.status == status


@pytest.mark.parametrize(
    ("uri", "target"),
    [
        (b"sip:198.51.100.7", ("udp", "198.51.100.7", 5060)),
        (b"sip:x@198.51.100.7:5080;transport=TCP", ("tcp", "198.51.100.7", 5080)),
        (b"sips:x@198.51.100.7", ("tls", "198.51.100.7", 5061)),
        (b"sip:198.51.100.7;transport=tls", ("tls", "198.51.100.7", 5061)),
        (b"sip:[2001:db8::7]:5070", ("udp", "2001:db8::7", 5070)),
        (b"sip:x@acme.example;maddr=198.51.100.8", ("udp", "198.51.100.8", 5060)),
    ],
)
def test_an_ip_address_needs_no_lookup(uri: bytes, target: tuple[str, str, int]) -> None:
    transport, host, port = target
    assert literal_target(SipUri.parse_untrusted(uri)) == Target(transport, Address(host, port), host)


@pytest.mark.parametrize("uri", [b"sip:acme.example", b"sip:198.51.100.7;maddr=acme.example"])
def test_a_name_must_be_looked_up(uri: bytes) -> None:
    assert literal_target(SipUri.parse_untrusted(uri)) is None


@pytest.mark.parametrize(
    ("uri", "transport"),
    [(b"sip:a", "udp"), (b"sips:a", "tls"), (b"sips:a;transport=tcp", "tls"), (b"sip:a;transport=tcp", "tcp")],
)
def test_the_transport_a_uri_asks_for(uri: bytes, transport: str) -> None:
    assert default_transport(SipUri.parse_untrusted(uri)) == transport


def opened(binding: Binding, dialled: bytes | None = None) -> Opened:
    return Opened(binding.contact, binding.key, dialled)


def test_a_mask_leads_to_the_flow_only_where_nothing_else_does() -> None:
    bindings = Bindings()
    binding = Binding(b"bob", URI, FLOW, True, 50.0)
    assert way_to(opened(binding), bindings, 5.0) == (NextHop(URI, URI), ())
    bindings.note(Binding(b"bob", URI, FLOW, False, 50.0))
    assert way_to(opened(binding), bindings, 5.0) == (NextHop(URI, URI), ())
    bindings.note(binding)
    assert way_to(opened(binding), bindings, 5.0) == (NextHop(URI, URI, FLOW), ())
    assert way_to(opened(binding), bindings, 50.0) == (NextHop(URI, URI), ())


def test_a_stream_connection_is_the_way_back_even_without_a_nat() -> None:
    bindings = Bindings()
    stream = Flow("tcp", FLOW.local, FLOW.remote, 7)
    binding = Binding(b"bob", URI, stream, False, 50.0)
    bindings.note(binding)
    assert way_to(opened(binding), bindings, 5.0) == (NextHop(URI, URI, stream), ())


def test_a_path_that_was_registered_is_followed() -> None:
    bindings = Bindings()
    binding = Binding(b"bob", URI, FLOW, False, 50.0, (b"<sip:10.1.0.6;lr>",))
    bindings.note(binding)
    assert way_to(opened(binding), bindings, 5.0) == (NextHop(URI, b"sip:10.1.0.6;lr"), (b"<sip:10.1.0.6;lr>",))


def test_whoever_was_dialled_stands_in_the_request_uri() -> None:
    binding = Binding(b"bob", URI, None, False, 50.0)
    hop, _ = way_to(opened(binding, b"+4930"), Bindings(), 5.0)
    assert isinstance(hop, NextHop)
    assert hop.request_uri == b"sip:+4930@192.168.1.20;x=y"
    assert way_to(opened(binding, b"%62ob"), Bindings(), 5.0)[0] == NextHop(URI, URI)
