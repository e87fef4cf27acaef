"""What a listener hears of captured RTP: packets placed in time by a play-out buffer like a phone's, lost ones silent."""

from __future__ import annotations

import struct
from array import array
from collections.abc import Iterable
from dataclasses import dataclass

from field.rig.audio import RATE_HZ, from_ulaw
from field.rig.capture import Packet

__all__ = ["RtpStream", "play", "rtp_streams"]

# Ours: a phone's usual buffer. Deeper would hide gaps that people hear, shallower would report this machine's scheduler.
PRIMED_S = 0.06
DEEPEST_S = 0.25

_UDP = 17
_PCMU = 0
_HEADER = struct.Struct("!BBHII")


@dataclass(frozen=True, slots=True)
class RtpPacket:
    """`number` and `stamp` go on beyond the wire's 16 and 32 bits, counted from the stream's first packet."""

    at: float
    number: int
    stamp: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class RtpStream:
    """The PCMU packets of one SSRC from one address to another, in order of arrival."""

    source: tuple[str, int]
    target: tuple[str, int]
    ssrc: int
    packets: tuple[RtpPacket, ...]


def rtp_streams(packets: Iterable[Packet], source: str = "", target: str = "") -> list[RtpStream]:
    """The streams among them, of that sender or to that listener (addresses; "" for anybody), first heard first."""
    found: dict[tuple[str, int, str, int, int], list[RtpPacket]] = {}
    for packet in packets:
        if source not in ("", packet.source) or target not in ("", packet.target) or not _is_audio(packet):
            continue
        _, _, number, stamp, ssrc = _HEADER.unpack_from(packet.payload)
        key = (packet.source, packet.source_port, packet.target, packet.target_port, ssrc)
        stream = found.setdefault(key, [])
        if stream:
            number = _unwrapped(number, stream[-1].number, 16)
            stamp = _unwrapped(stamp, stream[-1].stamp, 32)
        stream.append(RtpPacket(packet.at, number, stamp, packet.payload[_HEADER.size :]))
    return [
        RtpStream((source, source_port), (target, target_port), ssrc, tuple(stream))
        for (source, source_port, target, target_port, ssrc), stream in found.items()
    ]


def play(stream: RtpStream) -> array[int]:
    """The samples as a listener hears them, from the first packet's arrival on.

    Each packet has its place by its RTP timestamp. One that comes too late for its place makes the buffer start over
    behind it, as a phone does; so an interruption sounds as long as it lasted, and a burst of stale audio is not heard.
    """
    heard = array("h")
    if not stream.packets:
        return heard
    began = stream.packets[0].at
    offset = began + PRIMED_S - stream.packets[0].stamp / RATE_HZ
    newest = stream.packets[0].number
    for packet in stream.packets:
        due = offset + packet.stamp / RATE_HZ
        if not packet.at <= due <= packet.at + DEEPEST_S:
            if packet.number < newest:
                continue  # out of order, and its time has been played already
            offset += packet.at + PRIMED_S - due
            due = packet.at + PRIMED_S
        newest = max(newest, packet.number)
        samples = from_ulaw(packet.payload)
        place = round((due - began) * RATE_HZ)
        heard.extend([0] * (place + len(samples) - len(heard)))
        heard[place : place + len(samples)] = samples
    return heard


def _is_audio(packet: Packet) -> bool:
    """RTP version 2 without extension or contributors, payload type PCMU."""
    if packet.protocol != _UDP or len(packet.payload) <= _HEADER.size or packet.source_port == 0:
        return False
    return packet.payload[0] == 0x80 and packet.payload[1] & 0x7F == _PCMU


def _unwrapped(value: int, near: int, bits: int) -> int:
    """The number congruent to `value` that is closest to `near`."""
    size = 1 << bits
    return near + (value - near + size // 2) % size - size // 2
