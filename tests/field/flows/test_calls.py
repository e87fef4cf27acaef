"""How a call begins and ends: way B, each flow started from either side, sipp at both ends."""

from __future__ import annotations

import pytest
from field.rig.line import Line, assert_both_heard, sessions
from field.rig.script import Dialog, Script, audio, sdp
from field.rig.voices import assert_heard

pytestmark = [pytest.mark.field, pytest.mark.real("sipp")]

OFFER = ANSWER = sdp(audio())
RELIABLE = "Require: 100rel\nRSeq: 1\n"


def talk(call: Dialog, ring: Dialog, seconds: float = 0.8) -> None:
    """Both speak for that long, then the caller hangs up."""
    call.script.speak()
    ring.script.speak()
    call.script.pause(seconds)
    call.bye()
    ring.ended()


def beginning(line: Line) -> tuple[Script, Script, Dialog, Dialog]:
    """Caller and callee, and the dialog of each."""
    caller, callee = line.caller, line.callee
    return caller, callee, caller.start(), callee.take()


@pytest.mark.real("call-basic")
def test_plain_call(line: Line) -> None:
    """S4-3: ring, answer, talk, hang up."""
    caller, callee, call, ring = beginning(line)
    call.invite(OFFER)
    ring.asked("INVITE")
    ring.answer(180)
    call.answered(180)
    ring.accept(ANSWER)
    call.accepted()
    talk(call, ring)
    assert_both_heard(line.calls(caller, callee), 0.6)


@pytest.mark.real("early-media")
def test_early_media_is_heard_before_the_answer(line: Line) -> None:
    """S4-22, S4-23: the callee speaks with its 183 while the caller has not sent anything."""
    caller, callee, call, ring = beginning(line)
    call.invite(OFFER)
    ring.asked("INVITE")
    ring.answer(183, body=ANSWER)
    callee.speak()
    callee.pause(0.6)
    call.answered(183)
    ring.accept(ANSWER)
    call.accepted()
    caller.speak()
    caller.pause(0.6)
    call.bye()
    ring.ended()
    watch = line.calls(caller, callee)
    assert_both_heard(watch, 0.4)
    at_the_caller, at_the_callee = line.ears(watch)
    assert len(at_the_caller.packets) >= len(at_the_callee.packets) + 20, "half a second more than the caller spoke"
    answered = min(packet.at for packet in line.at_the_caller(watch) if packet.sip == "200")
    assert answered - at_the_caller.packets[0].at > 0.4


@pytest.mark.real("prack")
def test_reliable_ringing(line: Line) -> None:
    """S4-23: 183 with the answer, PRACK and its 200."""
    caller, callee, call, ring = beginning(line)
    call.invite(OFFER, "Supported: 100rel\n")
    ring.asked("INVITE", has="100rel")
    ring.answer(183, body=ANSWER, headers=RELIABLE)
    call.answered(183, forms=True, has="RSeq: 1")
    call.request("PRACK", headers="RAck: 1 1 INVITE\n")
    ring.asked("PRACK", has="RAck: 1 1 INVITE")
    ring.answer(200, "PRACK")
    call.answered(200, "PRACK")
    ring.accept()
    call.accepted()
    talk(call, ring)
    assert_both_heard(line.calls(caller, callee), 0.6)


@pytest.mark.real("update")
@pytest.mark.parametrize("who_offers", ["caller", "callee"])
def test_update_before_the_answer(line: Line, who_offers: str) -> None:
    """T10: a new offer in the early dialog, answered in the 200 to UPDATE."""
    caller, callee, call, ring = beginning(line)
    call.invite(sdp(audio("8 0")), "Supported: 100rel\n")
    ring.asked("INVITE")
    ring.answer(183, body=sdp(audio("8")), headers=RELIABLE)
    call.answered(183, forms=True)
    call.request("PRACK", headers="RAck: 1 1 INVITE\n")
    ring.asked("PRACK")
    ring.answer(200, "PRACK")
    call.answered(200, "PRACK")
    asks, is_asked = (call, ring) if who_offers == "caller" else (ring, call)
    asks.request("UPDATE", sdp(audio(), version=2))
    is_asked.asked("UPDATE")
    is_asked.answer(200, "UPDATE", sdp(audio(), version=2))
    asks.answered(200, "UPDATE")
    ring.accept()
    call.accepted()
    talk(call, ring)
    watch = line.calls(caller, callee)
    assert_both_heard(watch, 0.6)
    for bodies in (sessions(line.at_the_caller(watch)), sessions(line.at_the_callee(watch))):
        assert len({body.media_at for body in bodies}) == 1, "I3: our port never changes within a dialog"


