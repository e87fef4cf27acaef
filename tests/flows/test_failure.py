"""Calls that are refused: the status, reason and headers of the callee reach the caller (RFC 3261 section 21)."""

from __future__ import annotations

import pytest
from support.flow_table import flow
from support.stage import Stage

SAID = (
    "Retry-After: 120 (in a meeting);duration=3600",
    'Warning: 307 callee.example "Session parameter \\"foo\\" not understood"',
    'Reason: Q.850;cause=17;text="User busy"',
    "X-Unknown: kept, as it is",
)
REASONS = {
    400: "Bad Request",
    403: "Forbidden",
    404: "Not Found",
    408: "Request Timeout",
    410: "Gone",
    415: "Unsupported Media Type",
    480: "Temporarily Unavailable",
    481: "Call/Transaction Does Not Exist",
    484: "Address Incomplete",
    486: "Busy Here",
    487: "Request Terminated",
    488: "Not Acceptable Here",
    491: "Request Pending",
    500: "Server Internal Error",
    501: "Not Implemented",
    502: "Bad Gateway",
    503: "Service Unavailable",
    504: "Server Time-out",
    513: "Message Too Large",
    580: "Precondition Failure",
    600: "Busy Everywhere",
    603: "Decline",
    604: "Does Not Exist Anywhere",
    606: "Not Acceptable",
}


@flow("failure")
@pytest.mark.parametrize("status", REASONS)
def test_a_call_is_refused(stage: Stage, status: int) -> None:
    """T12, F7, B6: as the callee said it, acknowledged on each hop, sent again to who lost it, and the ports go."""
    callee, caller = stage.callee, stage.caller
    invite = stage.invite()
    arrived = callee.got("INVITE")
    callee.answer(arrived, 180)
    caller.got(180)
    sent = callee.answer(arrived, status, reason=REASONS[status], headers=SAID)
    refusal = caller.got(status)
    assert refusal.raw.startswith(f"SIP/2.0 {status} {REASONS[status]}\r\n".encode())
    for line in SAID:
        assert line.encode() in refusal.raw.split(b"\r\n")
    callee.got("ACK")
    callee.send(sent)
    callee.got("ACK")  # from our end again
    stage.world.wait(0.6)
    assert caller.got(status).raw == refusal.raw
    caller.ack_failure(invite, refusal)
    stage.world.wait(3)
    for side in (stage.world.lan_side, stage.world.public_side):
        assert not side.plane.held
    stage.assert_empty()


@flow("failure", basic=True)
@pytest.mark.parametrize("status", [405, 420, 421, 423, 433, 438, 485, 489, 505])
def test_rarer_ones(stage: Stage, status: int) -> None:
    """T12: any status of the registered ones, and before it rang."""
    callee, caller = stage.callee, stage.caller
    invite = stage.invite()
    callee.answer(callee.got("INVITE"), status, headers=("Allow: INVITE", "Unsupported: foo", "Require: foo"))
    refusal = caller.got(status)
    for name, value in (("allow", b"INVITE"), ("unsupported", b"foo"), ("require", b"foo")):
        assert [header.value for header in refusal.all(name)] == [value]
    caller.ack_failure(invite, refusal)
    callee.got("ACK")
    stage.assert_empty()


@flow("failure")
def test_nobody_answers_at_all(stage: Stage) -> None:
    """T12: the callee is switched off: after 32 s the caller gets 408 from us, and the ports go."""
    invite = stage.invite()
    stage.world.wait(32.1)
    stage.callee.lose()
    stage.caller.ack_failure(invite, stage.caller.got(408))
    stage.assert_empty()


@flow("failure")
def test_it_rings_for_ever(stage: Stage) -> None:
    """B6: after Timer C, three minutes, the callee is cancelled and the caller told."""
    callee, caller = stage.callee, stage.caller
    invite = stage.invite()
    arrived = callee.got("INVITE")
    callee.answer(arrived, 180)
    caller.got(180)
    stage.world.wait(181)
    callee.answer(callee.got("CANCEL"), 200)
    callee.answer(arrived, 487)
    callee.got("ACK")
    caller.ack_failure(invite, caller.got(487))
    stage.assert_empty()


@flow("failure", basic=True)
@pytest.mark.parametrize("status", [401, 407])
def test_a_challenge_of_the_callee(stage: Stage, status: int) -> None:
    """H1, H4: a challenge passes where the challenger is trusted; a stranger's becomes 403 inside."""
    header = "WWW-Authenticate" if status == 401 else "Proxy-Authenticate"
    invite = stage.invite()
    challenge = f'{header}: Digest realm="callee.example", nonce="n", algorithm=SHA-256, qop="auth"'
    stage.callee.answer(stage.callee.got("INVITE"), status, headers=(challenge,))
    stage.callee.got("ACK")
    is_stranger = stage.way == "C" and stage.caller_inside  # a worker is nobody's registrar, proxy or trunk
    final = stage.caller.got(403 if is_stranger else status)
    assert final.lines(header.lower()) == ([] if is_stranger else [challenge.encode()])
    stage.caller.ack_failure(invite, final)
    stage.assert_empty()
