"""What one direction of a call was like: the log of the mouth laid beside the log of the ear."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tunnel.media.quality import mos
from tunnel.softphone.tune import FRAME_MS
from tunnel.softphone.voice import Ear, Heard, Mouth

__all__ = ["OneWay", "compare"]

# Ours. What a phone at the end adds to the way, for the E-model: its jitter buffer and the packet itself.
JITTER_BUFFER_MS = 60.0
# Audio went across when most of what was said was heard, and what was heard was what was said.
HEARD_SHARE = 0.8
FOREIGN_SHARE = 0.1


@dataclass(frozen=True, slots=True)
class OneWay:
    """From a mouth to an ear; delays from socket to socket, None when nothing arrived."""

    said: int
    """The number of the tune that was spoken."""
    heard: Heard
    sent_packets: int
    received_packets: int
    duplicate_packets: int
    delay_p50_ms: float | None
    delay_p99_ms: float | None
    jitter_ms: float
    mos: float | None
    """ITU-T G.107 for G.711: median delay, jitter buffer and packet; a packet too late for the buffer counts as lost."""

    @property
    def lost_packets(self) -> int:
        return self.sent_packets - self.received_packets

    @property
    def verified(self) -> bool:
        """Whether the ear heard what the mouth said, by content."""
        spoken_s = self.sent_packets * FRAME_MS / 1000
        right = self.heard.tune == self.said and self.heard.tune_s > 0
        return (
            right
            and self.heard.tune_s >= HEARD_SHARE * spoken_s
            and self.heard.foreign_s <= FOREIGN_SHARE * self.heard.tune_s
        )

    @property
    def fault(self) -> str:
        """In words why it is not verified; empty when it is."""
        spoken_s = self.sent_packets * FRAME_MS / 1000
        if self.verified:
            return ""
        if not self.sent_packets:
            return "nothing was said"
        if not self.heard.tune_s and not self.heard.foreign_s:
            return "nothing was heard"
        if self.heard.tune is None:
            return f"no tune was recognised in {self.heard.foreign_s:.2f} s of audio"
        if self.heard.tune != self.said:
            return f"tune {self.heard.tune} was heard instead of tune {self.said}"
        if self.heard.tune_s < HEARD_SHARE * spoken_s:
            return f"only {self.heard.tune_s:.2f} s of {spoken_s:.2f} s were heard"
        return f"{self.heard.foreign_s:.2f} s of something else were heard"


def compare(mouth: Mouth, ear: Ear) -> OneWay:
    """Judge one direction after the call. Both logs must be of the same clock."""
    delays_ms = sorted(
        (ear.arrivals[key] - departed) * 1000 for key, departed in mouth.departures.items() if key in ear.arrivals
    )
    sent = len(mouth.departures)
    return OneWay(
        said=mouth.tune.number,
        heard=ear.verdict(),
        sent_packets=sent,
        received_packets=len(delays_ms),
        duplicate_packets=ear.duplicates,
        delay_p50_ms=percentile(delays_ms, 50),
        delay_p99_ms=percentile(delays_ms, 99),
        jitter_ms=ear.jitter_ms,
        mos=score(delays_ms, sent),
    )


def percentile(ordered: Sequence[float], percent: int) -> float | None:
    """The smallest value that at least ``percent`` of all do not exceed."""
    return ordered[max(0, -(-len(ordered) * percent // 100) - 1)] if ordered else None


def score(ordered_delays_ms: Sequence[float], sent: int) -> float | None:
    if not ordered_delays_ms:
        return None
    played = sum(1 for delay in ordered_delays_ms if delay <= ordered_delays_ms[0] + JITTER_BUFFER_MS)
    median = ordered_delays_ms[len(ordered_delays_ms) // 2]
    return mos(median + JITTER_BUFFER_MS + FRAME_MS, 1 - played / sent)
