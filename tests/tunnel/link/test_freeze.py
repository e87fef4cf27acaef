"""3-#3: the tunnel freezes for a second under 20 calls, and nobody hears old sound afterwards.

Every packet carries the time at which it reached the sending end, so that its true age is known where it comes out.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

import pytest
from support.wire import End, SessionPair

from tunnel.link.events import SessionDown
from tunnel.link.frames import AGENT_CHANNELS, frame
from tunnel.link.priority import Priority

CALLS = AGENT_CHANNELS[:20]
DTMF = 101
_SENT = struct.Struct("!d")


class Calls:
    """20 calls of G.711 both ways, with a SIP message every 50 ms and a DTMF packet every 100 ms."""

    def __init__(self, pair: SessionPair) -> None:
        self.pair = pair
        self.ages: list[tuple[float, float]] = []  # when it came out of the server, age in seconds
        self.dtmf_sent = self.dtmf_heard = self.audio_sent = 0
        self.signals: list[bytes] = []
        self._milliseconds = 0
        for end in pair.ends:
            end.session.set_busy(len(CALLS), pair.clock.now)
            for channel in CALLS:
                end.session.set_class(channel, Priority.AUDIO, [DTMF])
                end.session.sinks[channel] = self._ear(end)

    def _ear(self, end: End) -> Callable[[bytes], None]:
        def hear(packet: bytes) -> None:
            if end is self.pair.server:
                now = self.pair.clock.now
                if packet[1] == DTMF:
                    self.dtmf_heard += 1
                else:
                    self.ages.append((now, now - _SENT.unpack_from(packet, 2)[0]))

        return hear

    def run(self, seconds: float) -> None:
        for _ in range(round(seconds * 1000)):
            self._milliseconds += 1
            now = self.pair.clock.now
            stamp = _SENT.pack(now)
            for end in self.pair.ends:
                calls = [c for number, c in enumerate(CALLS) if self._milliseconds % 20 == number]
                batch = [frame(channel, (b"\x80\x00" + stamp).ljust(172, b"x")) for channel in calls]
                if end is self.pair.agent:
                    self.audio_sent += len(batch)
                    if self._milliseconds % 100 == 0:
                        batch.append(frame(CALLS[0], bytes((0x80, DTMF)) + stamp))
                        self.dtmf_sent += 1
                    if self._milliseconds % 50 == 0:
                        self.signals.append(b"%d" % self._milliseconds + b"x" * 800)
                        end.session.send_signal(self.signals[-1], now)
                if batch:
                    end.session.send_media(batch, len(batch), now)
            self.pair.step(0.001)

    def freeze(self, seconds: float) -> None:
        for end in self.pair.ends:
            end.wire.frozen = True
        self.run(seconds)
        for end in self.pair.ends:
            end.wire.frozen = False


@pytest.mark.parametrize("rate_bytes_s", [1e9, 1e6, 300_000])
def test_after_a_freeze_nothing_older_than_150_ms_is_heard_and_no_signal_is_lost(rate_bytes_s: float) -> None:
    pair = SessionPair(delay_s=0.02, rate_bytes_s=rate_bytes_s).up()
    calls = Calls(pair)
    calls.run(1.5)
    before_s = max(age for _, age in calls.ages)
    calls.freeze(1.0)
    thawed = pair.clock.now
    calls.run(1.5)
    pair.run(0.2)

    assert max(age for _, age in calls.ages) <= 0.150
    assert all(age <= before_s + 0.040 for at, age in calls.ages if at > thawed + 0.2)
    assert pair.server.signals == calls.signals
    assert calls.dtmf_heard == calls.dtmf_sent
    assert not any(isinstance(event, SessionDown) for end in pair.ends for event in end.events)
    counters = pair.agent.counters["link.late_dropped.audio"] + pair.server.counters["link.stale_received"]
    assert len(calls.ages) + counters == calls.audio_sent
    assert pair.server.counters["link.stale_received"] > 0


@pytest.mark.parametrize("rate_bytes_s", [50_000, 100_000, 150_000])
def test_a_line_that_is_too_slow_costs_packets_and_not_delay(rate_bytes_s: float) -> None:
    pair = SessionPair(delay_s=0.02, rate_bytes_s=rate_bytes_s).up()  # 20 calls need 180,000 and signalling 17,000
    calls = Calls(pair)
    calls.run(5.0)
    assert max(age for _, age in calls.ages) < 0.150
    assert len(calls.ages) / calls.audio_sent > 0.9 * (rate_bytes_s - 17_000) / 180_000
    assert calls.dtmf_heard >= calls.dtmf_sent - 2
    assert len(pair.server.signals) >= len(calls.signals) - 4


def test_a_quiet_line_loses_and_delays_nothing() -> None:
    pair = SessionPair(delay_s=0.02).up()
    calls = Calls(pair)
    calls.run(1.0)
    pair.run(0.1)
    assert len(calls.ages) == calls.audio_sent
    assert max(age for _, age in calls.ages) < 0.0225
