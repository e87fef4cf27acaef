from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.calls import PhoneCall, collect, new_world
from support.pair import World

from tunnel.address import Address
from tunnel.sip.next_hop import Target

CALLS = 3
STATUSES = [100, 180, 183, 200, 200, 404, 486, 503]

steps = st.one_of(
    st.tuples(st.just("talk"), st.integers(0, CALLS - 1)),
    st.tuples(st.just("talk"), st.integers(0, CALLS - 1)),
    st.tuples(st.just("invite"), st.integers(0, CALLS - 1)),
    st.tuples(st.just("invite"), st.integers(0, CALLS - 1)),
    st.tuples(st.just("answer"), st.integers(0, CALLS - 1), st.sampled_from(STATUSES), st.booleans(), st.booleans()),
    st.tuples(st.just("answer"), st.integers(0, CALLS - 1), st.just(200), st.just(True), st.just(False)),
    st.tuples(st.just("ack"), st.integers(0, CALLS - 1)),
    st.tuples(st.just("cancel"), st.integers(0, CALLS - 1)),
    st.tuples(st.just("again"), st.integers(0, CALLS - 1), st.booleans()),
    st.tuples(st.just("answer again"), st.integers(0, CALLS - 1), st.booleans(), st.sampled_from([200, 488, 491])),
    st.tuples(st.just("bye"), st.integers(0, CALLS - 1), st.booleans()),
    st.tuples(
        st.just("other"),
        st.integers(0, CALLS - 1),
        st.booleans(),
        st.sampled_from(["BYE", "CANCEL"]),
        st.sampled_from([200, 401, 481]),
    ),
    st.tuples(st.just("repeat"), st.integers(0, CALLS - 1), st.integers(0, 30)),
    st.tuples(st.just("lose"), st.integers(0, CALLS - 1)),
    st.tuples(st.just("wait"), st.sampled_from([0.1, 0.6, 2.5, 10.0, 40.0, 200.0])),
    st.tuples(st.just("link"), st.booleans()),
)


def set_link(world: World, is_up: bool) -> None:
    world.is_cut = not is_up
    for side in (world.lan_side, world.public_side):
        if is_up:
            side.proxy.link_came_up()
        else:
            side.proxy.link_went_down(world.now)
    world.settle()


def play(world: World, calls: list[PhoneCall], step: tuple[object, ...]) -> None:
    match step:
        case ("wait", float(seconds)):
            world.wait(seconds)
        case ("link", bool(is_up)):
            set_link(world, is_up)
        case ("invite", int(n)):
            calls[n].invite()
        case ("talk", int(n)):
            for part in (("invite", n), ("answer", n, 200, True, False), ("ack", n)):
                play(world, calls, part)
        case ("cancel", int(n)):
            calls[n].cancel()
        case ("ack", int(n)):
            calls[n].ack()
        case ("answer", int(n), int(status), bool(with_sdp), bool(forked)):
            calls[n].answer(False, "INVITE", status, "fork" if forked else "to", with_sdp)
        case ("again", int(n), bool(is_caller)):
            calls[n].within("INVITE", is_caller, with_sdp=True)
        case ("answer again", int(n), bool(is_caller), int(status)):
            calls[n].answer(is_caller, "INVITE", status, "to", True)
        case ("bye", int(n), bool(is_caller)):
            calls[n].within("BYE", is_caller)
        case ("other", int(n), bool(is_caller), str(method), int(status)):
            calls[n].answer(is_caller, method, status)
        case ("repeat", int(n), int(number)):
            calls[n].repeat(number)
        case ("lose", int(n)):
            world.take_lan()
            world.take_public()
            calls[n].got[True].clear()
    collect(world, calls)


def assert_nothing_left(world: World) -> None:
    for side in (world.lan_side, world.public_side):
        assert not side.plane.held
        assert not side.plane.ties
        assert side.channels.in_use == 0
        assert side.proxy.transactions == 0
        assert len(side.half.calls) == 0
        assert not side.index.transactions
        assert not side.index.branches
        assert not side.index.dialogs


def begin() -> tuple[World, list[PhoneCall]]:
    world = new_world()
    return world, [PhoneCall(world, n % 2 == 0, n) for n in range(CALLS)]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(steps, max_size=25))
def test_whatever_happens_in_calls_nothing_of_them_is_left_when_everybody_hung_up(
    life: list[tuple[object, ...]],
) -> None:
    world, calls = begin()
    for step in life:
        play(world, calls, step)
    set_link(world, True)
    for _ in range(3):  # whoever believes to be in a call hangs up, and every BYE is answered
        for call in calls:
            for is_caller, fork in ((False, "to"), (False, "fork"), (True, "")):
                call.within("BYE", is_caller, fork=fork)
                collect(world, calls)
                call.answer(not is_caller, "BYE", 200)
                collect(world, calls)
        world.wait(40)
        collect(world, calls)
    world.wait(400)
    assert_nothing_left(world)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(steps, max_size=25))
