"""Strict routers of old still get their Request-URI (RFC 3261 section 12.2.1.1)."""

from __future__ import annotations

from tunnel.address import Address
from tunnel.softphone.dialogue import Dialogue


def dialogue(*routes: bytes) -> Dialogue:
    return Dialogue(
        call_id=b"c1",
        ours=b"<sip:alice@a.example>;tag=1",
        our_tag=b"1",
        theirs=b"<sip:bob@b.example>;tag=2",
        their_tag=b"2",
        contact=b"<sip:alice@10.1.0.11>",
        remote_target=b"sip:bob@203.0.113.5:5062",
        route_set=routes,
        cseq=4,
    )


def test_without_routes_a_request_goes_to_the_remote_target() -> None:
    bye = dialogue().draft("BYE")
    assert (bye.uri, bye.routes, bye.cseq) == (b"sip:bob@203.0.113.5:5062", (), 5)
    assert bye.next_hop_untrusted() == Address("203.0.113.5", 5062)


def test_loose_routers_leave_the_request_uri_alone() -> None:
    routes = (b"<sip:p1.example:5080;lr>", b"<sip:p2.example;lr>")
    bye = dialogue(*routes).draft("BYE")
    assert (bye.uri, bye.routes) == (b"sip:bob@203.0.113.5:5062", routes)
    assert bye.next_hop_untrusted() == Address("p1.example", 5080)


def test_strict_router_becomes_the_request_uri_and_the_target_the_last_route() -> None:
    bye = dialogue(b"<sip:p1.example:5080>", b"<sip:p2.example;lr>").draft("BYE")
    assert bye.uri == b"sip:p1.example:5080"
    assert bye.routes == (b"<sip:p2.example;lr>", b"<sip:bob@203.0.113.5:5062>")


def test_ack_has_the_number_of_its_invite_and_uses_none_up() -> None:
    talking = dialogue()
    assert talking.draft("ACK", cseq=3).cseq == 3
    assert talking.draft("BYE").cseq == 5
