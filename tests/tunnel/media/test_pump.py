"""The pump between real sockets on loopback and a tunnel that is a list: what a phone and a call would notice."""

from __future__ import annotations

import os
import random
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path

import pytest
import trio
from support.rtp import rtcp_packet, rtp_packet

from tunnel.address import Address
from tunnel.counters import Counters
from tunnel.errors import LocalMisuse
from tunnel.link.frames import MAX_BATCH_BYTES, Sinks, dispatch_untrusted, frame
from tunnel.media.lease import QUARANTINE_S, PortLedger
from tunnel.media.plane import Aim, Lease, LedgerFull
from tunnel.media.pump import FaceAddress, Pump

HOST = "127.0.0.1"
ELSEWHERE = "127.0.0.2"  # another host, as far as the latch can tell
CHANNEL = 16

PORTS = iter(range(24000, 30000, 40))  # each test has ports of its own: nobody else's late packets


class Tunnel:
    """Takes what the pump sends; ``arrived`` has (channel, packet)."""

    def __init__(self) -> None:
        self.arrived: list[tuple[int, bytes]] = []
        self.batches: list[int] = []
        self.flushed = 0
        self._news = trio.Event()

    def send_media(self, frames: bytes, packets: int, now: float) -> None:
        class Collector(dict[int, Callable[[bytes], object]]):
            def __missing__(_, channel: int) -> Callable[[bytes], object]:
                return lambda packet: self.arrived.append((channel, packet))

        assert len(frames) <= MAX_BATCH_BYTES
        assert dispatch_untrusted(frames, Collector()) == len(frames)  # type: ignore[arg-type]
        self.batches.append(packets)
        self._news.set()
        self._news = trio.Event()

    def flush(self) -> None:
        self.flushed += 1

    async def wait_for(self, packets: int) -> list[bytes]:
        with trio.fail_after(5):
            while len(self.arrived) < packets:
                await self._news.wait()
        assert len(self.arrived) == packets
        return [packet for _, packet in self.arrived]


class Phone:
    """A UDP socket somewhere."""

    def __init__(self, host: str = HOST, port: int = 0) -> None:
        self.socket = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setblocking(False)
        self.socket.bind((host, port))
        self.address = Address(*self.socket.getsockname()[:2])

    def send(self, packet: bytes, to: Address) -> None:
        self.socket.sendto(packet, to)

    def heard(self) -> list[tuple[bytes, Address]]:
        """What has come so far; loopback delivers at once."""
        packets = []
        with suppress(BlockingIOError):
            while True:
                packet, source = self.socket.recvfrom(4096)
                packets.append((packet, Address(*source[:2])))
        return packets


class World:
    def __init__(self, nursery: trio.Nursery, bind: str = HOST, pairs: int = 20, asymmetric: bool = False) -> None:
        self.nursery = nursery
        self.tunnel = Tunnel()
        self.sinks = Sinks()
        self.counters = Counters()
        self.low = next(PORTS)
        self.ledger = PortLedger(self.low, self.low + 2 * pairs - 1)
        faces = (FaceAddress(bind, bind),)
        self.pump = Pump(faces, self.ledger, self.tunnel, self.sinks, self.counters, asymmetric=asymmetric)
        self.phones: list[Phone] = []

    async def start(self) -> None:
        await self.nursery.start(self.pump.run)

    def phone(self, host: str = HOST) -> Phone:
        self.phones.append(Phone(host))
        return self.phones[-1]

    def take(self, channel: int = CHANNEL) -> Lease:
        lease = self.pump.take(1, trio.current_time())
        self.pump.tie(lease.id, channel, trio.current_time())
        return lease

    def aim(
        self,
        lease: Lease,
        rtp: Address | None,
        rtcp: Address | None = None,
        channel: int = CHANNEL,
        sip_source: str = HOST,
        trusted: bool = False,
        mux: bool = False,
    ) -> None:
        target = Aim(rtp, rtcp, mux, sip_source, trusted, True, frozenset({101}))
        self.pump.aim(lease.id, channel, target, trio.current_time())

    def from_tunnel(self, packet: bytes, channel: int = CHANNEL) -> None:
        dispatch_untrusted(frame(channel, packet), self.sinks)

    async def counted(self, name: str, amount: int) -> None:
        with trio.fail_after(5):
            while self.counters[name] < amount:  # noqa: ASYNC110 - counters are plain integers
                await trio.sleep(0.001)
        assert self.counters[name] == amount


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with trio.open_nursery() as nursery:
        world = World(nursery)
        await world.start()
        yield world
        nursery.cancel_scope.cancel()
    for phone in world.phones:
        phone.socket.close()


