"""T20: ten minutes of calls over a TCP path that loses one segment in a hundred, in virtual time."""

from __future__ import annotations

import random
import struct
from statistics import linear_regression, median

from support.wire import SessionPair, Wire

from tunnel.link.frames import AGENT_CHANNELS, frame
from tunnel.link.priority import Priority

CALLS = AGENT_CHANNELS[:4]
MINUTES = 10
STEP_S = 0.005
RTT_S = 0.040
LOSS = 0.01
# What a lost segment costs a TCP stream: a fast retransmission takes a round trip, and one in ten a timeout.
FAST_S, TIMEOUT_S = RTT_S, 0.240
_SENT = struct.Struct("!d")


class LossyWire(Wire):
    """A TCP stream whose segments are lost: what comes behind a lost one waits until it was sent again."""

    def __init__(self, seed: int) -> None:
        super().__init__(RTT_S / 2)
        self._chance = random.Random(seed)
        self._stalled_until = 0.0

    def step(self, now: float, passed_s: float) -> list[bytes]:
        if self._queue and now >= self._stalled_until and self._chance.random() < LOSS:
            self._stalled_until = now + (TIMEOUT_S if self._chance.random() < 0.1 else FAST_S)
        self.frozen = now < self._stalled_until
        return super().step(now, passed_s)


def test_late_packets_are_counted_exactly_and_delay_does_not_grow() -> None:
    """T20, 3-#3: what is not heard is in the counters, to the packet; delay is no worse at the end than at the start."""
    pair = SessionPair(delay_s=RTT_S / 2)
    for seed, end in enumerate(pair.ends):
        end.wire = LossyWire(seed)
    pair.up()
    start = pair.clock.now
    heard: list[tuple[float, float]] = []

    def hear(packet: bytes) -> None:
        heard.append((pair.clock.now - start, pair.clock.now - _SENT.unpack_from(packet, 2)[0]))

    for end in pair.ends:
        end.session.set_busy(len(CALLS), pair.clock.now)
        for channel in CALLS:
            end.session.set_class(channel, Priority.AUDIO, [])
            pair.server.session.sinks[channel] = hear
    packets = MINUTES * 60 * 50
    for _ in range(packets):
        for channel in CALLS:
            packet = b"\x80\x00" + _SENT.pack(pair.clock.now) + bytes(162)
            pair.agent.session.send_media([frame(channel, packet)], 1, pair.clock.now)
            pair.step(STEP_S)
    pair.run(1.0)

    sent = packets * len(CALLS)
    dropped = pair.agent.counters["link.late_dropped.audio"] + pair.server.counters["link.stale_received"]
    assert len(heard) + dropped == sent
    assert 0 < dropped < sent * 0.03
    by_minute = [median(age for at, age in heard if at // 60 == minute) for minute in range(MINUTES)]
    slope = linear_regression(range(MINUTES), by_minute).slope
    assert abs(slope) < 0.001, "delay grows from minute to minute"
    assert max(age for _, age in heard) <= 0.150 + STEP_S
