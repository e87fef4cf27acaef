"""ICE is taken out in both directions: the peers see a plain call, and none sees a mismatch (RFC 8839, RFC 8840)."""

from __future__ import annotations

import re

import pytest
from support.describe import describe, unplaced
from support.flow_table import flow
from support.ladder import Dialog, Phone
from support.stage import Stage, Talk

SESSION = (
    "a=ice-options:trickle ice2",
    "a=ice-lite",
    "a=ice-pacing:50",
    "a=ice-ufrag:sess",
    "a=ice-pwd:01234567890123456789",
)
MEDIA = (
    "a=ice-ufrag:8hhY",
    "a=ice-pwd:asd88fgpdd777uzjYhagZg",
    "a=candidate:1 1 UDP 2130706431 {host} 6000 typ host",
    "a=candidate:2 1 UDP 1694498815 198.51.100.77 45664 typ srflx raddr {host} rport 6000",
    "a=candidate:3 1 UDP 16777215 192.0.2.15 3478 typ relay raddr 198.51.100.77 rport 45664",
    "a=candidate:4 1 TCP 1518280447 {host} 9 typ host tcptype active",
    "a=remote-candidates:1 192.0.2.3 45664",
    "a=end-of-candidates",
    "a=ice-mismatch",
)
KEPT = ("a=rtcp-mux", "a=rtpmap:0 PCMU/8000", "a=ptime:20", "a=x-icecream:vanilla", "a=sendrecv")
ICE = re.compile(rb"candidate|a=ice-", re.IGNORECASE)


def full_ice(phone: Phone, version: int = 1, port: int = 0) -> bytes:
    return describe(phone, [f"m=audio {port or phone.port} RTP/AVP 0", *MEDIA, *KEPT], session=SESSION, version=version)


def plain(phone: Phone, version: int = 1) -> bytes:
    """The same without ICE."""
    return describe(phone, [f"m=audio {phone.port} RTP/AVP 0", *KEPT], version=version)


@flow("ice-stripped", basic=True)
@pytest.mark.parametrize("answers_with_ice", [True, False])
def test_no_candidate_passes(stage: Stage, answers_with_ice: bool) -> None:
    """S4-20, J: none in the offer, none in the answer, at session and media level; the other lines stay; audio passes."""
    answer = full_ice(stage.callee) if answers_with_ice else plain(stage.callee)
    talk = stage.talk(body=full_ice(stage.caller), answer=answer, headers=("Supported: trickle-ice, timer",))
    assert not ICE.search(talk.arrived.body)
    assert not ICE.search(talk.answer.body)
    assert unplaced(talk.arrived.body) == unplaced(plain(stage.caller))
    assert unplaced(talk.answer.body) == unplaced(plain(stage.callee))
    assert [value.text for value in talk.arrived.values("supported")] == [b"timer"]
    stage.assert_audio()
    talk.hang_up()
    stage.assert_empty()


@flow("ice-stripped")
@pytest.mark.parametrize("who", ["caller", "callee"])
@pytest.mark.parametrize("method", ["INVITE", "UPDATE"])
def test_nor_in_a_later_exchange(stage: Stage, who: str, method: str) -> None:
    """S4-20: an ICE restart looks like a re-INVITE of a plain phone."""
    talk = stage.talk()
    one = getattr(talk, who)
    other = talk.other(one)
    offer, answer = talk.offer(one, full_ice(one.phone, 2, 6880), full_ice(other.phone, 2), method=method)
    for message in (offer, answer):
        assert not ICE.search(message.body)
    stage.assert_audio()
    talk.hang_up()
    stage.assert_empty()


@flow("ice-stripped")
def test_nor_in_early_and_offerless_exchanges(stage: Stage) -> None:
    """S4-20, DEC6: 183 with the offer, PRACK with the answer."""
    caller, callee = stage.caller, stage.callee
    invite = stage.invite(body=b"", headers=("Supported: 100rel",))
    arrived = callee.got("INVITE")
    callee.answer(arrived, 183, headers=("Require: 100rel", "RSeq: 1"), body=full_ice(callee))
    early = caller.got(183)
    calling = Dialog.of_caller(caller, invite, early)
    dialog = Dialog.of_callee(callee, arrived, callee.tag)
    talk = Talk(calling, dialog, invite, arrived, early)
    prack, _ = talk.request(calling, "PRACK", headers=("RAck: 1 1 INVITE",), body=full_ice(caller))
    for message in (early, prack):
        assert not ICE.search(message.body)
    callee.answer(arrived, 200)
    caller.got(200)
    calling.ack(cseq=1)
    callee.got("ACK")
    stage.assert_audio()
    talk.hang_up()
    stage.assert_empty()


@flow("ice-stripped")
@pytest.mark.parametrize("who", ["caller", "callee"])
def test_candidates_that_trickle(stage: Stage, who: str) -> None:
    """S4-20, J: INFO with candidates is answered 469 by our end and goes no further (RFC 8840)."""
    talk = stage.talk()
    one = getattr(talk, who)
    body = b"a=mid:a\r\na=candidate:1 1 UDP 2130706431 10.1.0.50 6000 typ host\r\n"
    one.send("INFO", headers=("Info-Package: trickle-ice", "Content-Type: application/trickle-ice-sdpfrag"), body=body)
    one.phone.got(469)
    stage.assert_quiet()
    stage.assert_audio()
    talk.hang_up()
    stage.assert_empty()
