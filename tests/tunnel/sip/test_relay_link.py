from __future__ import annotations

import pytest
from support.calls import DOMAIN, INSIDE, PhoneCall, collect, new_world, post
from support.messages import compose
from support.pair import World

from tunnel.sip.message import Message
from tunnel.sip.wall import RequestCrossed


def cut(world: World) -> None:
    world.is_cut = True
    for side in (world.lan_side, world.public_side):
        side.proxy.link_went_down(world.now)


def mend(world: World) -> None:
    world.is_cut = False
    for side in (world.lan_side, world.public_side):
        side.proxy.link_came_up()
    world.settle()


def begin(outbound: bool = True) -> tuple[World, PhoneCall, list[PhoneCall]]:
    world = new_world()
    call = PhoneCall(world, outbound)
    return world, call, [call]


def talk(world: World, call: PhoneCall) -> None:
    call.invite()
    collect(world, [call])
    assert call.answer(False, "INVITE", 200, "to", True)
    collect(world, [call])
    assert call.ack()
    collect(world, [call])


def statuses(messages: list[Message]) -> list[int]:
    return [m.status for m in messages if not m.is_request]


def assert_sent_away(message: Message) -> None:
    assert message.status == 503
    retry_after = message.header("retry-after")
    assert retry_after is not None
    assert int(retry_after.value) > 0
    assert message.header("warning") is not None


@pytest.mark.parametrize("outbound", [True, False])
def test_a_call_that_comes_while_the_link_is_down_goes_when_it_is_back(outbound: bool) -> None:
    world, call, calls = begin(outbound)
    cut(world)
    world.wait(1)
    call.invite()
    world.wait(1.5)
    collect(world, calls)
    assert statuses(call.got[True]) == [100]
    assert call.got[False] == []
    mend(world)
    collect(world, calls)
    assert [m.method for m in call.got[False]] == ["INVITE"]
    call.answer(False, "INVITE", 200, "to", True)
    collect(world, calls)
    assert statuses(call.got[True]) == [100, 200]
    world.wait(3)
    assert 503 not in statuses([m for _, m in collect(world, calls)])


@pytest.mark.parametrize("outbound", [True, False])
def test_a_call_that_comes_while_the_link_is_down_waits_two_seconds_and_no_more(outbound: bool) -> None:
    world, call, calls = begin(outbound)
    cut(world)
    world.wait(3.9)
    call.invite()
    world.wait(1.9)
    collect(world, calls)
    assert statuses(call.got[True]) == [100]
    world.wait(0.2)
    collect(world, calls)
    assert_sent_away(call.got[True][-1])
    call.ack()
    mend(world)
    world.wait(40)
    collect(world, calls)
    assert call.got[False] == []
    assert world.crossed == []


@pytest.mark.parametrize("method", ["OPTIONS", "MESSAGE", "REGISTER"])
def test_a_request_out_of_any_call_waits_and_goes_once(method: str) -> None:
    world, _, calls = begin()
    world.names[DOMAIN] = "203.0.113.40"
    request = compose(
        f"{method} sip:{DOMAIN} SIP/2.0",
        f"Via: SIP/2.0/UDP {INSIDE}:5060;branch=z9hG4bKother",
        "Max-Forwards: 70",
        f"From: <sip:a@{DOMAIN}>;tag=1",
        f"To: <sip:a@{DOMAIN}>",
        "Call-ID: other",
        f"CSeq: 1 {method}",
        "Content-Length: 0",
    )
    cut(world)
    for _ in range(3):
        post(world, INSIDE, request)
        world.wait(0.5)
    mend(world)
    sent = [m for _, m in collect(world, calls)]
    assert [m.method for m in sent if m.is_request] == [method]


@pytest.mark.parametrize("outbound", [True, False])
def test_when_the_link_has_been_down_for_longer_the_answer_comes_at_once(outbound: bool) -> None:
    world, call, calls = begin(outbound)
    cut(world)
    world.wait(4.1)
    call.invite()
    collect(world, calls)
    assert_sent_away(call.got[True][-1])
    assert not world.lan_side.plane.held
    assert not world.public_side.plane.held


def test_a_call_given_up_while_it_waits_for_the_link_never_rings() -> None:
    world, call, calls = begin()
    cut(world)
    call.invite()
    world.wait(0.5)
    call.cancel()
    collect(world, calls)
    assert statuses(call.got[True]) == [100, 200, 487]
    mend(world)
    world.wait(40)
    collect(world, calls)
    assert call.got[False] == []


@pytest.mark.parametrize("outbound", [True, False])
@pytest.mark.parametrize("by_caller", [True, False])
@pytest.mark.parametrize("seconds", [1.0, 6.0, 20.0])
def test_a_call_hung_up_during_a_cut_ends_beyond_the_wall_exactly_once(
    outbound: bool, by_caller: bool, seconds: float
) -> None:
    world, call, calls = begin(outbound)
    talk(world, call)
    crossed = len(world.crossed)
    cut(world)
    assert call.within("BYE", by_caller)
    for _ in range(3):
        call.repeat(-1)
        world.wait(seconds / 3)
    collect(world, calls)
    assert not [m for m in call.got[not by_caller] if m.method == "BYE"]
    mend(world)
    collect(world, calls)
    assert len([m for m in call.got[not by_caller] if m.method == "BYE"]) == 1
    requests = [c for c in world.crossed[crossed:] if isinstance(c, RequestCrossed)]
    assert len(requests) == 1
    call.answer(not by_caller, "BYE", 200)
    collect(world, calls)
    assert call.got[by_caller][-1].status == 200
    assert not world.lan_side.plane.held
    assert not world.public_side.plane.held


@pytest.mark.parametrize("outbound", [True, False])
def test_when_the_session_expires_whoever_waits_for_an_answer_gets_503(outbound: bool) -> None:
    world, call, calls = begin(outbound)
    call.invite()
    collect(world, calls)
    call.answer(False, "INVITE", 180)
    collect(world, calls)
    cut(world)
    world.wait(60)
    for side in (world.lan_side, world.public_side):
        side.proxy.close(world.now)
    world.settle()
    collect(world, calls)
    assert_sent_away(call.got[True][-1])
    assert "CANCEL" in [m.method for m in call.got[False]], "a phone that still rings is told to stop"


def test_an_answered_call_is_left_alone_when_the_session_expires() -> None:
    world, call, calls = begin()
    talk(world, call)
    cut(world)
    for side in (world.lan_side, world.public_side):
        side.proxy.close(world.now)
    world.settle()
    assert collect(world, calls) == []


@pytest.mark.parametrize("outbound", [True, False])
def test_an_end_that_shuts_down_takes_no_new_calls_and_serves_the_old_ones(outbound: bool) -> None:
    world, call, calls = begin(outbound)
    talk(world, call)
    for side in (world.lan_side, world.public_side):
        side.half.draining = True
    late = PhoneCall(world, outbound, 2)
    calls.append(late)
    late.invite()
    collect(world, calls)
    assert_sent_away(late.got[True][-1])
    assert late.got[False] == []
    assert call.within("INVITE", False, with_sdp=True)
    collect(world, calls)
    assert call.got[True][-1].method == "INVITE"
    call.answer(True, "INVITE", 200, "to", True)
    collect(world, calls)
    assert call.got[False][-1].status == 200
    assert call.within("BYE", True)
    collect(world, calls)
    assert call.got[False][-1].method == "BYE"
