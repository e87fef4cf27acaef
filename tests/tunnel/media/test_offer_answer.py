"""Calls as the two ends see them: who says what, which ports stand in it, and where the audio goes.

Each test is a call flow. ``pair.inside(...)`` is the LAN's party sending an SDP and returns what leaves the server;
``pair.outside(...)`` the other way. An INVITE of the caller inside belongs to the fork b"" (ROOT).
"""

from __future__ import annotations

from pathlib import Path

import pytest
from support.media_pair import CALLER_IP, LAN_IP, PUBLIC_IP, TRUNK_IP, MediaPair, ports, sdp

from tunnel.address import Address
from tunnel.errors import LocalMisuse
from tunnel.media.body import SipBody
from tunnel.media.exchange import Carriage
from tunnel.media.offer_answer import ROOT
from tunnel.media.plane import Aim, CannotRelay, LedgerFull

DATA = Path(__file__).parents[2] / "data" / "sdp"
OPENING, PREVIEW, REPLY = Carriage.OPENING, Carriage.PREVIEW, Carriage.REPLY
PHONE, TRUNK = (CALLER_IP, 40000), (TRUNK_IP, 6000)


@pytest.fixture
def pair() -> MediaPair:
    return MediaPair()


def answered(pair: MediaPair) -> tuple[int, int]:
    """INVITE and 200: a call with audio both ways; the ports that the outside and the inside see."""
    (public,) = ports(pair.inside(sdp(CALLER_IP, "40000"), OPENING, ROOT))
    (lan,) = ports(pair.outside(sdp(TRUNK_IP, "6000")))
    pair.settle()
    assert_audio(pair, PHONE, lan, TRUNK, public)
    return public, lan


def assert_audio(pair: MediaPair, phone: tuple[str, int], lan: int, trunk: tuple[str, int], public: int) -> None:
    assert pair.audio_out(phone, lan) == ((PUBLIC_IP, public), trunk)
    assert pair.audio_in(trunk, public) == ((LAN_IP, lan), phone)


def aim_outside(pair: MediaPair, index: int = 0) -> Aim:
    """Whom the server's face talks to for an m-line."""
    views = [view for view in pair.server.media.streams() if view.index == index and view.channel]
    aim = pair.server.plane.aim_of(views[-1].channel)
    assert aim is not None
    return aim


def test_a_call_out_has_audio_both_ways_and_leaves_nothing(pair: MediaPair) -> None:
    offer = pair.inside(sdp(CALLER_IP, "40000"), OPENING, ROOT)
    assert offer == sdp(PUBLIC_IP, "20000")
    answer = pair.outside(sdp(TRUNK_IP, "6000"))
    assert answer == sdp(LAN_IP, "30000")
    assert_audio(pair, PHONE, 30000, TRUNK, 20000)
    assert aim_outside(pair) == Aim(Address(*TRUNK), Address(TRUNK_IP, 6001), False, TRUNK_IP, True, True, frozenset())
    pair.settle()
    pair.close()
    pair.assert_nothing_left()
    assert pair.agent.plane.released == {30000: 5.0}


def test_offerless_invite_offer_in_200_answer_in_ack(pair: MediaPair) -> None:  # T11
    (lan,) = ports(pair.outside(sdp(TRUNK_IP, "6000")))
    pair.settle()
    (public,) = ports(pair.inside(sdp(CALLER_IP, "40000")))
    assert_audio(pair, PHONE, lan, TRUNK, public)


def test_offerless_reinvite_moves_both_parties(pair: MediaPair) -> None:  # T11, I7
    public, lan = answered(pair)
    assert ports(pair.outside(sdp(TRUNK_IP, "6002", version=2))) == [lan]
    assert ports(pair.inside(sdp(CALLER_IP, "40002", version=2))) == [public]
    assert_audio(pair, (CALLER_IP, 40002), lan, (TRUNK_IP, 6002), public)


def test_early_media_flows_with_the_preview_and_the_200_repeats_it(pair: MediaPair) -> None:  # S4-22
    (public,) = ports(pair.inside(sdp(CALLER_IP, "40000"), OPENING, ROOT))
    early = pair.outside(sdp(TRUNK_IP, "6000"), PREVIEW)
    assert_audio(pair, PHONE, ports(early)[0], TRUNK, public)
    calls = len(pair.agent.plane.calls), len(pair.server.plane.calls)
    assert pair.outside(sdp(TRUNK_IP, "6000")) == early
    assert (len(pair.agent.plane.calls), len(pair.server.plane.calls)) == calls


