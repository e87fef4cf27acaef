"""The pump before everything is known: what waits, what is sent to whom nobody has heard."""

from __future__ import annotations

import trio
from support.pump_world import ELSEWHERE, PumpWorld
from support.rtp import rtcp_packet, rtp_packet


async def test_ten_packets_wait_for_the_aim_in_each_direction(world: PumpWorld) -> None:
    """I5: ten packets wait for the aim in each direction."""
    phone, lease = world.phone(), world.take()
    packets = [rtp_packet(n) for n in range(12)]
    for packet in packets:
        phone.send(packet, lease.rtp)
        world.from_tunnel(packet)
    await world.counted("media.dropped.early", 4)
    assert world.tunnel.arrived == []
    world.aim(lease, phone.address)
    assert await world.tunnel.wait_for(10) == packets[2:]
    assert [packet for packet, _ in phone.heard()] == packets[2:]


async def test_early_packets_of_a_stranger_are_not_passed_on_after_the_aim(world: PumpWorld) -> None:
    """I5, L4: what waits is judged like everything else."""
    phone, stranger, lease = world.phone(), world.phone(ELSEWHERE), world.take()
    stranger.send(rtp_packet(1), lease.rtp)
    phone.send(rtp_packet(2), lease.rtp)
    await trio.sleep(0.02)
    world.aim(lease, phone.address)
    assert await world.tunnel.wait_for(1) == [rtp_packet(2)]
    assert world.counters["media.dropped.foreign"] == 1


async def test_no_more_than_fifty_packets_go_where_nobody_was_heard(world: PumpWorld) -> None:
    """L6: no more than fifty packets go where nobody was heard."""
    phone, lease = world.phone(), world.take()
    world.aim(lease, phone.address)
    for n in range(60):
        world.from_tunnel(rtp_packet(n))
    assert len(phone.heard()) == 50
    assert world.counters["media.dropped.unconfirmed"] == 10
    phone.send(rtp_packet(1), lease.rtp)
    await world.tunnel.wait_for(1)
    for n in range(60):
        world.from_tunnel(rtp_packet(n))
    assert len(phone.heard()) == 60


async def test_a_trunk_is_not_limited(world: PumpWorld) -> None:
    """L6: a configured trunk is not limited."""
    phone, lease = world.phone(), world.take()
    world.aim(lease, phone.address, trusted=True)
    for n in range(60):
        world.from_tunnel(rtp_packet(n))
    assert len(phone.heard()) == 60


async def test_rtcp_of_a_listener_lifts_the_limit_for_rtp(world: PumpWorld) -> None:
    phone, control, lease = world.phone(), world.phone(), world.take()
    world.aim(lease, phone.address, control.address)
    control.send(rtcp_packet(), lease.rtcp)
    await world.tunnel.wait_for(1)
    for n in range(60):
        world.from_tunnel(rtp_packet(n))
    assert len(phone.heard()) == 60
