"""The few packets that the relay makes itself, and how it marks all that it sends."""

from __future__ import annotations

import socket
from dataclasses import replace

import pytest
import trio
from support.pump_world import CHANNEL, ELSEWHERE, HOST, Phone, PumpWorld
from support.rtp import rtcp_packet, rtp_packet

from tunnel.media.nat_keeper import KEEPALIVE_S
from tunnel.media.opening import opening
from tunnel.media.plane import Aim, Kind, Lease
from tunnel.media.rtp import is_rtcp, peek_rtp_untrusted


def waiting_party(world: PumpWorld, phone: Phone, control: Phone | None = None, **more: object) -> Lease:
    """A lease that is aimed at a party which waits for RTP."""
    lease = world.take()
    aim = Aim(phone.address, control.address if control else None, False, HOST, True, True, frozenset())
    world.pump.aim(lease.id, CHANNEL, replace(aim, waits_for_rtp=True, **more), trio.current_time())  # type: ignore[arg-type]
    return lease


# --- the opening (L7) ----------------------------------------------------------------------------------------------


async def test_a_party_that_waits_gets_one_packet_and_begins(world: PumpWorld) -> None:
    """L7, S4-22: a border controller that is silent until it hears something hears something, and its tone starts."""
    border, control = world.phone(), world.phone()
    lease = waiting_party(world, border, control)
    [(first, source)] = border.heard()
    assert (first, source) == (b"", lease.rtp)
    [(report, source)] = control.heard()
    assert is_rtcp(report)
    assert source == lease.rtcp
    border.send(rtp_packet(1), lease.rtp)
    assert await world.tunnel.wait_for(1) == [rtp_packet(1)]


async def test_comfort_noise_where_it_was_agreed(world: PumpWorld) -> None:
    """L7: one RTP packet of the agreed payload type, and nothing else."""
    border, control = world.phone(), world.phone()
    waiting_party(world, border, control, noise=13)
    [(packet, _)] = border.heard()
    assert peek_rtp_untrusted(packet).payload_type == 13
    assert len(packet) == 13
    assert control.heard() == []


async def test_never_more_than_three_for_a_lease(world: PumpWorld) -> None:
    """L7: however often the party moves; and none once it was heard."""
    border = world.phone()
    lease = waiting_party(world, border, noise=13)
    moved = [world.phone() for _ in range(5)]
    for phone in moved:
        aim = Aim(phone.address, None, False, HOST, True, True, frozenset(), waits_for_rtp=True, noise=13)
        world.pump.aim(lease.id, CHANNEL, aim, trio.current_time())
    assert sum(len(phone.heard()) for phone in [border, *moved]) == 3
    assert world.counters["media.openings_sent"] == 3


async def test_nobody_else_gets_a_packet_that_was_not_sent_to_him(world: PumpWorld) -> None:
    """L7: a party that is no trunk gets what the other party says, and no more."""
    phone, lease = world.phone(), world.take()
    world.aim(lease, phone.address, phone.address)
    await trio.sleep(0.02)
    assert phone.heard() == []


@pytest.mark.parametrize(
    ("more", "rtp", "rtcp"),
    [
        ({"mux": True}, "report", "nothing"),
        ({"is_secure": True}, "empty", "nothing"),
        ({"is_secure": True, "noise": 13}, "empty", "nothing"),
        ({"rtp_like": False}, "empty", "nothing"),
        ({}, "empty", "report"),
        ({"noise": 96}, "noise", "nothing"),
    ],
)
def test_what_an_opening_is(more: dict[str, object], rtp: str, rtcp: str) -> None:
    """L7: noise, a report or an empty datagram, by what the party can make of it."""
    aim = Aim(None, None, False, HOST, True, True, frozenset())

    def kind(packet: bytes | None) -> str:
        if packet is None:
            return "nothing"
        if not packet:
            return "empty"
        return "report" if is_rtcp(packet) else "noise"

    sent = opening(replace(aim, **more), lambda n: bytes(range(n)))  # type: ignore[arg-type]
    assert (kind(sent[0]), kind(sent[1])) == (rtp, rtcp)
    for packet in sent:
        assert packet is None or len(packet) < 40


