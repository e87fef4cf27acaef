"""Several m-lines: audio, video and a channel beside them (RFC 3264 section 8)."""

from __future__ import annotations

from support.describe import describe, unplaced
from support.flow_table import flow
from support.ladder import Phone, places_in
from support.stage import Stage

FEEDBACK = ("a=rtpmap:96 H264/90000", "a=fmtp:96 profile-level-id=42e01f", "a=rtcp-fb:96 nack pli", "a=content:main")


def conference(phone: Phone, video: int = 2, floor: int = 4, version: int = 1) -> bytes:
    """Audio, video and floor control, each with a c= of its own but for what is closed (offset 0)."""
    port, host = phone.port, "c=IN IP4 {host}"
    media = [[f"m=audio {port} RTP/AVP 0", host]]
    media.append([f"m=video {port + video if video else 0} RTP/AVPF 96", *([host] if video else []), *FEEDBACK])
    media.append(
        [f"m=application {port + floor if floor else 0} UDP/BFCP *", *([host] if floor else []), "a=floorctrl:c-s"]
    )
    body = describe(phone, *media, version=version)
    head, _, rest = body.partition(b"\r\nm=")
    return head.replace(b"\r\nc=IN IP4 " + phone.address.host.encode(), b"") + b"\r\nm=" + rest


@flow("video", basic=True)
def test_three_lines(stage: Stage) -> None:
    """J, I1: each has its own port, all else stays as it was, and each finds its phone."""
    body, answer = conference(stage.caller), conference(stage.callee)
    talk = stage.talk(body=body, answer=answer)
    assert [unplaced(talk.arrived.body), unplaced(talk.answer.body)] == [unplaced(body), unplaced(answer)]
    for stream in range(3):
        stage.assert_audio(stream)
    assert len({port for _, port in places_in(talk.answer.body)}) == 3
    talk.hang_up()
    stage.assert_empty()


@flow("video")
def test_some_are_refused(stage: Stage) -> None:
    """J: port 0 without any c= stays port 0 and costs no port of ours; the lines keep their count and order."""
    talk = stage.talk(body=conference(stage.caller), answer=conference(stage.callee, video=0, floor=0))
    assert [port for _, port in places_in(talk.answer.body)][1:] == [0, 0]
    assert b"c=" not in talk.answer.body.split(b"m=video")[1]
    stage.assert_audio()
    near = stage.world.public_side if stage.caller.outside else stage.world.lan_side
    assert len(near.plane.held) == 1
    talk.hang_up()
    stage.assert_empty()


@flow("video")
def test_a_rejected_line_in_the_offer(stage: Stage) -> None:
    """J: a closed line in an offer is legal and stays closed."""
    talk = stage.talk(body=conference(stage.caller, video=0), answer=conference(stage.callee, video=0))
    assert [bool(port) for _, port in places_in(talk.arrived.body)] == [True, False, True]
    stage.assert_audio(2)
    talk.hang_up()
    stage.assert_empty()


@flow("video")
def test_video_off_and_on_again(stage: Stage) -> None:
    """I3, DEC3: port 0 and back: the video has the ports that it had."""
    talk = stage.talk(body=conference(stage.caller), answer=conference(stage.callee))
    told = places_in(stage.caller.agreed[1]), places_in(stage.callee.agreed[1])
    talk.offer(talk.callee, conference(stage.callee, video=0, version=2), conference(stage.caller, video=0, version=2))
    assert [port for _, port in places_in(stage.caller.agreed[1])] == [told[0][0][1], 0, told[0][2][1]]
    for stream in (0, 2):
        stage.assert_audio(stream)
    talk.offer(talk.caller, conference(stage.caller, version=3), conference(stage.callee, version=3))
    assert (places_in(stage.caller.agreed[1]), places_in(stage.callee.agreed[1])) == told
    for stream in range(3):
        stage.assert_audio(stream)
    talk.hang_up()
    stage.assert_empty()


@flow("video")
def test_video_comes_later(stage: Stage) -> None:
    """I3: a re-INVITE adds video and floor control; the audio's ports stay."""
    talk = stage.talk()
    audio = places_in(stage.caller.agreed[1]) + places_in(stage.callee.agreed[1])
    talk.offer(talk.callee, conference(stage.callee, version=2), conference(stage.caller, version=2))
    assert [places_in(phone.agreed[1])[0] for phone in (stage.caller, stage.callee)] == audio
    for stream in range(3):
        stage.assert_audio(stream)
    refused = conference(stage.caller, version=3, video=20)
    talk.refused(talk.caller, refused, 488)
    for stream in range(3):
        stage.assert_audio(stream)
    talk.hang_up()
    stage.assert_empty()
