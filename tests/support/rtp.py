"""RTP and RTCP packets for tests."""

from __future__ import annotations

import struct

__all__ = ["rtcp_packet", "rtp_packet"]


def rtp_packet(sequence: int, ssrc: int = 0x1234, payload: bytes = b"\xd5" * 160, payload_type: int = 8) -> bytes:
    """A packet of 20 ms of G.711, number ``sequence`` of its stream."""
    return struct.pack("!BBHII", 0x80, payload_type, sequence & 0xFFFF, sequence * 160 & 0xFFFFFFFF, ssrc) + payload


def rtcp_packet(ssrc: int = 0x1234) -> bytes:
    """An empty receiver report."""
    return struct.pack("!BBHI", 0x80, 201, 1, ssrc)
