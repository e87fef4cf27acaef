"""A call that changes while it lasts: codecs, addresses, both at once, and changes that fail (RFC 3261 section 14)."""

from __future__ import annotations

import pytest
from support.describe import describe, unplaced
from support.flow_table import flow
from support.ladder import Phone, media_address, places_in
from support.stage import Stage, Talk

both_change = pytest.mark.parametrize("who", ["caller", "callee"])


def codecs(phone: Phone, formats: str, *lines: str, version: int = 1, port: int = 0) -> bytes:
    return describe(phone, [f"m=audio {port or phone.port} RTP/AVP {formats}", *lines], version=version)


def told(talk: Talk) -> list[list[tuple[str, int]]]:
    return [places_in(dialog.phone.agreed[1]) for dialog in (talk.caller, talk.callee)]


@flow("renegotiate")
@both_change
def test_codecs(stage: Stage, who: str) -> None:
    """I2, DEC2, DEC3: several codecs, one agreed, then another: lists, parameters and o= versions as the phones said."""
    wide = ("0 8 9 18 96", "a=rtpmap:96 opus/48000/2", "a=fmtp:96 useinbandfec=1;maxplaybackrate=16000", "a=ptime:20")
    offer, answer = codecs(stage.caller, *wide), codecs(stage.callee, "8 0")
    talk = stage.talk(body=offer, answer=answer)
    assert [unplaced(talk.arrived.body), unplaced(talk.answer.body)] == [unplaced(offer), unplaced(answer)]
    before = told(talk)
    one = getattr(talk, who)
    other = talk.other(one)
    steps = [("96", "96"), ("18 101", "18"), ("0 8", "0")]
    for version, (offered, agreed) in enumerate(steps, 2):
        bodies = codecs(one.phone, offered, version=version), codecs(other.phone, agreed, version=version)
        request, response = talk.offer(one, *bodies)
        assert [unplaced(request.body), unplaced(response.body)] == [unplaced(body) for body in bodies]
        assert f" 7 {version} IN ".encode() in request.body
        assert told(talk) == before
        stage.assert_audio()
    talk.hang_up()
    stage.assert_empty()


@flow("renegotiate", basic=True)
@both_change
@pytest.mark.parametrize("method", ["INVITE", "UPDATE"])
def test_a_party_moves(stage: Stage, who: str, method: str) -> None:
    """T1, DEC3: a new port in a new offer, a new port in an answer: media follow both, and none comes from the old ones."""
    talk = stage.talk()
    before = told(talk)
    one = getattr(talk, who)
    other = talk.other(one)
    talk.offer(one, one.phone.sdp(port=6820, version=2), other.phone.sdp(version=2), method=method)
    stage.assert_audio()
    talk.offer(other, other.phone.sdp(version=3), one.phone.sdp(port=6840, version=3), method=method)
    stage.assert_audio()
    assert told(talk) == before
    talk.hang_up()
    stage.assert_empty()


@flow("renegotiate", ways="AB")
@both_change
def test_media_move_to_another_host(stage: Stage, who: str) -> None:
    """T1: a PBX hands its media to another machine: only that one is heard from then on, and it hears the other party."""
    talk = stage.talk()
    before = told(talk)
    one = getattr(talk, who)
    other = talk.other(one)
    old = one.phone.speaks_from()
    host = old.host.rpartition(".")[0] + ".77"
    talk.offer(one, one.phone.sdp(address=host, version=2), other.phone.sdp(version=2))
    stage.assert_audio()
    near = stage.world.public_side if one.phone.outside else stage.world.lan_side
    to = one.phone.speaks_to()
    assert to is not None
    assert near.plane.from_network(old, to) is None
    assert told(talk) == before
    talk.hang_up()
    stage.assert_empty()


@flow("renegotiate")
@both_change
@pytest.mark.parametrize("status", [400, 403, 408, 415, 481, 488, 491, 500, 503, 603, 606])
def test_refused(stage: Stage, who: str, status: int) -> None:
    """F7, I6: whatever the refusal, media are where they were; the next offer gets through."""
    talk = stage.talk()
    before = told(talk)
    one = getattr(talk, who)
    other = talk.other(one)
    talk.refused(one, one.phone.sdp(port=6990, version=2), status)
    stage.assert_audio()
    talk.offer(one, one.phone.sdp(port=6992, version=3), other.phone.sdp(version=2))
    stage.assert_audio()
    assert told(talk) == before
    talk.hang_up()
    stage.assert_empty()