# --- the ordinary call ---------------------------------------------------------------------------------------------


async def test_packets_go_both_ways_unchanged_and_from_the_advertised_port(world: World) -> None:
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


async def test_rtcp_has_the_odd_port_and_the_odd_channel(world: World) -> None:
    phone, control, lease = world.phone(), world.phone(), world.take()
    world.aim(lease, phone.address, control.address)
    assert (lease.rtp.port % 2, lease.rtcp.port) == (0, lease.rtp.port + 1)
    control.send(rtcp_packet(), lease.rtcp)
    await world.tunnel.wait_for(1)
    assert world.tunnel.arrived == [(CHANNEL + 1, rtcp_packet())]
    world.from_tunnel(rtcp_packet(), CHANNEL + 1)
    assert control.heard() == [(rtcp_packet(), lease.rtcp)]


async def test_multiplexed_rtcp_travels_with_its_rtp(world: World) -> None:
    phone, lease = world.phone(), world.take()
    world.aim(lease, phone.address, Address(HOST, phone.address.port + 1))
    world.aim(lease, phone.address, phone.address, mux=True)
    phone.send(rtp_packet(1), lease.rtp)
    phone.send(rtcp_packet(), lease.rtp)
    await world.tunnel.wait_for(2)
    assert world.tunnel.arrived == [(CHANNEL, rtp_packet(1)), (CHANNEL, rtcp_packet())]
    assert world.pump.sockets == 3  # two doors, one path


async def test_fax_datagrams_are_relayed_without_a_look_into_them(world: World) -> None:  # L9, T15
    fax, lease = world.phone(ELSEWHERE), world.take()
    target = Aim(None, None, False, ELSEWHERE, False, False, frozenset())
    world.pump.aim(lease.id, CHANNEL, target, trio.current_time())
    for n in range(4):
        fax.send(b"udptl %d" % n, lease.rtp)
    assert await world.tunnel.wait_for(2) == [b"udptl 2", b"udptl 3"]
    world.from_tunnel(b"udptl")
    assert fax.heard() == [(b"udptl", lease.rtp)]


async def test_a_burst_goes_in_few_batches(world: World) -> None:
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


async def test_large_packets_are_split_into_batches_that_fit_a_record(world: World) -> None:
    phones = [(world.phone(), world.take(CHANNEL + 2 * n)) for n in range(19)]
    for n, (phone, lease) in enumerate(phones):
        world.aim(lease, phone.address, channel=CHANNEL + 2 * n)
        phone.send(b"\x80" * 1400, lease.rtp)
    await world.tunnel.wait_for(19)


async def test_packets_over_2048_bytes_are_dropped_and_counted(world: World) -> None:  # L11
    phone, lease = world.phone(), world.take()
    world.aim(lease, phone.address)
    for size in (2048, 2049, 4000):
        phone.send(b"\x80" * size, lease.rtp)
        phone.send(b"\x80" * size, lease.rtp)  # once before it is confirmed, once after
    assert [len(packet) for packet in await world.tunnel.wait_for(2)] == [2048, 2048]
    await world.counted("media.dropped.oversize", 4)


async def test_an_empty_datagram_is_relayed_too(world: World) -> None:
    phone, lease = world.phone(), world.take()
    world.aim(lease, phone.address)
    phone.send(b"", lease.rtp)
    phone.send(b"", lease.rtp)
    assert await world.tunnel.wait_for(2) == [b"", b""]


async def test_ipv6() -> None:
    async with trio.open_nursery() as nursery:
        world = World(nursery, bind="::1")
        await world.start()
        phone, lease = world.phone("::1"), world.take()
        world.aim(lease, phone.address, sip_source="::1")
        phone.send(rtp_packet(1), lease.rtp)
        await world.tunnel.wait_for(1)
        world.from_tunnel(rtp_packet(2))
        assert phone.heard() == [(rtp_packet(2), lease.rtp)]
        phone.socket.close()
        nursery.cancel_scope.cancel()


# --- before everything is known (I5) -------------------------------------------------------------------------------


