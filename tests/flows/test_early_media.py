"""SDP before the answer: tones and announcements in provisional responses (RFC 3261 section 13.2.1, RFC 6337)."""

from __future__ import annotations

import pytest
from support.flow_table import flow
from support.ladder import Dialog, places_in
from support.stage import Stage, Talk


@flow("early-media", basic=True)
@pytest.mark.parametrize("status", [183, 180])
@pytest.mark.parametrize("repeated", [True, False], ids=["sdp-in-200", "no-sdp-in-200"])
def test_the_tone_before_the_answer(stage: Stage, status: int, repeated: bool) -> None:
    """S4-22, I1, I5: the caller hears the callee at once; the 200 brings the same SDP again, or none."""
    invite = stage.invite()
    arrived = stage.callee.got("INVITE")
    stage.callee.answer(arrived, status, body=stage.callee.sdp())
    early = stage.caller.got(status)
    stage.assert_audio()
    callee = stage.callee.accept(arrived, body=None if repeated else b"")
    ok = stage.caller.got(200)
    assert ok.body == (early.body if repeated else b"")
    caller = Dialog.of_caller(stage.caller, invite, ok)
    caller.ack()
    stage.callee.got("ACK")
    stage.assert_audio()
    Talk(caller, callee, invite, arrived, ok).hang_up()
    stage.assert_empty()


@flow("early-media")
def test_announcement_server_then_phone(stage: Stage) -> None:
    """T2, DEC3: 183 from one address, 183 from another, 200 from a third; what the caller is told never moves."""
    caller, callee = stage.caller, stage.callee
    invite = stage.invite()
    arrived = callee.got("INVITE")
    told = []
    for port in (7200, 7300):
        callee.answer(arrived, 183, body=callee.sdp(port=port))
        told.append(places_in(caller.got(183).body))
        stage.assert_audio()
    dialog = callee.accept(arrived, body=callee.sdp(port=7400))
    ok = caller.got(200)
    told.append(places_in(ok.body))
    assert told == [told[0]] * 3
    calling = Dialog.of_caller(caller, invite, ok)
    calling.ack()
    callee.got("ACK")
    stage.assert_audio()
    Talk(calling, dialog, invite, arrived, ok).hang_up()
    stage.assert_empty()


@flow("early-media")
def test_ringing_again_and_again(stage: Stage) -> None:
    """I2, B5: the same 183 again is absorbed; three minutes of ringing with a 180 each minute do not end it."""
    caller, callee = stage.caller, stage.callee
    invite = stage.invite()
    arrived = callee.got("INVITE")
    again = callee.answer(arrived, 183, body=callee.sdp())
    first = caller.got(183)
    callee.send(again)
    caller.got_nothing()
    for _ in range(5):
        stage.world.wait(60)
        callee.answer(arrived, 180)
        caller.got(180)
        stage.assert_audio()
    dialog = callee.accept(arrived)
    ok = caller.got(200)
    assert ok.body == first.body
    calling = Dialog.of_caller(caller, invite, ok)
    calling.ack()
    callee.got("ACK")
    Talk(calling, dialog, invite, arrived, ok).hang_up(dialog)
    stage.assert_empty()


@flow("early-media", basic=True)
def test_an_announcement_and_a_refusal(stage: Stage) -> None:
    """I6: "the number you have dialled" in 183, then 404: the ports go."""
    invite = stage.invite()
    arrived = stage.callee.got("INVITE")
    stage.callee.answer(arrived, 183, body=stage.callee.sdp())
    stage.caller.got(183)
    stage.assert_audio()
    stage.callee.answer(arrived, 404)
    stage.caller.ack_failure(invite, stage.caller.got(404))
    stage.callee.got("ACK")
    assert not stage.reaches(stage.callee, stage.caller)
    stage.assert_empty()
