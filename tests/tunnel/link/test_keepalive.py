"""Liveness: pace, death, round trips (T19)."""

from __future__ import annotations

import pytest

from tunnel.link.keepalive import Keepalive


def run(keepalive: Keepalive, start: float, until: float, cut_at: float) -> float:
    """Answer every ping until ``cut_at``: returns when the connection is given up."""
    now = start
    while now < until:
        if keepalive.next_ping <= now:
            keepalive.ping(now)
            if now < cut_at:
                keepalive.heard(now)
        if keepalive.dead_at <= now:
            return now
        now += 0.01
    raise AssertionError("never given up")


@pytest.mark.parametrize("cut_at", [103.0, 103.2, 103.49])
def test_a_cut_in_a_call_is_noticed_within_2_s(cut_at: float) -> None:
    """N4, T19: whenever it happens."""
    keepalive = Keepalive()
    keepalive.start(100.0)
    keepalive.set_busy(True, 100.0)
    assert 1.4 < run(keepalive, 100.0, 200.0, cut_at) - cut_at <= 2.02


@pytest.mark.parametrize("cut_at", [120.0, 123.0, 124.9])
def test_an_idle_link_that_died_in_silence_is_noticed_within_15_s(cut_at: float) -> None:
    """N4, T19: whenever it happens."""
    keepalive = Keepalive()
    keepalive.start(100.0)
    assert 7 <= run(keepalive, 100.0, 200.0, cut_at) - cut_at <= 15


def test_the_first_call_pings_at_once_and_the_silence_before_it_does_not_kill() -> None:
    keepalive = Keepalive()
    keepalive.start(100.0)
    keepalive.ping(100.0)
    keepalive.heard(100.1)
    keepalive.set_busy(True, 104.5)
    assert keepalive.next_ping == 104.5
    assert keepalive.dead_at == 106.5


def test_more_calls_do_not_put_death_off() -> None:
    keepalive = Keepalive()
    keepalive.start(100.0)
    keepalive.set_busy(True, 100.0)
    keepalive.set_busy(True, 101.0)
    assert keepalive.dead_at == 102.0


def test_round_trips_are_measured_smoothed_and_their_least_is_kept() -> None:
    keepalive = Keepalive()
    keepalive.start(100.0)
    for sent, rtt_s in ((100.0, 0.040), (100.5, 0.080), (101.0, 0.030)):
        keepalive.pong(keepalive.ping(sent), sent + rtt_s)
    assert keepalive.least_rtt_s == pytest.approx(0.030, abs=1e-5)
    assert keepalive.smoothed_rtt_s == pytest.approx(0.040 + 0.040 / 8 - 0.015 / 8, abs=1e-4)


def test_a_pong_from_the_future_says_nothing() -> None:
    keepalive = Keepalive()
    keepalive.start(100.0)
    keepalive.pong(200_000_000, 101.0)
    assert keepalive.smoothed_rtt_s is None