def test_a_second_183_with_another_ip_keeps_our_ports(pair: MediaPair) -> None:  # T2
    (public,) = ports(pair.inside(sdp(CALLER_IP, "40000"), OPENING, ROOT))
    first = pair.outside(sdp("198.51.100.71", "6000"), PREVIEW)
    second = pair.outside(sdp("198.51.100.72", "7000"), PREVIEW)
    third = pair.outside(sdp("198.51.100.72", "7000"))
    assert first == second == third
    assert_audio(pair, PHONE, ports(first)[0], ("198.51.100.72", 7000), public)


def test_reliable_183_prack_and_an_update_by_the_callee(pair: MediaPair) -> None:  # T10, S4-23
    (public,) = ports(pair.inside(sdp(CALLER_IP, "40000"), OPENING, ROOT))
    (lan,) = ports(pair.outside(sdp(TRUNK_IP, "6000")))  # 183 with RSeq
    assert ports(pair.outside(sdp(TRUNK_IP, "6002", version=2), OPENING)) == [lan]  # UPDATE
    assert pair.audio_out(PHONE, lan) == ((PUBLIC_IP, public), TRUNK), "an offer takes effect with its answer"
    assert ports(pair.inside(sdp(CALLER_IP, "40000"))) == [public]  # 200 to UPDATE
    assert_audio(pair, PHONE, lan, (TRUNK_IP, 6002), public)
    assert ports(pair.outside(sdp(TRUNK_IP, "6002", version=2))) == [lan]  # 200 to INVITE, a copy
    pair.settle()
    assert_audio(pair, PHONE, lan, (TRUNK_IP, 6002), public)


def test_offer_in_reliable_183_answer_in_prack_offer_in_next_prack(pair: MediaPair) -> None:  # S4-23
    (lan,) = ports(pair.outside(sdp(TRUNK_IP, "6000")))
    (public,) = ports(pair.inside(sdp(CALLER_IP, "40000")))
    assert_audio(pair, PHONE, lan, TRUNK, public)
    assert ports(pair.inside(sdp(CALLER_IP, "40002", version=2))) == [public]
    assert ports(pair.outside(sdp(TRUNK_IP, "6002", version=2))) == [lan]
    assert_audio(pair, (CALLER_IP, 40002), lan, (TRUNK_IP, 6002), public)


@pytest.mark.parametrize(
    "hold", [sdp(TRUNK_IP, "6000|a=sendonly"), sdp("0.0.0.0", "6000"), sdp("0.0.0.0", "6000|a=inactive")]
)
def test_hold_and_resume_on_another_port(pair: MediaPair, hold: bytes) -> None:  # T16
    public, lan = answered(pair)
    assert ports(pair.outside(hold, OPENING)) == [lan]
    assert ports(pair.inside(sdp(CALLER_IP, "40000|a=recvonly"))) == [public]
    assert all(view.is_held for view in pair.server.media.streams() if view.fork)
    assert_audio(pair, PHONE, lan, TRUNK, public)  # music on hold still comes from the old address
    assert ports(pair.outside(sdp(TRUNK_IP, "6008"), OPENING)) == [lan]
    assert ports(pair.inside(sdp(CALLER_IP, "40000"))) == [public]
    assert not any(view.is_held for view in pair.server.media.streams() if view.fork)
    assert_audio(pair, PHONE, lan, (TRUNK_IP, 6008), public)


def test_held_from_the_first_invite(pair: MediaPair) -> None:
    body = pair.inside(sdp("0.0.0.0", "40000"), OPENING, ROOT)
    assert b"c=IN IP4 0.0.0.0\r\n" in body
    (lan,) = ports(pair.outside(sdp(TRUNK_IP, "6000")))
    pair.settle()
    pair.inside(sdp(CALLER_IP, "40000"), OPENING)
    pair.outside(sdp(TRUNK_IP, "6000"))
    assert_audio(pair, PHONE, lan, TRUNK, ports(body)[0])


def test_t38_switch_to_another_ip_and_back(pair: MediaPair) -> None:  # T15
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


