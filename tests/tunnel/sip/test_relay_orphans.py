"""Calls whose end nobody says: silence for hours is one, silence on hold is none (I8, T16)."""

from __future__ import annotations

import pytest
from support.ladders import Talk, answered, assert_all_is_forgotten, hang_up, phones, ring
from support.pair import World
from support.scripted_phone import audio

from tunnel.sip.half import CallClosed

HOUR_S = 3600.0
both_ways = pytest.mark.parametrize("incoming", [False, True], ids=["out", "in"])


@pytest.fixture
def world() -> World:
    return World()


def orphans(world: World) -> tuple[int, int]:
    """How many calls each end gave up for their silence."""
    sides = world.lan_side, world.public_side
    return sides[0].counters["sip.orphaned_calls"], sides[1].counters["sip.orphaned_calls"]


def packets_pass(world: World) -> None:
    """RTP or RTCP of either party, at both ends."""
    for side in (world.lan_side, world.public_side):
        for lease in side.plane.held:
            side.plane.active[lease] = world.now


def refresh(talk: Talk, headers: tuple[bytes, ...]) -> None:
    """The caller repeats its offer with these headers, and gets an answer with the same."""
    caller, callee = talk.caller, talk.callee
    caller.request("INVITE", audio(caller.phone.host, 6000), more=[b"Contact: " + caller.phone.contact, *headers])
    caller.phone.expect(100)
    request = callee.phone.expect("INVITE")
    callee.respond(200, body=audio(callee.phone.host, 7000), to=request, more=headers)
    caller.learn_target(caller.phone.expect(200)).ack()
    callee.phone.expect("ACK")


@both_ways
def test_a_call_of_two_parties_that_vanished_is_given_up_after_two_hours(world: World, incoming: bool) -> None:
    """I8, T12: no RTP, no RTCP, no SIP for 2 h: its ports are free again, it is counted, and nobody is told."""
    talk = answered(ring(world, incoming=incoming))
    packets_pass(world)
    world.wait(1.99 * HOUR_S)
    assert (orphans(world), len(world.lan_side.plane.held)) == ((0, 0), 1)
    world.wait(0.1 * HOUR_S)
    assert orphans(world) == (1, 1)
    for side in (world.lan_side, world.public_side):
        assert [event.status for event in side.events if isinstance(event, CallClosed)] == [0]
    talk.caller.phone.expect_nothing()
    talk.callee.phone.expect_nothing()
    assert_all_is_forgotten(world)


@pytest.mark.parametrize("sign", ["rtp", "options", "refresh"])
def test_any_sign_of_life_keeps_it(world: World, sign: str) -> None:
    """I8: media of either party, or any message of the dialog, now and then."""
    talk = answered(ring(world))
    for _ in range(5):
        world.wait(1.9 * HOUR_S)
        if sign == "rtp":
            packets_pass(world)
        elif sign == "refresh":
            refresh(talk, ())
        else:
            talk.callee.request("OPTIONS")
            talk.caller.respond(200, to=talk.caller.phone.expect("OPTIONS"))
            talk.callee.phone.expect(200)
    assert orphans(world) == (0, 0)
    hang_up(talk.caller, talk.callee)
    assert_all_is_forgotten(world)


@pytest.mark.parametrize("name", [b"Session-Expires", b"x"])
def test_a_longer_session_interval_is_waited_for(world: World, name: bytes) -> None:
    """I8: parties that agreed to refresh every four hours (RFC 4028) are not orphans after two."""
    talk = answered(ring(world))
    refresh(talk, (name + b": 14400;refresher=uac", b"Supported: timer"))
    world.wait(3.9 * HOUR_S)
    assert orphans(world) == (0, 0)
    world.wait(0.2 * HOUR_S)
    assert orphans(world) == (1, 1)
    assert_all_is_forgotten(world)


def test_parties_that_gave_up_refreshing_are_waited_for_no_longer_than_others(world: World) -> None:
    """I8: the interval is that of the last exchange."""
    talk = answered(ring(world))
    refresh(talk, (b"Session-Expires: 14400",))
    refresh(talk, ())
    world.wait(2.1 * HOUR_S)
    assert orphans(world) == (1, 1)


@pytest.mark.parametrize(
    ("address", "direction", "answer"),
    [("", "sendonly", "recvonly"), ("", "inactive", "inactive"), ("0.0.0.0", "sendrecv", "recvonly")],
)
def test_hold_is_no_silence(world: World, address: str, direction: str, answer: str) -> None:
    """T16, I8: held for five hours, with no packet and no message: the call is there, and so are its ports."""
    talk = answered(ring(world))
    caller, callee = talk.caller, talk.callee
    ports = dict(world.lan_side.plane.held), dict(world.public_side.plane.held)
    caller.reinvite(audio(address or caller.phone.host, 6000, 2, direction))
    caller.phone.expect(100)
    callee.respond(200, body=audio(callee.phone.host, 7000, 2, answer), to=callee.phone.expect("INVITE"))
    caller.learn_target(caller.phone.expect(200)).ack()
    callee.phone.expect("ACK")
    world.wait(5 * HOUR_S)
    assert orphans(world) == (0, 0)
    refresh(talk, ())
    assert (world.lan_side.plane.held, world.public_side.plane.held) == ports
    hang_up(caller, callee)
    assert_all_is_forgotten(world)


def test_a_watch_without_calls_keeps_nobody_awake(world: World) -> None:
    """I8: once the last call is gone, no timer is left."""
    phones(world)
    talk = answered(ring(world))
    hang_up(talk.caller, talk.callee)
    assert_all_is_forgotten(world)
