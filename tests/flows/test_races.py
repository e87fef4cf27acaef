"""Messages of a call that cross each other on the way, and messages that never come (RFC 5407)."""

from __future__ import annotations

import pytest
from support.flow_table import flow
from support.ladder import Dialog
from support.stage import Stage, Talk

either = pytest.mark.parametrize("who", ["caller", "callee"])


@flow("call-basic")
def test_both_hang_up_at_once(stage: Stage) -> None:
    """I6: BYEs that cross are both answered, and nothing is left."""
    talk = stage.talk()
    for one in (talk.caller, talk.callee):
        one.send("BYE")
    for phone in (stage.caller, stage.callee):
        bye = next(message for message in phone.inbox if message.method == "BYE")
        phone.inbox.remove(bye)
        phone.answer(bye, 200)
    stage.caller.got(200)
    stage.callee.got(200)
    stage.assert_empty()


@flow("call-basic")
def test_a_bye_before_the_ack(stage: Stage) -> None:
    """T12, I6: the callee answers and hangs up in one go, before the ACK is there (RFC 5407 section 3.2.1)."""
    callee, caller = stage.callee, stage.caller
    invite = stage.invite()
    dialog = callee.accept(callee.got("INVITE"))
    dialog.send("BYE")
    ok = caller.got(200)
    bye = caller.got("BYE")
    calling = Dialog.of_caller(caller, invite, ok)
    calling.ack()
    caller.answer(bye, 200)
    assert {callee.inbox.pop(0).cseq_method for _ in range(len(callee.inbox))} <= {"ACK", "BYE"}
    stage.assert_empty()


@flow("call-basic")
def test_the_invite_comes_again(stage: Stage) -> None:
    """B5: while it rings, after the answer, after the ACK: the callee sees one INVITE, the caller what it missed."""
    callee, caller = stage.callee, stage.caller
    invite = stage.invite()
    arrived = callee.got("INVITE")
    caller.send(invite.raw)
    callee.answer(arrived, 180)
    caller.got(180)
    caller.send(invite.raw)
    caller.got(180)
    callee.got_nothing()
    dialog = callee.accept(arrived)
    ok = caller.got(200)
    caller.send(invite.raw)
    calling = Dialog.of_caller(caller, invite, ok)
    calling.ack()
    callee.got("ACK")
    caller.send(invite.raw)
    stage.assert_quiet()
    Talk(calling, dialog, invite, arrived, ok).hang_up()
    stage.assert_empty()


@flow("renegotiate")
@either
def test_a_bye_crosses_a_reinvite(stage: Stage, who: str) -> None:
    """F7, I6: the re-INVITE gets 487 or 481 from the other phone, the BYE its 200, and nothing is left."""
    talk = stage.talk()
    one = getattr(talk, who)
    other = talk.other(one)
    request = one.send("INVITE", body=one.phone.sdp(port=6990, version=2))
    other.send("BYE")
    arrived = other.phone.got("INVITE")
    one.phone.answer(one.phone.got("BYE"), 200)
    other.phone.got(200)
    other.phone.answer(arrived, 481)
    one.phone.ack_failure(request, one.phone.got(481))
    other.phone.got("ACK")
    stage.assert_empty()


@flow("renegotiate")
@either
def test_a_bye_while_ones_own_reinvite_is_open(stage: Stage, who: str) -> None:
    """F7, I6: whoever re-INVITEd hangs up without waiting for the answer."""
    talk = stage.talk()
    one = getattr(talk, who)
    other = talk.other(one).phone
    request = one.send("INVITE", body=one.phone.sdp(port=6990, version=2))
    arrived = other.got("INVITE")
    one.send("BYE")
    other.answer(other.got("BYE"), 200)
    one.phone.got(200)
    other.answer(arrived, 487)
    one.phone.ack_failure(request, one.phone.got(487))
    other.got("ACK")
    stage.assert_empty()


@flow("renegotiate")
def test_of_two_offers_that_cross_one_is_taken(stage: Stage) -> None:
    """F7, I1: a phone that refuses the other's re-INVITE has its own accepted."""
    talk = stage.talk()
    before = stage.caller.agreed
    one = talk.caller.send("INVITE", body=stage.caller.sdp(port=6990, version=2))
    other = talk.callee.send("INVITE", body=stage.callee.sdp(port=7990, version=2))
    stage.callee.answer(stage.callee.got("INVITE"), 491)
    refused = stage.caller.got("INVITE"), stage.caller.got(491)
    stage.caller.ack_failure(one, refused[1])
    stage.callee.got("ACK")
    stage.caller.agreed = before[0], stage.caller.agreed[1]
    stage.caller.answer(refused[0], 200, body=stage.caller.sdp(port=6994, version=3))
    stage.callee.got(200)
    stage.callee.agreed = other.body, stage.callee.agreed[1]
    talk.callee.ack()
    stage.caller.got("ACK")
    stage.assert_audio()
    talk.hang_up()
    stage.assert_empty()