def test_a_session_refresh_leaves_the_plane_alone(pair: MediaPair) -> None:  # T15, T22, I2
    answered(pair)
    calls = len(pair.agent.plane.calls), len(pair.server.plane.calls)
    assert pair.inside(sdp(CALLER_IP, "40000"), OPENING) == sdp(PUBLIC_IP, "20000")
    assert pair.outside(sdp(TRUNK_IP, "6000")) == sdp(LAN_IP, "30000")
    assert (len(pair.agent.plane.calls), len(pair.server.plane.calls)) == calls


def test_port_zero_and_back_gets_the_same_port(pair: MediaPair) -> None:
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


def test_a_failed_reinvite_brings_the_agreed_addresses_back(pair: MediaPair) -> None:  # F7, I6
    public, lan = answered(pair)
    pair.outside(sdp("198.51.100.99", "9000", "video 9002 RTP/AVP 31"), OPENING)
    pair.fail("outside")
    assert_audio(pair, PHONE, lan, TRUNK, public)
    pair.inside(sdp("10.1.0.99", "9000"), OPENING)
    pair.outside(sdp("198.51.100.99", "9000"), PREVIEW)
    assert_audio(pair, ("10.1.0.99", 9000), lan, ("198.51.100.99", 9000), public)
    pair.fail("inside")
    assert_audio(pair, PHONE, lan, TRUNK, public)
    pair.close()
    pair.assert_nothing_left()


def test_glare_that_fails_both_ways_changes_nothing_and_one_channel_is_kept(pair: MediaPair) -> None:
    public, lan = answered(pair)
    inside = sdp("10.1.0.99", "9000", "video 9002 RTP/AVP 31")
    outside = sdp("198.51.100.99", "9000", "video 9002 RTP/AVP 31")
    near = pair.agent.media.hear(b"b1", SipBody(inside), CALLER_IP, 200.0, OPENING)
    far = pair.server.media.hear(b"b1", SipBody(outside), TRUNK_IP, 200.0, OPENING)
    assert near[1] != far[1]
    pair.server.media.speak(b"b1", SipBody(inside), near, 200.1, OPENING)
    pair.agent.media.speak(b"b1", SipBody(outside), far, 200.1, OPENING)
    pair.fail("inside")
    pair.fail("outside")
    assert_audio(pair, PHONE, lan, TRUNK, public)
    _, video_out = ports(pair.inside(inside, OPENING))
    _, video_in = ports(pair.outside(outside))
    assert_audio(pair, ("10.1.0.99", 9002), video_in, ("198.51.100.99", 9002), video_out)
    pair.close()
    pair.assert_nothing_left()


def test_a_failed_update_in_glare_leaves_the_reinvite_to_succeed(pair: MediaPair) -> None:
    public, lan = answered(pair)
    pair.outside(sdp(TRUNK_IP, "6002"), OPENING)
    pair.inside(sdp(CALLER_IP, "40002"), OPENING)
    pair.fail("inside")
    pair.inside(sdp(CALLER_IP, "40004"))
    assert_audio(pair, (CALLER_IP, 40004), lan, (TRUNK_IP, 6002), public)


def test_an_answer_only_in_the_preview_counts_once_the_200_came(pair: MediaPair) -> None:
    (public,) = ports(pair.inside(sdp(CALLER_IP, "40000"), OPENING, ROOT))
    (lan,) = ports(pair.outside(sdp(TRUNK_IP, "6000"), PREVIEW))
    pair.settle()  # the 200 had no body
    pair.outside(sdp("198.51.100.99", "9000"), OPENING)
    pair.fail("outside")
    assert_audio(pair, PHONE, lan, TRUNK, public)


def test_an_invite_repeated_with_credentials_keeps_its_ports(pair: MediaPair) -> None:
    offer = sdp(CALLER_IP, "40000")
    assert pair.inside(offer, OPENING, ROOT) == pair.inside(offer, OPENING, ROOT)
    assert (pair.agent.channels.in_use, len(pair.server.plane.held)) == (1, 1)


def test_a_private_address_from_outside_is_learnt_from_the_sip_source_only(pair: MediaPair) -> None:  # T3, S4-17
    pair.inside(sdp(CALLER_IP, "40000"), OPENING, ROOT)
    pair.outside(sdp("10.1.33.103", "6000"), source="203.0.113.5")
    aim = aim_outside(pair)
    assert (aim.rtp, aim.rtcp, aim.sip_source, aim.trusted) == (None, None, "203.0.113.5", False)
    assert pair.server.counters["media.unusable_address"] == 1
    assert pair.audio_in(("203.0.113.5", 1024), 20000) is not None
    assert pair.audio_in(("198.51.100.9", 1024), 20000) is None


