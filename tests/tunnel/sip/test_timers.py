"""The set of running timers."""

from __future__ import annotations

from tunnel.sip.timers import RunningTimers, Timer


def test_timers_fire_in_the_order_they_are_due_and_once() -> None:
    timers = RunningTimers()
    timers.start(Timer.B, 32.0)
    timers.start(Timer.A, 0.5)
    assert timers.deadline() == 0.5
    assert timers.take_due(0.4) is None
    assert [timers.take_due(40.0) for _ in range(3)] == [Timer.A, Timer.B, None]
    assert timers.deadline() is None


def test_a_timer_started_again_is_moved() -> None:
    timers = RunningTimers()
    timers.start(Timer.C, 181.0)
    timers.start(Timer.C, 200.0)
    assert timers.take_due(190.0) is None
    assert timers.deadline() == 200.0


def test_stopped_timers_do_not_fire() -> None:
    timers = RunningTimers()
    timers.start(Timer.A, 1.0)
    timers.start(Timer.B, 2.0)
    timers.stop(Timer.A, Timer.D)
    assert timers.take_due(3.0) is Timer.B
    timers.start(Timer.K, 5.0)
    timers.stop_all()
    assert timers.take_due(9.0) is None
