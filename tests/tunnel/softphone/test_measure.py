"""One direction judged from two logs: what was lost, how long it took, and whether it was what was said."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tunnel.softphone.measure import OneWay, compare
from tunnel.softphone.tune import Tune
from tunnel.softphone.voice import Ear, Mouth

FRAME_S = 0.02


def carry(packets: int, way: Callable[[int], float | None], said: int = 77, spoken: int = 77) -> OneWay:
    """``way`` gives the delay of each packet in seconds, None when it gets lost."""
    mouth, ear = Mouth(Tune(spoken), 1, 0, 0), Ear()
    for index in range(packets):
        packet = mouth.speak(index * FRAME_S)
        delay = way(index)
        if delay is not None:
            ear.hear_untrusted(packet, index * FRAME_S + delay)
    mouth.tune = Tune(said)
    return compare(mouth, ear)


def test_perfect_way_is_verified_and_scores_the_ceiling() -> None:
    way = carry(150, lambda index: 0.001)
    assert way.verified
    assert way.fault == ""
    assert (way.sent_packets, way.received_packets, way.lost_packets) == (150, 150, 0)
    assert way.delay_p50_ms == pytest.approx(1)
    assert way.delay_p99_ms == pytest.approx(1)
    assert way.mos == pytest.approx(4.36, abs=0.02)


def test_p99_shows_the_one_in_fifty_that_was_slow_and_p50_does_not() -> None:
    way = carry(100, lambda index: 0.03 if index % 50 == 0 else 0.001)
    assert way.delay_p50_ms == pytest.approx(1)
    assert way.delay_p99_ms == pytest.approx(30)


def test_lost_packets_cost_score_but_not_the_content() -> None:
    way = carry(200, lambda index: None if index % 10 == 0 else 0.001)
    assert way.lost_packets == 20
    assert way.verified
    assert way.mos is not None
    assert way.mos < 3.5


def test_packet_later_than_the_buffer_counts_as_lost_in_the_score() -> None:
    late = carry(200, lambda index: 0.08 if index % 10 == 0 else 0.001)
    lost = carry(200, lambda index: None if index % 10 == 0 else 0.001)
    assert late.lost_packets == 0
    assert late.mos == pytest.approx(lost.mos, abs=0.02)


def test_delay_costs_score() -> None:
    assert (carry(150, lambda index: 0.3).mos or 5) < (carry(150, lambda index: 0.01).mos or 0) - 0.3


@pytest.mark.parametrize(
    ("way", "fault"),
    [
        (carry(150, lambda index: None), "nothing was heard"),
        (carry(0, lambda index: 0.0), "nothing was said"),
        (carry(150, lambda index: 0.0, spoken=12), "tune 12 was heard instead of tune 77"),
        (carry(150, lambda index: 0.0 if index < 60 else None), "only 1.20 s of 3.00 s were heard"),
        (carry(10, lambda index: 0.0), "no tune was recognised in 0.20 s of audio"),
    ],
)
def test_fault_says_what_was_wrong(way: OneWay, fault: str) -> None:
    assert not way.verified
    assert way.fault == fault


def test_nothing_heard_has_no_figures_rather_than_invented_ones() -> None:
    way = carry(150, lambda index: None)
    assert (way.delay_p50_ms, way.delay_p99_ms, way.mos) == (None, None, None)
