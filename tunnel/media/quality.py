"""How well a stream arrives: loss, order and jitter of intervals (RFC 3550), and the MOS that follows (ITU-T G.107).

Loss is of an interval, never since the beginning: a bad minute must show, and must pass (3-#14, T25).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from tunnel.errors import BadPacket
from tunnel.media.rtp import peek_rtp_untrusted, sequence_step

__all__ = ["Interval", "StreamMeter", "mos", "r_factor"]

# --- numbers of RFC 3550 -------------------------------------------------------------------------------------------
_MAX_DROPOUT = 3000  # appendix A.1: a larger jump ahead is a new beginning
_MAX_MISORDER = 100  # appendix A.1: a packet further behind too
_JITTER_GAIN = 1 / 16  # section 6.4.1

# --- numbers of ITU-T G.107, all defaults --------------------------------------------------------------------------
_NO_DBM0P, _RO = -61.18, 94.77  # power of the noise, and the rating that is left of 100 because of it
_RO_LESS_IS = 93.355  # ... and because of side tone, loudness and quantising; with Idle it makes the well-known 93.2
_TELR_DB, _WEPL_DB, _RLR_DB = 65, 110, 2
_G711_IE, _G711_BPL = 0.0, 25.1  # ITU-T G.113 appendix I, G.711 with loss concealment

# --- numbers of ours -----------------------------------------------------------------------------------------------
_SEEN_BITS = 128  # how far back a duplicate is told from a late packet
_CLOCKS_HZ = (8000, 11025, 16000, 22050, 24000, 32000, 44100, 48000, 90000)  # those of RFC 3551 and of codecs since
_CLOCK_OBSERVED_S = 0.4  # jitter of 50 ms makes an error of an eighth, less than what lies between two of those


@dataclass(frozen=True, slots=True)
class Interval:
    """What arrived between two readings. ``jitter_ms`` is None before the second packet of the stream."""

    seconds: float
    packets: int
    payload_bytes: int
    lost: int
    reordered: int
    duplicates: int
    jitter_ms: float | None

    @property
    def loss(self) -> float | None:
        """The share lost, 0 to 1; None when nothing was to be expected."""
        expected = self.packets + self.lost
        return self.lost / expected if expected else None


class StreamMeter:
    """Watches every packet of one direction of one RTP stream.

    ``clock_hz`` is the rate of its RTP timestamps; None: it is found out, and only then there is jitter.
    """

    __slots__ = (
        "_bytes",
        "_clock_hz",
        "_clock_start",
        "_duplicates",
        "_expected_from",
        "_highest",
        "_jitter_ms",
        "_packets",
        "_reordered",
        "_seen",
        "_since",
        "_ssrc",
        "_transit_s",
    )

    def __init__(self, now: float, clock_hz: int | None = None) -> None:
        self._clock_hz = clock_hz
        self._clock_start: tuple[float, int] | None = None
        self._since = now
        self._ssrc: int | None = None
        self._highest = 0  # sequence number of the newest packet, counted on beyond 16 bits
        self._expected_from = 0  # the first sequence number that belongs to this interval
        self._seen = 0  # bit n: sequence number highest - n has arrived
        self._transit_s: tuple[float, int] | None = None  # arrival and timestamp of the last packet, in order or not
        self._jitter_ms: float | None = None
        self._packets = self._bytes = self._reordered = self._duplicates = 0

    def receive_untrusted(self, packet: bytes, now: float) -> None:
        """Count a packet that arrived at ``now``. What is not RTP is passed over."""
        try:
            header = peek_rtp_untrusted(packet)
        except BadPacket:
            return
        step = sequence_step(self._highest & 0xFFFF, header.sequence)
        if header.ssrc != self._ssrc or step > _MAX_DROPOUT or step < -_MAX_MISORDER:
            self._begin(header.ssrc, header.sequence)
            step = 1
        if step <= 0:
            if self._seen >> -step & 1:
                self._duplicates += 1
                return
            self._seen |= 1 << -step
            self._reordered += 1
        else:
            self._highest += step
            self._seen = (self._seen << step | 1) & (1 << _SEEN_BITS) - 1
        self._observe_transit(header.timestamp, now)
        self._packets += 1
        self._bytes += len(packet)

    def read(self, now: float) -> Interval:
        """The interval since the last reading, and begin the next one."""
        expected = self._highest + 1 - self._expected_from if self._ssrc is not None else 0
        interval = Interval(
            seconds=now - self._since,
            packets=self._packets,
            payload_bytes=self._bytes,
            lost=max(0, expected - self._packets),
            reordered=self._reordered,
            duplicates=self._duplicates,
            jitter_ms=self._jitter_ms,
        )
        self._since = now
        self._expected_from = self._highest + 1
        self._packets = self._bytes = self._reordered = self._duplicates = 0
        return interval

    def _begin(self, ssrc: int, sequence: int) -> None:
        """A new source, or one that began again: what came in this interval before stays counted, without loss."""
        self._ssrc = ssrc
        self._highest = sequence - 1 + 0x10000
        self._expected_from = self._highest + 1 - self._packets
        self._seen = (1 << _SEEN_BITS) - 1  # what came before the first packet is not missing
        self._transit_s = self._clock_start = None

    def _observe_transit(self, timestamp: int, now: float) -> None:
        if self._clock_hz is None:
            self._find_clock(timestamp, now)
        elif self._transit_s is not None:
            arrived, before = self._transit_s
            deviation_ms = abs(now - arrived - _timestamp_step(before, timestamp) / self._clock_hz) * 1000
            jitter_ms = self._jitter_ms or 0.0
            self._jitter_ms = jitter_ms + (deviation_ms - jitter_ms) * _JITTER_GAIN
        self._transit_s = (now, timestamp)

    def _find_clock(self, timestamp: int, now: float) -> None:
        if self._clock_start is None:
            self._clock_start = now, timestamp
            return
        seconds = now - self._clock_start[0]
        if seconds >= _CLOCK_OBSERVED_S:
            rate = _timestamp_step(self._clock_start[1], timestamp) / seconds
            self._clock_hz = min(_CLOCKS_HZ, key=lambda hz: abs(hz - rate))


def _timestamp_step(before: int, after: int) -> int:
    return (after - before + 0x80000000 & 0xFFFFFFFF) - 0x80000000


def r_factor(delay_ms: float, loss: float, *, ie: float = _G711_IE, bpl: float = _G711_BPL) -> float:
    """The rating of ITU-T G.107 for a mouth-to-ear delay and a share of random loss (0 to 1), all else at defaults.

    ``ie`` and ``bpl`` are the codec's of ITU-T G.113; the defaults are those of G.711 with loss concealment.
    """
    percent = loss * 100
    return _RO_LESS_IS - _delay_impairment(delay_ms) - (ie + (95 - ie) * percent / (percent + bpl))


def _delay_impairment(delay_ms: float) -> float:
    """Talker echo, listener echo, and the delay itself (G.107 7.4)."""
    terv = _TELR_DB - 40 * math.log10((1 + delay_ms / 10) / (1 + delay_ms / 150)) + 6 * math.exp(-0.3 * delay_ms**2)
    talker = -1.5 * (_NO_DBM0P - _RLR_DB) - (80 + 2.5 * (terv - 14))
    talker_echo: float = (talker / 2 + math.sqrt(talker**2 / 4 + 100) - 1) * (1 - math.exp(-delay_ms))
    listener = _RO - 10.5 * (_WEPL_DB + 7) * (2 * delay_ms + 1) ** -0.25
    listener_echo: float = listener / 2 + math.sqrt(listener**2 / 4 + 169)
    delay = 0.0
    if delay_ms > 100:
        x = math.log2(delay_ms / 100)
        delay = 25 * ((1 + x**6) ** (1 / 6) - 3 * (1 + (x / 3) ** 6) ** (1 / 6) + 2)
    return talker_echo + listener_echo + delay


def mos(delay_ms: float, loss: float | None, *, ie: float = _G711_IE, bpl: float = _G711_BPL) -> float | None:
    """The mean opinion score, 1 to 4.5 (G.107 annex B); None while there is no measured loss."""
    if loss is None:
        return None
    r = r_factor(delay_ms, loss, ie=ie, bpl=bpl)
    if r <= 0:
        return 1.0
    if r >= 100:
        return 4.5
    return max(1.0, 1 + 0.035 * r + r * (r - 60) * (100 - r) * 7e-6)
