"""The table of SIP-RULES J row by row, as the other side sees it: a call's offer and answer through both ends."""

from __future__ import annotations

import pytest
from support.media_pair import CALLER_IP, LAN_IP, PHONE, PUBLIC_IP, TRUNK, TRUNK_IP, MediaPair, aim_outside, ports, sdp

from tunnel.address import Address
from tunnel.media.exchange import Carriage
from tunnel.media.offer_answer import ROOT
from tunnel.media.plane import CannotRelay, Kind

OPENING = Carriage.OPENING


def lines(body: bytes) -> list[str]:
    return body.decode().split("\r\n")


def offered(pair: MediaPair, *below: str, head: str = "40000", session: str = "", host: str = CALLER_IP) -> list[str]:
    """The lines of an offer from inside as they leave outside."""
    return lines(pair.inside(sdp(host, "|".join([head, *below]), session=session), OPENING, ROOT))


def changed(before: bytes, after: list[str]) -> list[str]:
    """The lines that are not as the sender wrote them."""
    return [new for old, new in zip(lines(before), after, strict=True) if old != new]


def test_lines_that_are_nobodys_business(pair: MediaPair) -> None:
    """J: v= s= t= r= z= k= i= u= e= p= b= and all attributes that name no transport address pass to the byte."""
    session = "i=x|u=http://example.org/|e=a@example.org|p=+1 555|b=AS:64|r=7d 1h 0 25h|z=0 -1h|k=clear:x|a=tool:y z"
    below = (
        "i=voice|b=TIAS:64000|a=sendrecv|a=ptime:20|a=maxptime:40|a=rtpmap:96 opus/48000/2|a=fmtp:96 useinbandfec=1"
        "|a=rtcp-fb:* nack|a=extmap:1 urn:x|a=ssrc:1 cname:x|a=ssrc-group:FID 1 2|a=msid:- t|a=label:1|a=content:main"
        "|a=imageattr:96 send *|a=framerate:30|a=silenceSupp:off - - - -|a=zrtp-hash:1.10 0123|a=quality:5|a=X-nat:0"
        "|a=alt:1 1 x|a=path:msrp://x|a=unknown thing"
    )
    before = sdp(CALLER_IP, f"40000|{below}", session=session)
    after = lines(pair.inside(before, OPENING, ROOT))
    assert changed(before, after) == [
        f"o=- 1 1 IN IP4 {PUBLIC_IP}",
        f"c=IN IP4 {PUBLIC_IP}",
        "m=audio 20000 RTP/AVP 0 101",
    ]


def test_origin_keeps_its_numbers_and_gets_one_address(pair: MediaPair) -> None:
    """J: o= keeps user, session id and version; its address is the same in every message of the dialog and face."""
    first = sdp(CALLER_IP, "40000").replace(b"o=- 1 1 ", b"o=jdoe x 2890844526 2890842807 ")
    then = sdp("10.1.0.21", "40002").replace(b"o=- 1 1 ", b"o=jdoe x 2890844526 2890842808 ")
    said = [pair.inside(body, OPENING, ROOT) for body in (first, then)]
    assert [lines(body)[1] for body in said] == [f"o=jdoe x 2890844526 289084280{n} IN IP4 {PUBLIC_IP}" for n in (7, 8)]


def test_connection_lines_stay_at_their_level(pair: MediaPair) -> None:
    """J: c= is replaced where it stands, each of several; hold addresses stay."""
    after = offered(pair, "c=IN IP4 10.1.0.21", "c=IN IP4 10.1.0.22")
    assert after[3] == f"c=IN IP4 {PUBLIC_IP}"
    assert after[6:8] == [f"c=IN IP4 {PUBLIC_IP}"] * 2
    assert pair.agent.plane.ties == {}
    pair.outside(sdp(TRUNK_IP, "6000"))
    aim = pair.agent.plane.aim_of(16)
    assert aim is not None
    assert aim.rtp == Address("10.1.0.21", 40000), "the first of several is used"