@pytest.mark.parametrize("host", ["192.0.2.1", "media.example.org"])
def test_addresses_outside_the_allowed_lan_and_names_are_not_aimed_at(pair: MediaPair, host: str) -> None:
    pair.inside(sdp(host, "40000"), OPENING, ROOT)
    (lan,) = ports(pair.outside(sdp(TRUNK_IP, "6000")))
    assert pair.audio_in(TRUNK, 20000) is None
    assert pair.audio_out((CALLER_IP, 5555), lan) is not None


def test_rtcp_of_its_own_address_and_port(pair: MediaPair) -> None:
    pair.inside(sdp(CALLER_IP, "40000"), OPENING, ROOT)
    pair.outside(sdp(TRUNK_IP, "6000|a=rtcp:7001 IN IP4 198.51.100.8"))
    assert aim_outside(pair).rtcp == Address("198.51.100.8", 7001)


def test_rtcp_mux_holds_only_when_the_answer_accepts_it(pair: MediaPair) -> None:
    pair.inside(sdp(CALLER_IP, "40000|a=rtcp-mux"), OPENING, ROOT)
    pair.outside(sdp(TRUNK_IP, "6000"))
    assert (aim_outside(pair).mux, aim_outside(pair).rtcp) == (False, Address(TRUNK_IP, 6001))
    near = pair.agent.plane.aim_of(16)
    assert near is not None
    assert near.rtcp == Address(CALLER_IP, 40001)


def test_once_multiplexed_rtcp_stays_so(pair: MediaPair) -> None:
    pair.inside(sdp(CALLER_IP, "40000|a=rtcp-mux"), OPENING, ROOT)
    pair.outside(sdp(TRUNK_IP, "6000|a=rtcp-mux"))
    assert (aim_outside(pair).mux, aim_outside(pair).rtcp) == (True, Address(*TRUNK))
    pair.inside(sdp(CALLER_IP, "40000"), OPENING)
    pair.outside(sdp(TRUNK_IP, "6000"))
    assert (aim_outside(pair).mux, aim_outside(pair).rtcp) == (True, Address(*TRUNK))


def test_telephone_event_types_of_both_parties_reach_the_plane(pair: MediaPair) -> None:
    pair.inside(sdp(CALLER_IP, "40000|a=rtpmap:101 telephone-event/8000"), OPENING, ROOT)
    pair.outside(sdp(TRUNK_IP, "6000|a=rtpmap:96 Telephone-Event/8000"))
    assert aim_outside(pair).dtmf == {96, 101}


GROUP = "a=group:BUNDLE 0 1"


def bundled(host: str, audio: int, video: int) -> bytes:
    return sdp(host, f"{audio}|a=mid:0", f"video {video} RTP/AVP 31|a=mid:1", session=GROUP)


def test_a_bundled_answer_shares_one_port_and_one_channel(pair: MediaPair) -> None:
    assert len(set(ports(pair.inside(bundled(CALLER_IP, 40000, 40002), OPENING, ROOT)))) == 2
    lan = ports(pair.outside(bundled(TRUNK_IP, 6000, 6000)))
    assert lan[0] == lan[1]
    assert_audio(pair, PHONE, lan[0], TRUNK, 20000)
    assert len(pair.agent.plane.held) == len(pair.agent.plane.ties) == 1
    pair.close()
    pair.assert_nothing_left()


def test_an_offer_on_one_port_that_is_answered_unbundled_reaches_both_ports(pair: MediaPair) -> None:
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


def test_an_ipv6_phone_inside_calls_an_ipv4_trunk() -> None:  # S3-12
    pair = MediaPair(lan="fd00::2")
    assert pair.inside(sdp("fd00::20", "40000"), OPENING, ROOT, source="fd00::20") == sdp(PUBLIC_IP, "20000")
    assert pair.outside(sdp(TRUNK_IP, "6000")) == sdp("fd00::2", "30000")
    assert pair.audio_out(("fd00::20", 40000), 30000) == ((PUBLIC_IP, 20000), TRUNK)
    assert pair.audio_in(TRUNK, 20000) == (("fd00::2", 30000), ("fd00::20", 40000))


