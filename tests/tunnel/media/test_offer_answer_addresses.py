"""Where the parties say they are: unusable addresses, RTCP of its own, both IP families."""

from __future__ import annotations

import pytest
from support.media_pair import (
    CALLER_IP,
    PHONE,
    PUBLIC_IP,
    TRUNK,
    TRUNK_IP,
    MediaPair,
    aim_outside,
    assert_audio,
    ports,
    sdp,
)

from tunnel.address import Address
from tunnel.media.exchange import Carriage
from tunnel.media.offer_answer import ROOT

OPENING = Carriage.OPENING


def test_a_private_address_from_outside_is_learnt_from_the_sip_source_only(pair: MediaPair) -> None:
    """T3, S4-17: a private address from outside is learnt from the sip source only."""
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
    """J: once multiplexed RTCP stays so (RFC 5761)."""
    pair.inside(sdp(CALLER_IP, "40000|a=rtcp-mux"), OPENING, ROOT)
    pair.outside(sdp(TRUNK_IP, "6000|a=rtcp-mux"))
    assert (aim_outside(pair).mux, aim_outside(pair).rtcp) == (True, Address(*TRUNK))
    pair.inside(sdp(CALLER_IP, "40000"), OPENING)
    pair.outside(sdp(TRUNK_IP, "6000"))
    assert (aim_outside(pair).mux, aim_outside(pair).rtcp) == (True, Address(*TRUNK))


def test_an_ipv6_phone_inside_calls_an_ipv4_trunk() -> None:
    """S3-12: an ipv6 phone inside calls an ipv4 trunk."""
    pair = MediaPair(lan="fd00::2")
    assert pair.inside(sdp("fd00::20", "40000"), OPENING, ROOT, source="fd00::20") == sdp(PUBLIC_IP, "20000")
    assert pair.outside(sdp(TRUNK_IP, "6000")) == sdp("fd00::2", "30000")
    assert pair.audio_out(("fd00::20", 40000), 30000) == ((PUBLIC_IP, 20000), TRUNK)
    assert pair.audio_in(TRUNK, 20000) == (("fd00::2", 30000), ("fd00::20", 40000))


def test_a_face_of_both_families_answers_in_the_callers_and_follows_a_change() -> None:
    """I3, J: a change of family is the one that moves a port."""
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
