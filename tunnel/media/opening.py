"""The first packet towards a party that sends none before it has got one (SIP-RULES L7, RFC 6263 section 4).

A session border controller that latches as we do keeps silent until it has heard us; while an inside phone only listens
(a tone before the answer), neither side would begin.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

from tunnel.media.plane import Aim

__all__ = ["MOST_OPENINGS", "opening"]

# --- numbers of the rules (L7) -------------------------------------------------------------------------------------
MOST_OPENINGS = 3  # packets for each lease

# --- numbers of RFC 3550 section 6 and RFC 3389 --------------------------------------------------------------------
_VERSION = 2 << 6
_RECEIVER_REPORT, _SOURCE_DESCRIPTION = 201, 202
_CNAME = 1
_QUIETEST = 127  # the noise level in -dBov

_RTP = struct.Struct("!BBHII")
_RTCP = struct.Struct("!BBHI")


def opening(target: Aim, entropy: Callable[[int], bytes]) -> tuple[bytes | None, bytes | None]:
    """What to send to the RTP and to the RTCP address of ``target``; None: nothing.

    Comfort noise where that was agreed; else a receiver report, and on an RTP port without RTCP an empty datagram. A
    stream that only its parties can make packets of gets an empty one.
    """
    if target.noise is not None and not target.is_secure:
        sequence, timestamp, ssrc = struct.unpack("!HII", entropy(10))
        return _RTP.pack(_VERSION, target.noise, sequence, timestamp, ssrc) + bytes([_QUIETEST]), None
    if not target.rtp_like or target.is_secure:
        return b"", None
    return (_report(entropy), None) if target.mux else (b"", _report(entropy))


def _report(entropy: Callable[[int], bytes]) -> bytes:
    """The smallest compound packet: a report of nothing, and a name (RFC 3550 section 6.1)."""
    ssrc = int.from_bytes(entropy(4))
    name = entropy(6).hex().encode()
    item = bytes([_CNAME, len(name)]) + name
    chunk = item + bytes(4 - len(item) % 4)
    return (
        _RTCP.pack(_VERSION, _RECEIVER_REPORT, 1, ssrc)
        + _RTCP.pack(_VERSION | 1, _SOURCE_DESCRIPTION, 1 + len(chunk) // 4, ssrc)
        + chunk
    )
