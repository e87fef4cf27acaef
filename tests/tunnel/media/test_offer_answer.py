"""Calls as the two ends see them: who says what, which ports stand in it, and where the audio goes.

Each test is a call flow. ``pair.inside(...)`` is the LAN's party sending an SDP and returns what leaves the server;
``pair.outside(...)`` the other way. An INVITE of the caller inside belongs to the fork b"" (ROOT).
"""

from __future__ import annotations

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

from tunnel.address import Address
from tunnel.errors import LocalMisuse
from tunnel.media.body import SipBody
from tunnel.media.exchange import Carriage
from tunnel.media.offer_answer import ROOT
from tunnel.media.plane import Aim

OPENING, PREVIEW = Carriage.OPENING, Carriage.PREVIEW


def test_a_call_out_has_audio_both_ways_and_leaves_nothing(pair: MediaPair) -> None:
    """I1, I6: offer in INVITE, answer in 200; five seconds after BYE the ports go."""
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


def test_offerless_invite_offer_in_200_answer_in_ack(pair: MediaPair) -> None:
    """T11: offerless invite offer in 200 answer in ack."""
    (lan,) = ports(pair.outside(sdp(TRUNK_IP, "6000")))
    pair.settle()
    (public,) = ports(pair.inside(sdp(CALLER_IP, "40000")))
    assert_audio(pair, PHONE, lan, TRUNK, public)


def test_offerless_reinvite_moves_both_parties(pair: MediaPair) -> None:
    """T11, I7: offerless reinvite moves both parties."""
    public, lan = answered(pair)
    assert ports(pair.outside(sdp(TRUNK_IP, "6002", version=2))) == [lan]
    assert ports(pair.inside(sdp(CALLER_IP, "40002", version=2))) == [public]
    assert_audio(pair, (CALLER_IP, 40002), lan, (TRUNK_IP, 6002), public)


def test_early_media_flows_with_the_preview_and_the_200_repeats_it(pair: MediaPair) -> None:
    """S4-22: early media flows with the preview and the 200 repeats it."""
    (public,) = ports(pair.inside(sdp(CALLER_IP, "40000"), OPENING, ROOT))
    early = pair.outside(sdp(TRUNK_IP, "6000"), PREVIEW)
    assert_audio(pair, PHONE, ports(early)[0], TRUNK, public)
    calls = len(pair.agent.plane.calls), len(pair.server.plane.calls)
    assert pair.outside(sdp(TRUNK_IP, "6000")) == early
    assert (len(pair.agent.plane.calls), len(pair.server.plane.calls)) == calls


def test_a_second_183_with_another_ip_keeps_our_ports(pair: MediaPair) -> None:
    """T2: a second 183 with another ip keeps our ports."""
    (public,) = ports(pair.inside(sdp(CALLER_IP, "40000"), OPENING, ROOT))
    first = pair.outside(sdp("198.51.100.71", "6000"), PREVIEW)
    second = pair.outside(sdp("198.51.100.72", "7000"), PREVIEW)
    third = pair.outside(sdp("198.51.100.72", "7000"))
    assert first == second == third
    assert_audio(pair, PHONE, ports(first)[0], ("198.51.100.72", 7000), public)


def test_reliable_183_prack_and_an_update_by_the_callee(pair: MediaPair) -> None:
    """T10, S4-23: reliable 183 prack and an update by the callee."""
    (public,) = ports(pair.inside(sdp(CALLER_IP, "40000"), OPENING, ROOT))
    (lan,) = ports(pair.outside(sdp(TRUNK_IP, "6000")))  # 183 with RSeq
    assert ports(pair.outside(sdp(TRUNK_IP, "6002", version=2), OPENING)) == [lan]  # UPDATE
    assert pair.audio_out(PHONE, lan) == ((PUBLIC_IP, public), TRUNK), "an offer takes effect with its answer"
    assert ports(pair.inside(sdp(CALLER_IP, "40000"))) == [public]  # 200 to UPDATE
    assert_audio(pair, PHONE, lan, (TRUNK_IP, 6002), public)
    assert ports(pair.outside(sdp(TRUNK_IP, "6002", version=2))) == [lan]  # 200 to INVITE, a copy
    pair.settle()
    assert_audio(pair, PHONE, lan, (TRUNK_IP, 6002), public)


