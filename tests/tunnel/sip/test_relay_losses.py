"""Datagrams that get lost on one leg are repaired on that leg: what crosses the wall crosses it once."""

from __future__ import annotations

import pytest
from support.ladders import answered, assert_all_is_forgotten, hang_up, phones, ring
from support.pair import World
from support.scripted_phone import audio

from tunnel.sip.message import parse_untrusted
from tunnel.sip.wall import CancelCrossed, RequestCrossed, ResponseCrossed

both_ways = pytest.mark.parametrize("incoming", [False, True], ids=["out", "in"])


@pytest.fixture
def world() -> World:
    return World()


def crossed(world: World, what: str | int) -> int:
    """How many requests of that method, or responses of that status to an INVITE, crossed the wall."""
    messages = [parse_untrusted(c.raw) for c in world.crossed if isinstance(c, RequestCrossed | ResponseCrossed)]
    requests = sum(message.is_request and message.method == what for message in messages)
    return requests + sum(message.status == what and message.cseq[1] == "INVITE" for message in messages)


@both_ways
def test_a_lost_invite_is_repeated_towards_the_callee_only(world: World, incoming: bool) -> None:
    talk = ring(world, incoming=incoming)
    world.wait(1.6)
    again = talk.callee.phone.expect("INVITE", "INVITE")
    assert talk.callee.came is not None
    assert again.raw == talk.callee.came.raw
    assert crossed(world, "INVITE") == 1
    talk.callee.respond(180)
    world.wait(10)
    talk.callee.phone.expect_nothing()


@both_ways
def test_an_invite_that_comes_again_gets_the_last_answer_again(world: World, incoming: bool) -> None:
    talk = ring(world, incoming=incoming)
    assert talk.caller.sent is not None
    talk.caller.phone.send(talk.caller.sent.raw)
    talk.caller.phone.expect(100)
    talk.callee.respond(180)
    first = talk.caller.phone.expect(180)
    talk.caller.phone.send(talk.caller.sent.raw)
    assert talk.caller.phone.expect(180).raw == first.raw
    assert crossed(world, "INVITE") == 1
    talk.callee.phone.expect_nothing()


@both_ways
def test_a_lost_answer_is_repeated_until_its_ack(world: World, incoming: bool) -> None:
    talk = ring(world, incoming=incoming)
    talk.callee.respond(200, body=audio(talk.callee.phone.host, 7000))
    lost = talk.caller.phone.expect(200)
    world.wait(1.6)
    again = talk.caller.phone.expect(200, 200)
    assert again.raw == lost.raw
    talk.callee.phone.expect_nothing()
    talk.caller.learn(again).ack()
    talk.callee.phone.expect("ACK")
    world.wait(5)
    talk.caller.phone.expect_nothing()
    assert crossed(world, 200) == crossed(world, "ACK") == 1
    hang_up(talk.caller, talk.callee)
    assert_all_is_forgotten(world)


@both_ways
def test_an_answer_that_comes_again_before_the_ack_is_absorbed(world: World, incoming: bool) -> None:
    talk = ring(world, incoming=incoming)
    ok = talk.callee.respond(200, body=audio(talk.callee.phone.host, 7000))
    talk.callee.phone.send(ok)
    talk.caller.learn(talk.caller.phone.expect(200))
    talk.callee.phone.expect_nothing()
    talk.caller.ack()
    talk.callee.phone.expect("ACK")
    assert crossed(world, 200) == 1


@both_ways
def test_an_ack_lost_before_the_callee_is_repeated_there(world: World, incoming: bool) -> None:
    talk = ring(world, incoming=incoming)
    ok = talk.callee.respond(200, body=audio(talk.callee.phone.host, 7000))
    talk.caller.learn(talk.caller.phone.expect(200)).ack()
    lost = talk.callee.phone.expect("ACK")
    talk.callee.phone.send(ok)
    assert talk.callee.phone.expect("ACK").raw == lost.raw
    assert crossed(world, 200) == crossed(world, "ACK") == 1
    talk.caller.phone.expect_nothing()
    hang_up(talk.callee, talk.caller)
    assert_all_is_forgotten(world)


@both_ways
def test_an_ack_that_comes_twice_goes_on_once(world: World, incoming: bool) -> None:
    talk = answered(ring(world, incoming=incoming))
    talk.caller.phone.send(talk.caller.last_ack)
    talk.callee.phone.expect_nothing()
    assert crossed(world, "ACK") == 1


@both_ways
@pytest.mark.parametrize("by_caller", [True, False], ids=["caller", "callee"])
def test_a_lost_bye_is_repeated_and_answered_where_it_is_lost(world: World, incoming: bool, by_caller: bool) -> None:
    talk = answered(ring(world, incoming=incoming))
    who, other = (talk.caller, talk.callee) if by_caller else (talk.callee, talk.caller)
    bye = who.bye()
    other.phone.expect("BYE")
    who.phone.send(bye)
    who.phone.expect_nothing()
    world.wait(0.6)
    again = other.phone.expect("BYE")
    ok = other.respond(200, to=again)
    who.phone.expect(200)
    who.phone.send(bye)
    who.phone.expect(200)
    other.phone.send(ok)
    who.phone.expect_nothing()
    other.phone.expect_nothing()
    assert crossed(world, "BYE") == 1
    assert_all_is_forgotten(world)


