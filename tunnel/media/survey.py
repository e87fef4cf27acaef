"""[io] What the streams of a pump are like: when they were last heard, and how well they arrive.

Looking into each packet would cost more than relaying it, so only so many streams are measured at a time, in turn.
With few calls that is all of them, all the time. Loss over an interval is exact for the streams that are measured.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from tunnel.address import Address
from tunnel.media.leg import Leg
from tunnel.media.quality import Interval, StreamMeter
from tunnel.media.tie import Tie

__all__ = ["StreamStats", "Survey"]

# --- numbers of ours -----------------------------------------------------------------------------------------------
_MEASURED = 32  # streams at a time: about 1 % of a core for both directions of each
_INTERVAL_S = 5.0  # 250 packets: one lost is 0.4 %


@dataclass(frozen=True, slots=True)
class StreamStats:
    """One channel at one port. Heard: from the face's network; sent: to it, after the tunnel.

    ``target`` is the party's SDP address, ``remote`` where it was really heard. Times are exact to half a second:
    ``first_heard_at`` and ``heard_at`` of the first packet and the latest. ``heard`` and ``sent`` are the last interval that
    was measured, None before one was. ``dropped`` counts by reason what was no packet of the party; ``dropped_late`` what
    came from it and was too late for the tunnel (of RTP and RTCP together, told with RTP).
    """

    lease: int
    call: int
    channel: int
    port: int
    target: Address | None
    remote: Address | None
    heard_packets: int
    heard_bytes: int
    first_heard_at: float | None
    heard_at: float | None
    heard: Interval | None
    sent_packets: int
    sent_bytes: int
    first_sent_at: float | None
    sent_at: float | None
    sent: Interval | None
    dropped: dict[str, int]
    dropped_late: int


class _Record:
    __slots__ = (
        "first_heard_at",
        "first_sent_at",
        "heard",
        "heard_at",
        "heard_packets",
        "measured_at",
        "sent",
        "sent_at",
        "sent_packets",
    )

    def __init__(self) -> None:
        self.heard_packets = self.sent_packets = 0
        self.measured_at = 0.0
        self.first_heard_at: float | None = None
        self.heard_at: float | None = None
        self.first_sent_at: float | None = None
        self.sent_at: float | None = None
        self.heard: Interval | None = None
        self.sent: Interval | None = None


class Survey:
    """``look`` is called twice a second with all ties there are."""

    def __init__(self) -> None:
        self._records: dict[Tie, _Record] = {}
        self._measured: dict[Tie, tuple[Leg, StreamMeter, StreamMeter]] = {}
        self._read_at = 0.0

    def look(self, ties: Iterable[tuple[Leg, Tie]], now: float) -> None:
        """Note who is active, and measure whose turn it is."""
        before, self._records = self._records, {}
        waiting: list[tuple[Leg, Tie]] = []
        for leg, tie in ties:
            record = self._records[tie] = before.get(tie) or _Record()
            _note(record, tie, now)
            if tie not in self._measured and not tie.channel & 1:
                waiting.append((leg, tie))
        if now >= self._read_at:
            self._read(waiting, now)
            self._read_at = now + _INTERVAL_S
        waiting.sort(key=lambda leg_and_tie: self._records[leg_and_tie[1]].measured_at)
        for leg, tie in waiting[: max(0, _MEASURED - len(self._measured))]:
            meters = StreamMeter(now), StreamMeter(now)
            self._measured[tie] = leg, *meters
            self._records[tie].measured_at = now
            leg.measure(tie, *meters)

    def active_at(self, ties: Iterable[Tie]) -> float | None:
        """When a packet of one of them last came or left."""
        records = [self._records[tie] for tie in ties if tie in self._records]
        known = (at for record in records for at in (record.heard_at, record.sent_at) if at is not None)
        return max(known, default=None)

    def describe(self, lease: int, call: int, leg: Leg, tie: Tie, dropped_late: int) -> StreamStats:
        """The tie as of now."""
        record = self._records.get(tie) or _Record()
        latch = tie.latch
        return StreamStats(
            lease=lease,
            call=call,
            channel=tie.channel,
            port=leg.port,
            target=latch.target if latch is not None else None,
            remote=latch.remote if latch is not None else None,
            heard_packets=tie.heard.packets,
            heard_bytes=tie.heard.bytes,
            first_heard_at=record.first_heard_at,
            heard_at=record.heard_at,
            heard=record.heard,
            sent_packets=tie.sent.packets,
            sent_bytes=tie.sent.bytes,
            first_sent_at=record.first_sent_at,
            sent_at=record.sent_at,
            sent=record.sent,
            dropped={reason.value: count for reason, count in latch.dropped.items()} if latch is not None else {},
            dropped_late=dropped_late,
        )

    def _read(self, waiting: list[tuple[Leg, Tie]], now: float) -> None:
        """The end of an interval: keep what was measured, and make room for those who wait."""
        for tie, (leg, heard, sent) in list(self._measured.items()):
            record = self._records.get(tie)
            if record is not None:
                record.heard, record.sent = heard.read(now), sent.read(now)
            if record is None or waiting:
                del self._measured[tie]
            if record is not None and waiting:
                leg.measure(tie, None, None)


def _note(record: _Record, tie: Tie, now: float) -> None:
    if tie.heard.packets != record.heard_packets:
        record.heard_packets, record.heard_at = tie.heard.packets, now
        record.first_heard_at = now if record.first_heard_at is None else record.first_heard_at
    if tie.sent.packets != record.sent_packets:
        record.sent_packets, record.sent_at = tie.sent.packets, now
        record.first_sent_at = now if record.first_sent_at is None else record.first_sent_at
