"""The port ledger: nothing leaks, nothing is reused too early, and calls are refused before it runs out."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tunnel.errors import LocalMisuse
from tunnel.media.lease import QUARANTINE_S, PortLedger
from tunnel.media.plane import LedgerFull


def test_pairs_are_even_and_within_the_range() -> None:
    """L1: pairs are even and odd, and within the range."""
    ledger = PortLedger(20001, 20006)
    assert [ledger.take(1, 0.0), ledger.take(1, 0.0)] == [20002, 20004]
    with pytest.raises(LedgerFull):
        ledger.take(1, 0.0)


def test_a_range_without_a_pair_is_refused() -> None:
    with pytest.raises(LocalMisuse):
        PortLedger(20001, 20002)


def test_a_released_pair_rests_for_30_seconds() -> None:
    """I6, T13: a released pair rests for 30 s."""
    ledger = PortLedger(20000, 20001)
    pair = ledger.take(1, 0.0)
    ledger.release(pair, 10.0)
    with pytest.raises(LedgerFull):
        ledger.take(2, 10.0 + QUARANTINE_S - 0.1)
    assert ledger.take(2, 10.0 + QUARANTINE_S) == pair


def test_the_pair_that_has_rested_longest_is_next() -> None:
    ledger = PortLedger(20000, 20007)
    first, second = ledger.take(1, 0.0), ledger.take(1, 0.0)
    ledger.release(second, 1.0)
    ledger.release(first, 2.0)
    assert [ledger.take(1, 100.0) for _ in range(4)] == [20004, 20006, second, first]


def test_a_pair_that_is_held_is_never_handed_out_again() -> None:
    """T13: a pair that is held is never handed out again."""
    ledger = PortLedger(20000, 20039)
    long_call = ledger.take(1, 0.0)
    now = 0.0
    for call in range(2, 50):
        pair = ledger.take(call, now)
        assert pair != long_call
        ledger.release(pair, now)
        now += 10.0


def test_new_calls_are_refused_at_nine_tenths_but_calls_that_are_up_may_grow() -> None:
    """3-#13: new calls are refused before allocation fails; calls that are up may grow."""
    ledger = PortLedger(20000, 20199)
    for call in range(90):
        ledger.take(call, 0.0)
    with pytest.raises(LedgerFull):
        ledger.take(1000, 0.0)
    for _ in range(10):
        ledger.take(5, 0.0)
    with pytest.raises(LedgerFull):
        ledger.take(5, 0.0)
    assert ledger.held == ledger.size == 100


def test_a_port_that_somebody_else_has_is_left_alone_for_a_while() -> None:
    ledger = PortLedger(20000, 20003)
    ledger.bind_failed(ledger.take(1, 0.0), 0.0)
    assert ledger.take(1, 0.0) == 20002
    assert ledger.held == 1
    assert ledger.resting == 1


def test_what_is_not_held_cannot_be_released() -> None:
    ledger = PortLedger(20000, 20003)
    pair = ledger.take(1, 0.0)
    ledger.release(pair, 0.0)
    with pytest.raises(LocalMisuse):
        ledger.release(pair, 0.0)


lives = st.lists(
    st.tuples(st.sampled_from(["take", "release", "bind_failed"]), st.integers(0, 30), st.floats(0, 20)), max_size=300
)


@settings(deadline=None)
@given(lives)
def test_no_life_of_calls_leaks_a_pair(steps: list[tuple[str, int, float]]) -> None:
    """3-#13, T12: no life of calls leaks a pair."""
    ledger = PortLedger(20000, 20023)
    held: list[int] = []
    rested: dict[int, float] = {}
    now = 0.0
    for step, number, pause in steps:
        now += pause
        if step == "take":
            try:
                pair = ledger.take(number, now)
            except LedgerFull:
                continue
            assert pair not in held
            assert now - rested.get(pair, -100.0) >= QUARANTINE_S
            held.append(pair)
        elif held:
            pair = held.pop(number % len(held))
            rested[pair] = now
            (ledger.release if step == "release" else ledger.bind_failed)(pair, now)
        assert ledger.held == len(held)
        assert ledger.held + ledger.resting <= ledger.size
    for pair in held:
        ledger.release(pair, now)
    now += QUARANTINE_S
    assert {ledger.take(1, now) for _ in range(ledger.size)} == set(range(20000, 20024, 2))
