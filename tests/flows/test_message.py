"""MESSAGE: text and whatever else, within a call and without one (RFC 3428)."""

from __future__ import annotations

import pytest
from support.flow_table import flow
from support.stage import Stage

BODIES = {
    "text/plain;charset=UTF-8": "grüß dich 👋\r\n\r\nzweite Zeile".encode(),
    "message/cpim": b"From: <sip:a@10.9.9.9>\r\n\r\nContent-Type: text/plain\r\n\r\nhi",
    "application/im-iscomposing+xml": b"<?xml version='1.0'?>\n<isComposing><state>active</state></isComposing>\n",
    "application/vnd.example.binary": bytes(range(256)),
    "text/html": b"<a href='sip:x@192.0.2.9'>" + b"x" * 900,
}


@flow("message")
@pytest.mark.parametrize("kind", BODIES)
def test_page_mode(stage: Stage, kind: str) -> None:
    """F4, G4: any type of body arrives byte for byte, without a dialog, and the answer goes back."""
    headers = (f"Content-Type: {kind}", "Content-Disposition: render", "X-Note: a,  b", "Expires: 30")
    uri = stage.uri_of(stage.callee, stage.caller)
    sent = stage.caller.request("MESSAGE", uri, headers=headers, body=BODIES[kind], contact=False)
    came = stage.callee.got("MESSAGE")
    assert came.body == BODIES[kind]
    for name in ("content-type", "content-disposition", "x-note", "expires", "call-id", "from", "to", "cseq"):
        assert came.lines(name) == sent.lines(name)
    assert not came.values("contact")
    stage.callee.answer(came, 202)
    assert stage.caller.got(202).to_tag == stage.callee.user.encode()
    stage.assert_empty()


@flow("message")
def test_in_a_call(stage: Stage) -> None:
    """F4: within a call it takes the way of the dialog, in both directions."""
    talk = stage.talk()
    for sender, receiver in ((talk.caller, talk.callee), (talk.callee, talk.caller)):
        sender.send("MESSAGE", headers=["Content-Type: text/plain"], body=b"psst\r\n")
        came = receiver.phone.got("MESSAGE")
        assert (came.body, came.to_tag) == (b"psst\r\n", receiver.local.rpartition(b"=")[2])
        receiver.phone.answer(came, 200)
        sender.phone.got(200)
    talk.hang_up()
    stage.assert_empty()


@flow("message")
@pytest.mark.parametrize(
    ("status", "header"),
    [(405, "Allow: INVITE, ACK, BYE"), (415, "Accept: text/plain"), (480, "Retry-After: 5"), (603, "Reason: SIP")],
)
def test_who_refuses_says_why(stage: Stage, status: int, header: str) -> None:
    """F4: we know of no method that we would refuse; who does is heard, with his reason."""
    headers = ("Content-Type: text/plain",)
    stage.caller.request("MESSAGE", stage.uri_of(stage.callee, stage.caller), headers=headers, body=b"?")
    stage.callee.answer(stage.callee.got("MESSAGE"), status, headers=[header])
    answer = stage.caller.got(status)
    assert header.encode() in [answer.line(each) for each in answer.headers]
    stage.assert_empty()


@flow("message")
@pytest.mark.parametrize("method", ["MESSAGE", "KDMQ", "PING"])
def test_a_method_nobody_knows_passes(stage: Stage, method: str) -> None:
    """F4: unknown methods are forwarded like any other."""
    stage.caller.request(method, stage.uri_of(stage.callee, stage.caller), headers=("Content-Type: a/b",), body=b"\x00")
    came = stage.callee.got(method)
    assert came.body == b"\x00"
    stage.callee.answer(came, 200)
    stage.caller.got(200)
    stage.assert_empty()
