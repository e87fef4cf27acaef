"""What a tenant may use: calls at once, new calls a second."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outside_server.limits import CallLimits


def taken(limits: CallLimits, now: float, tries: int) -> int:
    """How many of that many calls are let through at ``now``."""
    return sum(limits.refuse(now) is None for _ in range(tries))


def test_zero_means_no_limit() -> None:
    assert taken(CallLimits(0, 0), 5.0, 10_000) == 10_000


def test_no_more_calls_at_once_than_allowed() -> None:
    limits = CallLimits(2, 0)
    limits.active = 1
    assert limits.refuse(5.0) is None
    limits.active = 2
    refusal = limits.refuse(5.0)
    assert refusal is not None
    assert (refusal.status, refusal.retry_after_s > 0) == (503, True)
    limits.active = 1
    assert limits.refuse(5.0) is None


def test_a_burst_is_one_seconds_worth() -> None:
    limits = CallLimits(0, 5)
    assert taken(limits, 100.0, 20) == 5
    refusal = limits.refuse(100.0)
    assert refusal is not None
    assert (refusal.status, refusal.retry_after_s) == (503, 1)
    assert taken(limits, 100.5, 20) == 2
    assert taken(limits, 1000.0, 20) == 5


@pytest.mark.parametrize("rate", [0.1, 0.5, 1.0])
def test_the_first_call_passes_however_slow_the_rate(rate: float) -> None:
    limits = CallLimits(0, rate)
    assert taken(limits, 0.0, 2) == 1
    assert taken(limits, 0.9 / rate, 2) == 0
    assert taken(limits, 1.1 / rate, 2) == 1


def test_a_call_refused_for_want_of_room_costs_no_rate() -> None:
    limits = CallLimits(1, 1)
    limits.active = 1
    assert taken(limits, 5.0, 10) == 0
    limits.active = 0
    assert taken(limits, 5.0, 10) == 1


@given(
    st.floats(0.1, 50),
    st.lists(st.floats(0, 3), min_size=1, max_size=200),
)
def test_in_the_long_run_the_rate_holds(rate: float, pauses: list[float]) -> None:
    limits = CallLimits(0, rate)
    now, passed = 1000.0, 0
    for pause in pauses:
        now += pause
        passed += limits.refuse(now) is None
    assert passed <= max(1.0, rate) + sum(pauses) * rate + 1e-6
