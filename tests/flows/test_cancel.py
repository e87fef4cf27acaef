"""The caller gives up: before and after it rings, and while it is being answered (RFC 3261 sections 9 and 16.10)."""

from __future__ import annotations

import pytest
from support.flow_table import flow
from support.ladder import Dialog
from support.stage import Stage, Talk

from tunnel.sip.message import Message

REASON = 'Reason: SIP;cause=200;text="Call completed elsewhere"'


def give_up(stage: Stage, invite: Message, *headers: str) -> None:
    """The caller's CANCEL, answered at once by our end."""
    stage.caller.cancel(invite, headers)
    assert stage.caller.got(200).cseq_method == "CANCEL"


def terminated(stage: Stage, invite: Message, arrived: Message) -> None:
    """The callee answers CANCEL and INVITE; each hop has its ACK."""
    callee = stage.callee
    callee.answer(callee.got("CANCEL"), 200)
    callee.answer(arrived, 487)
    callee.got("ACK")
    stage.caller.ack_failure(invite, stage.caller.got(487))


@flow("cancel", basic=True)
@pytest.mark.parametrize("early", ["180", "183 with SDP", "180 reliably"])
def test_after_it_rang(stage: Stage, early: str) -> None:
    """B6, I6: the callee gets the CANCEL with its Reason, the caller its 487, and the ports go."""
    invite = stage.invite(headers=("Supported: 100rel",))
    arrived = stage.callee.got("INVITE")
    body = stage.callee.sdp() if early == "183 with SDP" else b""
    headers = ("Require: 100rel", "RSeq: 1") if early == "180 reliably" else ()
    stage.callee.answer(arrived, int(early[:3]), body=body, headers=headers)
    stage.caller.got(int(early[:3]))
    give_up(stage, invite, REASON)
    assert stage.callee.inbox[0].lines("reason") == [REASON.encode()]
    terminated(stage, invite, arrived)
    stage.assert_empty()


@flow("cancel")
def test_before_anything_came_back(stage: Stage) -> None:
    """B6: a CANCEL is not sent before a provisional response came (9.1); with the first one it is."""
    invite = stage.invite()
    arrived = stage.callee.got("INVITE")
    give_up(stage, invite)
    stage.callee.got_nothing()
    stage.callee.answer(arrived, 180)
    stage.caller.got(180)
    terminated(stage, invite, arrived)
    stage.assert_empty()


@flow("cancel")
def test_the_callee_is_dead(stage: Stage) -> None:
    """B6, T12: nothing ever comes back from the callee: the caller is told 487 or 408 in the end, the ports go."""
    invite = stage.invite()
    stage.callee.got("INVITE")
    give_up(stage, invite)
    stage.world.wait(40)
    stage.callee.lose()
    assert stage.caller.inbox
    final = stage.caller.inbox[0]
    assert final.status in (408, 487)
    stage.caller.lose()
    stage.caller.ack_failure(invite, final)
    stage.assert_empty()


@flow("cancel")
def test_the_cancel_comes_again(stage: Stage) -> None:
    """B5: the callee is cancelled once, the caller answered as often as it asks."""
    invite = stage.invite()
    arrived = stage.callee.got("INVITE")
    stage.callee.answer(arrived, 180)
    stage.caller.got(180)
    for _ in range(3):
        give_up(stage, invite)
    terminated(stage, invite, arrived)
    stage.callee.got_nothing()
    stage.assert_empty()


@flow("cancel")
def test_the_callee_answers_the_cancel_but_never_the_invite(stage: Stage) -> None:
    """B6, T12: after 64*T1 the caller gets its 487 from us (9.1)."""
    invite = stage.invite()
    arrived = stage.callee.got("INVITE")
    stage.callee.answer(arrived, 180)
    stage.caller.got(180)
    give_up(stage, invite)
    stage.callee.answer(stage.callee.got("CANCEL"), 200)
    stage.world.wait(32.1)
    stage.caller.ack_failure(invite, stage.caller.got(487))
    stage.assert_empty()


@flow("cancel-race", basic=True)
def test_the_answer_crosses_the_cancel(stage: Stage) -> None:
    """B6, T12: the caller gets 200 to its INVITE all the same, acknowledges and hangs up."""
    callee, caller = stage.callee, stage.caller
    invite = stage.invite()
    arrived = callee.got("INVITE")
    callee.answer(arrived, 180)
    caller.got(180)
    give_up(stage, invite)
    dialog = callee.accept(arrived)
    ok = caller.got(200)
    assert ok.cseq_method == "INVITE"
    callee.answer(callee.got("CANCEL"), 481)
    calling = Dialog.of_caller(caller, invite, ok)
    calling.ack()
    callee.got("ACK")
    stage.assert_audio()
    Talk(calling, dialog, invite, arrived, ok).hang_up()
    stage.assert_empty()


@flow("cancel-race")
def test_the_cancel_comes_after_the_answer(stage: Stage) -> None:
    """B6: too late: our end answers it, the callee hears nothing of it, and the call is up."""
    callee, caller = stage.callee, stage.caller
    invite = stage.invite()
    arrived = callee.got("INVITE")
    dialog = callee.accept(arrived)
    caller.cancel(invite)
    ok = caller.got(200)
    assert ok.cseq_method == "INVITE"
    assert caller.got(200).cseq_method == "CANCEL"
    callee.got_nothing()
    calling = Dialog.of_caller(caller, invite, ok)
    calling.ack()
    callee.got("ACK")
    stage.assert_audio()
    Talk(calling, dialog, invite, arrived, ok).hang_up(dialog)
    stage.assert_empty()


@flow("cancel-race")
def test_a_refusal_crosses_the_cancel(stage: Stage) -> None:
    """B6: 486 was under way: that is what the caller gets, once."""
    callee, caller = stage.callee, stage.caller
    invite = stage.invite()
    arrived = callee.got("INVITE")
    callee.answer(arrived, 180)
    caller.got(180)
    callee.inbox.clear()
    caller.cancel(invite)
    assert caller.got(200).cseq_method == "CANCEL"
    callee.answer(arrived, 486)
    caller.ack_failure(invite, caller.got(486))
    callee.answer(callee.got("CANCEL"), 481)
    callee.got("ACK")
    stage.assert_empty()