@pytest.mark.parametrize("host", ["0.0.0.0", "hold.invalid"])
def test_a_hold_address_passes(host: str) -> None:
    """J: 0.0.0.0, :: and .invalid mean hold on the other side too."""
    assert f"c=IN IP4 {host}" in offered(MediaPair(), host=host)
    assert "c=IN IP6 ::" in offered(MediaPair(), host="::")


@pytest.mark.parametrize("head", ["audio 40000/2 RTP/AVP 0", "audio 40000 RTP/AVP 0|c=IN IP4 224.2.1.1/127"])
def test_multicast_and_several_port_pairs_get_488(pair: MediaPair, head: str) -> None:
    """J: what one lease cannot carry is refused with 488, and nothing is held for it."""
    with pytest.raises(CannotRelay) as refusal:
        pair.inside(sdp(CALLER_IP, head), OPENING, ROOT)
    assert (refusal.value.status, bool(refusal.value.warning)) == (488, True)
    assert pair.agent.channels.in_use == 0


def test_a_name_is_learnt_from_the_sip_source(pair: MediaPair) -> None:
    """J: a name in c= is not resolved: it leaves as our address, and its party is learnt like one without an address."""
    pair.inside(sdp(CALLER_IP, "40000"), OPENING, ROOT)
    answer = pair.outside(sdp("media.example.org", "6000"))
    assert answer == sdp(LAN_IP, "30000")
    assert (aim_outside(pair).rtp, aim_outside(pair).sip_source) == (None, TRUNK_IP)
    assert pair.audio_in((TRUNK_IP, 1024), 20000) is not None
    assert pair.server.counters["media.unusable_address"] == 1


def test_a_stream_switched_off_needs_no_connection_line(pair: MediaPair) -> None:
    """J: video with port 0 and no c= beside audio with its own: legal, 0 stays 0, no lease (kamailio#3406)."""
    pair.inside(sdp(CALLER_IP, "40000", "video 40002 RTP/AVP 31"), OPENING, ROOT)
    answer = sdp(TRUNK_IP, f"6000|c=IN IP4 {TRUNK_IP}", "video 0 RTP/AVP 31").replace(
        b"c=IN IP4 198.51.100.7\r\nt=", b"t="
    )
    back = pair.outside(answer)
    assert ports(back) == [30000, 0]
    assert back.count(b"c=IN IP4 " + LAN_IP.encode()) == 1
    assert len(pair.agent.plane.held) == 1


def test_m_lines_keep_number_and_order(pair: MediaPair) -> None:
    """J: count, order, transports and formats of m-lines stay, whatever becomes of their ports."""
    media = [
        "video 40002 RTP/AVP 31 34",
        "40000",
        "image 0 udptl t38",
        "message 2855 TCP/MSRP *",
        "audio 40008 RTP/AVPF 8",
    ]
    after = [line for line in lines(pair.inside(sdp(CALLER_IP, *media), OPENING, ROOT)) if line.startswith("m=")]
    assert after == [
        "m=video 20000 RTP/AVP 31 34",
        "m=audio 20002 RTP/AVP 0 101",
        "m=image 0 udptl t38",
        "m=message 0 TCP/MSRP *",
        "m=audio 20004 RTP/AVPF 8",
    ]


@pytest.mark.parametrize(
    ("proto", "kind"),
    [
        *((f"audio {{}} {proto} 0", Kind.AUDIO) for proto in ("RTP/AVP", "RTP/AVPF", "RTP/SAVP", "RTP/SAVPF")),
        *((f"video {{}} {proto} 31", Kind.VIDEO) for proto in ("UDP/TLS/RTP/SAVP", "UDP/TLS/RTP/SAVPF", "rtp/avp")),
        *((f"image {{}} {proto} t38", Kind.FAX) for proto in ("udptl", "UDPTL", "UDP/TLS/UDPTL")),
        *((f"application {{}} {proto} *", Kind.OTHER) for proto in ("UDP/BFCP", "UDP/TLS/BFCP", "UDP/DTLS/SCTP")),
    ],
)
def test_transports_that_are_relayed(pair: MediaPair, proto: str, kind: Kind) -> None:
    """J, L9: each of these gets a lease on both faces; what is not RTP has no RTCP and no rules of SSRC."""
    (public,) = ports(pair.inside(sdp(CALLER_IP, proto.format(40000)), OPENING, ROOT))
    (lan,) = ports(pair.outside(sdp(TRUNK_IP, proto.format(6000))))
    assert pair.audio_out(PHONE, lan) == ((PUBLIC_IP, public), TRUNK)
    aim = aim_outside(pair)
    is_rtp = "RTP/" in proto.upper()
    assert (aim.kind, aim.rtp_like, aim.rtcp is not None) == (kind, is_rtp, is_rtp)
    assert aim.is_secure is ("SAVP" in proto or "TLS" in proto)