@pytest.mark.real("session-timer")
def test_session_is_refreshed_by_either_side(line: Line) -> None:
    """I8: 422, then re-INVITE by the caller and UPDATE by the callee, neither changing the session."""
    caller, callee, call, first = beginning(line)
    ring = callee.take("again")
    call.invite(OFFER, "Supported: timer\nSession-Expires: 90\nMin-SE: 90\n")
    first.asked("INVITE", has="Session-Expires: 90")
    first.answer(422, headers="Min-SE: 120\n")
    first.asked("ACK")
    call.answered(422, has="Min-SE: 120")
    call.ack_refusal()
    timer = "Supported: timer\nSession-Expires: 120;refresher=uac\nMin-SE: 120\n"
    call.invite(OFFER, timer)
    ring.asked("INVITE", has="Session-Expires: 120;refresher=uac")
    ring.answer(200, body=ANSWER, headers="Require: timer\nSession-Expires: 120;refresher=uac\n")
    call.answered(200, has="Session-Expires: 120;refresher=uac")
    call.ack()
    ring.asked("ACK")
    caller.speak()
    callee.speak()
    caller.pause(0.3)
    call.invite(OFFER, timer)
    ring.asked("INVITE", has="Session-Expires: 120;refresher=uac")
    ring.accept(ANSWER)
    call.accepted()
    callee.pause(0.3)
    ring.request("UPDATE", headers="Supported: timer\nSession-Expires: 120;refresher=uac\n")
    call.asked("UPDATE", has="Session-Expires: 120;refresher=uac")
    call.answer(200, "UPDATE", headers="Session-Expires: 120;refresher=uac\n")
    ring.answered(200, "UPDATE")
    caller.pause(0.3)
    call.bye()
    ring.ended()
    assert_both_heard(line.calls(caller, callee), 0.7)


@pytest.mark.real("offerless-invite")
@pytest.mark.parametrize("answered_in", ["ACK", "PRACK"])
def test_call_without_an_offer(line: Line, answered_in: str) -> None:
    """T11: the callee offers, in 200 or in a reliable 183; the caller answers in ACK or in PRACK."""
    caller, callee, call, ring = beginning(line)
    call.invite(headers="Supported: 100rel\n")
    ring.asked("INVITE")
    if answered_in == "PRACK":
        ring.answer(183, body=OFFER, headers=RELIABLE)
        call.answered(183, forms=True)
        call.request("PRACK", ANSWER, "RAck: 1 1 INVITE\n")
        ring.asked("PRACK")
        ring.answer(200, "PRACK")
        call.answered(200, "PRACK")
        ring.accept()
        call.accepted()
    else:
        ring.accept(OFFER)
        call.accepted(ANSWER)
    talk(call, ring)
    assert_both_heard(line.calls(caller, callee), 0.6)


@pytest.mark.real("offerless-reinvite")
@pytest.mark.parametrize("who_asks", ["caller", "callee"])
def test_reinvite_without_an_offer(line: Line, who_asks: str) -> None:
    """T11, I7: on hold before; the offer in the 200 takes it up again, the answer comes in ACK."""
    caller, callee, call, ring = beginning(line)
    call.invite(sdp(audio(direction="sendonly")))
    ring.asked("INVITE")
    ring.accept(sdp(audio(direction="recvonly")))
    call.accepted()
    asks, is_asked = (call, ring) if who_asks == "caller" else (ring, call)
    asks.invite()
    is_asked.asked("INVITE")
    is_asked.accept(sdp(audio(), version=2))
    asks.accepted(sdp(audio(), version=2))
    talk(call, ring)
    assert_both_heard(line.calls(caller, callee), 0.6)


@pytest.mark.real("cancel")
def test_caller_gives_up(line: Line) -> None:
    """B6: CANCEL while it rings, 487 to the caller."""
    caller, callee, call, ring = beginning(line)
    call.invite(OFFER)
    ring.asked("INVITE")
    ring.answer(180)
    call.answered(180)
    call.cancel()
    call.answered(200, "CANCEL")
    ring.asked("CANCEL")
    ring.answer(200, "CANCEL")
    ring.answer(487)
    ring.asked("ACK")
    call.answered(487)
    call.ack_refusal()
    line.calls(caller, callee)