# --- keeping NATs open (L8) ----------------------------------------------------------------------------------------


def tend_for(world: PumpWorld, seconds: float) -> None:
    start = trio.current_time()
    for half in range(int(seconds * 2) + 1):
        world.pump.tend(start + half / 2)


async def test_a_silent_party_behind_a_nat_gets_an_empty_datagram_now_and_then(world: PumpWorld) -> None:
    """L8, S3-5: while nothing else is sent to it, every 15 to 25 s."""
    phone, lease = world.phone(ELSEWHERE), world.take()
    world.aim(lease, None, sip_source=ELSEWHERE)
    for n in range(5):
        phone.send(rtp_packet(n), lease.rtp)
    await world.tunnel.wait_for(1)
    tend_for(world, 600)
    kept = phone.heard()
    assert 600 / 25 <= len(kept) <= 600 / 15
    assert set(kept) == {(b"", lease.rtp)}
    assert KEEPALIVE_S < 30, "shorter than the shortest NAT timeout in use"


async def test_while_media_flow_there_is_nothing_to_keep_open(world: PumpWorld) -> None:
    """L8: a leg that is sent to gets none."""
    phone, lease = world.phone(ELSEWHERE), world.take()
    world.aim(lease, None, sip_source=ELSEWHERE)
    for n in range(5):
        phone.send(rtp_packet(n), lease.rtp)
    await world.tunnel.wait_for(1)
    start = trio.current_time()
    for half in range(120):
        if half % 20 == 0:
            world.from_tunnel(rtp_packet(half))
        world.pump.tend(start + half / 2)
    assert len(phone.heard()) == 6
    assert world.counters["media.keepalives_sent"] == 0


async def test_a_party_that_is_where_it_says_gets_none_in_ten_minutes(world: PumpWorld) -> None:
    """L8, S3-5: no keep-alive where there is no NAT, none where nobody was heard, none after the end."""
    open_party, silent, gone = world.phone(), world.phone(), world.phone(ELSEWHERE)
    leases = [world.take(16), world.take(18), world.take(20)]
    world.aim(leases[0], open_party.address, channel=16)
    world.aim(leases[1], silent.address, channel=18)
    world.aim(leases[2], None, sip_source=ELSEWHERE, channel=20)
    open_party.send(rtp_packet(1), leases[0].rtp)
    for n in range(5):
        gone.send(rtp_packet(n), leases[2].rtp)
    await world.tunnel.wait_for(2)
    world.pump.release(leases[2].id, 1000.0, trio.current_time())
    tend_for(world, 600)
    assert [phone.heard() for phone in (open_party, silent, gone)] == [[], [], []]


# --- marks (L10) ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "dscp"), [(Kind.AUDIO, 46), (Kind.FAX, 46), (Kind.VIDEO, 34), (Kind.OTHER, 34)])
async def test_packets_are_marked_for_what_they_carry(world: PumpWorld, kind: Kind, dscp: int) -> None:
    """L10: EF for audio and fax, AF41 for video, on RTP and RTCP."""
    phone, control, lease = world.phone(), world.phone(), world.take()
    for each in (phone, control):
        each.socket.setsockopt(socket.IPPROTO_IP, socket.IP_RECVTOS, 1)
    aim = Aim(phone.address, control.address, False, HOST, True, True, frozenset(), kind=kind)
    world.pump.aim(lease.id, CHANNEL, aim, trio.current_time())
    world.from_tunnel(rtp_packet(1))
    world.from_tunnel(rtcp_packet(), CHANNEL + 1)
    for each in (phone, control):
        _, ancillary, _, _ = each.socket.recvmsg(2048, 64)
        assert [data[0] >> 2 for _, _, data in ancillary] == [dscp]
