"""Dialled digits in a call: as events beside the audio (RFC 4733), in INFO (RFC 6086), and in the audio itself."""

from __future__ import annotations

import pytest
from support.describe import describe, unplaced
from support.flow_table import flow
from support.ladder import Phone
from support.stage import Stage


def with_events(phone: Phone, payload_type: int | None, version: int = 1, port: int = 0) -> bytes:
    """Audio with telephone-event as ``payload_type``; None: without."""
    formats = "0 8" if payload_type is None else f"0 8 {payload_type}"
    lines = [f"m=audio {port or phone.port} RTP/AVP {formats}"]
    if payload_type is not None:
        lines += [f"a=rtpmap:{payload_type} telephone-event/8000", f"a=fmtp:{payload_type} 0-16"]
    return describe(phone, lines, version=version)


def events_of(stage: Stage) -> list[frozenset[int]]:
    """The payload types that each end's media plane treats as dialled digits."""
    aims = [aim for side in (stage.world.lan_side, stage.world.public_side) for aim in side.plane.ties.values()]
    return [aim.dtmf for aim in aims if aim is not None]


@flow("dtmf-4733")
@pytest.mark.parametrize(("offered", "answered"), [(101, 101), (96, 96), (97, 110), (101, None)])
def test_whatever_the_payload_type(stage: Stage, offered: int, answered: int | None) -> None:
    """J, N2: telephone-event under any number: the lines pass as they are, and both ends know the numbers."""
    body, answer = with_events(stage.caller, offered), with_events(stage.callee, answered)
    talk = stage.talk(body=body, answer=answer)
    assert unplaced(talk.arrived.body) == unplaced(body)
    assert unplaced(talk.answer.body) == unplaced(answer)
    assert events_of(stage) == [{offered, answered} - {None}] * 2
    stage.assert_audio()
    talk.hang_up()
    stage.assert_empty()


@flow("dtmf-4733")
def test_the_payload_type_changes(stage: Stage) -> None:
    """N2: a re-INVITE with another number for telephone-event: that one counts from now on, at both ends."""
    talk = stage.talk(body=with_events(stage.caller, 101), answer=with_events(stage.callee, 101))
    talk.offer(talk.callee, with_events(stage.callee, 99, 2), with_events(stage.caller, 99, 2))
    assert events_of(stage) == [{99}] * 2
    talk.hang_up()
    stage.assert_empty()


@flow("dtmf-info", basic=True)
@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("application/dtmf-relay", b"Signal=5\r\nDuration=160\r\n"),
        ("application/dtmf", b"#"),
        ("application/vnd.nortelnetworks.digits", b"p=Digit-Collection\r\nd-digits=1\xff\r\n"),
        ("audio/telephone-event", b"\x05\x80\x03\xc0"),
    ],
)
def test_info_with_digits(stage: Stage, kind: str, body: bytes) -> None:
    """F4, G4: INFO goes both ways in the dialog, its body untouched, one for each digit."""
    talk = stage.talk()
    for one in (talk.caller, talk.callee, talk.caller, talk.callee):
        request, _ = talk.request(one, "INFO", headers=(f"Content-Type: {kind}",), body=body)
        assert request.body == body
        assert request.lines("content-type") == [f"Content-Type: {kind}".encode()]
    stage.assert_audio()
    talk.hang_up()
    stage.assert_empty()


@flow("dtmf-info")
def test_info_packages(stage: Stage) -> None:
    """F4: Recv-Info and Info-Package pass (RFC 6086), and so does the refusal of a package that is not known."""
    talk = stage.talk(headers=("Recv-Info: infoDtmfRelay",))
    assert talk.arrived.lines("recv-info") == [b"Recv-Info: infoDtmfRelay"]
    headers = ("Info-Package: infoDtmfRelay", "Content-Type: application/dtmf-relay")
    request, answer = talk.request(
        talk.callee, "INFO", headers=headers, body=b"Signal=1\r\n", status=469, answer_headers=("Recv-Info: foo",)
    )
    assert request.lines("info-package") == [b"Info-Package: infoDtmfRelay"]
    assert answer.lines("recv-info") == [b"Recv-Info: foo"]
    talk.hang_up()
    stage.assert_empty()


@flow("dtmf-inband")
def test_tones_in_the_audio(stage: Stage) -> None:
    """L2, N2: without telephone-event no payload type is anything but audio, and audio passes both ways."""
    body, answer = with_events(stage.caller, None), with_events(stage.callee, None)
    talk = stage.talk(body=body, answer=answer)
    assert unplaced(talk.arrived.body) == unplaced(body)
    assert unplaced(talk.answer.body) == unplaced(answer)
    assert events_of(stage) == [frozenset()] * 2
    stage.assert_audio()
    talk.hang_up()
    stage.assert_empty()
