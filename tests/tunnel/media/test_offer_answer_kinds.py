"""M-lines that are more than one audio stream: fax, video, bundles, keys, what is not relayed."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.media_pair import (
    CALLER_IP,
    LAN_IP,
    PHONE,
    PUBLIC_IP,
    TRUNK,
    TRUNK_IP,
    MediaPair,
    aim_outside,
    answered,
    assert_audio,
    ports,
    sdp,
)

from tunnel.media.exchange import Carriage
from tunnel.media.offer_answer import ROOT
from tunnel.media.plane import CannotRelay

DATA = Path(__file__).parents[2] / "data" / "sdp"
OPENING = Carriage.OPENING


def test_t38_switch_to_another_ip_and_back(pair: MediaPair) -> None:
    """T15: t38 switch to another ip and back."""
    public, lan = answered(pair)
    fax = pair.outside((DATA / "t38.sdp").read_bytes(), OPENING)
    assert b"m=image %d udptl t38\r\na=T38FaxVersion:0\r\n" % lan in fax
    assert ports(pair.inside(sdp(CALLER_IP, "image 40010 udptl t38"))) == [public]
    assert_audio(pair, (CALLER_IP, 40010), lan, ("198.51.100.40", 6800), public)
    aim = aim_outside(pair)
    assert (aim.rtp_like, aim.rtcp) == (False, None)
    assert ports(pair.inside(sdp(CALLER_IP, "40000"), OPENING)) == [public]
    assert ports(pair.outside(sdp(TRUNK_IP, "6000"))) == [lan]
    assert_audio(pair, PHONE, lan, TRUNK, public)


def test_port_zero_and_back_gets_the_same_port(pair: MediaPair) -> None:
    """I3: port 0 and back gets the same port."""
    both = [sdp(CALLER_IP, "40000", "video 40002 RTP/AVP 31"), sdp(TRUNK_IP, "6000", "video 6002 RTP/AVP 31")]
    video_off = [sdp(CALLER_IP, "40000", "video 0 RTP/AVP 31"), sdp(TRUNK_IP, "6000", "video 0 RTP/AVP 31")]
    public, lan = ports(pair.inside(both[0], OPENING, ROOT)), ports(pair.outside(both[1]))
    pair.settle()
    assert ports(pair.inside(video_off[0], OPENING)) == [public[0], 0]
    assert ports(pair.outside(video_off[1])) == [lan[0], 0]
    assert ports(pair.outside(both[1], OPENING)) == lan
    assert ports(pair.inside(both[0])) == public
    assert_audio(pair, (CALLER_IP, 40002), lan[1], (TRUNK_IP, 6002), public[1])
    pair.close()
    pair.assert_nothing_left()


def test_a_refused_video_without_connection_line_is_legal_and_costs_the_answerer_no_port(pair: MediaPair) -> None:
    pair.inside(sdp(CALLER_IP, "40000", "video 40002 RTP/AVP 31"), OPENING, ROOT)
    answer = sdp(TRUNK_IP, "6000|c=IN IP4 198.51.100.7", "video 0 RTP/AVP 31").replace(
        b"c=IN IP4 198.51.100.7\r\nt=", b"t="
    )
    assert ports(pair.outside(answer)) == [30000, 0]
    assert len(pair.agent.plane.held) == 1


def test_telephone_event_types_of_both_parties_reach_the_plane(pair: MediaPair) -> None:
    pair.inside(sdp(CALLER_IP, "40000|a=rtpmap:101 telephone-event/8000"), OPENING, ROOT)
    pair.outside(sdp(TRUNK_IP, "6000|a=rtpmap:96 Telephone-Event/8000"))
    assert aim_outside(pair).dtmf == {96, 101}


GROUP = "a=group:BUNDLE 0 1"


def bundled(host: str, audio: int, video: int) -> bytes:
    return sdp(host, f"{audio}|a=mid:0", f"video {video} RTP/AVP 31|a=mid:1", session=GROUP)


def test_a_bundled_answer_shares_one_port_and_one_channel(pair: MediaPair) -> None:
    """J, I3: a bundled answer shares one port and one channel."""
    assert len(set(ports(pair.inside(bundled(CALLER_IP, 40000, 40002), OPENING, ROOT)))) == 2
    lan = ports(pair.outside(bundled(TRUNK_IP, 6000, 6000)))
    assert lan[0] == lan[1]
    assert_audio(pair, PHONE, lan[0], TRUNK, 20000)
    assert len(pair.agent.plane.held) == len(pair.agent.plane.ties) == 1
    pair.close()
    pair.assert_nothing_left()


def test_an_offer_on_one_port_that_is_answered_unbundled_reaches_both_ports(pair: MediaPair) -> None:
    """J: an offer on one port that is answered without the bundle reaches both ports."""
    public = ports(pair.inside(bundled(CALLER_IP, 40000, 40000), OPENING, ROOT))
    assert public[0] == public[1]
    lan = ports(pair.outside(sdp(TRUNK_IP, "6000", "video 6002 RTP/AVP 31")))
    assert lan[0] != lan[1]
    assert pair.audio_out(PHONE, lan[0]) == ((PUBLIC_IP, public[0]), TRUNK)
    assert pair.audio_out(PHONE, lan[1]) == ((PUBLIC_IP, public[0]), (TRUNK_IP, 6002))
    assert pair.audio_in((TRUNK_IP, 6002), public[0]) == ((LAN_IP, lan[1]), PHONE)
    pair.close()
    pair.assert_nothing_left()


def test_a_bundle_only_medium_keeps_port_zero(pair: MediaPair) -> None:
    """J: a=bundle-only keeps port 0 and has no lease of its own."""
    offer = sdp(CALLER_IP, "40000|a=mid:0", "video 0 RTP/AVP 31|a=mid:1|a=bundle-only", session=GROUP)
    assert ports(pair.inside(offer, OPENING, ROOT)) == [20000, 0]
    assert ports(pair.outside(bundled(TRUNK_IP, 6000, 6000))) == [30000, 30000]


def test_what_is_not_relayed_gets_port_zero_beside_audio_and_488_alone(pair: MediaPair) -> None:
    chat = "message 2855 TCP/MSRP *"
    assert ports(pair.inside(sdp(CALLER_IP, "40000", chat), OPENING, ROOT)) == [20000, 0]
    assert ports(pair.outside(sdp(TRUNK_IP, "6000", chat))) == [30000, 0]
    assert pair.agent.counters["media.refused_transport"] == 2
    with pytest.raises(CannotRelay) as refusal:
        pair.inside(sdp(CALLER_IP, chat), OPENING)
    assert refusal.value.status == 488


def test_both_copies_of_a_doubled_description_get_the_same_port(pair: MediaPair) -> None:
    """J: both copies of a doubled description get the same port."""
    body = pair.inside((DATA / "two_copies_lf.sdp").read_bytes(), OPENING, ROOT)
    assert ports(body) == [20000, 20000]
    assert b"10.1.0.20" not in body


def test_keys_and_fingerprints_pass_byte_exact(pair: MediaPair) -> None:
    """T22, S1-9: keys and fingerprints pass byte exact."""
    body = pair.inside((DATA / "everything.sdp").read_bytes(), OPENING, ROOT)
    assert body == (DATA / "everything.rewritten.sdp").read_bytes()