def test_a_face_of_both_families_answers_in_the_callers_and_follows_a_change() -> None:
    pair = MediaPair(public6="2001:db8::10")
    v6 = pair.outside(sdp("2001:db8::99", "6000"), OPENING, ROOT)
    assert ports(v6) == [30000]
    answer = pair.inside(sdp(CALLER_IP, "40000"))
    assert b"c=IN IP6 2001:db8::10\r\n" in answer
    assert b"o=- 1 1 IN IP4 203.0.113.10\r\n" in answer
    pair.settle()
    pair.outside(sdp("0.0.0.0", "6000"), OPENING)
    assert pair.inside(sdp(CALLER_IP, "40000")) == answer, "hold is no change of family"
    pair.outside(sdp(TRUNK_IP, "6000"), OPENING)
    (public,) = ports(pair.inside(sdp(CALLER_IP, "40000")))
    assert_audio(pair, PHONE, 30000, TRUNK, public)
    assert pair.server.plane.released == {20000: 2.0}
    pair.close()
    pair.assert_nothing_left()


def test_an_ipv6_address_is_not_aimed_at_from_an_ipv4_port(pair: MediaPair) -> None:
    pair.inside(sdp(CALLER_IP, "40000"), OPENING, ROOT)
    pair.outside(sdp("2001:db8::99", "6000"))
    assert aim_outside(pair).rtp is None


def test_both_copies_of_a_doubled_description_get_the_same_port(pair: MediaPair) -> None:
    body = pair.inside((DATA / "two_copies_lf.sdp").read_bytes(), OPENING, ROOT)
    assert ports(body) == [20000, 20000]
    assert b"10.1.0.20" not in body


def test_keys_and_fingerprints_pass_byte_exact(pair: MediaPair) -> None:  # T22, S1-9
    body = pair.inside((DATA / "everything.sdp").read_bytes(), OPENING, ROOT)
    assert body == (DATA / "everything.rewritten.sdp").read_bytes()


def test_bodies_without_a_description_pass_as_they_are(pair: MediaPair) -> None:
    body = SipBody(b"Signal=5\r\n", b"application/dtmf-relay")
    assert pair.agent.media.hear(b"b1", body, CALLER_IP, 1.0) == ()
    assert pair.server.media.speak(b"b1", body, (), 1.0) == body.content


def test_speaking_that_fails_for_ports_takes_none() -> None:  # T12
    pair = MediaPair(capacity=1)
    with pytest.raises(LedgerFull):
        pair.inside(sdp(CALLER_IP, "40000", "40002"), OPENING, ROOT)
    assert pair.server.plane.held == {}
    pair.close()
    pair.assert_nothing_left()


@pytest.mark.parametrize("channels", [(), (0,), (2,), (17,), (70000,)])
def test_channels_that_do_not_fit_are_refused(pair: MediaPair, channels: tuple[int, ...]) -> None:
    with pytest.raises(CannotRelay):
        pair.server.media.speak(ROOT, SipBody(sdp(CALLER_IP, "40000")), channels, 1.0, OPENING)
    assert pair.server.plane.held == {}


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (SipBody(b"this is no description"), 400),
        (SipBody(sdp("224.1.1.1/127", "40000")), 488),
        (SipBody(b"MIIB", b"application/pkcs7-mime"), 493),
    ],
)
def test_what_cannot_be_relayed_is_refused_at_both_ends(pair: MediaPair, body: SipBody, status: int) -> None:
    with pytest.raises(CannotRelay) as near:
        pair.agent.media.hear(ROOT, body, CALLER_IP, 1.0, OPENING)
    with pytest.raises(CannotRelay) as far:
        pair.server.media.speak(ROOT, body, (16,), 1.0, OPENING)
    assert near.value.status == far.value.status == status
    assert (pair.agent.channels.in_use, pair.server.plane.held) == (0, {})


def test_a_closed_call_says_nothing_more(pair: MediaPair) -> None:
    answered(pair)
    pair.close()
    pair.close()
    pair.settle()
    pair.fail("inside")
    with pytest.raises(LocalMisuse):
        pair.inside(sdp(CALLER_IP, "40000"), OPENING)
    assert pair.server.media.streams() == ()