async def test_ten_packets_wait_for_the_aim_in_each_direction(world: World) -> None:
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


async def test_early_packets_of_a_stranger_are_not_passed_on_after_the_aim(world: World) -> None:
    phone, stranger, lease = world.phone(), world.phone(ELSEWHERE), world.take()
    stranger.send(rtp_packet(1), lease.rtp)
    phone.send(rtp_packet(2), lease.rtp)
    await trio.sleep(0.02)
    world.aim(lease, phone.address)
    assert await world.tunnel.wait_for(1) == [rtp_packet(2)]
    assert world.counters["media.dropped.foreign"] == 1


async def test_no_more_than_fifty_packets_go_where_nobody_was_heard(world: World) -> None:  # L6
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


async def test_a_trunk_is_not_limited(world: World) -> None:
    phone, lease = world.phone(), world.take()
    world.aim(lease, phone.address, trusted=True)
    for n in range(60):
        world.from_tunnel(rtp_packet(n))
    assert len(phone.heard()) == 60


async def test_rtcp_of_a_listener_lifts_the_limit_for_rtp(world: World) -> None:
    phone, control, lease = world.phone(), world.phone(), world.take()
    world.aim(lease, phone.address, control.address)
    control.send(rtcp_packet(), lease.rtcp)
    await world.tunnel.wait_for(1)
    for n in range(60):
        world.from_tunnel(rtp_packet(n))
    assert len(phone.heard()) == 60


# --- latching ------------------------------------------------------------------------------------------------------


async def test_a_private_sdp_address_is_learnt_from_the_sip_source_only(world: World) -> None:  # T3
    phone, stranger, lease = world.phone(ELSEWHERE), world.phone("127.0.0.9"), world.take()
    world.aim(lease, None, sip_source=ELSEWHERE)
    for n in range(5):
        stranger.send(rtp_packet(n, ssrc=9), lease.rtp)
        phone.send(rtp_packet(n), lease.rtp)
    assert await world.tunnel.wait_for(1) == [rtp_packet(4)]
    await world.counted("media.dropped.foreign", 5)
    world.from_tunnel(rtp_packet(7))
    assert phone.heard() == [(rtp_packet(7), lease.rtp)]
    assert stranger.heard() == []


async def test_a_spray_is_neither_relayed_nor_answered(world: World) -> None:  # T14, 3-#6
    phone, lease = world.phone(), world.take()
    world.aim(lease, phone.address)
    phone.send(rtp_packet(1), lease.rtp)
    await world.tunnel.wait_for(1)
    attackers = [world.phone(ELSEWHERE) for _ in range(5)]
    for n in range(20):
        for attacker in attackers:
            attacker.send(rtp_packet(2 + n), lease.rtp)
        world.from_tunnel(rtp_packet(n))
    await world.counted("media.dropped.foreign", 100)
    assert len(world.tunnel.arrived) == 1
    assert len(phone.heard()) == 20
    assert [attacker.heard() for attacker in attackers] == [[]] * 5


async def test_after_a_new_answer_media_go_to_the_new_port(world: World) -> None:  # T1, T2
    old, new, lease = world.phone(), world.phone(), world.take()
    world.aim(lease, old.address)
    old.send(rtp_packet(1), lease.rtp)
    await world.tunnel.wait_for(1)
    world.aim(lease, new.address)
    for n in range(5):
        old.send(rtp_packet(2 + n), lease.rtp)
    await world.counted("media.dropped.stale_source", 5)
    for n in range(60):
        world.from_tunnel(rtp_packet(n))
    assert old.heard() == []
    assert new.heard() == [(rtp_packet(n), lease.rtp) for n in range(60)]
    new.send(rtp_packet(9), lease.rtp)
    assert (await world.tunnel.wait_for(2))[1] == rtp_packet(9)
    [stats] = [each for each in world.pump.stats() if each.channel == CHANNEL]
    assert stats.dropped["stale_source"] == 5


async def test_a_nat_that_moves_the_port_is_followed(world: World) -> None:  # T17
    before, after, lease = world.phone(), world.phone(), world.take()
    world.aim(lease, before.address)
    for n in range(3):
        before.send(rtp_packet(n), lease.rtp)
    await world.tunnel.wait_for(3)
    with trio.fail_after(1):
        for n in range(3, 100):
            after.send(rtp_packet(n), lease.rtp)
            await trio.sleep(0.02)
            if len(world.tunnel.arrived) > 3:
                break
    world.from_tunnel(rtp_packet(1))
    assert after.heard() == [(rtp_packet(1), lease.rtp)]
    assert before.heard() == []


