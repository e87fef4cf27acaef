"""INFO: with an info package and without one, within a call (RFC 6086, RFC 2976)."""

from __future__ import annotations

import pytest
from support.flow_table import flow
from support.stage import Stage

LEGACY = b"Signal=5\r\nDuration=160\r\n"
FAST_UPDATE = (
    b"<media_control><vc_primitive><to_encoder><picture_fast_update/></to_encoder></vc_primitive></media_control>"
)


@flow("info")
@pytest.mark.parametrize(
    ("kind", "body"), [("application/dtmf-relay", LEGACY), ("application/media_control+xml", FAST_UPDATE)]
)
def test_without_a_package(stage: Stage, kind: str, body: bytes) -> None:
    """F4, G4: what phones send since before there were packages, from either party."""
    talk = stage.talk()
    for sender, receiver in ((talk.caller, talk.callee), (talk.callee, talk.caller)):
        sender.send("INFO", headers=[f"Content-Type: {kind}"], body=body)
        came = receiver.phone.got("INFO")
        assert (came.body, came.lines("content-type")) == (body, [f"Content-Type: {kind}".encode()])
        receiver.phone.answer(came, 200)
        sender.phone.got(200)
    stage.assert_audio()
    talk.hang_up()
    stage.assert_empty()


@flow("info")
def test_with_a_package(stage: Stage) -> None:
    """F4: Recv-Info says in the INVITE what may come; the package, its parameters and its body pass as they are."""
    invite = stage.invite(headers=["Recv-Info: nil, P;x=1", "Allow: INVITE, ACK, BYE, CANCEL, INFO"])
    arrived = stage.callee.got("INVITE")
    assert arrived.lines("recv-info") == invite.lines("recv-info")
    assert arrived.lines("allow") == invite.lines("allow")
    stage.callee.answer(arrived, 486)
    stage.caller.ack_failure(invite, stage.caller.got(486))
    stage.callee.got("ACK")
    talk = stage.talk(headers=["Recv-Info: P"])
    headers = ["Info-Package: P;foo=bar", "Content-Disposition: Info-Package", "Content-Type: application/x-p"]
    talk.callee.send("INFO", headers=headers, body=b"\x00\x01v=0\r\n")
    came = stage.caller.got("INFO")
    assert [
        came.line(each).decode() for each in came.headers if each.name in ("info-package", "content-disposition")
    ] == headers[:2]
    assert came.body == b"\x00\x01v=0\r\n"
    stage.caller.answer(came, 200)
    stage.callee.got(200)
    talk.hang_up()
    stage.assert_empty()


@flow("info")
def test_a_package_that_is_not_wanted(stage: Stage) -> None:
    """F4: 469 of the receiver passes, with what it would take instead."""
    talk = stage.talk()
    talk.caller.send("INFO", headers=["Info-Package: unheard", "Content-Type: a/b"], body=b"x")
    stage.callee.answer(stage.callee.got("INFO"), 469, headers=["Recv-Info: P, Q"])
    assert stage.caller.got(469).lines("recv-info") == [b"Recv-Info: P, Q"]
    stage.assert_audio()
    talk.hang_up()
    stage.assert_empty()


@flow("info")
def test_candidates_are_refused_here(stage: Stage) -> None:
    """J: trickle ICE by INFO (RFC 8840) gets 469 and never reaches the other side, from either party."""
    talk = stage.talk()
    fragment = b"a=candidate:1 1 UDP 1 10.9.0.1 5000 typ host\r\n"
    headers = ["Info-Package: trickle-ice", "Content-Type: application/trickle-ice-sdpfrag"]
    for sender in (talk.caller, talk.callee):
        sender.send("INFO", headers=headers, body=fragment)
        sender.phone.got(469)
    stage.assert_quiet()
    talk.hang_up()
    stage.assert_empty()
