"""What the pump knows of each stream."""

from __future__ import annotations

import trio
from support.pump_world import CHANNEL, PumpWorld
from support.rtp import rtp_packet


async def test_packets_and_loss_are_counted_by_stream(world: PumpWorld) -> None:
    phone, lease = world.phone(), world.take()
    world.aim(lease, phone.address)
    now = trio.current_time()
    world.pump.tend(now)
    for n in range(20):
        if n % 5 != 2:
            phone.send(rtp_packet(n), lease.rtp)
            world.from_tunnel(rtp_packet(n))
    await world.tunnel.wait_for(16)
    world.pump.tend(now + 5.0)
    [stats] = [each for each in world.pump.stats() if each.channel == CHANNEL]
    assert (stats.call, stats.lease, stats.port) == (1, lease.id, lease.rtp.port)
    assert stats.target == stats.remote == phone.address
    assert (stats.heard_packets, stats.sent_packets, stats.heard_bytes) == (16, 16, 16 * 172)
    assert stats.heard_at == stats.sent_at == now + 5.0
    assert stats.sent is not None
    assert stats.sent.lost == 4
    assert stats.heard is not None
    assert stats.heard.packets >= 15  # the first packet, that confirms, is not measured


async def test_with_many_streams_each_has_its_turn(world: PumpWorld) -> None:
    measured = set()
    now = trio.current_time()
    phone = world.phone()
    for n in range(18):
        lease = world.take(CHANNEL + 4 * n)
        world.pump.tie(lease.id, CHANNEL + 4 * n + 2, now)
        world.aim(lease, phone.address, channel=CHANNEL + 4 * n)
    for _ in range(40):
        now += 0.5
        world.pump.tend(now)
        measured |= {each.channel for each in world.pump.stats() if each.heard is not None}
    assert len(measured) == 36