async def test_an_asymmetric_phone_on_the_lan_is_sent_to_where_it_listens() -> None:  # S4-15
    async with trio.open_nursery() as nursery:
        world = World(nursery, asymmetric=True)
        await world.start()
        listens, speaks, lease = world.phone(), world.phone(), world.take()
        world.aim(lease, listens.address)
        for n in range(3):
            speaks.send(rtp_packet(n), lease.rtp)
        await world.tunnel.wait_for(3)
        for n in range(60):
            world.from_tunnel(rtp_packet(n))
        assert len(listens.heard()) == 60
        assert speaks.heard() == []
        for phone in world.phones:
            phone.socket.close()
        nursery.cancel_scope.cancel()


async def test_a_party_whose_port_is_not_open_yet_is_reached_once_it_is(world: World) -> None:
    phone, lease = world.phone(), world.take()
    world.aim(lease, phone.address, trusted=True)
    phone.socket.close()
    for n in range(10):
        world.from_tunnel(rtp_packet(n))
        await trio.sleep(0.001)
    reopened = Phone(HOST, phone.address.port)
    world.phones.append(reopened)
    for n in range(10):
        world.from_tunnel(rtp_packet(n))
    assert len(reopened.heard()) >= 9


# --- forks ---------------------------------------------------------------------------------------------------------


async def test_each_fork_of_a_lease_hears_and_is_heard_by_its_own_party(world: World) -> None:  # I4, T6
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


async def test_forks_at_one_address_are_heard_by_the_one_aimed_last(world: World) -> None:
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


# --- the end, and the ports ----------------------------------------------------------------------------------------


async def test_late_packet_after_hangup_is_counted_not_sent(world: World) -> None:
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


async def test_a_released_lease_lingers_then_closes_then_rests(world: World) -> None:
    now = trio.current_time()
    lease = world.take()
    world.pump.release(lease.id, 5.0, now)
    world.pump.tend(now + 4.9)
    assert (world.pump.leases, world.pump.sockets, world.ledger.held) == (0, 2, 1)
    world.pump.tend(now + 5.1)
    assert (world.pump.sockets, world.ledger.held, world.ledger.resting) == (0, 0, 1)
    world.ledger.take(2, now + 5.1 + QUARANTINE_S)
    assert world.ledger.resting == 0


async def test_an_odd_port_that_is_taken_costs_the_pair_and_nothing_else(world: World) -> None:  # T12
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as somebody:
        somebody.bind((HOST, world.low + 1))
        lease = world.take()
        assert lease.rtp.port == world.low + 2
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as even:
            even.bind((HOST, world.low))
    assert world.counters["media.port_taken"] == 1
    assert world.pump.sockets == 2


async def test_a_full_ledger_is_said_so(world: World) -> None:
    for call in range(18):
        world.pump.take(call, trio.current_time())
    with pytest.raises(LedgerFull):
        world.pump.take(99, trio.current_time())


async def test_a_face_that_cannot_bind_says_the_ledger_is_full() -> None:
    async with trio.open_nursery() as nursery:
        world = World(nursery, bind="203.0.113.77")
        with pytest.raises(LedgerFull):
            world.pump.take(1, 0.0)
        assert world.ledger.held == 0
        world.pump.close()


async def test_what_was_never_taken_or_tied_is_a_misuse(world: World) -> None:
    with pytest.raises(LocalMisuse):
        world.pump.tie(77, CHANNEL, 0.0)
    lease = world.take()
    with pytest.raises(LocalMisuse):
        world.aim(lease, None, channel=CHANNEL + 2)


async def test_nothing_stays_open_when_the_pump_ends() -> None:
    before = len(os.listdir(Path("/proc/self/fd")))
    async with trio.open_nursery() as nursery:
        world = World(nursery)
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
async def test_random_lives_of_calls_leave_nothing_behind(world: World, seed: int) -> None:  # 3-#13
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


# --- what is known of the streams ----------------------------------------------------------------------------------


async def test_packets_and_loss_are_counted_by_stream(world: World) -> None:
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


async def test_with_many_streams_each_has_its_turn(world: World) -> None:
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
