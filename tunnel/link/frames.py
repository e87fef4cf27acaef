"""The wire format of the link: frames, inside TLS 1.3 records, and the loop that hands media frames out.

A record carries whole frames, urgent ones first. A media batch is preceded by a CLOCK frame with the time at which its
packets reached the sending end::

    | LINK ... | SIGNAL ... | CLOCK | media | media | CLOCK | media ...
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import TypeAlias

__all__ = [
    "ACKNOWLEDGE_ROOM_BYTES",
    "AGENT_CHANNELS",
    "CLOCK",
    "CLOCK_FRAME_BYTES",
    "FIRST_MEDIA_CHANNEL",
    "HEADER",
    "LENGTHS",
    "LINK",
    "MAX_BATCH_BYTES",
    "MAX_PACKET_BYTES",
    "MAX_RECORD_BYTES",
    "SERVER_CHANNELS",
    "SIGNAL",
    "SIGNAL_CONTROL",
    "SIGNAL_HEADER",
    "SIGNAL_MORE",
    "STAMP",
    "TLS_OVERHEAD_BYTES",
    "Sink",
    "Sinks",
    "channel_header",
    "clock_frame",
    "dispatch_untrusted",
    "frame",
    "signal_frame",
]

# --- wire format, big-endian ---------------------------------------------------------------------------------------
HEADER = struct.Struct("!HH")  # every frame: channel u16, payload length u16, then the payload
LINK = 0  # payload: msgpack, control.LinkMessage; belongs to one connection, never replayed
SIGNAL = 1  # payload: SIGNAL_HEADER, then a piece of a message; reliable, exactly once, in order
SIGNAL_HEADER = struct.Struct("!IB")  # sequence u32 (mod 2^32, from 1), flags u8
SIGNAL_MORE = 0x01  # flag: the message goes on in the next SIGNAL frame
SIGNAL_CONTROL = 0x02  # flag: msgpack, control.ReliableMessage, for the link itself and not for its user
CLOCK = 2  # payload: STAMP; how old the media frames up to the next CLOCK are
STAMP = struct.Struct("!I")  # the sender's own clock in ms, mod 2^32
FIRST_MEDIA_CHANNEL = 16  # 3..15 are reserved; from 16 on: even = RTP, odd = RTCP of the even channel below
AGENT_CHANNELS = range(16, 32768, 2)  # the RTP channels that the agent may allocate
SERVER_CHANNELS = range(32768, 65536, 2)  # the RTP channels that the server may allocate

# --- numbers of TLS 1.3 (RFC 8446 section 5.2) ---------------------------------------------------------------------
TLS_OVERHEAD_BYTES = 22  # of a record: header 5, content type 1, tag 16

# --- numbers of ours -----------------------------------------------------------------------------------------------
MAX_RECORD_BYTES = 16320  # of plaintext; with TLS's own it stays under 16 KiB, the most a kernel may hold for us
MAX_PACKET_BYTES = 2048  # the largest datagram relayed: above any path MTU in use, below 1/8 of a record
CLOCK_FRAME_BYTES = HEADER.size + STAMP.size
ACKNOWLEDGE_ROOM_BYTES = 64  # of each record are left for an acknowledgement
MAX_BATCH_BYTES = MAX_RECORD_BYTES - ACKNOWLEDGE_ROOM_BYTES - CLOCK_FRAME_BYTES  # a larger batch is taken apart

_CLOCK_FRAME = struct.Struct("!HHI")
_CHANNEL = struct.Struct("!H")
LENGTHS = tuple(_CHANNEL.pack(length) for length in range(MAX_PACKET_BYTES + 1))  # ready-made second half of a header

Sink: TypeAlias = Callable[[bytes], object]


class Sinks(dict[int, Sink]):
    """Where the packets of each media channel go; looked up once per packet.

    A sink may raise OSError (a bound ``socket.send`` does); the packet is then lost and counted in ``failed``. Packets
    of a channel without a sink are counted in ``unknown``. Whoever reports the counts sets them back.
    """

    __slots__ = ("failed", "unknown")

    def __init__(self) -> None:
        super().__init__()
        self.failed = 0
        self.unknown = 0

    def __missing__(self, channel: int) -> Sink:
        return self._count_unknown

    def _count_unknown(self, packet: bytes) -> None:
        self.unknown += 1


def dispatch_untrusted(buffer: bytes, sinks: Sinks, at: int = 0) -> int:
    """Hand each media frame from offset ``at`` on to its sink, without the header.

    Stops at the first frame that is incomplete or not media and returns its offset (``len(buffer)`` when all were
    handed out). Any bytes are a valid input. About 0.3 us per frame on top of the sink.
    """
    unpack = HEADER.unpack_from
    end = len(buffer)
    last_header = end - 4
    while at <= last_header:
        channel, length = unpack(buffer, at)
        stop = at + 4 + length
        if channel < 16 or stop > end:
            break
        try:
            sinks[channel](buffer[at + 4 : stop])
        except OSError:
            sinks.failed += 1
        at = stop
    return at


def channel_header(channel: int) -> bytes:
    """The first half of the header of every frame on ``channel``; ``LENGTHS[len(packet)]`` is the second."""
    return _CHANNEL.pack(channel)


def frame(channel: int, payload: bytes) -> bytes:
    """One whole frame; ``payload`` is at most 65535 bytes."""
    return HEADER.pack(channel, len(payload)) + payload


def signal_frame(sequence: int, flags: int, piece: bytes) -> bytes:
    """One whole SIGNAL frame; ``sequence`` may be any non-negative number, its low 32 bits travel."""
    return frame(SIGNAL, SIGNAL_HEADER.pack(sequence & 0xFFFFFFFF, flags) + piece)


def clock_frame(arrived: float) -> bytes:
    """The CLOCK frame of a batch that reached this end at ``arrived`` (seconds of this end's clock)."""
    return _CLOCK_FRAME.pack(CLOCK, STAMP.size, int(arrived * 1000) & 0xFFFFFFFF)
