from __future__ import annotations

from tunnel.address import Address
from tunnel.sip.next_hop import Target
from tunnel.sip.target_health import BACK_OFF_S, LONGEST_BACK_OFF_S, MOST_TARGETS, TargetHealth

A, B, C = (Target("udp", Address(f"198.51.100.{n}", 5060)) for n in (1, 2, 3))


def fail(health: TargetHealth, target: Target, now: float, for_s: float = 0.0) -> None:
    health.failed(target.transport, target.address, now, for_s)


def test_what_just_failed_is_tried_last() -> None:
    """M1: and what failed last of all, after all others."""
    health = TargetHealth()
    assert health.ordered([A, B, C], 0.0) == [A, B, C]
    fail(health, B, 0.0)
    fail(health, A, 5.0)
    assert health.ordered([A, B, C], 6.0) == [C, B, A]
    assert health.ordered([A, B, C], BACK_OFF_S) == [B, C, A]
    health.worked("udp", A.address)
    assert health.ordered([A, B, C], 6.0) == [A, C, B]


def test_another_transport_of_the_same_host_is_another_target() -> None:
    health = TargetHealth()
    fail(health, A, 0.0)
    tcp = Target("tcp", A.address)
    assert health.ordered([A, tcp], 1.0) == [tcp, A]


def test_who_fails_again_waits_twice_as_long_up_to_a_bound() -> None:
    health, now = TargetHealth(), 0.0
    for lasts_s in (30, 60, 120, 240, 480, 480):
        fail(health, A, now)
        fail(health, A, now + 1)  # a second request that found the same failure
        assert health.ordered([A, B], now + lasts_s) == [B, A]
        now += lasts_s + 1
        assert health.ordered([A, B], now) == [A, B]
    assert lasts_s == LONGEST_BACK_OFF_S


def test_a_503_may_say_for_how_long() -> None:
    """RFC 3261 section 21.5.4; within reason."""
    health = TargetHealth()
    fail(health, A, 0.0, for_s=100)
    assert health.ordered([A, B], 99) == [B, A]
    fail(health, B, 0.0, for_s=1e9)
    assert health.ordered([B, A], LONGEST_BACK_OFF_S) == [B, A]


def test_what_is_remembered_is_bounded() -> None:
    health = TargetHealth()
    targets = [Target("udp", Address("198.51.100.1", port)) for port in range(MOST_TARGETS + 1)]
    for target in targets:
        fail(health, target, 0.0)
    assert health.ordered(targets[:2], 1.0) == targets[:2]
    assert health.ordered(targets[1:3], 1.0) == targets[1:3]
    assert health.ordered([targets[-1], targets[0]], 1.0) == [targets[0], targets[-1]]
