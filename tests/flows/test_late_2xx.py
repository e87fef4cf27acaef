"""Answers that come again, and answers that come late (RFC 3261 sections 13.3.1.4 and 16.7, RFC 6026)."""

from __future__ import annotations

import pytest
from support.flow_table import flow
from support.ladder import Dialog
from support.stage import Stage, Talk


@flow("late-2xx", basic=True)
def test_the_callee_repeats_its_200(stage: Stage) -> None:
    """B4, B6: before the ACK its copies are absorbed, after it each one gets the ACK again; the caller sees one 200."""
    callee, caller = stage.callee, stage.caller
    invite = stage.invite()
    arrived = callee.got("INVITE")
    sent = callee.answer(arrived, 200, body=callee.sdp())
    callee.send(sent)
    ok = caller.got(200)
    caller.got_nothing()
    calling = Dialog.of_caller(caller, invite, ok)
    calling.ack()
    ack = callee.got("ACK")
    for _ in range(3):
        stage.world.wait(2)
        callee.send(sent)
        assert callee.got("ACK").lines("cseq") == ack.lines("cseq")
    caller.got_nothing()
    stage.assert_audio()
    dialog = Dialog.of_callee(callee, arrived, callee.tag)
    Talk(calling, dialog, invite, arrived, ok).hang_up()
    stage.assert_empty()


@flow("late-2xx")
def test_the_caller_lost_the_200(stage: Stage) -> None:
    """B4: it comes again from our end, the same bytes, until the ACK is there."""
    callee, caller = stage.callee, stage.caller
    invite = stage.invite()
    arrived = callee.got("INVITE")
    dialog = callee.accept(arrived)
    caller.lose()
    stage.world.wait(0.6)
    ok = caller.got(200)
    calling = Dialog.of_caller(caller, invite, ok)
    calling.ack()
    callee.got("ACK")
    stage.world.wait(30)
    stage.assert_quiet()
    stage.assert_audio()
    Talk(calling, dialog, invite, arrived, ok).hang_up()
    stage.assert_empty()


@flow("late-2xx")
@pytest.mark.parametrize("says_bye", [True, False])
def test_no_ack_ever(stage: Stage, says_bye: bool) -> None:
    """B4, T12: the caller is gone; after 32 s the callee says BYE, or not even that, and the ports go."""
    callee, caller = stage.callee, stage.caller
    stage.invite()
    dialog = callee.accept(callee.got("INVITE"))
    stage.world.wait(33)
    caller.lose()
    if says_bye:
        dialog.send("BYE")
        caller.answer(caller.got("BYE"), 481)
        callee.got(481)
    stage.assert_empty()


@flow("late-2xx")
def test_a_200_after_the_487(stage: Stage) -> None:
    """B4: a callee that accepts what it has just ended is not believed: the caller hears nothing, nothing stays."""
    callee, caller = stage.callee, stage.caller
    invite = stage.invite()
    arrived = callee.got("INVITE")
    callee.answer(arrived, 180)
    caller.got(180)
    caller.cancel(invite)
    caller.got(200)
    callee.answer(callee.got("CANCEL"), 200)
    callee.answer(arrived, 487)
    callee.got("ACK")
    caller.ack_failure(invite, caller.got(487))
    callee.answer(arrived, 200, body=callee.sdp())
    caller.got_nothing()
    stage.assert_empty()


@flow("late-2xx")
def test_a_200_of_a_transaction_that_is_long_over(stage: Stage) -> None:
    """B4: a 200 again after 64*T1 disturbs nobody; the call goes on."""
    callee, caller = stage.callee, stage.caller
    invite = stage.invite()
    arrived = callee.got("INVITE")
    sent = callee.answer(arrived, 200, body=callee.sdp())
    ok = caller.got(200)
    calling = Dialog.of_caller(caller, invite, ok)
    calling.ack()
    callee.got("ACK")
    stage.world.wait(100)
    callee.send(sent)
    caller.got_nothing()
    stage.assert_audio()
    dialog = Dialog.of_callee(callee, arrived, callee.tag)
    Talk(calling, dialog, invite, arrived, ok).hang_up(dialog)
    stage.assert_empty()
