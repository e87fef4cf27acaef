"""Reading what the other phone wants, as it may be written."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunnel.address import Address
from tunnel.errors import BadPacket
from tunnel.softphone.offer import AudioDescription, Direction, build_sdp, read_sdp_untrusted


@pytest.mark.parametrize("audio", [Address("10.1.0.11", 4000), Address("2001:db8::5", 65534)])
@pytest.mark.parametrize("direction", list(Direction))
def test_what_one_writes_the_other_reads(audio: Address, direction: Direction) -> None:
    assert read_sdp_untrusted(build_sdp(1, 2, audio, direction)) == AudioDescription(audio, direction)


def test_connection_and_direction_of_the_media_go_before_those_of_the_session() -> None:
    body = (
        b"v=0\r\nc=IN IP4 203.0.113.1\r\na=inactive\r\nt=0 0\r\n"
        b"m=video 5000 RTP/AVP 96\r\nc=IN IP4 203.0.113.2\r\n"
        b"m=audio 6000 RTP/AVP 8 0 101\r\nc=IN IP4 203.0.113.3\r\na=sendonly\r\n"
        b"m=image 7000 udptl t38\r\nc=IN IP4 203.0.113.4\r\n"
    )
    assert read_sdp_untrusted(body) == AudioDescription(Address("203.0.113.3", 6000), Direction.SEND)


def test_session_level_holds_where_the_media_says_nothing() -> None:
    body = b"c=IN IP4 203.0.113.1\na=recvonly\nm=audio 6000 RTP/AVP 0\na=ptime:20\n"
    assert read_sdp_untrusted(body) == AudioDescription(Address("203.0.113.1", 6000), Direction.RECEIVE)


@pytest.mark.parametrize(
    ("audio", "direction", "hears"),
    [
        (Address("203.0.113.1", 6000), Direction.BOTH, True),
        (Address("203.0.113.1", 6000), Direction.RECEIVE, True),
        (Address("203.0.113.1", 6000), Direction.SEND, False),
        (Address("203.0.113.1", 0), Direction.BOTH, False),
        (Address("0.0.0.0", 6000), Direction.BOTH, False),
    ],
)
def test_nobody_speaks_to_who_does_not_want_to_hear(audio: Address, direction: Direction, hears: bool) -> None:
    assert AudioDescription(audio, direction).hears is hears


@pytest.mark.parametrize(
    "body", [b"", b"v=0\r\n", b"c=IN IP4 1.2.3.4\r\nm=audio 6000 RTP/AVP 8\r\n", b"m=audio 6000 RTP/AVP 0\r\n"]
)
def test_no_common_ground_is_not_acceptable(body: bytes) -> None:
    with pytest.raises(BadPacket) as refusal:
        read_sdp_untrusted(body)
    assert refusal.value.status == 488


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    try:
        read_sdp_untrusted(body)
    except BadPacket:
        return
