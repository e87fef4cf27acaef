"""The pump waits for packets while few come, and ticks while many do."""

from __future__ import annotations

import pytest

from tunnel.media.pace import Pace


def pace_after(rate: float, pace: Pace, start: float) -> tuple[float, float]:
    now = start
    for _ in range(300):
        now += 0.001
        tick_s = pace.observe(round(rate * 0.001), now)
    return tick_s, now


@pytest.mark.parametrize(("rate", "tick_s"), [(1000, 0.0), (5000, 0.0), (9000, 0.001), (25_000, 0.002)])
def test_the_tick_follows_the_rate(rate: float, tick_s: float) -> None:
    assert pace_after(rate, Pace(0.0), 0.0)[0] == tick_s


def test_a_pump_that_gets_quiet_waits_for_packets_again() -> None:
    pace = Pace(0.0)
    assert pace_after(8000, pace, 0.0)[0] == 0.001
    assert pace_after(0, pace, 0.3)[0] == 0.0


def test_a_burst_after_silence_does_not_start_the_tick() -> None:
    assert Pace(0.0).observe(50, 10.0) == 0.0
