"""Ports and sockets of the pump: none leaks, none is used twice."""

from __future__ import annotations

import os
import random
import socket
from contextlib import suppress
from pathlib import Path

import pytest
import trio
from support.pump_world import CHANNEL, ELSEWHERE, HOST, PumpWorld
from support.rtp import rtp_packet

from tunnel.address import Address
from tunnel.errors import LocalMisuse
from tunnel.media.lease import QUARANTINE_S
from tunnel.media.plane import Aim, LedgerFull


async def test_late_packet_after_hangup_is_counted_not_sent(world: PumpWorld) -> None:
    """I6: a late packet after the end is counted, not sent."""
    phone, lease = world.phone(), world.take()
    world.aim(lease, phone.address)
    phone.send(rtp_packet(1), lease.rtp)
    await world.tunnel.wait_for(1)
    world.pump.release(lease.id, 5.0, trio.current_time())
    phone.send(rtp_packet(2), lease.rtp)
    await world.counted("media.dropped.late", 1)
    world.from_tunnel(rtp_packet(3))
    assert phone.heard() == []
    assert world.sinks.unknown == 1
    assert len(world.tunnel.arrived) == 1


async def test_a_released_lease_lingers_then_closes_then_rests(world: PumpWorld) -> None:
    """I6: a released lease lingers, closes and rests."""
    now = trio.current_time()
    lease = world.take()
    world.pump.release(lease.id, 5.0, now)
    world.pump.tend(now + 4.9)
    assert (world.pump.leases, world.pump.sockets, world.ledger.held) == (0, 2, 1)
    world.pump.tend(now + 5.1)
    assert (world.pump.sockets, world.ledger.held, world.ledger.resting) == (0, 0, 1)
    world.ledger.take(2, now + 5.1 + QUARANTINE_S)
    assert world.ledger.resting == 0


async def test_an_odd_port_that_is_taken_costs_the_pair_and_nothing_else(world: PumpWorld) -> None:
    """T12: an odd port that is taken costs the pair and nothing else."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as somebody:
        somebody.bind((HOST, world.low + 1))
        lease = world.take()
        assert lease.rtp.port == world.low + 2
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as even:
            even.bind((HOST, world.low))
    assert world.counters["media.port_taken"] == 1
    assert world.pump.sockets == 2


async def test_a_full_ledger_is_said_so(world: PumpWorld) -> None:
    for call in range(18):
        world.pump.take(call, trio.current_time())
    with pytest.raises(LedgerFull):
        world.pump.take(99, trio.current_time())


async def test_a_face_that_cannot_bind_says_the_ledger_is_full() -> None:
    async with trio.open_nursery() as nursery:
        world = PumpWorld(nursery, bind="203.0.113.77")
        with pytest.raises(LedgerFull):
            world.pump.take(1, 0.0)
        assert world.ledger.held == 0
        world.pump.close()


async def test_what_was_never_taken_or_tied_is_a_misuse(world: PumpWorld) -> None:
    with pytest.raises(LocalMisuse):
        world.pump.tie(77, CHANNEL, 0.0)
    lease = world.take()
    with pytest.raises(LocalMisuse):
        world.aim(lease, None, channel=CHANNEL + 2)


async def test_nothing_stays_open_when_the_pump_ends() -> None:
    before = len(os.listdir(Path("/proc/self/fd")))
    async with trio.open_nursery() as nursery:
        world = PumpWorld(nursery)
        await world.start()
        leases = []
        for n in range(10):
            phone, lease = world.phone(), world.take(CHANNEL + 2 * n)
            world.aim(lease, phone.address, phone.address, channel=CHANNEL + 2 * n)
            leases.append(lease)
        for phone in world.phones:
            phone.socket.close()
        nursery.cancel_scope.cancel()
    assert len(os.listdir(Path("/proc/self/fd"))) == before
    assert world.ledger.held == 0
    assert not world.sinks
    world.pump.release(leases[0].id, 5.0, 0.0)  # calls end after their session, and need not know
    with pytest.raises(LedgerFull):
        world.pump.take(1, 0.0)


@pytest.mark.parametrize("seed", range(3))
async def test_random_lives_of_calls_leave_nothing_behind(world: PumpWorld, seed: int) -> None:
    """3-#13: random lives of calls leave nothing behind."""
    before = len(os.listdir(Path("/proc/self/fd")))
    dice = random.Random(seed)
    now = trio.current_time()
    parties = [Address(HOST, port) for port in (9000, 9002, 9004)] + [Address(ELSEWHERE, 9000), None]
    live: dict[int, set[int]] = {}
    for step in range(400):
        now += dice.uniform(0, 2)
        what = dice.choice(["take", "tie", "aim", "aim", "untie", "release", "tend"])
        lease = dice.choice(list(live)) if live else 0
        if what == "take":
            with suppress(LedgerFull):
                live[world.pump.take(step, now).id] = set()
        elif what == "tend":
            world.pump.tend(now)
        elif lease and what == "tie":
            channel = CHANNEL + 2 * step
            world.pump.tie(lease, channel, now)
            live[lease].add(channel)
        elif lease and what == "release":
            world.pump.release(lease, dice.choice([0.0, 2.0, 5.0]), now)
            del live[lease]
        elif lease and live[lease]:
            channel = dice.choice(sorted(live[lease]))
            if what == "aim":
                aim = Aim(
                    dice.choice(parties), dice.choice(parties), dice.random() < 0.3, HOST, False, True, frozenset()
                )
                world.pump.aim(lease, channel, aim, now)
            else:
                world.pump.untie(lease, channel, now)
                live[lease].remove(channel)
    for lease in live:
        world.pump.release(lease, 5.0, now)
    world.pump.tend(now + 6.0)
    assert (world.pump.leases, world.pump.sockets, world.ledger.held, len(world.sinks)) == (0, 0, 0, 0)
    assert len(os.listdir(Path("/proc/self/fd"))) == before