@pytest.mark.parametrize(
    "proto", ["TCP/RTP/AVP", "TCP/MSRP", "TCP/TLS/MSRP", "TCP/BFCP", "TCP/TLS/BFCP", "TCP/DTLS/SCTP", "UNKNOWN"]
)
def test_transports_that_are_not(pair: MediaPair, proto: str) -> None:
    """J: beside audio the line stays with port 0, in offers and answers; alone it gets 488; it is counted."""
    other = f"application 9 {proto} *|a=setup:actpass|a=connection:new"
    assert ports(pair.inside(sdp(CALLER_IP, "40000", other), OPENING, ROOT)) == [20000, 0]
    answer = pair.outside(sdp(TRUNK_IP, "6000", other))
    assert ports(answer) == [30000, 0]
    assert b"a=setup:actpass\r\na=connection:new\r\n" in answer
    assert (pair.agent.counters["media.refused_transport"], pair.server.counters["media.refused_transport"]) == (2, 2)
    with pytest.raises(CannotRelay):
        pair.inside(sdp(CALLER_IP, other), OPENING)


@pytest.mark.parametrize(
    ("said", "leaves"),
    [
        ("a=rtcp:40001", "a=rtcp:20001"),
        ("a=rtcp:53020", "a=rtcp:20001"),
        ("a=rtcp:53020 IN IP4 10.1.0.22", f"a=rtcp:20001 IN IP4 {PUBLIC_IP}"),
        ("a=rtcp:40000", "a=rtcp:20000"),
        ("a=rtcp:0", "a=rtcp:0"),
    ],
)
def test_rtcp_lines(pair: MediaPair, said: str, leaves: str) -> None:
    """J: a=rtcp names the lease's RTCP port, its address if it named one; ours is RTP + 1, so none needs to be added."""
    assert leaves in offered(pair, said)
    assert not [line for line in offered(MediaPair()) if line.startswith("a=rtcp")]


@pytest.mark.parametrize("attribute", ["a=rtcp-mux", "a=rtcp-mux-only"])
def test_rtcp_mux_passes_and_holds_once_it_was_accepted(pair: MediaPair, attribute: str) -> None:
    """J: until the answer accepts it RTCP has its own port; after that none, whatever later offers say (RFC 5761, 8858)."""
    assert attribute in offered(pair, attribute)
    pair.outside(sdp(TRUNK_IP, f"6000|{attribute}"))
    assert (aim_outside(pair).mux, aim_outside(pair).rtcp) == (True, Address(*TRUNK))
    pair.inside(sdp(CALLER_IP, "40000"), OPENING)
    pair.outside(sdp(TRUNK_IP, "6000"))
    assert aim_outside(pair).mux


ICE_SESSION = "a=ice-lite|a=ice-options:trickle ice2|a=ice-ufrag:s|a=ice-pwd:sssssssssssssssssssssss|a=ice-pacing:50"
ICE_MEDIA = (
    "a=ice-ufrag:8hhY|a=ice-pwd:asd88fgpdd777uzjYhagZg|a=ice-mismatch|a=remote-candidates:1 10.1.0.9 9"
    "|a=candidate:1 1 UDP 2130706431 10.1.0.20 40000 typ host"
    "|a=CANDIDATE:2 1 udp 1 10.1.0.20 40001 typ srflx raddr 10.1.0.20 rport 9"
    "|a=end-of-candidates|a=acap:1 candidate:1 1 UDP 1 10.1.0.20 40000 typ host|a=acap:2 ice-ufrag:x"
)


