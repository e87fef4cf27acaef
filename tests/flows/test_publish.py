"""PUBLISH: event state is made, refreshed, changed and removed by its entity tag (RFC 3903)."""

from __future__ import annotations

from support.flow_table import flow
from support.messages import compose
from support.stage import Stage

from tunnel.sip.message import Message

PIDF = compose(
    '<?xml version="1.0"?>',
    '<presence xmlns="urn:ietf:params:xml:ns:pidf" entity="pres:a@example"><tuple id="1">',
    "<status><basic>open</basic></status><contact>sip:a@192.0.2.77</contact></tuple></presence>",
)


def publish(stage: Stage, headers: list[str], body: bytes = b"", cseq: int = 1) -> Message:
    uri = stage.uri_of(stage.callee, stage.caller)
    more = [*headers, "Event: presence", *(["Content-Type: application/pidf+xml"] if body else [])]
    stage.caller.request("PUBLISH", uri, headers=more, body=body, cseq=cseq, contact=False, call_id="publishing")
    return stage.callee.got("PUBLISH")


@flow("publish")
def test_an_entity_tag_comes_back_as_it_went(stage: Stage) -> None:
    """F4, E: SIP-ETag, SIP-If-Match and Expires are nobody's but the two ends'."""
    came = publish(stage, ["Expires: 3600"], PIDF)
    assert (came.body, came.lines("expires")) == (PIDF, [b"Expires: 3600"])
    stage.callee.answer(came, 200, headers=['SIP-ETag: "dx 2,00";x', "Expires: 1800"])
    made = stage.caller.got(200)
    assert made.lines("sip-etag") == [b'SIP-ETag: "dx 2,00";x']
    assert made.lines("expires") == [b"Expires: 1800"]
    assert not made.lines("contact")
    came = publish(stage, ['SIP-If-Match: "dx 2,00";x', "Expires: 1800"], cseq=2)
    assert came.lines("sip-if-match") == [b'SIP-If-Match: "dx 2,00";x']
    assert came.lines("content-length") == [b"Content-Length: 0"]
    stage.callee.answer(came, 200, headers=["SIP-ETag: kwj449x", "Expires: 1800"])
    assert stage.caller.got(200).lines("sip-etag") == [b"SIP-ETag: kwj449x"]
    came = publish(stage, ["SIP-If-Match: kwj449x", "Expires: 0"], cseq=3)
    stage.callee.answer(came, 200, headers=["SIP-ETag: gone", "Expires: 0"])
    stage.caller.got(200)
    stage.assert_empty()


@flow("publish")
def test_a_tag_that_is_stale(stage: Stage) -> None:
    """F4: 412, 423 with Min-Expires and 489 pass."""
    for cseq, (status, header) in enumerate(
        [(412, "X-Why: stale"), (423, "Min-Expires: 60"), (489, "Allow-Events: a")]
    ):
        came = publish(stage, ["SIP-If-Match: stale"], cseq=cseq + 1)
        stage.callee.answer(came, status, headers=[header])
        answer = stage.caller.got(status)
        assert header.encode() in [answer.line(each) for each in answer.headers]
    stage.assert_empty()
