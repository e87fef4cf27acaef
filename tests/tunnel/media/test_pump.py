"""The pump between real sockets on loopback and a tunnel that is a list: what a phone and a call would notice."""

from __future__ import annotations

import trio
from support.pump_world import CHANNEL, ELSEWHERE, HOST, PumpWorld
from support.rtp import rtcp_packet, rtp_packet

from tunnel.address import Address
from tunnel.media.plane import Aim


async def test_packets_go_both_ways_unchanged_and_from_the_advertised_port(world: PumpWorld) -> None:
    """L2, L3: packets go both ways unchanged and from the advertised port."""
    phone, lease = world.phone(), world.take()
    world.aim(lease, phone.address)
    packets = [rtp_packet(n) for n in range(5)]
    for packet in packets:
        phone.send(packet, lease.rtp)
    assert await world.tunnel.wait_for(5) == packets
    assert {channel for channel, _ in world.tunnel.arrived} == {CHANNEL}
    for packet in packets:
        world.from_tunnel(packet)
    assert phone.heard() == [(packet, lease.rtp) for packet in packets]


async def test_rtcp_has_the_odd_port_and_the_odd_channel(world: PumpWorld) -> None:
    """L1: RTCP has the odd port and the odd channel."""
    phone, control, lease = world.phone(), world.phone(), world.take()
    world.aim(lease, phone.address, control.address)
    assert (lease.rtp.port % 2, lease.rtcp.port) == (0, lease.rtp.port + 1)
    control.send(rtcp_packet(), lease.rtcp)
    await world.tunnel.wait_for(1)
    assert world.tunnel.arrived == [(CHANNEL + 1, rtcp_packet())]
    world.from_tunnel(rtcp_packet(), CHANNEL + 1)
    assert control.heard() == [(rtcp_packet(), lease.rtcp)]


async def test_multiplexed_rtcp_travels_with_its_rtp(world: PumpWorld) -> None:
    phone, lease = world.phone(), world.take()
    world.aim(lease, phone.address, Address(HOST, phone.address.port + 1))
    world.aim(lease, phone.address, phone.address, mux=True)
    phone.send(rtp_packet(1), lease.rtp)
    phone.send(rtcp_packet(), lease.rtp)
    await world.tunnel.wait_for(2)
    assert world.tunnel.arrived == [(CHANNEL, rtp_packet(1)), (CHANNEL, rtcp_packet())]
    assert world.pump.sockets == 3  # two doors, one path


async def test_fax_datagrams_are_relayed_without_a_look_into_them(world: PumpWorld) -> None:
    """L9, T15: fax datagrams are relayed without a look into them."""
    fax, lease = world.phone(ELSEWHERE), world.take()
    target = Aim(None, None, False, ELSEWHERE, False, False, frozenset())
    world.pump.aim(lease.id, CHANNEL, target, trio.current_time())
    for n in range(4):
        fax.send(b"udptl %d" % n, lease.rtp)
    assert await world.tunnel.wait_for(2) == [b"udptl 2", b"udptl 3"]
    world.from_tunnel(b"udptl")
    assert fax.heard() == [(b"udptl", lease.rtp)]


async def test_a_burst_goes_in_few_batches(world: PumpWorld) -> None:
    phone, lease = world.phone(), world.take()
    world.aim(lease, phone.address)
    world.from_tunnel(rtp_packet(0))
    phones = [(world.phone(), world.take(CHANNEL + 2 * n)) for n in range(1, 15)]
    for n, (each, its) in enumerate(phones, 1):
        world.aim(its, each.address, channel=CHANNEL + 2 * n)
    for n in range(3):
        for each, its in phones:
            each.send(rtp_packet(n), its.rtp)
    await world.tunnel.wait_for(42)
    assert len(world.tunnel.batches) <= 4
    assert world.tunnel.flushed == len(world.tunnel.batches)


async def test_large_packets_are_split_into_batches_that_fit_a_record(world: PumpWorld) -> None:
    phones = [(world.phone(), world.take(CHANNEL + 2 * n)) for n in range(19)]
    for n, (phone, lease) in enumerate(phones):
        world.aim(lease, phone.address, channel=CHANNEL + 2 * n)
        phone.send(b"\x80" * 1400, lease.rtp)
    await world.tunnel.wait_for(19)


async def test_packets_over_2048_bytes_are_dropped_and_counted(world: PumpWorld) -> None:
    """L11: packets over 2048 bytes are dropped and counted."""
    phone, lease = world.phone(), world.take()
    world.aim(lease, phone.address)
    for size in (2048, 2049, 4000):
        phone.send(b"\x80" * size, lease.rtp)
        phone.send(b"\x80" * size, lease.rtp)  # once before it is confirmed, once after
    assert [len(packet) for packet in await world.tunnel.wait_for(2)] == [2048, 2048]
    await world.counted("media.dropped.oversize", 4)


async def test_an_empty_datagram_is_relayed_too(world: PumpWorld) -> None:
    phone, lease = world.phone(), world.take()
    world.aim(lease, phone.address)
    phone.send(b"", lease.rtp)
    phone.send(b"", lease.rtp)
    assert await world.tunnel.wait_for(2) == [b"", b""]


async def test_ipv6() -> None:
    async with trio.open_nursery() as nursery:
        world = PumpWorld(nursery, bind="::1")
        await world.start()
        phone, lease = world.phone("::1"), world.take()
        world.aim(lease, phone.address, sip_source="::1")
        phone.send(rtp_packet(1), lease.rtp)
        await world.tunnel.wait_for(1)
        world.from_tunnel(rtp_packet(2))
        assert phone.heard() == [(rtp_packet(2), lease.rtp)]
        phone.socket.close()
        nursery.cancel_scope.cancel()
