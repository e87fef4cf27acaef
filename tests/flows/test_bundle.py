"""Several m-lines over one port (RFC 9143) and RTCP beside RTP on it (RFC 5761)."""

from __future__ import annotations

from support.describe import describe, unplaced
from support.flow_table import flow
from support.ladder import Phone, places_in
from support.stage import Stage

GROUP = ("a=group:BUNDLE a v",)


def bundle(
    phone: Phone, audio: int, video: int, *more: str, session: tuple[str, ...] = GROUP, version: int = 1
) -> bytes:
    return describe(
        phone,
        [f"m=audio {audio} RTP/AVPF 0", "a=mid:a", "a=rtcp-mux"],
        [f"m=video {video} RTP/AVPF 96", "a=mid:v", "a=rtcp-mux", "a=rtpmap:96 VP8/90000", *more],
        session=session,
        version=version,
    )


def muxed(stage: Stage) -> list[bool]:
    aims = [aim for side in (stage.world.lan_side, stage.world.public_side) for aim in side.plane.ties.values()]
    return [aim.mux for aim in aims if aim is not None]


@flow("bundle", basic=True)
def test_accepted(stage: Stage) -> None:
    """J: the answer names one port twice, and so does ours; the next offer names one port as well."""
    body, answer = bundle(stage.caller, 6000, 6002), bundle(stage.callee, 7000, 7000)
    talk = stage.talk(body=body, answer=answer)
    assert [unplaced(talk.arrived.body), unplaced(talk.answer.body)] == [unplaced(body), unplaced(answer)]
    offered, agreed = places_in(talk.arrived.body), places_in(talk.answer.body)
    assert offered[0] != offered[1]
    assert agreed[0] == agreed[1]
    stage.assert_audio()
    assert set(muxed(stage)) == {True}
    offer, again = talk.offer(
        talk.caller, bundle(stage.caller, 6000, 6000, version=2), bundle(stage.callee, 7000, 7000, version=2)
    )
    assert places_in(offer.body) == [offered[0]] * 2
    assert places_in(again.body) == agreed
    stage.assert_audio()
    talk.hang_up()
    stage.assert_empty()


@flow("bundle")
def test_refused(stage: Stage) -> None:
    """J: the answer has no group: every line has its own port, and both streams find their phones."""
    talk = stage.talk(body=bundle(stage.caller, 6000, 6002), answer=bundle(stage.callee, 7000, 7002, session=()))
    ports = [port for _, port in places_in(talk.answer.body)]
    assert len(set(ports)) == 2
    stage.assert_audio(0)
    stage.assert_audio(1)
    talk.hang_up()
    stage.assert_empty()


@flow("bundle")
def test_a_line_that_is_only_for_the_bundle(stage: Stage) -> None:
    """J: port 0 with a=bundle-only stays 0 in the offer and is alive in the answer; a port of its own in the next."""
    body = bundle(stage.caller, 6000, 0, "a=bundle-only")
    talk = stage.talk(body=body, answer=bundle(stage.callee, 7000, 7000))
    assert [unplaced(talk.arrived.body)] == [unplaced(body)]
    agreed = places_in(talk.answer.body)
    assert agreed[0] == agreed[1]
    stage.assert_audio()
    talk.hang_up()
    stage.assert_empty()


@flow("bundle")
def test_rtcp_mux_refused(stage: Stage) -> None:
    """J: without a=rtcp-mux in the answer RTCP has the next port, on either face."""
    offer = describe(stage.caller, ["m=audio 6000 RTP/AVP 0", "a=rtcp-mux", "a=rtcp:6001"])
    talk = stage.talk(body=offer, answer=stage.callee.sdp())
    assert set(muxed(stage)) == {False}
    port = places_in(talk.arrived.body)[0][1]
    assert f"a=rtcp:{port + 1}\r\n".encode() in talk.arrived.body
    stage.assert_audio()
    talk.hang_up()
    stage.assert_empty()


@flow("bundle")
def test_out_of_the_bundle_again(stage: Stage) -> None:
    """J: a later exchange without the group: separate ports, and both streams find their phones."""
    talk = stage.talk(body=bundle(stage.caller, 6000, 6002), answer=bundle(stage.callee, 7000, 7000))
    plain = (
        bundle(stage.callee, 7000, 7002, session=(), version=2),
        bundle(stage.caller, 6000, 6002, session=(), version=2),
    )
    offer, _ = talk.offer(talk.callee, *plain)
    assert len(set(places_in(offer.body))) == 2
    stage.assert_audio(0)
    stage.assert_audio(1)
    talk.hang_up()
    stage.assert_empty()