@pytest.mark.parametrize("speaker", ["inside", "outside"])
def test_ice_is_removed_from_offers_and_answers_of_both_sides(speaker: str) -> None:
    """J, S4-20: at session and media level, so that neither side sees candidates or a mismatch; the rest stays."""
    other = "outside" if speaker == "inside" else "inside"
    hosts = {"inside": CALLER_IP, "outside": TRUNK_IP}
    pair = MediaPair()
    below = f"40000|a=mid:0|{ICE_MEDIA}|a=acap:3 crypto:1 x|a=sendrecv"
    said = [
        getattr(pair, speaker)(sdp(hosts[speaker], below, session=ICE_SESSION), OPENING, ROOT),
        getattr(pair, other)(sdp(hosts[other], below, session=ICE_SESSION)),
    ]
    for body in said:
        assert [line for line in lines(body) if "ice" in line.lower() or "candidate" in line.lower()] == []
        assert lines(body)[6:] == ["a=mid:0", "a=acap:3 crypto:1 x", "a=sendrecv", ""]
        assert b"10.1.0.20" not in body


def test_an_address_that_comes_with_candidates_is_no_hold(pair: MediaPair) -> None:
    """J, S4-20: 0.0.0.0 port 9 of an agent that trickles: without its candidates it is learnt, not put on hold."""
    trickling = "audio 9 RTP/AVP 0|c=IN IP4 0.0.0.0|a=rtcp:9 IN IP4 0.0.0.0|a=ice-ufrag:x|a=ice-pwd:y"
    after = lines(pair.inside(sdp(CALLER_IP, trickling), OPENING, ROOT))
    assert "m=audio 20000 RTP/AVP 0" in after
    assert after.count(f"c=IN IP4 {PUBLIC_IP}") == 2
    (lan,) = ports(pair.outside(sdp(TRUNK_IP, "6000")))
    assert pair.audio_out((CALLER_IP, 51000), lan) == ((PUBLIC_IP, 20000), TRUNK)
    assert not any(view.is_held for view in pair.agent.media.streams())
    at_session = sdp("0.0.0.0", "audio 9 RTP/AVP 0|a=sendrecv", session="a=ice-ufrag:x|a=ice-pwd:y")
    assert f"c=IN IP4 {PUBLIC_IP}" in lines(MediaPair().inside(at_session, OPENING, ROOT))
    held = "audio 40000 RTP/AVP 0|c=IN IP4 0.0.0.0|a=ice-ufrag:x|a=ice-pwd:y"
    assert "c=IN IP4 0.0.0.0" in lines(MediaPair().inside(sdp(CALLER_IP, held), OPENING, ROOT))


def test_keys_fingerprints_and_their_companions_pass(pair: MediaPair) -> None:
    """J, T22, S1-9: a=crypto, all of them, a=fingerprint, setup, tls-id, identity and connection to the byte."""
    keys = (
        "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj",
        "a=crypto:2 AES_CM_128_HMAC_SHA1_32 inline:NzB4d1BINUAvLEw6UzF3WSJ+PSdFcGdUJShpX1Zj UNENCRYPTED_SRTCP",
        "a=fingerprint:SHA-256 4A:AD:B9:B1:3F",
        "a=fingerprint:sha-1 4a:ad:b9",
        "a=setup:actpass",
        "a=tls-id:abc3de65cddef001be82",
        "a=identity:eyJpZHAi",
        "a=connection:new",
    )
    assert offered(pair, *keys)[6:-1] == list(keys)
    answer = lines(pair.outside(sdp(TRUNK_IP, "|".join(["6000", *keys]))))
    assert answer[6:-1] == list(keys)


def test_source_filters_go_and_other_address_lines_stay(pair: MediaPair) -> None:
    """J: a=source-filter names an address of the other side; a=path, a=alt and a=X-nat are left alone."""
    after = offered(
        pair, "a=source-filter:incl IN IP4 * 10.1.0.20", "a=X-nat:0", "a=alt:1 2 x", session="a=source-filter: excl x"
    )
    assert after[5:-1] == ["m=audio 20000 RTP/AVP 0 101", "a=X-nat:0", "a=alt:1 2 x"]