@flow("renegotiate")
@both_change
def test_nobody_answers_the_offer(stage: Stage, who: str) -> None:
    """F7: 408 from our end after 32 s; media are where they were, and the call can still be ended."""
    talk = stage.talk()
    one = getattr(talk, who)
    before = one.phone.agreed, talk.other(one).phone.agreed
    request = one.send("INVITE", body=one.phone.sdp(port=6990, version=2))
    stage.world.wait(32.1)
    one.phone.ack_failure(request, one.phone.got(408))
    talk.other(one).phone.lose()
    one.phone.agreed, talk.other(one).phone.agreed = before
    stage.assert_audio()
    talk.hang_up(one)
    stage.assert_empty()


@flow("renegotiate")
@both_change
def test_the_offer_is_taken_back(stage: Stage, who: str) -> None:
    """F7, B6: a re-INVITE that is cancelled leaves everything as it was."""
    talk = stage.talk()
    one = getattr(talk, who)
    other = talk.other(one).phone
    before = one.phone.agreed, other.agreed
    request = one.send("INVITE", body=one.phone.sdp(port=6990, version=2))
    arrived = other.got("INVITE")
    other.answer(arrived, 180)
    one.phone.got(180)
    one.phone.cancel(request)
    assert one.phone.got(200).cseq_method == "CANCEL"
    other.answer(other.got("CANCEL"), 200)
    other.answer(arrived, 487)
    other.got("ACK")
    one.phone.ack_failure(request, one.phone.got(487))
    one.phone.agreed, other.agreed = before
    stage.assert_audio()
    talk.hang_up()
    stage.assert_empty()


@flow("renegotiate", basic=True)
def test_glare(stage: Stage) -> None:
    """F7: re-INVITEs that cross are both refused with 491; media stay; the one that comes again gets through."""
    talk = stage.talk()
    before = stage.caller.agreed, stage.callee.agreed
    both = talk.caller, talk.callee
    sent = [one.send("INVITE", body=one.phone.sdp(port=6990, version=2)) for one in both]
    for one in both:
        one.phone.answer(one.phone.got("INVITE"), 491)
    stage.caller.got("ACK")
    for one, request in zip(both, sent, strict=True):
        one.phone.ack_failure(request, one.phone.got(491))
    stage.callee.got("ACK")
    stage.caller.agreed, stage.callee.agreed = before
    stage.assert_audio()
    stage.world.wait(2.5)
    talk.offer(talk.caller, stage.caller.sdp(port=6994, version=3), stage.callee.sdp(version=3))
    stage.assert_audio()
    talk.hang_up()
    stage.assert_empty()


@flow("renegotiate", basic=True)
@both_change
def test_a_phone_moves_its_contact(stage: Stage, who: str) -> None:
    """T4, C3: a re-INVITE with a new Contact: later requests come to that one, exactly as it is written."""
    talk = stage.talk()
    one = getattr(talk, who)
    other = talk.other(one)
    one.phone.contact = f"<sip:{one.phone.user}@{one.phone.address};line=2;x=%41>"
    talk.offer(one, one.phone.sdp(version=2), other.phone.sdp(version=2))
    request, _ = talk.request(other, "BYE")
    assert request.request_uri == one.phone.contact.strip("<>").encode()
    stage.assert_empty()


@flow("renegotiate")
def test_the_same_offer_again(stage: Stage) -> None:
    """I2, DEC3: ten identical re-INVITEs: ten times the same bytes, no new port anywhere."""
    talk = stage.talk()
    bodies = set()
    ports = [len(side.plane.calls) for side in (stage.world.lan_side, stage.world.public_side)]
    for _ in range(10):
        offer, answer = talk.offer(talk.callee, stage.callee.agreed[0], stage.caller.agreed[0])
        bodies.add((offer.body, answer.body))
        assert media_address(answer.body, 0) is not None
    assert len(bodies) == 1
    assert [len(side.plane.calls) for side in (stage.world.lan_side, stage.world.public_side)] == ports
    stage.assert_audio()
    talk.hang_up()
    stage.assert_empty()
