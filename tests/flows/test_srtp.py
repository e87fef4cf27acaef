"""Keys between the phones: SDES (RFC 4568) and DTLS-SRTP (RFC 5763, 8842) pass to the byte, in every exchange."""

from __future__ import annotations

import pytest
from support.describe import describe, unplaced
from support.flow_table import flow
from support.ladder import Phone, places_in
from support.stage import Stage

KEYS = (
    "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj|2^20|1:32 WSH=64",
    "a=crypto:2 AES_CM_128_HMAC_SHA1_32 inline:NzB4d1BINUAvLEw6UzF3WSJ+PSdFcGdUJShpX1Zj|2^20|1:32",
    "a=crypto:3 AEAD_AES_256_GCM inline:0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrst+/AAAA==  UNENCRYPTED_SRTCP",
)
FINGERPRINT = "a=fingerprint:SHA-256 " + ":".join(f"{n:02X}" for n in range(32))
DTLS = (FINGERPRINT, "a=tls-id:89JHGFd98jhg7uqwe", "a=rtcp-mux", "a=ssrc:314159 cname:8a7b")
IDENTITY = "Identity: bm90IGEgc2lnbmF0dXJl;info=<https://cert.example/c.pem>;alg=ES256;ppt=shaken"


def secure(phone: Phone, proto: str, *lines: str, port: int = 0, version: int = 1) -> bytes:
    return describe(phone, [f"m=audio {port or phone.port} {proto} 0", *lines], version=version)


@flow("srtp-sdes", basic=True)
@pytest.mark.parametrize("proto", ["RTP/SAVP", "RTP/SAVPF"])
def test_sdes_keys(stage: Stage, proto: str) -> None:
    """T22, S1-9, J: all crypto lines are the same bytes, also in a re-INVITE with the same and with other keys."""
    offer, answer = secure(stage.caller, proto, *KEYS), secure(stage.callee, proto, KEYS[1])
    talk = stage.talk(body=offer, answer=answer)
    assert [unplaced(talk.arrived.body), unplaced(talk.answer.body)] == [unplaced(offer), unplaced(answer)]
    stage.assert_audio()
    told = stage.caller.agreed[1], stage.callee.agreed[1]
    talk.offer(talk.caller, offer, answer)
    assert (stage.caller.agreed[1], stage.callee.agreed[1]) == told
    fresh = secure(stage.callee, proto, KEYS[2], version=2), secure(stage.caller, proto, KEYS[2], version=2)
    rekeyed, agreed = talk.offer(talk.callee, *fresh)
    assert [unplaced(rekeyed.body), unplaced(agreed.body)] == [unplaced(body) for body in fresh]
    assert places_in(rekeyed.body) == places_in(told[0])
    stage.assert_audio()
    talk.hang_up()
    stage.assert_empty()


@flow("srtp-sdes")
def test_sdes_or_plain(stage: Stage) -> None:
    """J: best-effort encryption: a second m-line without keys, or a refusal and a plain offer after it."""
    lines = [["m=audio 6000 RTP/SAVP 0", *KEYS[:1]], ["m=audio 6002 RTP/AVP 0"]]
    offer = describe(stage.caller, *lines)
    answer = describe(stage.callee, ["m=audio 0 RTP/SAVP 0"], ["m=audio 7000 RTP/AVP 0"])
    talk = stage.talk(body=offer, answer=answer)
    assert unplaced(talk.arrived.body) == unplaced(offer)
    stage.assert_audio(stream=1)
    talk.refused(talk.callee, secure(stage.callee, "RTP/SAVP", KEYS[0]), 488)
    stage.assert_audio(stream=1)
    talk.hang_up()
    stage.assert_empty()


@flow("srtp-dtls")
@pytest.mark.parametrize("proto", ["UDP/TLS/RTP/SAVP", "UDP/TLS/RTP/SAVPF"])
def test_dtls_fingerprints(stage: Stage, proto: str) -> None:
    """S1-9, DEC2, E, J: fingerprint, setup and tls-id are the same bytes; so are Identity and Date, which sign them."""
    offer = secure(stage.caller, proto, *DTLS, "a=setup:actpass", "a=identity:eyJpZHAiOiJ4In0=")
    answer = secure(stage.callee, proto, *DTLS, "a=setup:active", "a=connection:new")
    date = "Date: Thu, 21 Nov 2024 12:00:00 GMT"
    talk = stage.talk(body=offer, answer=answer, headers=(IDENTITY, date))
    assert [unplaced(talk.arrived.body), unplaced(talk.answer.body)] == [unplaced(offer), unplaced(answer)]
    assert talk.arrived.lines("identity") == [IDENTITY.encode()]
    assert talk.arrived.lines("date") == [date.encode()]
    stage.assert_audio()
    again = secure(stage.callee, proto, *DTLS, "a=setup:actpass", port=7800, version=2)
    offer2, _ = talk.offer(talk.callee, again, secure(stage.caller, proto, *DTLS, "a=setup:passive", version=2))
    assert unplaced(offer2.body) == unplaced(again)
    stage.assert_audio()
    talk.hang_up()
    stage.assert_empty()


@flow("srtp-dtls")
def test_fingerprints_at_session_level(stage: Stage) -> None:
    """J: one fingerprint for all m-lines."""
    offer = describe(
        stage.caller, ["m=audio 6000 UDP/TLS/RTP/SAVP 0"], session=(FINGERPRINT, "a=setup:actpass", "a=tls-id:0123")
    )
    talk = stage.talk(body=offer, answer=secure(stage.callee, "UDP/TLS/RTP/SAVP", *DTLS, "a=setup:active"))
    assert unplaced(talk.arrived.body) == unplaced(offer)
    stage.assert_audio()
    talk.hang_up()
    stage.assert_empty()


@flow("srtp-dtls")
def test_forked_answers_are_kept_apart(stage: Stage) -> None:
    """I4, J: two phones answer early with fingerprints of their own: each has its own port, neither hears the other."""
    caller, proto = stage.caller, "UDP/TLS/RTP/SAVP"
    second = stage.second_callee()
    stage.invite(body=secure(caller, proto, *DTLS, "a=setup:actpass"), call_id="forked")
    early = []
    for n, phone in enumerate((stage.callee, second)):
        own = FINGERPRINT.replace("00:01", f"A{n}:B{n}")
        phone.answer(phone.got("INVITE"), 183, body=secure(phone, proto, own, "a=setup:active"))
        early.append(caller.got(183))
        assert own.encode() in early[n].body
    assert places_in(early[0].body) != places_in(early[1].body)
    for phone in (stage.callee, second):
        assert stage.reaches(phone, caller)
        phone.lose()
    stage.world.wait(400)
    stage.caller.lose()
    for phone in (stage.callee, second):
        phone.lose()
    stage.assert_empty()
