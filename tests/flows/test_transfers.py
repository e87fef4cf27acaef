"""Transfers: blind, semi-attended, attended, and asked for outside the dialog; every party on either side (3-#5, T7)."""

from __future__ import annotations

import pytest
from support.flow_table import flow
from support.ladder import Dialog
from support.stage import Stage
from support.transfers import Cast, escaped, replaces

SIDES = ("inside", "outside")


@pytest.fixture(params=[f"{a}-{b}-{c}" for a in SIDES for b in SIDES for c in SIDES])
def cast(request: pytest.FixtureRequest, stage: Stage) -> Cast:
    """Transferor, transferee and target."""
    transferor, transferee, target = request.param.split("-")
    return Cast(stage, transferor=transferor, transferee=transferee, target=target)


def hang_up(by: Dialog, other: Dialog) -> None:
    by.send("BYE")
    other.phone.answer(other.phone.got("BYE"), 200)
    by.phone.got(200)


@flow("blind-transfer")
def test_blind(cast: Cast) -> None:
    """3-#5, T8: the transferee calls the target, the transferor is told and hangs up at the end."""
    first = cast.first_call()
    transferor = first.of(cast.transferor)
    referral = cast.refer(transferor, cast.stage.uri_of(cast.target, cast.transferor))
    referral.accept()
    talk = cast.follow(referral)
    assert talk.arrived.header("referred-by") is not None
    hang_up(transferor, first.of(cast.transferee))
    cast.assert_audio()
    hang_up(talk.caller, talk.callee)
    cast.assert_empty()


@flow("blind-transfer")
def test_the_transferor_hangs_up_at_once(cast: Cast) -> None:
    """3-#5, F5: a call that is over still brings its NOTIFYs, however long the target rings, and then is forgotten."""
    first = cast.first_call()
    transferor = first.of(cast.transferor)
    referral = cast.refer(transferor, cast.stage.uri_of(cast.target, cast.transferor))
    referral.accept()
    hang_up(transferor, first.of(cast.transferee))
    invite = cast.transferee.invite(referral.uri, headers=referral.headers)
    arrived = cast.target.got("INVITE")
    cast.target.answer(arrived, 180)
    cast.transferee.got(180)
    referral.notify("180 Ringing")
    cast.stage.world.wait(170)
    answering = cast.target.accept(arrived)
    calling = Dialog.of_caller(cast.transferee, invite, cast.transferee.got(200))
    calling.ack()
    cast.target.got("ACK")
    referral.notify("200 OK", ends=True)
    cast.assert_audio()
    hang_up(answering, calling)
    cast.assert_empty()


@flow("semi-attended-transfer")
def test_semi_attended(cast: Cast) -> None:
    """3-#5, T7: the target rings for the transferor; the transferee's call takes the place of the ringing one."""
    first = cast.first_call()
    transferor = first.of(cast.transferor)
    early, invite, arrived = cast.ring()
    referral = cast.refer(transferor, f"{early.target.decode()}?Replaces={escaped(replaces(early))}")
    referral.accept()

    def end_early() -> None:
        cast.target.answer(arrived, 486)
        cast.transferor.ack_failure(invite, cast.transferor.got(486))
        cast.target.got("ACK")

    talk = cast.follow(referral, ends=end_early)
    assert talk.arrived.lines("replaces") == [f"Replaces: {replaces(early)}".encode()]
    hang_up(transferor, first.of(cast.transferee))
    cast.assert_audio()
    hang_up(talk.caller, talk.callee)
    cast.assert_empty()


@flow("attended-transfer", basic=True)
def test_attended(cast: Cast) -> None:
    """3-#5, T7: the call that replaces the second one names its dialog, and reaches the very phone that has it."""
    first = cast.first_call()
    transferor = first.of(cast.transferor)
    second = cast.stage.call(cast.transferor, cast.target)
    named = replaces(second.caller)
    referral = cast.refer(transferor, f"{second.caller.target.decode()}?Replaces={escaped(named)}")
    referral.accept()
    talk = cast.follow(referral, ends=lambda: hang_up(second.callee, second.caller))
    assert talk.arrived.lines("replaces") == [f"Replaces: {named}".encode()]
    assert (talk.arrived.call_id, second.arrived.call_id.decode()) != (second.arrived.call_id, named)
    hang_up(transferor, first.of(cast.transferee))
    cast.assert_audio()
    hang_up(talk.callee, talk.caller)
    cast.assert_empty()


@flow("refer-out-of-dialog")
def test_refer_out_of_dialog(cast: Cast) -> None:
    """3-#5, T8: a REFER of its own, to the transferee's contact, that names the dialog it is about (RFC 4538)."""
    first = cast.first_call()
    transferor = first.of(cast.transferor)
    second = cast.stage.call(cast.transferor, cast.target)
    referral = cast.refer(
        transferor,
        f"{second.caller.target.decode()}?Replaces={escaped(replaces(second.caller))}",
        headers=[f"Target-Dialog: {target_dialog(transferor)}", "Require: tdialog"],
        out_of=transferor.target,
    )
    assert referral.arrived.lines("target-dialog") == [f"Target-Dialog: {target_dialog(transferor)}".encode()]
    referral.accept()
    talk = cast.follow(referral, ends=lambda: hang_up(second.callee, second.caller))
    assert talk.arrived.lines("replaces") == [f"Replaces: {replaces(second.caller)}".encode()]
    hang_up(first.of(cast.transferee), transferor)
    cast.assert_audio()
    hang_up(talk.caller, talk.callee)
    cast.assert_empty()


@flow("notify-before-202")
@pytest.mark.parametrize("kind", ["in", "out-of"])
def test_notify_before_202(cast: Cast, kind: str) -> None:
    """T8: what the transferee tells before its 202 has arrived reaches the transferor, who may already hang up."""
    first = cast.first_call()
    transferor = first.of(cast.transferor)
    out_of = transferor.target if kind == "out-of" else None
    referral = cast.refer(transferor, cast.stage.uri_of(cast.target, cast.transferor), out_of=out_of)
    referral.notify("100 Trying")
    referral.accept()
    talk = cast.follow(referral)
    hang_up(transferor, first.of(cast.transferee))
    cast.assert_audio()
    hang_up(talk.caller, talk.callee)
    cast.assert_empty()


def target_dialog(dialog: Dialog) -> str:
    """``dialog`` as its other party knows it (RFC 4538 section 7)."""
    remote, local = (value.rpartition(b";tag=")[2].decode() for value in (dialog.remote, dialog.local))
    return f"{dialog.call_id.decode()};local-tag={remote};remote-tag={local}"
