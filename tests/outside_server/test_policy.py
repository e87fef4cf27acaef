"""Where the public face sends what comes from inside."""

from __future__ import annotations

import ipaddress

import pytest
from support.ends import request

from outside_server.limits import CallLimits
from outside_server.policy import PublicPolicy, may_aim_media, never_sent_to
from tunnel.address import Address
from tunnel.sip.half import FaceAddresses
from tunnel.sip.message import parse_untrusted
from tunnel.sip.policy import Answer, NextHop
from tunnel.sip.wall import RequestCrossed

PUBLIC = FaceAddresses([("udp", Address("203.0.113.10", 5060))])
LOOPBACK = FaceAddresses([("udp", Address("127.0.0.1", 5060))])


def routed(uri: str, target: bytes = b"") -> NextHop | Answer:
    message = parse_untrusted(request("INVITE", uri, "10.1.0.5:5060"))
    policy = PublicPolicy(PUBLIC, CallLimits(0, 0))
    return policy.route(message, RequestCrossed(1, 1, message.raw, "udp:10.1.0.5:5060", target=target))


def test_a_request_goes_where_its_uri_says_unchanged() -> None:
    uri = b"sip:+4989;phone-context=x@carrier.example:5070;user=phone;transport=tcp"
    assert routed(uri.decode()) == NextHop(uri, uri)


@pytest.mark.parametrize(
    ("target", "goes_to"),
    [
        (b"sip:trunk.example", b"sip:+4989@trunk.example"),
        (b"sip:trunk.example:5080;transport=tcp", b"sip:+4989@trunk.example:5080;transport=tcp"),
        (b"sips:acme@trunk.example", b"sips:+4989@trunk.example"),
    ],
)
def test_what_was_addressed_to_the_agent_goes_to_the_place_it_named(target: bytes, goes_to: bytes) -> None:
    assert routed("sip:+4989@10.1.0.2", target) == NextHop(goes_to, goes_to)


def test_a_registration_addressed_to_the_agent_keeps_the_place_as_it_is() -> None:
    assert routed("sip:10.1.0.2", b"sip:trunk.example") == NextHop(b"sip:trunk.example", b"sip:trunk.example")


def test_a_uri_of_another_scheme_cannot_be_routed() -> None:
    answer = routed("tel:+4989")
    assert isinstance(answer, Answer)
    assert answer.status == 416


@pytest.mark.parametrize(
    ("host", "fine"),
    [
        ("198.51.100.7", True),
        ("192.168.1.20", False),  # no peer on the internet has it; see below for a server in a private network
        ("100.64.0.1", False),
        ("fd00::1", False),
        ("127.0.0.1", False),
        ("::1", False),
        ("169.254.169.254", False),
        ("fe80::1", False),
        ("224.0.0.1", False),
        ("255.255.255.255", False),
        ("0.0.0.0", False),
        ("::ffff:10.1.0.5", False),
        ("::ffff:127.0.0.1", False),
        ("::ffff:169.254.169.254", False),
    ],
)
def test_nothing_is_sent_to_addresses_that_are_nobodys(host: str, fine: bool) -> None:
    assert PublicPolicy(PUBLIC, CallLimits(0, 0)).may_send(Address(host, 5060)) is fine


def test_a_face_on_loopback_sends_to_loopback() -> None:
    assert PublicPolicy(LOOPBACK, CallLimits(0, 0)).may_send(Address("127.0.0.1", 5062))
    assert never_sent_to(ipaddress.ip_address("224.0.0.1"), True)


def test_new_calls_are_metered() -> None:
    policy = PublicPolicy(PUBLIC, CallLimits(0, 1))
    assert policy.refuse_call(5.0) is None
    refusal = policy.refuse_call(5.0)
    assert refusal is not None
    assert refusal.status == 503


@pytest.mark.parametrize(
    ("host", "fine"),
    [
        ("198.51.100.7", True),
        ("2001:db8::7", True),
        ("10.1.33.103", False),
        ("192.168.77.5", False),
        ("100.64.0.1", False),
        ("fd00::1", False),
        ("127.0.0.1", False),
        ("::1", False),
        ("169.254.1.1", False),
        ("fe80::1", False),
        ("224.2.1.1", False),
        ("ff15::101", False),
        ("0.0.0.0", False),
        ("::", False),
        ("255.255.255.255", False),
        ("::ffff:10.1.33.103", False),
        ("::ffff:10.1.0.5", False),
        ("::ffff:127.0.0.1", False),
    ],
)
def test_media_are_aimed_at_public_addresses_only(host: str, fine: bool) -> None:
    """L6, T3: an SDP cannot have packets sent to loopback, link-local, multicast or private addresses."""
    assert may_aim_media(host, False) is fine


def test_the_demo_aims_at_loopback() -> None:
    """L6: a face that is on loopback itself has its parties there."""
    assert may_aim_media("127.0.0.1", True)
    assert not may_aim_media("0.0.0.0", True)
