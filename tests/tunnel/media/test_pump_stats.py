"""What the pump knows of each stream."""

from __future__ import annotations

import trio
from support.pump_world import CHANNEL, ELSEWHERE, PumpWorld
from support.rtp import rtcp_packet, rtp_packet

from tunnel.media.survey import StreamStats


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


def of(world: PumpWorld, channel: int = CHANNEL) -> StreamStats:
    [stats] = [each for each in world.pump.stats() if each.channel == channel]
    return stats


async def test_every_figure_of_a_stream_means_what_it_says(world: PumpWorld) -> None:
    """L12: packets, bytes, loss, order, duplicates, jitter, drops by reason, first and last time; RTCP apart."""
    phone, control, stranger, lease = world.phone(), world.phone(), world.phone(ELSEWHERE), world.take()
    world.aim(lease, phone.address, control.address)
    now = trio.current_time()
    world.pump.tend(now)
    idle = of(world)
    assert (idle.first_heard_at, idle.heard_at, idle.first_sent_at, idle.sent_at) == (None, None, None, None)
    phone.send(rtp_packet(0), lease.rtp)
    await world.tunnel.wait_for(1)
    world.pump.tend(now + 1.0)
    for number in (1, 2, 4, 3, 3, 7):
        phone.send(rtp_packet(number), lease.rtp)
        world.from_tunnel(rtp_packet(number))
    control.send(rtcp_packet(), lease.rtcp)
    for n in range(3):
        stranger.send(rtp_packet(n, ssrc=9), lease.rtp)
    await world.tunnel.wait_for(8)
    await world.counted("media.dropped.foreign", 3)
    world.tunnel.late[CHANNEL] = 4
    world.pump.tend(now + 5.0)
    stats, rtcp = of(world), of(world, CHANNEL + 1)
    assert (stats.heard_packets, stats.heard_bytes) == (7, 7 * 172)
    assert (stats.sent_packets, stats.sent_bytes) == (6, 6 * 172)
    assert (rtcp.heard_packets, rtcp.heard_bytes, rtcp.sent_packets) == (1, 8, 0)
    assert (stats.first_heard_at, stats.heard_at) == (now + 1.0, now + 5.0)
    assert (stats.first_sent_at, stats.sent_at) == (now + 5.0, now + 5.0)
    assert stats.dropped == {"foreign": 3}
    assert stats.dropped_late == 4
    for interval in (stats.heard, stats.sent):
        assert interval is not None
        assert (interval.lost, interval.reordered, interval.duplicates) == (2, 1, 1)
    world.pump.tend(now + 5.5)
    for _ in range(2):
        for number in range(8, 58):
            phone.send(rtp_packet(number), lease.rtp)
        await trio.sleep(0.02)
    world.pump.tend(now + 10.5)
    later = of(world).heard
    assert later is not None
    assert (later.loss, later.duplicates) == (0.0, 50), "loss is of the interval, never since the beginning"


async def test_packets_on_trial_are_told_apart_from_strangers(world: PumpWorld) -> None:
    """L12: dropped before the latch, and dropped as foreign, are two figures."""
    party, stranger, lease = world.phone(ELSEWHERE), world.phone("127.0.0.9"), world.take()
    world.aim(lease, None, sip_source=ELSEWHERE)
    for n in range(6):
        party.send(rtp_packet(n), lease.rtp)
        stranger.send(rtp_packet(n, ssrc=9), lease.rtp)
    await world.counted("media.dropped.foreign", 6)
    assert of(world).dropped == {"pre_latch": 4, "foreign": 6}
    assert of(world).heard_packets == 2