@pytest.mark.real("cancel-race")
def test_answer_and_cancel_cross(line: Line) -> None:
    """I6: the callee has answered when CANCEL comes: the caller acknowledges and hangs up."""
    caller, callee, call, ring = beginning(line)
    call.invite(OFFER)
    ring.asked("INVITE")
    ring.answer(180)
    call.answered(180)
    call.cancel()
    call.answered(200, "CANCEL")
    ring.asked("CANCEL")
    ring.answer(200, "CANCEL")
    ring.answer(200, body=ANSWER)
    call.accepted()
    ring.asked("ACK")
    call.bye()
    ring.ended()
    line.calls(caller, callee)


@pytest.mark.real("failure")
@pytest.mark.parametrize("status", [404, 480, 486, 503, 600, 603])
def test_refusal_reaches_the_caller(line: Line, status: int) -> None:
    """G4: with its Reason and Retry-After."""
    caller, callee, call, ring = beginning(line)
    call.invite(OFFER)
    ring.asked("INVITE")
    ring.answer(status, headers='Reason: Q.850;cause=17;text="why"\nRetry-After: 7\n')
    ring.asked("ACK")
    call.answered(status, has="Q.850;cause=17.*Retry-After: 7")
    call.ack_refusal()
    line.calls(caller, callee)


@pytest.mark.real("redirect-302")
def test_redirected_caller_reaches_the_new_place(line: Line) -> None:
    """C5: 302 with another user of the callee's host; an outside host is left as it is, an inside one masked."""
    caller, callee, call, first = beginning(line)
    call.invite(OFFER)
    first.asked("INVITE")
    first.answer(302, headers="Contact: <sip:elsewhere@[local_ip]:[local_port]>;q=0.5\n")
    first.asked("ACK")
    call.answered(302, has=";q=0.5")
    call.ack_refusal()
    again, ring = caller.start("again"), callee.take("again")
    again.invite(OFFER, uri=call.moved_to)
    ring.asked("INVITE", has="INVITE sip:elsewhere@[0-9.]+:5060 SIP/2.0")
    ring.accept(ANSWER)
    again.accepted()
    talk(again, ring)
    assert_both_heard(line.calls(caller, callee), 0.6)


@pytest.mark.real("fork-early")
def test_loser_of_a_fork_does_not_take_the_winners_audio(line: Line) -> None:
    """T2, T6: two early dialogs with answers of their own; the second is answered."""
    caller, callee, call, ring = beginning(line)
    call.invite(OFFER)
    ring.asked("INVITE")
    ring.answer(183, body=sdp(audio(port="17000"), version=7), tag="loser")
    ring.answer(183, body=ANSWER)
    call.answered(183)
    call.answered(183)
    callee.pause(0.1)
    ring.accept(ANSWER)
    call.accepted()
    talk(call, ring)
    watch = line.calls(caller, callee)
    assert_both_heard(watch, 0.6)
    assert len({body.media_at for body in sessions(line.at_the_caller(watch))}) == 2, (
        "I4: each early dialog has its own port"
    )


@pytest.mark.real("fork-two-answers")
def test_two_answers_are_two_dialogs(line: Line) -> None:
    """I4: both forks answer; the caller acknowledges both, ends the first and talks with the second."""
    caller, callee, call, ring = beginning(line)
    call.invite(OFFER)
    ring.asked("INVITE")
    ring.answer(200, body=sdp(audio(port="17000"), version=7), tag="first")
    ring.asked("ACK")
    call.accepted()
    ring.accept(ANSWER)
    second = call.sibling("second")
    second.accepted()
    call.bye()
    ring.asked("BYE", has="tag=first")
    ring.answer(200, "BYE")
    talk(second, ring)
    assert_both_heard(line.calls(caller, callee), 0.6)


@pytest.mark.real("late-2xx")
def test_answer_that_comes_during_the_conversation(line: Line) -> None:
    """I4, B4: another fork's 200 half a second after the first is ended at once; nothing happens to the conversation."""
    caller, callee, call, ring = beginning(line)
    call.invite(OFFER)
    ring.asked("INVITE")
    ring.accept(ANSWER)
    call.accepted()
    caller.speak()
    callee.speak()
    caller.pause(0.4)
    caller.play('rtp_stream="pause"')  # sipp would go on towards the latest SDP's port, and that is the late one's
    callee.pause(0.6)
    ring.answer(200, body=sdp(audio(port="17000"), version=7), tag="late")
    late = call.sibling("late")
    late.accepted()
    late.bye()
    ring.asked("ACK")
    ring.asked("BYE", has="tag=late")
    ring.answer(200, "BYE")
    caller.pause(0.5)
    call.bye()
    ring.ended()
    at_the_caller, at_the_callee = line.ears(line.calls(caller, callee))
    assert_heard(at_the_callee, line.caller_voice, 0.3)
    assert_heard(at_the_caller, line.callee_voice, 0.9)
