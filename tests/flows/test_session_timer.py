"""Session timers (RFC 4028): refreshed and negotiated between the phones; we neither refresh nor expire (I8)."""

from __future__ import annotations

import pytest
from support.flow_table import flow
from support.ladder import Dialog
from support.stage import Stage, Talk

from tunnel.sip.message import Message

HEADERS = ("Supported: timer", "Session-Expires: 1800;refresher=uac", "Min-SE: 90")


def timers(message: Message) -> list[bytes]:
    return [*message.lines("session-expires"), *message.lines("min-se"), *message.lines("require")]


@flow("session-timer")
@pytest.mark.parametrize("who", ["caller", "callee"])
def test_refresh_by_reinvite(stage: Stage, who: str) -> None:
    """I2, I8: the same SDP goes out as the same bytes, five hours long, and every packet goes where it went."""
    talk = stage.talk(headers=HEADERS)
    assert timers(talk.arrived) == [HEADERS[1].encode(), HEADERS[2].encode()]
    one = getattr(talk, who)
    other = talk.other(one)
    told = one.phone.agreed[1], other.phone.agreed[1]
    for _ in range(20):
        stage.world.wait(900)
        stage.assert_quiet()
        offer, answer = talk.offer(one, one.phone.agreed[0], other.phone.agreed[0], headers=HEADERS)
        assert (answer.body, offer.body) == told
        assert timers(offer) == [HEADERS[1].encode(), HEADERS[2].encode()]
        stage.assert_audio()
    talk.hang_up(one)
    stage.assert_empty()


@flow("session-timer", basic=True)
@pytest.mark.parametrize("who", ["caller", "callee"])
def test_refresh_by_update_without_sdp(stage: Stage, who: str) -> None:
    """I8: an UPDATE without a body passes, and so does what its answer says of the timer."""
    talk = stage.talk(headers=HEADERS)
    one = getattr(talk, who)
    for _ in range(20):
        stage.world.wait(900)
        said = ("Require: timer", "Session-Expires: 1800;refresher=uas")
        request, answer = talk.request(one, "UPDATE", headers=HEADERS, answer_headers=said)
        assert timers(request) == [HEADERS[1].encode(), HEADERS[2].encode()]
        assert timers(answer) == [said[1].encode(), said[0].encode()]
        assert not request.body
        assert not answer.body
        stage.assert_audio()
    talk.hang_up(one)
    stage.assert_empty()


@flow("session-timer")
def test_an_interval_that_is_too_small(stage: Stage) -> None:
    """F7: 422 with Min-SE reaches the caller, whose next INVITE of the same call gets through."""
    caller, callee = stage.caller, stage.callee
    invite = stage.invite(headers=("Supported: timer", "Session-Expires: 90"), call_id="timed")
    callee.answer(callee.got("INVITE"), 422, headers=("Min-SE: 1800",))
    refusal = caller.got(422)
    assert refusal.lines("min-se") == [b"Min-SE: 1800"]
    caller.ack_failure(invite, refusal)
    callee.got("ACK")
    again = stage.invite(headers=("Supported: timer", "Session-Expires: 1800", "Min-SE: 1800"), call_id="timed", cseq=2)
    arrived = callee.got("INVITE")
    assert timers(arrived) == [b"Session-Expires: 1800", b"Min-SE: 1800"]
    assert arrived.call_id == b"timed"
    dialog = callee.accept(arrived)
    ok = caller.got(200)
    calling = Dialog.of_caller(caller, again, ok)
    calling.ack()
    callee.got("ACK")
    stage.world.wait(10)
    stage.assert_audio()
    Talk(calling, dialog, again, arrived, ok).hang_up()
    stage.assert_empty()


@flow("session-timer")
@pytest.mark.parametrize("who", ["caller", "callee"])
def test_a_refresh_that_nobody_answers_ends_the_call(stage: Stage, who: str) -> None:
    """I8: the refresher gives the call up by itself; its BYE, unanswered as well, frees the ports."""
    talk = stage.talk(headers=HEADERS)
    one = getattr(talk, who)
    one.send("UPDATE", headers=HEADERS)
    stage.world.wait(40)
    talk.other(one).phone.lose()
    one.phone.lose()
    one.send("BYE")
    stage.world.wait(40)
    talk.other(one).phone.lose()
    one.phone.lose()
    stage.assert_empty()
