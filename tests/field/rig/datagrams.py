"""Datagrams for sipp to send as media: files in tcpdump's format, of RTP packets or of anything else."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path

__all__ = ["rtp", "write_pcap"]

_FILE_HEADER = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1)


def rtp(payload_type: int, number: int, payload: bytes, ssrc: int = 0x77) -> bytes:
    """One RTP packet, 20 ms behind that before it."""
    return struct.pack("!BBHII", 0x80, payload_type, number, number * 160, ssrc) + payload


def write_pcap(path: Path, datagrams: Sequence[bytes], interval_s: float = 0.02) -> None:
    """sipp sends them at that pace from its own media port; the addresses in the file are nobody's."""
    records = [_FILE_HEADER]
    for number, datagram in enumerate(datagrams):
        udp = struct.pack("!HHHH", 40000, 40000, 8 + len(datagram), 0) + datagram
        ip = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(udp), number, 0, 64, 17, 0) + bytes(8)
        frame = bytes(12) + b"\x08\x00" + ip + udp
        seconds, micros = divmod(round(number * interval_s * 1e6), 1_000_000)
        records.append(struct.pack("<IIII", seconds, micros, len(frame), len(frame)) + frame)
    path.write_bytes(b"".join(records))
