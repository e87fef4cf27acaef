"""What the LAN face lets out, and where it sends what comes in."""

from __future__ import annotations

import ipaddress

import pytest
from support.ends import request

from inside_agent.policy import LanPolicy
from tunnel.address import Address, parse_address
from tunnel.sip.flow import Flow
from tunnel.sip.half import FaceAddresses
from tunnel.sip.message import parse_untrusted
from tunnel.sip.policy import Admit, Answer, Drop, NextHop, Purpose
from tunnel.sip.wall import RequestCrossed

AGENT = Address("10.1.0.2", 5060)
FACE = FaceAddresses([("udp", AGENT), ("tcp", AGENT)])


def policy(pbx: bytes = b"", outside: bytes = b"") -> LanPolicy:
    return LanPolicy(FACE, (ipaddress.IPv4Network("10.1.0.0/16"),), pbx, outside)


def admitted(
    method: str,
    uri: str,
    *,
    source: str = "10.1.0.50:5060",
    outside: bytes = b"",
    is_healthy: bool = True,
    is_draining: bool = False,
    more: tuple[str, ...] = (),
    callee: str = "<sip:bob@acme.example>",
) -> Admit | Answer | Drop:
    message = parse_untrusted(request(method, uri, source, more=more, callee=callee))
    return policy(outside=outside).admit(message, Flow("udp", AGENT, parse_address(source)), is_healthy, is_draining)


def test_only_hosts_in_allow_are_heard() -> None:
    assert isinstance(admitted("INVITE", "sip:x@carrier.example", source="10.2.0.1:5060"), Drop)
    assert isinstance(admitted("OPTIONS", "sip:10.1.0.2", source="203.0.113.1:5060"), Drop)
    assert admitted("INVITE", "sip:x@carrier.example") == Admit(Purpose.LOCAL)


def test_a_request_for_somebody_outside_goes_by_its_own_uri_even_with_an_outside() -> None:
    assert admitted("REGISTER", "sip:carrier.example", outside=b"sip:trunk.example") == Admit(Purpose.LOCAL)
    assert admitted("INVITE", "tel:+4989", outside=b"sip:trunk.example") == Admit(Purpose.LOCAL, b"sip:trunk.example")
    assert admitted("INVITE", "tel:+4989") == Admit(Purpose.LOCAL)


@pytest.mark.parametrize("uri", ["sip:+4989@10.1.0.2", "sip:+4989@10.1.0.2:5060;transport=tcp"])
def test_what_is_addressed_to_the_agent_goes_to_outside(uri: str) -> None:
    assert admitted("INVITE", uri, outside=b"sip:trunk.example") == Admit(Purpose.LOCAL, b"sip:trunk.example")
    answer = admitted("INVITE", uri)
    assert isinstance(answer, Answer)
    assert answer.status == 404
    assert "lan.outside" in answer.warning


def test_a_mask_a_dialog_and_a_further_route_are_not_for_the_agent_itself() -> None:
    outside = b"sip:trunk.example"
    assert admitted("INVITE", "sip:bob@10.1.0.2;wp=abc", outside=outside) == Admit(Purpose.LOCAL)
    assert admitted("BYE", "sip:bob@10.1.0.2", callee="<sip:x@y>;tag=1", outside=outside) == Admit(Purpose.LOCAL)
    routes = ("Route: <sip:10.1.0.2;lr>, <sip:proxy.example;lr>",)
    assert admitted("INVITE", "sip:bob@10.1.0.2", more=routes, outside=outside) == Admit(Purpose.LOCAL)


@pytest.mark.parametrize(("is_healthy", "status"), [(True, 200), (False, 503)])
def test_options_to_the_agent_tells_its_health(is_healthy: bool, status: int) -> None:
    answer = admitted("OPTIONS", "sip:10.1.0.2", is_healthy=is_healthy, outside=b"sip:trunk.example")
    assert isinstance(answer, Answer)
    assert answer.status == status


def test_options_to_somebody_goes_on() -> None:
    assert admitted("OPTIONS", "sip:bob@carrier.example") == Admit(Purpose.LOCAL)


def routed(uri: str, purpose: Purpose, pbx: bytes) -> NextHop | Answer:
    message = parse_untrusted(request("INVITE", uri, "203.0.113.20:5060"))
    crossed = RequestCrossed(1, 1, message.raw, "udp:203.0.113.20:5060", purpose=purpose)
    return policy(pbx=pbx).route(message, crossed)


@pytest.mark.parametrize("purpose", [Purpose.TRUNK, Purpose.REGISTERED])
def test_a_number_that_a_trunk_dials_is_dialled_at_the_pbx(purpose: Purpose) -> None:
    hop = routed("sip:+4930@203.0.113.10;user=phone", purpose, b"sip:10.1.0.5:5080;transport=tcp")
    assert hop == NextHop(b"sip:+4930@10.1.0.5:5080;transport=tcp", b"sip:10.1.0.5:5080;transport=tcp")


def test_a_trunk_that_dials_nobody_gets_the_pbx_itself() -> None:
    assert routed("sip:203.0.113.10", Purpose.TRUNK, b"sip:10.1.0.5") == NextHop(b"sip:10.1.0.5", b"sip:10.1.0.5")


def test_a_request_for_a_domain_inside_keeps_its_uri() -> None:
    assert routed("sip:100@acme.example;x=y", Purpose.DOMAIN, b"sip:10.1.0.5") == NextHop(
        b"sip:100@acme.example;x=y", b"sip:10.1.0.5"
    )


def test_without_a_pbx_there_is_nobody() -> None:
    answer = routed("sip:+4930@203.0.113.10", Purpose.TRUNK, b"")
    assert isinstance(answer, Answer)
    assert answer.status == 404


def test_nothing_is_sent_beyond_allow_nor_to_the_agent_itself() -> None:
    lan = policy()
    assert lan.may_send(Address("10.1.0.50", 5060))
    assert lan.may_send(Address("10.1.0.2", 5070))
    assert not lan.may_send(AGENT)
    assert not lan.may_send(Address("10.2.0.50", 5060))
    assert not lan.may_send(Address("203.0.113.1", 5060))
    assert not lan.may_send(Address("::1", 5060))
    assert lan.refuse_call(5.0) is None


def test_an_agent_that_shuts_down_says_so() -> None:
    """F3: a PBX that asks with OPTIONS takes its calls elsewhere."""
    answer = admitted("OPTIONS", "sip:10.1.0.2", is_healthy=False, is_draining=True)
    assert isinstance(answer, Answer)
    assert (answer.status, answer.warning, answer.retry_after_s > 0) == (503, "this end is shutting down", True)


def test_what_is_for_another_host_inside_turns_round() -> None:
    """G3, E: an inside address that a Refer-To or a lamp named is reached through the agent, others are none of ours."""
    assert admitted("INVITE", "sip:carol@10.1.0.60") == Admit(Purpose.INSIDE)
    assert admitted("INVITE", "sip:carol@10.2.0.60") == Admit(Purpose.LOCAL)
    assert admitted("INVITE", "sip:carol@pbx.local") == Admit(Purpose.LOCAL)
    far = ("Route: <sip:10.1.0.2;lr>, <sip:203.0.113.9;lr>",)
    assert admitted("INVITE", "sip:carol@10.1.0.60", more=far) == Admit(Purpose.LOCAL)
