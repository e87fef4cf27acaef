"""Answers whose media cannot be relayed: the caller hears so, and the callee is not left talking to nobody."""

from __future__ import annotations

import pytest
from support.ladders import Talk, answered, assert_all_is_forgotten, hang_up, ring
from support.pair import World
from support.scripted_phone import audio

both_ways = pytest.mark.parametrize("incoming", [False, True], ids=["out", "in"])

MULTICAST = audio("224.2.1.1/127", 7000)
NO_SDP = b"this is no session description\r\n"


@pytest.fixture
def world() -> World:
    return World()


def far_side(talk: Talk) -> str:
    return talk.callee.phone.host


@both_ways
@pytest.mark.parametrize("body", [MULTICAST, NO_SDP])
def test_a_2xx_that_cannot_be_relayed_is_acknowledged_and_ended(world: World, incoming: bool, body: bytes) -> None:
    """K, T4: the caller gets 500 with the reason; the callee gets ACK and BYE; nothing is left."""
    talk = ring(world, incoming=incoming)
    talk.callee.respond(200, body=body)
    failure = talk.caller.phone.expect(500)
    assert b"cannot be relayed" in failure.all("warning")[0].value
    talk.caller.ack_failure(failure)
    ack, bye = talk.callee.phone.take()
    assert (ack.method, bye.method) == ("ACK", "BYE")
    invite = talk.callee.came
    assert invite is not None
    for request in (ack, bye):
        assert request.request_uri == talk.callee.phone.contact.strip(b"<>")
        assert (request.call_id, request.from_tag, request.to_tag) == (invite.call_id, invite.from_tag, talk.callee.tag)
        assert request.max_forwards is not None
    assert ack.cseq == (invite.cseq[0], "ACK")
    assert bye.cseq[0] > invite.cseq[0]
    talk.callee.respond(200, to=bye)
    world.wait(0.1)
    talk.caller.phone.expect_nothing()
    assert_all_is_forgotten(world)


@both_ways
def test_a_2xx_that_comes_again_is_acknowledged_again(world: World, incoming: bool) -> None:
    """K, B6: the callee that did not get the ACK gets it once more, and the BYE is repeated until it is answered."""
    talk = ring(world, incoming=incoming)
    again = talk.callee.respond(200, body=MULTICAST)
    talk.callee.phone.take()
    talk.callee.phone.send(again)
    assert [message.method for message in talk.callee.phone.take()] == ["ACK"]
    world.wait(0.6)
    bye = talk.callee.phone.expect("BYE")
    talk.callee.respond(200, to=bye)
    world.wait(5)
    talk.callee.phone.expect_nothing()
    assert_all_is_forgotten(world)


@both_ways
def test_a_callee_that_does_not_answer_the_bye_is_forgotten_too(world: World, incoming: bool) -> None:
    """K, T12: nothing is left of it either."""
    talk = ring(world, incoming=incoming)
    talk.callee.respond(200, body=MULTICAST)
    assert_all_is_forgotten(world)


@both_ways
def test_a_reinvite_whose_answer_cannot_be_relayed_leaves_the_call_as_it_was(world: World, incoming: bool) -> None:
    """K, F7: 500 to the one, ACK to the other; the call goes on with the old media."""
    talk = answered(ring(world, incoming=incoming))
    caller, callee = talk.caller, talk.callee
    caller.reinvite(audio(caller.phone.host, 6000, 2))
    caller.phone.expect(100)
    callee.respond(200, body=MULTICAST, to=callee.phone.expect("INVITE"))
    caller.ack_failure(caller.phone.expect(500))
    callee.phone.expect("ACK")
    assert len(world.lan_side.plane.held) == len(world.public_side.plane.held) == 1
    hang_up(caller, callee)
    assert_all_is_forgotten(world)


@both_ways
def test_the_answer_of_a_second_fork_that_cannot_be_relayed_ends_that_fork_only(world: World, incoming: bool) -> None:
    """K, I4: the caller talks to the first; the second gets ACK and BYE."""
    talk = answered(ring(world, incoming=incoming))
    first, second = talk.callee.tag, b"second-fork"
    talk.callee.tag = second
    talk.callee.respond(200, body=MULTICAST)
    ack, bye = talk.callee.phone.take()
    assert (ack.method, ack.to_tag, bye.method, bye.to_tag) == ("ACK", second, "BYE", second)
    talk.callee.respond(200, to=bye)
    talk.callee.tag = first
    talk.caller.phone.expect_nothing()
    hang_up(talk.caller, talk.callee)
    assert_all_is_forgotten(world)
