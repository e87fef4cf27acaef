"""What keeps the NATs of user agents open: to whom, how often, and what is sent."""

from __future__ import annotations

from itertools import pairwise

from support.faces import SERVER

from tunnel.address import Address
from tunnel.sip.bindings import Binding, Bindings
from tunnel.sip.dialog import Call
from tunnel.sip.flow import Flow
from tunnel.sip.half import Emission
from tunnel.sip.keepalives import STEP_S, Keepalives, is_keepalive_answer
from tunnel.sip.message import parse_untrusted
from tunnel.sip.response import build_response

PERIOD_S = 25


def flow(port: int, transport: str = "udp") -> Flow:
    return Flow(transport, SERVER, Address("198.51.100.7", port), 0 if transport == "udp" else port)


def binding(port: int, *, natted: bool = True, transport: str = "udp") -> Binding:
    contact = b"sip:u%d@192.168.77.10;line=a%%20b" % port
    return Binding(b"owner", contact, flow(port, transport), natted, 10_000.0)


def sent_in(keepalives: Keepalives, seconds: int, calls: tuple[Call, ...] = ()) -> list[tuple[int, Emission]]:
    """What is sent in so long a time, with the second of each."""
    return [(at, each) for at in range(0, seconds, STEP_S) for each in keepalives.due(calls, float(at))]


def test_each_one_has_its_turn_every_25_s_and_not_all_at_once() -> None:
    """S3-5: 200 phones of a site."""
    bindings = Bindings()
    for port in range(1, 201):
        bindings.register(binding(port))
    sent = sent_in(Keepalives(bindings, bytes), 100)
    assert len(sent) == 4 * 200
    for port in range(1, 201):
        times = [at for at, each in sent if each.flow == flow(port)]
        assert [later - at for at, later in pairwise(times)] == [PERIOD_S] * 3
    assert max(sum(at == step for at, _ in sent) for step in range(0, PERIOD_S, STEP_S)) < 70


def test_a_refresh_of_somebody_else_changes_nobodys_turn() -> None:
    """S3-6: or a NAT would forget who had just been moved to the end of the queue."""
    bindings = Bindings()
    bindings.register(binding(1))
    keepalives = Keepalives(bindings, bytes)
    times = []
    for at in range(0, 200, STEP_S):
        for port in range(2, 40):
            bindings.register(binding(port))
        bindings.register(binding(1))
        times += [at for each in keepalives.due((), float(at)) if each.flow == flow(1)]
    assert len(times) == 8
    assert times == list(range(times[0], 200, PERIOD_S))


def test_who_is_behind_no_nat_or_has_a_connection_gets_none() -> None:
    """S3-5: 0 packets in 10 minutes."""
    bindings = Bindings()
    bindings.register(binding(1, natted=False))
    bindings.register(binding(2, transport="tcp"))
    bindings.note(binding(3))
    assert sent_in(Keepalives(bindings, bytes), 600) == []


def test_what_is_sent_is_an_options_that_says_no_more_than_where_it_comes_from() -> None:
    bindings = Bindings()
    bindings.register(binding(4000))
    [(_, emission)] = sent_in(Keepalives(bindings, lambda n: b"\x01" * n), PERIOD_S)
    request = parse_untrusted(emission.data)
    assert (request.method, request.request_uri) == ("OPTIONS", b"sip:u4000@192.168.77.10;line=a%20b")
    assert emission.flow == flow(4000)
    assert request.lines("from")[0].startswith(b"From: <sip:203.0.113.10:5060>;tag=")
    assert is_keepalive_answer(parse_untrusted(build_response(request, 481, "Whatever")))


def test_a_call_needs_them_as_long_as_it_lasts() -> None:
    """S3-6: its party may not be registered, or not any more."""
    call = Call(1, "INVITE", b"c", b"t", True, 0.0)
    call.caller.target, call.caller.natted, call.caller.flow = b"sip:x@192.168.77.10", True, flow(7)
    keepalives = Keepalives(Bindings(), bytes)
    assert [each.flow for _, each in sent_in(keepalives, 50, (call,))] == [flow(7), flow(7)]
    call.ended = True
    assert sent_in(keepalives, 50, (call,)) == []
