"""INVITEs without SDP: the offer comes in the 200, the answer in the ACK (RFC 3261 section 13.2.1, third party control)."""

from __future__ import annotations

import pytest
from support.describe import describe
from support.flow_table import flow
from support.ladder import Dialog, Phone, places_in
from support.stage import Stage, Talk

from tunnel.sip.message import Message


def offerless(stage: Stage) -> tuple[Talk, Message]:
    """A call whose offer came in the 200; the ACK as it arrived."""
    invite = stage.invite(body=b"")
    arrived = stage.callee.got("INVITE")
    stage.callee.answer(arrived, 180)
    stage.caller.got(180)
    callee = stage.callee.accept(arrived)
    ok = stage.caller.got(200)
    caller = Dialog.of_caller(stage.caller, invite, ok)
    caller.ack(body=stage.caller.sdp())
    return Talk(caller, callee, invite, arrived, ok), stage.callee.got("ACK")


@flow("offerless-invite", basic=True)
def test_offer_in_200_answer_in_ack(stage: Stage) -> None:
    """T11, DEC6: both hear each other once the ACK is there, and its SDP names our port."""
    talk, ack = offerless(stage)
    assert places_in(ack.body) != places_in(stage.caller.sdp())
    assert not talk.arrived.body
    stage.assert_audio()
    talk.hang_up()
    stage.assert_empty()


@flow("offerless-invite")
def test_the_ack_is_lost_behind_our_far_end(stage: Stage) -> None:
    """T11, B6: the callee repeats its 200, and the ACK with the answer comes again, the same bytes."""
    invite = stage.invite(body=b"")
    arrived = stage.callee.got("INVITE")
    sent = stage.callee.answer(arrived, 200, body=stage.callee.sdp())
    ok = stage.caller.got(200)
    caller = Dialog.of_caller(stage.caller, invite, ok)
    caller.ack(body=stage.caller.sdp())
    ack = stage.callee.got("ACK")
    stage.callee.send(sent)
    again = stage.callee.got("ACK")
    assert again.body == ack.body
    assert again.lines("cseq") == ack.lines("cseq")
    stage.assert_audio()
    callee = Dialog.of_callee(stage.callee, arrived, stage.callee.tag)
    Talk(caller, callee, invite, arrived, ok).hang_up(callee)
    stage.assert_empty()


@flow("offerless-invite")
def test_the_ack_is_lost_before_our_near_end(stage: Stage) -> None:
    """T11, B6: our end repeats the 200 until the caller's ACK is there; the callee gets it once."""
    invite = stage.invite(body=b"")
    arrived = stage.callee.got("INVITE")
    callee = stage.callee.accept(arrived)
    ok = stage.caller.got(200)
    stage.world.wait(1.6)
    assert [stage.caller.got(200).raw for _ in range(2)] == [ok.raw] * 2
    caller = Dialog.of_caller(stage.caller, invite, ok)
    ack = caller.ack(body=stage.caller.sdp())
    stage.callee.got("ACK")
    stage.caller.send(ack.raw)
    stage.callee.got_nothing()
    stage.world.wait(40)
    stage.assert_quiet()
    stage.assert_audio()
    Talk(caller, callee, invite, arrived, ok).hang_up()
    stage.assert_empty()


@flow("offerless-reinvite", basic=True)
@pytest.mark.parametrize("who", ["caller", "callee"])
def test_a_reinvite_without_an_offer(stage: Stage, who: str) -> None:
    """I7, T11: the 200 offers with another port, the ACK answers with another; what we told stays."""
    talk = stage.talk()
    one = getattr(talk, who)
    other = talk.other(one)
    told = places_in(one.phone.agreed[1]), places_in(other.phone.agreed[1])
    _, offer = talk.request(one, "INVITE", answer=other.phone.sdp(port=6700, version=2))
    one.ack(body=one.phone.sdp(port=7700, version=2))
    ack = other.phone.got("ACK")
    assert (places_in(offer.body), places_in(ack.body)) == told
    stage.assert_audio()
    talk.hang_up(one)
    stage.assert_empty()


@flow("offerless-reinvite")
@pytest.mark.parametrize("who", ["caller", "callee"])
def test_from_hold_to_a_third_party_offer(stage: Stage, who: str) -> None:
    """I7: on hold, then an offerless re-INVITE: the 200 may open everything again."""
    talk = stage.talk()
    one = getattr(talk, who)
    other = talk.other(one)
    talk.offer(one, one.phone.sdp(direction="inactive", version=2), other.phone.sdp(direction="inactive", version=2))
    talk.request(one, "INVITE", answer=other.phone.sdp(version=3))
    one.ack(body=one.phone.sdp(version=3))
    other.phone.got("ACK")
    stage.assert_audio()
    talk.hang_up(one)
    stage.assert_empty()


@flow("offerless-reinvite")
def test_the_offer_in_200_opens_a_closed_stream(stage: Stage) -> None:
    """I7: video was refused; the offer in the 200 brings it, the ACK agrees."""
    caller, callee = stage.caller, stage.callee

    def both(phone: Phone, audio: int, video: int, version: int) -> bytes:
        return describe(phone, [f"m=audio {audio} RTP/AVP 0"], [f"m=video {video} RTP/AVP 96"], version=version)

    talk = stage.talk(body=both(caller, 6000, 6002, 1), answer=both(callee, 7000, 0, 1))
    stage.assert_audio()
    _, offer = talk.request(talk.caller, "INVITE", answer=both(callee, 7000, 7002, 2))
    assert places_in(offer.body)[1][1]
    talk.caller.ack(body=both(caller, 6000, 6002, 2))
    callee.got("ACK")
    stage.assert_audio()
    stage.assert_audio(stream=1)
    talk.hang_up()
    stage.assert_empty()


@flow("offerless-reinvite")
@pytest.mark.parametrize("who", ["caller", "callee"])
def test_refused(stage: Stage, who: str) -> None:
    """F7: an offerless re-INVITE that is refused changes nothing."""
    talk = stage.talk()
    talk.refused(getattr(talk, who), b"", 488)
    stage.assert_audio()
    talk.hang_up()
    stage.assert_empty()