@both_ways
def test_a_bye_that_is_never_answered_ends_the_call_all_the_same(world: World, incoming: bool) -> None:
    talk = answered(ring(world, incoming=incoming))
    talk.caller.bye()
    world.wait(33)
    for side in (world.lan_side, world.public_side):
        assert side.plane.held == {}
    talk.caller.phone.expect_nothing()
    assert_all_is_forgotten(world)


@both_ways
def test_a_lost_failure_is_repeated_until_its_ack_and_so_is_a_lost_ack(world: World, incoming: bool) -> None:
    talk = ring(world, incoming=incoming)
    busy = talk.callee.respond(486)
    talk.callee.phone.expect("ACK")
    talk.callee.phone.send(busy)
    talk.callee.phone.expect("ACK")
    talk.caller.phone.expect(486)
    world.wait(0.6)
    talk.caller.ack_failure(talk.caller.phone.expect(486))
    world.wait(10)
    talk.caller.phone.expect_nothing()
    assert crossed(world, 486) == 1
    assert crossed(world, "ACK") == 0
    assert_all_is_forgotten(world)


@both_ways
def test_a_lost_cancel_is_repeated(world: World, incoming: bool) -> None:
    talk = ring(world, incoming=incoming)
    talk.callee.respond(180)
    talk.caller.phone.expect(180)
    talk.caller.cancel()
    talk.caller.cancel()
    talk.caller.phone.expect(200, 200)
    world.wait(0.6)
    cancel = talk.callee.phone.expect("CANCEL", "CANCEL")
    talk.callee.phone.answer(cancel, 200)
    talk.callee.respond(487)
    talk.caller.ack_failure(talk.caller.phone.expect(487))
    assert sum(isinstance(each, CancelCrossed) for each in world.crossed) == 1
    assert_all_is_forgotten(world)


@both_ways
def test_a_callee_that_ignores_the_cancel_does_not_keep_the_caller(world: World, incoming: bool) -> None:
    talk = ring(world, incoming=incoming)
    talk.callee.respond(180)
    talk.caller.phone.expect(180)
    talk.caller.cancel()
    talk.caller.phone.expect(200)
    world.wait(33)
    talk.caller.ack_failure(next(m for m in talk.caller.phone.take() if m.status == 487))
    assert_all_is_forgotten(world)


@both_ways
def test_a_reliable_provisional_response_is_repeated_until_its_prack(world: World, incoming: bool) -> None:
    talk = ring(world, incoming=incoming, more=[b"Supported: 100rel"])
    body = audio(talk.callee.phone.host, 7000)
    progress = talk.callee.respond(183, body=body, more=[b"Require: 100rel", b"RSeq: 7"])
    first = talk.caller.phone.expect(183)
    assert first.all("rseq")[0].value == b"7"
    world.wait(0.6)
    assert talk.caller.phone.expect(183).raw == first.raw
    talk.callee.phone.send(progress)
    talk.caller.phone.expect_nothing()
    talk.caller.learn(first).prack(first)
    prack = talk.callee.phone.expect("PRACK")
    assert prack.all("rack")[0].value == b"7 1 INVITE"
    world.wait(0.6)
    talk.callee.respond(200, to=talk.callee.phone.expect("PRACK"))
    talk.caller.phone.expect(200)
    world.wait(10)
    talk.caller.phone.expect_nothing()
    assert crossed(world, 183) == crossed(world, "PRACK") == 1
    talk.callee.respond(200)
    talk.caller.learn(talk.caller.phone.expect(200)).ack()
    talk.callee.phone.expect("ACK")
    hang_up(talk.caller, talk.callee)
    assert_all_is_forgotten(world)


@both_ways
def test_nobody_answers(world: World, incoming: bool) -> None:
    talk = ring(world, incoming=incoming)
    world.wait(33)
    timeout = talk.caller.phone.take()[0]
    assert timeout.status == 408
    talk.caller.ack_failure(timeout)
    assert_all_is_forgotten(world)


@both_ways
def test_a_call_rings_for_three_minutes_at_most_unless_it_says_that_it_still_does(world: World, incoming: bool) -> None:
    talk = ring(world, incoming=incoming)
    talk.callee.respond(180)
    talk.caller.phone.expect(180)
    world.wait(170)
    talk.callee.respond(180)
    talk.caller.phone.expect(180)
    world.wait(170)
    talk.callee.phone.expect_nothing()
    world.wait(11)
    talk.callee.phone.answer(talk.callee.phone.expect("CANCEL"), 200)
    talk.callee.respond(487)
    talk.caller.ack_failure(talk.caller.phone.expect(487))
    assert_all_is_forgotten(world)


def test_registrations_are_not_repeated_over_the_wall(world: World) -> None:
    alice, registrar = phones(world)
    alice.register()
    world.wait(1.6)
    request = registrar.expect("REGISTER", "REGISTER", "REGISTER")
    registrar.answer(request, 200, more=request.lines("contact"))
    alice.expect(200)
    assert crossed(world, "REGISTER") == 1
    assert_all_is_forgotten(world)
