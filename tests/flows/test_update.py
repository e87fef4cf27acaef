"""UPDATE: a new offer without an INVITE, before the answer and after it (RFC 3311)."""

from __future__ import annotations

import pytest
from support.flow_table import flow
from support.ladder import Dialog, places_in
from support.stage import Stage, Talk

RELIABLE = ("Require: 100rel", "RSeq: 1")


@flow("update", basic=True)
@pytest.mark.parametrize("who", ["caller", "callee"])
def test_in_the_early_dialog(stage: Stage, who: str) -> None:
    """T10, DEC6, I3: 183 with the answer, PRACK, UPDATE of either party: its 200 names our ports, the same as before."""
    invite = stage.invite(headers=("Supported: 100rel",))
    arrived = stage.callee.got("INVITE")
    stage.callee.answer(arrived, 183, headers=RELIABLE, body=stage.callee.sdp())
    early = stage.caller.got(183)
    caller, callee = (
        Dialog.of_caller(stage.caller, invite, early),
        Dialog.of_callee(stage.callee, arrived, stage.callee.tag),
    )
    talk = Talk(caller, callee, invite, arrived, early)
    talk.request(caller, "PRACK", headers=("RAck: 1 1 INVITE",))
    one = getattr(talk, who)
    other = talk.other(one)
    told = {one.phone: places_in(one.phone.agreed[1]), other.phone: places_in(other.phone.agreed[1])}
    offer, answer = talk.offer(
        one, one.phone.sdp(port=6400, version=2), other.phone.sdp(port=7400, version=2), method="UPDATE"
    )
    assert places_in(offer.body) == told[other.phone]
    assert places_in(answer.body) == told[one.phone]
    stage.assert_audio()
    stage.callee.answer(arrived, 200)
    stage.caller.got(200)
    caller.ack(cseq=1)
    stage.callee.got("ACK")
    stage.assert_audio()
    talk.hang_up()
    stage.assert_empty()


@flow("update")
@pytest.mark.parametrize("who", ["caller", "callee"])
def test_in_the_confirmed_dialog(stage: Stage, who: str) -> None:
    """I3: hold and resume by UPDATE, and a changed port."""
    talk = stage.talk()
    one = getattr(talk, who)
    other = talk.other(one)
    offer, answer = talk.offer(
        one, one.phone.sdp(direction="sendonly"), other.phone.sdp(direction="recvonly"), method="UPDATE"
    )
    held = places_in(offer.body), places_in(answer.body)
    offer, answer = talk.offer(
        one, one.phone.sdp(port=6600, version=3), other.phone.sdp(port=7700, version=2), method="UPDATE"
    )
    assert (places_in(offer.body), places_in(answer.body)) == held
    stage.assert_audio()
    talk.hang_up(one)
    stage.assert_empty()


@flow("update", basic=True)
@pytest.mark.parametrize("status", [488, 491, 500, 504])
def test_refused(stage: Stage, status: int) -> None:
    """F7: after a refused UPDATE both speak where they spoke before; Retry-After passes."""
    talk = stage.talk()
    for one in (talk.caller, talk.callee):
        refusal = talk.refused(
            one, one.phone.sdp(port=6900, version=2), status, method="UPDATE", headers=("Retry-After: 7",)
        )
        assert refusal.lines("retry-after") == [b"Retry-After: 7"]
        stage.assert_audio()
    talk.hang_up()
    stage.assert_empty()


@flow("update")
def test_both_at_once(stage: Stage) -> None:
    """F7: UPDATEs that cross are both refused with 491; the next one gets through."""
    talk = stage.talk()
    before = stage.caller.agreed, stage.callee.agreed
    for one in (talk.caller, talk.callee):
        one.send("UPDATE", body=one.phone.sdp(port=6900, version=2))
    for one in (talk.callee, talk.caller):
        one.phone.answer(one.phone.got("UPDATE"), 491)
    for one in (talk.callee, talk.caller):
        one.phone.got(491)
    stage.caller.agreed, stage.callee.agreed = before
    stage.assert_audio()
    talk.offer(talk.callee, stage.callee.sdp(port=6902, version=3), stage.caller.sdp(version=2), method="UPDATE")
    stage.assert_audio()
    talk.hang_up()
    stage.assert_empty()
