"""One INVITE, several who answer it: each dialog has its own media and its own end (RFC 3261 section 13.2.2.4)."""

from __future__ import annotations

import pytest
from support.ladders import Talk, assert_all_is_forgotten, hang_up, ring
from support.pair import World
from support.scripted_phone import ScriptedCall, audio, media_port

both_ways = pytest.mark.parametrize("incoming", [False, True], ids=["out", "in"])


@pytest.fixture
def world() -> World:
    return World()


def second_callee(talk: Talk) -> ScriptedCall:
    """Another phone behind the same proxy got the INVITE too."""
    assert talk.callee.came is not None
    return talk.callee.phone.pick_up(talk.callee.came)


def second_caller(talk: Talk) -> ScriptedCall:
    """The caller's view of the second dialog."""
    first = talk.caller
    second = ScriptedCall(first.phone, first.call_id, first.tag, first.remote, first.target)
    second.cseq, second.sent = first.cseq, first.sent
    return second


def ports_in_use(world: World) -> list[int]:
    return [len(side.plane.held) for side in (world.lan_side, world.public_side)]


@both_ways
def test_each_fork_has_its_own_port_towards_the_caller(world: World, incoming: bool) -> None:
    talk = ring(world, incoming=incoming)
    other = second_callee(talk)
    ports = []
    for number, callee in enumerate((talk.callee, other)):
        callee.respond(183, body=audio(callee.phone.host, 7000 + 10 * number))
        ports.append(media_port(talk.caller.phone.expect(183)))
    assert len(set(ports)) == 2
    talk.callee.respond(200, body=audio(talk.callee.phone.host, 7000))
    ok = talk.caller.phone.expect(200)
    assert media_port(ok) == ports[0]
    talk.caller.learn(ok).ack()
    talk.callee.phone.expect("ACK")
    assert ports_in_use(world) == [1, 1]
    hang_up(talk.callee, talk.caller)
    assert_all_is_forgotten(world)


@both_ways
def test_two_who_pick_up_at_once_and_one_who_is_sent_away(world: World, incoming: bool) -> None:
    talk = ring(world, incoming=incoming)
    late, unwanted = second_callee(talk), second_caller(talk)
    for number, (caller, callee) in enumerate(((talk.caller, talk.callee), (unwanted, late))):
        callee.respond(200, body=audio(callee.phone.host, 7000 + 10 * number))
        caller.learn(caller.phone.expect(200)).ack()
        assert callee.phone.expect("ACK").to_tag == callee.tag
    hang_up(unwanted, late)
    assert ports_in_use(world) == [1, 1]
    ties = [dict(side.plane.ties) for side in (world.lan_side, world.public_side)]
    assert all(ties)
    talk.caller.reinvite(audio(talk.caller.phone.host, 6000, 2))
    talk.caller.phone.expect(100)
    request = talk.callee.phone.expect("INVITE")
    talk.callee.respond(200, body=audio(talk.callee.phone.host, 7000, 2), to=request)
    talk.caller.learn_target(talk.caller.phone.expect(200)).ack()
    talk.callee.phone.expect("ACK")
    hang_up(talk.caller, talk.callee)
    assert_all_is_forgotten(world)


@both_ways
def test_a_bye_to_an_early_dialog_leaves_the_others_ringing(world: World, incoming: bool) -> None:
    talk = ring(world, incoming=incoming)
    other, other_view = second_callee(talk), second_caller(talk)
    other.respond(183, body=audio(other.phone.host, 7010))
    other_view.learn(talk.caller.phone.expect(183))
    talk.callee.respond(180)
    talk.caller.phone.expect(180)
    hang_up(other_view, other)
    talk.callee.respond(200, body=audio(talk.callee.phone.host, 7000))
    talk.caller.learn(talk.caller.phone.expect(200)).ack()
    talk.callee.phone.expect("ACK")
    assert ports_in_use(world) == [1, 1]
    hang_up(talk.callee, talk.caller)
    assert_all_is_forgotten(world)


@both_ways
def test_both_change_the_call_at_the_same_time(world: World, incoming: bool) -> None:
    """Glare (RFC 3261 section 14.1): both are refused, nothing has changed."""
    talk = ring(world, incoming=incoming)
    talk.callee.respond(200, body=audio(talk.callee.phone.host, 7000))
    talk.caller.learn(talk.caller.phone.expect(200)).ack()
    talk.callee.phone.expect("ACK")
    before = [dict(side.plane.ties) for side in (world.lan_side, world.public_side)]
    talk.caller.reinvite(audio(talk.caller.phone.host, 9000, 2))
    talk.callee.reinvite(audio(talk.callee.phone.host, 9000, 2))
    from_caller, from_callee = talk.callee.phone.take()[0], talk.caller.phone.take()[-1]
    talk.callee.respond(491, to=from_caller)
    talk.caller.respond(491, to=from_callee)
    for who in (talk.caller, talk.callee):
        who.ack_failure(next(m for m in who.phone.take() if m.status == 491))
    assert [dict(side.plane.ties) for side in (world.lan_side, world.public_side)] == before
    hang_up(talk.caller, talk.callee)
    assert_all_is_forgotten(world)


@both_ways
def test_an_answer_whose_media_cannot_be_relayed(world: World, incoming: bool) -> None:
    """The caller hears of a failure, and the callee does not ring for nobody."""
    talk = ring(world, incoming=incoming)
    talk.callee.respond(183, body=audio("224.2.1.1/127", 7000))
    talk.caller.ack_failure(talk.caller.phone.expect(500))
    talk.callee.phone.answer(talk.callee.phone.expect("CANCEL"), 200)
    talk.callee.respond(487)
    talk.callee.phone.expect("ACK")
    assert_all_is_forgotten(world)