def test_when_the_session_is_over_every_call_and_port_of_it_is_free_at_once(life: list[tuple[object, ...]]) -> None:
    world, calls = begin()
    for step in life:
        play(world, calls, step)
    for side in (world.lan_side, world.public_side):
        side.proxy.close(world.now)
    assert_nothing_left(world)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(steps, max_size=25))
def test_every_call_that_was_opened_is_closed_once_and_both_ends_agree(life: list[tuple[object, ...]]) -> None:
    world, calls = begin()
    for step in life:
        play(world, calls, step)
    for side in (world.lan_side, world.public_side):
        side.proxy.close(world.now)
    world.settle()
    for side in (world.lan_side, world.public_side):
        names = [(type(event).__name__, event.call) for event in side.events]
        opened = [call for name, call in names if name == "CallOpened"]
        closed = [call for name, call in names if name == "CallClosed"]
        answered = [call for name, call in names if name == "CallAnswered"]
        assert sorted(opened) == sorted(closed)
        assert len(set(answered)) == len(answered)


def test_a_call_from_inside_that_is_answered_and_hung_up_leaves_nothing() -> None:
    world, calls = begin()
    call = calls[0]
    call.invite()
    collect(world, calls)
    assert call.answer(False, "INVITE", 200, "to", True)
    collect(world, calls)
    assert call.ack()
    collect(world, calls)
    assert [m.method for m in call.got[False]] == ["INVITE", "ACK"]
    assert call.within("BYE", False)
    collect(world, calls)
    assert call.answer(True, "BYE", 200)
    collect(world, calls)
    assert call.got[False][-1].status == 200
    world.wait(100)
    assert_nothing_left(world)


def test_an_answer_that_crosses_the_end_of_its_call_does_not_bring_it_back() -> None:
    world, calls = begin()
    call = calls[0]
    play(world, calls, ("talk", 0))
    call.within("INVITE", True, with_sdp=True)
    collect(world, calls)
    call.within("BYE", False)
    collect(world, calls)
    call.answer(True, "BYE", 200)
    collect(world, calls)
    call.answer(False, "INVITE", 200, "to", True)
    collect(world, calls)
    call.within("ACK", True, number=2)
    world.wait(100)
    assert_nothing_left(world)


def test_a_call_hung_up_is_forgotten_although_a_request_of_it_is_answered_much_later() -> None:
    world, calls = begin()
    call = calls[0]
    play(world, calls, ("talk", 0))
    call.within("INVITE", True, with_sdp=True)
    collect(world, calls)
    call.answer(False, "INVITE", 180)
    call.within("BYE", False)
    collect(world, calls)
    call.answer(True, "BYE", 200)
    world.wait(100)
    call.answer(False, "INVITE", 486)
    collect(world, calls)
    assert call.got[True][-1].status == 486
    world.wait(100)
    assert_nothing_left(world)


def to_a_name(call: PhoneCall, monkeypatch: pytest.MonkeyPatch) -> None:
    """``call`` goes to a name for which DNS takes its time."""
    call.uri = "sip:bob@slow.example"
    monkeypatch.setattr(call.world.public_side.proxy, "take_lookups", list)
    call.invite()


def found(world: World, *hosts: str) -> None:
    half = world.public_side.half
    (lookup,) = half.lookups
    half.lookups.clear()
    targets = [Target("udp", Address(host, 5060)) for host in hosts]
    world.public_side.proxy.resolved(lookup.key, targets, world.now)
    world.settle()


def test_a_call_given_up_while_its_name_is_looked_up_never_rings(monkeypatch: pytest.MonkeyPatch) -> None:
    world, calls = begin()
    to_a_name(calls[0], monkeypatch)
    calls[0].cancel()
    found(world, "203.0.113.40")
    assert world.take_public() == []
    assert 487 in [m.status for _, m in world.take_lan()]


def test_the_ack_of_a_busy_server_goes_to_it_and_the_call_to_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    world, calls = begin()
    to_a_name(calls[0], monkeypatch)
    found(world, "203.0.113.40", "203.0.113.41")
    collect(world, calls)
    calls[0].answer(False, "INVITE", 503)
    sent = [(to, m.method) for to, m in world.take_public()]
    assert sorted(sent) == [("203.0.113.40:5060", "ACK"), ("203.0.113.41:5060", "INVITE")]


def test_each_branch_of_a_forked_call_for_two_phones_inside_is_acknowledged() -> None:
    """Call-ID, From and CSeq are the same: only the top Via and the To tags differ."""
    world, _ = begin()
    calls = [PhoneCall(world, False, 7), PhoneCall(world, False, 7)]
    for number, call in enumerate(calls):
        call.branch = f"z9hG4bKfork{number}"
        call.uri = f"sip:phone{number}@example.com"
        call.invite()
        collect(world, [call])
    for number, call in enumerate(calls):
        call.answer(False, "INVITE", 200, f"to{number}", True)
        collect(world, [call])
    for call in calls:
        call.ack()
        collect(world, [call])
        assert [m.method for m in call.got[False]] == ["INVITE", "ACK"]
    world.take_public()
    world.wait(20)
    assert world.take_public() == [], "an acknowledged answer is not repeated"
