"""Calls of which an end knows nothing any more: what is left to their parties is to end them in order (F6)."""

from __future__ import annotations

import pytest
from support.flow_table import flow
from support.stage import Stage

ENDS = pytest.mark.parametrize("whose", ["agent", "server", "both"])


@flow("call-basic")
@ENDS
@pytest.mark.parametrize("by", ["caller", "callee"])
def test_a_bye_arrives(stage: Stage, whose: str, by: str) -> None:
    """F6, 3-#7: by the mask in its Request-URI, or by what the other end knows, which then gives up its ports."""
    talk = stage.talk()
    stage.forget(whose)
    first, second = (talk.caller, talk.callee) if by == "caller" else (talk.callee, talk.caller)
    for method in ("INFO", "MESSAGE", "OPTIONS"):
        first.send(method, headers=["Content-Type: text/plain"], body=b"still there?")
        came = second.phone.got(method)
        assert (came.call_id, came.body) == (talk.arrived.call_id, b"still there?")
        second.phone.answer(came, 200)
        first.phone.got(200)
    talk.hang_up(first)
    stage.assert_empty()


@flow("call-basic")
@ENDS
def test_a_new_offer_is_refused(stage: Stage, whose: str) -> None:
    """F6: without its media state an SDP would pass as it came; 481 makes the party hang up."""
    talk = stage.talk()
    stage.forget(whose)
    invite = talk.callee.send("INVITE", body=stage.callee.sdp(version=2))
    stage.callee.ack_failure(invite, stage.callee.got(481))
    stage.assert_quiet()
    talk.hang_up(talk.callee)
    stage.assert_empty()