@pytest.mark.parametrize(
    ("separator", "tail"), [("\n", ""), ("\n", "\n"), ("\r\n", ""), ("\r", "\r"), (" \r\n", "\r\n\r\n")]
)
def test_untidy_descriptions_leave_as_untidy(pair: MediaPair, separator: str, tail: str) -> None:
    """J: bare LF or CR, trailing spaces, no last line end, two copies: each is rewritten as it was (rtpengine#1182)."""

    def text(host: str, port: int) -> bytes:
        copy = separator.join(
            ["v=0", f"o=- 1 1 IN IP4 {host}", "s=-", f"c=IN IP4 {host}", "t=0 0", f"m=audio {port} RTP/AVP 0"]
        )
        return (copy + separator.strip(" ") + copy + tail).encode()

    assert pair.inside(text(CALLER_IP, 40000), OPENING, ROOT) == text(PUBLIC_IP, 20000)


def test_telephone_event_by_any_number(pair: MediaPair) -> None:
    """N2: the payload type of DTMF is read from the SDP of either party, 96 to 127 or below (baresip#72)."""
    dynamic = "audio {} RTP/AVP 0 {}|a=rtpmap:{} telephone-event/{}"
    pair.inside(sdp(CALLER_IP, dynamic.format(40000, 120, 120, 8000)), OPENING, ROOT)
    pair.outside(sdp(TRUNK_IP, dynamic.format(6000, 97, 97, 48000)))
    assert aim_outside(pair).dtmf == {97, 120}


def test_a_reinvite_answered_from_another_port_is_followed(pair: MediaPair) -> None:
    """T16, I3: the answer of a re-INVITE names another port: media follow, our ports stay (asterisk#1158)."""
    (public,) = ports(pair.inside(sdp(CALLER_IP, "40000"), OPENING, ROOT))
    (lan,) = ports(pair.outside(sdp(TRUNK_IP, "6000")))
    pair.settle()
    assert ports(pair.inside(sdp(CALLER_IP, "40000", version=2), OPENING)) == [public]
    assert ports(pair.outside(sdp("198.51.100.90", "7000", version=2))) == [lan]
    assert pair.audio_out(PHONE, lan) == ((PUBLIC_IP, public), ("198.51.100.90", 7000))
    assert pair.audio_in(("198.51.100.90", 7000), public) == ((LAN_IP, lan), PHONE)


def test_hold_in_the_first_invite(pair: MediaPair) -> None:
    """T16: an INVITE that begins on hold gets ports, and audio once it is resumed (rtpengine#702)."""
    body = pair.inside(sdp("0.0.0.0", "40000|a=inactive"), OPENING, ROOT)
    (lan,) = ports(pair.outside(sdp(TRUNK_IP, "6000|a=inactive")))
    pair.settle()
    pair.inside(sdp(CALLER_IP, "40000"), OPENING)
    pair.outside(sdp(TRUNK_IP, "6000"))
    assert pair.audio_out(PHONE, lan) == ((PUBLIC_IP, ports(body)[0]), TRUNK)


def test_ipv4_and_ipv6_parties_in_both_directions() -> None:
    """S3-12, J: c= and o= carry the family of the face they leave by, offers and answers, either way (rtpengine#781)."""
    for caller in ("inside", "outside"):
        pair = MediaPair(lan="fd00::2")
        hosts = {"inside": "fd00::20", "outside": TRUNK_IP}
        callee = "outside" if caller == "inside" else "inside"
        offer = getattr(pair, caller)(sdp(hosts[caller], "40000|a=rtcp:9 IN IP4 10.1.0.9"), OPENING, ROOT, source="x")
        answer = getattr(pair, callee)(sdp(hosts[callee], "6000"), source="x")
        to_inside, to_outside = (answer, offer) if caller == "inside" else (offer, answer)
        assert b"IP4" not in to_inside
        assert b"IP6" not in to_outside