def test_offer_in_reliable_183_answer_in_prack_offer_in_next_prack(pair: MediaPair) -> None:
    """S4-23: offer in reliable 183 answer in prack offer in next prack."""
    (lan,) = ports(pair.outside(sdp(TRUNK_IP, "6000")))
    (public,) = ports(pair.inside(sdp(CALLER_IP, "40000")))
    assert_audio(pair, PHONE, lan, TRUNK, public)
    assert ports(pair.inside(sdp(CALLER_IP, "40002", version=2))) == [public]
    assert ports(pair.outside(sdp(TRUNK_IP, "6002", version=2))) == [lan]
    assert_audio(pair, (CALLER_IP, 40002), lan, (TRUNK_IP, 6002), public)


@pytest.mark.parametrize(
    "hold", [sdp(TRUNK_IP, "6000|a=sendonly"), sdp("0.0.0.0", "6000"), sdp("0.0.0.0", "6000|a=inactive")]
)
def test_hold_and_resume_on_another_port(pair: MediaPair, hold: bytes) -> None:
    """T16: hold and resume on another port."""
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


def test_a_session_refresh_leaves_the_plane_alone(pair: MediaPair) -> None:
    """T15, T22, I2: a session refresh leaves the plane alone."""
    answered(pair)
    calls = len(pair.agent.plane.calls), len(pair.server.plane.calls)
    assert pair.inside(sdp(CALLER_IP, "40000"), OPENING) == sdp(PUBLIC_IP, "20000")
    assert pair.outside(sdp(TRUNK_IP, "6000")) == sdp(LAN_IP, "30000")
    assert (len(pair.agent.plane.calls), len(pair.server.plane.calls)) == calls


def test_a_failed_reinvite_brings_the_agreed_addresses_back(pair: MediaPair) -> None:
    """F7, I6: a failed reinvite brings the agreed addresses back."""
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
    """I6, F7: glare that fails both ways changes nothing, and one channel is kept."""
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
    """I6: each of two crossing offers fails by itself."""
    public, lan = answered(pair)
    pair.outside(sdp(TRUNK_IP, "6002"), OPENING)
    pair.inside(sdp(CALLER_IP, "40002"), OPENING)
    pair.fail("inside")
    pair.inside(sdp(CALLER_IP, "40004"))
    assert_audio(pair, (CALLER_IP, 40004), lan, (TRUNK_IP, 6002), public)


def test_an_answer_only_in_the_preview_counts_once_the_200_came(pair: MediaPair) -> None:
    """I1: an answer only in the preview counts once the 200 came."""
    (public,) = ports(pair.inside(sdp(CALLER_IP, "40000"), OPENING, ROOT))
    (lan,) = ports(pair.outside(sdp(TRUNK_IP, "6000"), PREVIEW))
    pair.settle()  # the 200 had no body
    pair.outside(sdp("198.51.100.99", "9000"), OPENING)
    pair.fail("outside")
    assert_audio(pair, PHONE, lan, TRUNK, public)


def test_an_invite_repeated_with_credentials_keeps_its_ports(pair: MediaPair) -> None:
    """I2, I3: an INVITE repeated with credentials keeps its ports."""
    offer = sdp(CALLER_IP, "40000")
    assert pair.inside(offer, OPENING, ROOT) == pair.inside(offer, OPENING, ROOT)
    assert (pair.agent.channels.in_use, len(pair.server.plane.held)) == (1, 1)


def test_a_closed_call_says_nothing_more(pair: MediaPair) -> None:
    answered(pair)
    pair.close()
    pair.close()
    pair.settle()
    pair.fail("inside")
    with pytest.raises(LocalMisuse):
        pair.inside(sdp(CALLER_IP, "40000"), OPENING)
    assert pair.server.media.streams() == ()
