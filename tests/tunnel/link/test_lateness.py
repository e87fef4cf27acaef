"""How late a batch is, from the stamps of a clock that nobody has set."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunnel.link.lateness import Lateness

START = 5000.0


def stamp(sent: float, offset_ms: int = 0) -> int:
    return (int(sent * 1000) + offset_ms) & 0xFFFFFFFF


@given(offset_ms=st.integers(0, 2**32 - 1))
def test_the_clocks_of_the_ends_need_not_agree(offset_ms: int) -> None:
    lateness = Lateness()
    assert not lateness.is_late(stamp(START, offset_ms), START + 0.02)
    assert not lateness.is_late(stamp(START + 1, offset_ms), START + 1.16)
    assert lateness.is_late(stamp(START + 2, offset_ms), START + 2.18)


def test_half_of_the_round_trip_is_part_of_the_age() -> None:
    lateness = Lateness()
    lateness.allow_for(0.060)
    lateness.observe(stamp(START), START + 0.03)
    assert lateness.is_late(stamp(START + 1), START + 1.155)
    assert not lateness.is_late(stamp(START + 1), START + 1.145)


def test_on_a_long_path_one_retransmission_still_fits() -> None:
    lateness = Lateness()
    lateness.allow_for(0.6)
    lateness.observe(stamp(START), START + 0.3)
    assert not lateness.is_late(stamp(START + 1), START + 1.39)


@pytest.mark.parametrize("drift_ppm", [-200, 200])
def test_clocks_that_drift_apart_do_not_make_media_late(drift_ppm: int) -> None:
    lateness = Lateness()
    for tenth in range(36_000):  # an hour
        sent = START + tenth / 10
        drifted = START + (sent - START) * (1 + drift_ppm / 1_000_000)
        assert not lateness.is_late(stamp(drifted), sent + 0.02)


def test_after_long_silence_the_delay_is_learned_anew() -> None:
    lateness = Lateness()
    lateness.observe(stamp(START), START)
    assert not lateness.is_late(stamp(START + 100), START + 100.3)


def test_a_path_that_has_become_longer_for_good_is_accepted_after_3_s() -> None:
    lateness = Lateness()
    lateness.observe(stamp(START), START)
    late = [lateness.is_late(stamp(START + n / 50), START + n / 50 + 0.4) for n in range(500)]
    assert late[:150] == [True] * 150
    assert not any(late[151:])


def test_a_freeze_of_a_second_does_not_move_the_measure() -> None:
    lateness = Lateness()
    lateness.observe(stamp(START), START)
    for n in range(50):
        lateness.is_late(stamp(START + n / 50), START + 1.0)
    assert lateness.is_late(stamp(START + 2), START + 2.2)