@flow("late-2xx")
@either
def test_a_reinvite_is_never_acknowledged(stage: Stage, who: str) -> None:
    """B4, T4: a phone that does not acknowledge re-INVITEs, and another that does not mind: they talk on."""
    talk = stage.talk()
    one = getattr(talk, who)
    other = talk.other(one)
    talk.request(one, "INVITE", body=one.phone.agreed[0], answer=other.phone.agreed[0])
    stage.world.wait(200)
    for phone in (stage.caller, stage.callee):
        phone.lose()
    stage.assert_audio()
    talk.hang_up()
    stage.assert_empty()


@flow("prack")
def test_the_answer_before_the_prack(stage: Stage) -> None:
    """B5: a callee that does not wait for the PRACK: the 183 is repeated no more, and the PRACK still finds it."""
    callee, caller = stage.callee, stage.caller
    invite = stage.invite(headers=("Supported: 100rel",))
    arrived = callee.got("INVITE")
    callee.answer(arrived, 183, headers=("Require: 100rel", "RSeq: 9"), body=callee.sdp())
    early = caller.got(183)
    dialog = callee.accept(arrived, body=b"")
    ok = caller.got(200)
    calling = Dialog.of_caller(caller, invite, early)
    talk = Talk(calling, dialog, invite, arrived, ok)
    talk.request(calling, "PRACK", headers=("RAck: 9 1 INVITE",))
    calling.ack(cseq=1)
    callee.got("ACK")
    stage.world.wait(40)
    stage.assert_quiet()
    stage.assert_audio()
    talk.hang_up()
    stage.assert_empty()


@flow("update")
def test_an_update_crosses_the_answer(stage: Stage) -> None:
    """F7, I1: the caller's UPDATE in the early dialog meets the 200 to its INVITE: both exchanges end well."""
    callee, caller = stage.callee, stage.caller
    invite = stage.invite(headers=("Supported: 100rel",))
    arrived = callee.got("INVITE")
    callee.answer(arrived, 183, headers=("Require: 100rel", "RSeq: 1"), body=callee.sdp())
    early = caller.got(183)
    calling, dialog = Dialog.of_caller(caller, invite, early), Dialog.of_callee(callee, arrived, callee.tag)
    talk = Talk(calling, dialog, invite, arrived, early)
    talk.request(calling, "PRACK", headers=("RAck: 1 1 INVITE",))
    calling.send("UPDATE", body=caller.sdp(port=6460, version=2))
    callee.answer(arrived, 200)
    update = callee.got("UPDATE")
    caller.got(200)
    calling.ack(cseq=1)
    callee.got("ACK")
    callee.answer(update, 200, body=callee.sdp(port=7460, version=2))
    caller.got(200)
    stage.assert_audio()
    talk.hang_up()
    stage.assert_empty()


@flow("call-basic")
@either
def test_a_bye_that_nobody_answers(stage: Stage, who: str) -> None:
    """T12, I6: the other phone is gone: whoever hung up hears nothing (RFC 4320), and every port is free."""
    talk = stage.talk()
    one = getattr(talk, who)
    one.send("BYE")
    stage.world.wait(33)
    talk.other(one).phone.lose()
    one.phone.lose()
    stage.assert_empty()


@flow("call-basic")
def test_a_bye_in_the_early_dialog(stage: Stage) -> None:
    """I6: the caller may end an early dialog by BYE; its INVITE then gets 487 (RFC 3261 section 15)."""
    callee, caller = stage.callee, stage.caller
    invite = stage.invite()
    arrived = callee.got("INVITE")
    callee.answer(arrived, 183, body=callee.sdp())
    calling = Dialog.of_caller(caller, invite, caller.got(183))
    calling.send("BYE")
    callee.answer(callee.got("BYE"), 200)
    caller.got(200)
    callee.answer(arrived, 487)
    caller.ack_failure(invite, caller.got(487))
    callee.got("ACK")
    stage.assert_empty()
