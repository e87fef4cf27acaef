"""The exchanges of offers and answers that RFC 3261, 3262 and 3311 allow (RFC 6337 table 1), each from either side."""

from __future__ import annotations

from typing import TypeAlias

import pytest
from support.media_pair import CALLER_IP, LAN_IP, PUBLIC_IP, TRUNK_IP, MediaPair, ports, sdp

from tunnel.media.exchange import Carriage
from tunnel.media.offer_answer import ROOT

OPENING, PREVIEW, REPLY = Carriage.OPENING, Carriage.PREVIEW, Carriage.REPLY

Words: TypeAlias = tuple[str, Carriage, bytes, int]  # who, in what, dialog, version of the description

EXCHANGES: dict[str, list[Words]] = {
    "INVITE, 2xx": [("caller", OPENING, ROOT, 1), ("callee", REPLY, b"b1", 1)],
    "INVITE, 18x, 2xx the same": [
        ("caller", OPENING, ROOT, 1),
        ("callee", PREVIEW, b"b1", 1),
        ("callee", PREVIEW, b"b1", 1),
        ("callee", REPLY, b"b1", 1),
    ],
    "INVITE, reliable 1xx": [("caller", OPENING, ROOT, 1), ("callee", REPLY, b"b1", 1)],
    "2xx, ACK": [("callee", REPLY, b"b1", 1), ("caller", REPLY, b"b1", 1)],
    "reliable 1xx, PRACK": [("callee", REPLY, b"b1", 1), ("caller", REPLY, b"b1", 1)],
    "PRACK, 200": [
        ("caller", OPENING, ROOT, 1),
        ("callee", REPLY, b"b1", 1),
        ("caller", REPLY, b"b1", 2),
        ("callee", REPLY, b"b1", 2),
    ],
    "UPDATE of the caller": [
        ("caller", OPENING, ROOT, 1),
        ("callee", REPLY, b"b1", 1),
        ("caller", OPENING, b"b1", 2),
        ("callee", REPLY, b"b1", 2),
    ],
    "UPDATE of the callee": [
        ("caller", OPENING, ROOT, 1),
        ("callee", REPLY, b"b1", 1),
        ("callee", OPENING, b"b1", 2),
        ("caller", REPLY, b"b1", 2),
    ],
    "offerless re-INVITE": [
        ("caller", OPENING, ROOT, 1),
        ("callee", REPLY, b"b1", 1),
        ("callee", REPLY, b"b1", 2),
        ("caller", REPLY, b"b1", 2),
    ],
}


def speak(pair: MediaPair, caller: str, words: Words) -> bytes:
    who, carriage, fork, version = words
    side = caller if who == "caller" else ("outside" if caller == "inside" else "inside")
    host, port = (CALLER_IP, 40000) if side == "inside" else (TRUNK_IP, 6000)
    body: bytes = getattr(pair, side)(sdp(host, str(port + 2 * version), version=version), carriage, fork)
    return body


@pytest.mark.parametrize("caller", ["inside", "outside"])
@pytest.mark.parametrize("name", EXCHANGES)
def test_every_legal_exchange(name: str, caller: str) -> None:
    """I1, I2, I3: what is offer and what answer follows from the state; one port a face throughout; the last words hold."""
    pair = MediaPair()
    script = EXCHANGES[name]
    said = [(words, speak(pair, caller, words)) for words in script]
    pair.settle()
    public = {ports(body)[0] for _, body in said if PUBLIC_IP.encode() in body}
    lan = {ports(body)[0] for _, body in said if LAN_IP.encode() in body}
    assert len(public) == len(lan) == 1
    version = script[-1][3]
    phone, trunk = (CALLER_IP, 40000 + 2 * version), (TRUNK_IP, 6000 + 2 * version)
    assert pair.audio_out(phone, min(lan)) == ((PUBLIC_IP, min(public)), trunk)
    assert pair.audio_in(trunk, min(public)) == ((LAN_IP, min(lan)), phone)
    same = [body for (_, _, _, v), body in said if v == version and PUBLIC_IP.encode() in body]
    assert len(set(same)) == 1
    pair.close()
    pair.assert_nothing_left()


@pytest.mark.parametrize("caller", ["inside", "outside"])
def test_words_after_the_answer_change_nothing_and_leave_with_our_ports(caller: str) -> None:
    """I1: SDP that repeats itself after the answer is no new offer, and names no address of the other side."""
    pair = MediaPair()
    for words in EXCHANGES["INVITE, 2xx"]:
        last = speak(pair, caller, words)
    calls = len(pair.agent.plane.calls), len(pair.server.plane.calls)
    assert speak(pair, caller, ("callee", REPLY, b"b1", 1)) == last
    assert (len(pair.agent.plane.calls), len(pair.server.plane.calls)) == calls


def test_an_offerless_reinvite_brings_a_stream_back(pair: MediaPair) -> None:
    """I7: the 2xx of an offerless re-INVITE may offer a stream again that was switched off: it gets its old ports."""
    with_video = [sdp(host, "4000", "video 4002 RTP/AVP 31") for host in (CALLER_IP, TRUNK_IP)]
    without = [sdp(host, "4000", "video 0 RTP/AVP 31") for host in (CALLER_IP, TRUNK_IP)]
    public, lan = ports(pair.inside(with_video[0], OPENING, ROOT)), ports(pair.outside(with_video[1]))
    pair.settle()
    pair.inside(without[0], OPENING)
    pair.outside(without[1])
    assert ports(pair.outside(with_video[1])) == lan
    assert ports(pair.inside(with_video[0])) == public
    assert pair.audio_out((CALLER_IP, 4002), lan[1]) == ((PUBLIC_IP, public[1]), (TRUNK_IP, 4002))
