"""Reading RTP headers: right for real packets, and never anything but BadPacket for others."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.rtp import rtcp_packet, rtp_packet

from tunnel.errors import BadPacket
from tunnel.media.rtp import is_rtcp, peek_rtcp_ssrc_untrusted, peek_rtp_untrusted, sequence_step


def test_the_header_of_a_packet() -> None:
    header = peek_rtp_untrusted(rtp_packet(7, ssrc=0xCAFE, payload_type=101))
    assert (header.payload_type, header.sequence, header.timestamp, header.ssrc) == (101, 7, 7 * 160, 0xCAFE)
    assert not header.marker


def test_rtcp_on_the_same_port_is_told_apart() -> None:
    assert is_rtcp(rtcp_packet())
    assert not is_rtcp(rtp_packet(1))
    assert peek_rtcp_ssrc_untrusted(rtcp_packet(99)) == 99
    with pytest.raises(BadPacket):
        peek_rtp_untrusted(rtcp_packet() + b"\0" * 20)


@pytest.mark.parametrize("packet", [b"", b"\x80", b"\0" * 40, b"\x80\x08" + b"\0" * 9])
def test_what_is_not_rtp_is_a_bad_packet(packet: bytes) -> None:
    with pytest.raises(BadPacket):
        peek_rtp_untrusted(packet)


@pytest.mark.parametrize(("before", "after", "step"), [(1, 2, 1), (65535, 0, 1), (0, 65535, -1), (5, 5, 0)])
def test_sequence_numbers_wrap(before: int, after: int, step: int) -> None:
    assert sequence_step(before, after) == step


@given(st.binary(max_size=64))
def test_any_bytes_are_read_or_refused(packet: bytes) -> None:
    with suppress(BadPacket):
        peek_rtp_untrusted(packet)
    with suppress(BadPacket):
        peek_rtcp_ssrc_untrusted(packet)
