"""Reliable provisional responses (RFC 3262) and the SDP that they and their PRACK carry."""

from __future__ import annotations

from support.flow_table import flow
from support.ladder import Dialog, places_in
from support.stage import Stage, Talk

from tunnel.sip.message import Message

RELIABLE = ("Require: 100rel", "RSeq: 4711")
RACK = "RAck: 4711 1 INVITE"


def ring_reliably(stage: Stage, body: bytes | None, answer: bytes) -> tuple[Message, Message, bytes, Message]:
    """INVITE as sent and as arrived, the 183 as sent and as arrived."""
    invite = stage.invite(body=body, headers=("Supported: 100rel",))
    arrived = stage.callee.got("INVITE")
    sent = stage.callee.answer(arrived, 183, headers=RELIABLE, body=answer)
    return invite, arrived, sent, stage.caller.got(183)


def prack(stage: Stage, caller: Dialog, body: bytes = b"", answer: bytes = b"") -> tuple[Message, Message]:
    """The PRACK as it arrived and its answer as it arrived."""
    caller.send("PRACK", headers=(RACK,), body=body)
    arrived = stage.callee.got("PRACK")
    assert arrived.lines("rack") == [RACK.encode()]
    stage.callee.answer(arrived, 200, body=answer)
    return arrived, stage.caller.got(200)


def pick_up(stage: Stage, caller: Dialog, invite: Message, arrived: Message, body: bytes = b"") -> Talk:
    """The 200 to the INVITE, by default without SDP, and its ACK."""
    callee = stage.callee.accept(arrived, body=body)
    ok = stage.caller.got(200)
    caller.ack(cseq=1)
    stage.callee.got("ACK")
    return Talk(caller, callee, invite, arrived, ok)


def end(stage: Stage, talk: Talk) -> None:
    talk.hang_up()
    stage.assert_empty()


@flow("prack", basic=True)
def test_the_answer_in_183(stage: Stage) -> None:
    """S4-23: the answer comes in the 183, neither PRACK nor 200 bears SDP."""
    invite, arrived, _, early = ring_reliably(stage, None, stage.callee.sdp())
    assert early.lines("rseq") == [b"RSeq: 4711"]
    caller = Dialog.of_caller(stage.caller, invite, early)
    stage.assert_audio()
    prack(stage, caller)
    talk = pick_up(stage, caller, invite, arrived)
    stage.assert_audio()
    end(stage, talk)


@flow("prack")
def test_the_offer_in_183_and_the_answer_in_prack(stage: Stage) -> None:
    """S4-23, T11, DEC6: an INVITE without SDP; what the PRACK bears is the answer."""
    invite, arrived, _, early = ring_reliably(stage, b"", stage.callee.sdp())
    caller = Dialog.of_caller(stage.caller, invite, early)
    carried, _ = prack(stage, caller, stage.caller.sdp())
    assert places_in(carried.body) != places_in(stage.caller.sdp())
    stage.assert_audio()
    talk = pick_up(stage, caller, invite, arrived)
    stage.assert_audio()
    end(stage, talk)


@flow("prack")
def test_a_new_offer_in_prack_and_the_answer_in_its_200(stage: Stage) -> None:
    """S4-23, T10, DEC6: the second exchange moves both phones' ports and none of ours."""
    caller_phone, callee_phone = stage.caller, stage.callee
    invite, arrived, _, early = ring_reliably(stage, None, callee_phone.sdp())
    caller = Dialog.of_caller(caller_phone, invite, early)
    carried, agreed = prack(stage, caller, caller_phone.sdp(port=6200, version=2), callee_phone.sdp(7200, version=2))
    assert places_in(carried.body) == places_in(arrived.body)
    assert places_in(agreed.body) == places_in(early.body)
    stage.assert_audio()
    talk = pick_up(stage, caller, invite, arrived)
    stage.assert_audio()
    end(stage, talk)


@flow("prack", basic=True)
def test_lost_on_either_side(stage: Stage) -> None:
    """B5: a 183 that the caller lost comes again from our end, one that the callee repeats is absorbed; so with PRACK."""
    invite, arrived, sent, early = ring_reliably(stage, None, stage.callee.sdp())
    stage.callee.send(sent)
    stage.caller.got_nothing()
    stage.world.wait(0.6)
    assert stage.caller.got(183).raw == early.raw
    caller = Dialog.of_caller(stage.caller, invite, early)
    request = caller.send("PRACK", headers=(RACK,))
    stage.caller.send(request.raw)  # it was impatient
    carried = stage.callee.got("PRACK")
    stage.callee.lose()
    stage.world.wait(0.6)
    assert stage.callee.got("PRACK").raw == carried.raw
    stage.callee.answer(carried, 200)
    stage.caller.got(200)
    stage.world.wait(10)
    stage.assert_quiet()
    end(stage, pick_up(stage, caller, invite, arrived))


@flow("prack")
def test_two_reliable_responses_one_after_the_other(stage: Stage) -> None:
    """A 183 with the answer, then a 180 without SDP: each has its PRACK."""
    invite, arrived, _, early = ring_reliably(stage, None, stage.callee.sdp())
    caller = Dialog.of_caller(stage.caller, invite, early)
    prack(stage, caller)
    stage.callee.answer(arrived, 180, headers=("Require: 100rel", "RSeq: 4712"))
    stage.caller.got(180)
    caller.send("PRACK", headers=("RAck: 4712 1 INVITE",))
    stage.callee.answer(stage.callee.got("PRACK"), 200)
    stage.caller.got(200)
    stage.world.wait(5)
    stage.assert_audio()
    end(stage, pick_up(stage, caller, invite, arrived))


@flow("prack")
def test_the_callee_knows_nothing_of_that_prack(stage: Stage) -> None:
    """F7: a PRACK that is refused leaves the media as they are, and the call goes on."""
    invite, arrived, _, early = ring_reliably(stage, None, stage.callee.sdp())
    caller = Dialog.of_caller(stage.caller, invite, early)
    caller.send("PRACK", headers=("RAck: 9 1 INVITE",))
    stage.callee.answer(stage.callee.got("PRACK"), 481)
    stage.caller.got(481)
    stage.caller.got_nothing()
    stage.world.wait(0.6)
    stage.caller.got(183)
    prack(stage, caller)
    stage.assert_audio()
    end(stage, pick_up(stage, caller, invite, arrived))
