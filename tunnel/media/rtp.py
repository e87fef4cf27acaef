"""What the relay reads of a media packet: just enough to tell one stream from another. Packets are never changed (L2).

::

    RTP   byte 0: version 2 bits, P, X, CC   byte 1: M, payload type   2-3: sequence   4-7: timestamp   8-11: SSRC
    RTCP  byte 0: version 2 bits, P, count   byte 1: packet type       2-3: length     4-7: SSRC of the sender
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from tunnel.errors import BadPacket

__all__ = ["RtpHeader", "is_rtcp", "peek_rtcp_ssrc_untrusted", "peek_rtp_untrusted", "sequence_step"]

# --- numbers of RFC 3550 and RFC 5761 ------------------------------------------------------------------------------
_VERSION = 2
_RTP_HEADER = struct.Struct("!BBHII")
_RTCP_HEADER = struct.Struct("!BBHI")
_FIRST_RTCP_TYPE, _LAST_RTCP_TYPE = 192, 223  # RFC 5761 section 4: as RTP these would be payload types 64-95, marked


@dataclass(frozen=True, slots=True)
class RtpHeader:
    """The fixed header of one RTP packet; ``timestamp`` in units of the payload's clock."""

    payload_type: int
    marker: bool
    sequence: int
    timestamp: int
    ssrc: int


def peek_rtp_untrusted(packet: bytes) -> RtpHeader:
    """The RTP header (RFC 3550 section 5.1). Raises BadPacket for anything else, RTCP on the same port included."""
    if len(packet) < _RTP_HEADER.size:
        raise BadPacket(f"{len(packet)} bytes are no RTP packet")
    first, second, sequence, timestamp, ssrc = _RTP_HEADER.unpack_from(packet)
    if first >> 6 != _VERSION or is_rtcp(packet):
        raise BadPacket("not an RTP packet")
    return RtpHeader(second & 0x7F, bool(second & 0x80), sequence, timestamp, ssrc)


def is_rtcp(packet: bytes) -> bool:
    """Whether a packet on a port that carries both is RTCP (RFC 5761 section 4)."""
    return len(packet) > 1 and packet[0] >> 6 == _VERSION and _FIRST_RTCP_TYPE <= packet[1] <= _LAST_RTCP_TYPE


def peek_rtcp_ssrc_untrusted(packet: bytes) -> int:
    """Who sent an RTCP packet (RFC 3550 section 6.4). Raises BadPacket."""
    if len(packet) < _RTCP_HEADER.size or not is_rtcp(packet):
        raise BadPacket("not an RTCP packet")
    ssrc: int = _RTCP_HEADER.unpack_from(packet)[3]
    return ssrc


def sequence_step(before: int, after: int) -> int:
    """How far ``after`` is ahead of ``before``, -32768 to 32767, across the wrap."""
    return (after - before + 0x8000 & 0xFFFF) - 0x8000
