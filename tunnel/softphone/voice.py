"""The mouth and the ear of a phone: one RTP stream out, and whatever comes in.

Both keep the same kind of log, a time by SSRC and sequence number, because a relay that leaves RTP alone leaves those
alone too: laid side by side, the logs of one direction say what was lost and what was late.
"""

from __future__ import annotations

import struct
from collections import Counter
from dataclasses import dataclass, field
from typing import TypeAlias

from tunnel.softphone.tune import (
    FRAME_MS,
    FRAME_SAMPLES,
    FRAMES_PER_TUNE,
    SAMPLES_PER_S,
    Tune,
    decode_tune,
    note_of_frame,
)

__all__ = ["Ear", "Heard", "Mouth", "PacketKey"]

# RFC 3550 section 5.1: V=2 P X CC | M PT | sequence number | timestamp | SSRC
RTP_HEADER = struct.Struct("!BBHII")
RTP_VERSION = 2
PCMU = 0

# Ours: one caller has one stream; a handful covers re-INVITEs and handovers, and no flood of SSRCs can fill the memory.
MOST_STREAMS = 16

# SSRC, and the sequence number with its roll-overs counted (RFC 3550 appendix A.1)
PacketKey: TypeAlias = tuple[int, int]


class Mouth:
    """Speaks one tune as an RTP stream; keeps when each packet left.

    ``sequence`` is where the numbers begin, 0 to 32767: an ear that misses the first packets then still counts the same
    roll-overs (RFC 3711 section 3.3.1 asks for it for the same reason).
    """

    def __init__(self, tune: Tune, ssrc: int, sequence: int, timestamp: int) -> None:
        self.tune = tune
        self.departures: dict[PacketKey, float] = {}
        self._ssrc = ssrc
        self._sequence = sequence & 0x7FFF
        self._timestamp = timestamp & 0xFFFFFFFF
        self._frame = 0

    def speak(self, now: float) -> bytes:
        """The next packet, to be sent now; the first carries the marker bit (RFC 3551 section 4.1)."""
        marker = 0x80 if self._frame == 0 else 0
        header = RTP_HEADER.pack(RTP_VERSION << 6, marker | PCMU, self._sequence & 0xFFFF, self._timestamp, self._ssrc)
        packet = header + self.tune.frame(self._frame)
        self.departures[self._ssrc, self._sequence] = now
        self.skip()
        return packet

    def skip(self) -> None:
        """Let one frame pass in silence: the tune goes on, nothing is sent (hold)."""
        self._frame += 1
        self._sequence += 1
        self._timestamp = self._timestamp + FRAME_SAMPLES & 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class Heard:
    """What an ear made of what reached it."""

    tune: int | None
    """The number of the tune that was heard; None when it was no tune."""
    tune_s: float
    """For how long that tune was heard, frame by frame, in seconds."""
    foreign_s: float
    """For how long something else was heard, in seconds."""
    longest_gap_ms: float
    """The longest time between two packets beyond the 20 ms that one holds."""


@dataclass(slots=True)
class Stream:
    """What came in under one SSRC."""

    first_timestamp: int
    highest: int
    notes: dict[int, Counter[int]] = field(default_factory=dict)
    frames: int = 0
    transit_s: float | None = None

    def unroll(self, sequence: int) -> int:
        """The sequence number with roll-overs counted: the one nearest to the highest so far."""
        near = self.highest + ((sequence - self.highest + 0x8000 & 0xFFFF) - 0x8000)
        self.highest = max(self.highest, near)
        return near

    def since_first(self, timestamp: int) -> int:
        """Samples since the first packet; negative for one that was overtaken by it."""
        return (timestamp - self.first_timestamp + 0x80000000 & 0xFFFFFFFF) - 0x80000000


class Ear:
    """Hears RTP with PCMU; knows afterwards which tune it was and when each packet came."""

    def __init__(self) -> None:
        self.arrivals: dict[PacketKey, float] = {}
        self.duplicates = 0
        self._streams: dict[int, Stream] = {}
        self._last_at: float | None = None
        self._longest_gap_s = 0.0
        self._jitter_s = 0.0

    @property
    def jitter_ms(self) -> float:
        """Interarrival jitter as RFC 3550 section 6.4.1 estimates it."""
        return self._jitter_s * 1000

    def hear_untrusted(self, packet: bytes, now: float) -> None:
        """Take one datagram from the network; what is not RTP with PCMU is passed over."""
        if len(packet) < RTP_HEADER.size or packet[0] >> 6 != RTP_VERSION or packet[1] & 0x7F != PCMU:
            return
        _, _, sequence, timestamp, ssrc = RTP_HEADER.unpack_from(packet)
        stream = self._streams.get(ssrc)
        if stream is None:
            if len(self._streams) == MOST_STREAMS:
                return
            stream = self._streams[ssrc] = Stream(first_timestamp=timestamp, highest=sequence)
        key = ssrc, stream.unroll(sequence)
        if key in self.arrivals:
            self.duplicates += 1
            return
        self.arrivals[key] = now
        elapsed = stream.since_first(timestamp)
        self._keep_time(stream, elapsed, now)
        payload = packet[RTP_HEADER.size + 4 * (packet[0] & 0x0F) :]
        for offset in range(0, len(payload) - FRAME_SAMPLES + 1, FRAME_SAMPLES):
            stream.frames += 1
            note = note_of_frame(payload[offset : offset + FRAME_SAMPLES])
            if note is not None:
                slot = round((elapsed + offset) / FRAME_SAMPLES) % FRAMES_PER_TUNE
                stream.notes.setdefault(slot, Counter())[note] += 1

    def verdict(self) -> Heard:
        """What was heard up to now."""
        heard: Counter[int | None] = Counter()
        for stream in self._streams.values():
            tune = decode_tune(stream.notes)
            right = 0 if tune is None else sum(max(notes.values()) for notes in stream.notes.values())
            heard[None] += stream.frames - right
            heard[tune] += right
        known = [tune for tune in heard if tune is not None]
        best = max(known, key=heard.__getitem__, default=None)
        right = heard[best] if best is not None else 0
        return Heard(
            tune=best,
            tune_s=right * FRAME_MS / 1000,
            foreign_s=(heard.total() - right) * FRAME_MS / 1000,
            longest_gap_ms=self._longest_gap_s * 1000,
        )

    def _keep_time(self, stream: Stream, elapsed_samples: int, now: float) -> None:
        if self._last_at is not None:
            self._longest_gap_s = max(self._longest_gap_s, now - self._last_at - FRAME_MS / 1000)
        self._last_at = now
        transit_s = now - elapsed_samples / SAMPLES_PER_S
        if stream.transit_s is not None:
            self._jitter_s += (abs(transit_s - stream.transit_s) - self._jitter_s) / 16
        stream.transit_s = transit_s
