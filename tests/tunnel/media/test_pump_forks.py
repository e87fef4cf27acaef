"""Several channels at one port: the forks of a call."""

from __future__ import annotations

import trio
from support.pump_world import PumpWorld
from support.rtp import rtp_packet


async def test_each_fork_of_a_lease_hears_and_is_heard_by_its_own_party(world: PumpWorld) -> None:
    """I4, T6: each fork of a lease hears and is heard by its own party."""
    first, second, lease = world.phone(), world.phone(), world.take(16)
    world.pump.tie(lease.id, 18, trio.current_time())
    world.aim(lease, first.address, channel=16)
    world.aim(lease, second.address, channel=18)
    first.send(rtp_packet(1), lease.rtp)
    second.send(rtp_packet(2), lease.rtp)
    await world.tunnel.wait_for(2)
    assert sorted(world.tunnel.arrived) == [(16, rtp_packet(1)), (18, rtp_packet(2))]
    world.from_tunnel(rtp_packet(3), 16)
    world.from_tunnel(rtp_packet(4), 18)
    assert [packet for packet, _ in first.heard()] == [rtp_packet(3)]
    assert [packet for packet, _ in second.heard()] == [rtp_packet(4)]
    world.pump.untie(lease.id, 16, trio.current_time())
    first.send(rtp_packet(5), lease.rtp)
    await world.counted("media.dropped.foreign", 1)
    world.from_tunnel(rtp_packet(6), 18)
    assert [packet for packet, _ in second.heard()] == [rtp_packet(6)]


async def test_forks_at_one_address_are_heard_by_the_one_aimed_last(world: PumpWorld) -> None:
    gateway, lease = world.phone(), world.take(16)
    world.pump.tie(lease.id, 18, trio.current_time())
    world.aim(lease, gateway.address, channel=16)
    gateway.send(rtp_packet(1), lease.rtp)
    await world.tunnel.wait_for(1)
    world.aim(lease, gateway.address, channel=18)
    gateway.send(rtp_packet(2), lease.rtp)
    gateway.send(rtp_packet(3), lease.rtp)
    await world.tunnel.wait_for(3)
    world.pump.untie(lease.id, 18, trio.current_time())
    gateway.send(rtp_packet(4), lease.rtp)
    await world.tunnel.wait_for(4)
    assert [channel for channel, _ in world.tunnel.arrived] == [16, 18, 18, 16]
