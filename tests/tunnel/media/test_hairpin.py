"""Calls that turn round at a face: two parties of one side that meet at a switch of the other side, with real sockets."""

from __future__ import annotations

import os

import pytest
import trio
from support.call_rig import Call, CallRig, Party, eventually
from support.pump_world import CHANNEL, Tunnel
from support.rtp import rtp_packet

from tunnel.counters import Counters
from tunnel.link.frames import Sinks
from tunnel.media.exchange import Carriage
from tunnel.media.hairpin import Once
from tunnel.media.lease import PortLedger
from tunnel.media.offer_answer import ROOT
from tunnel.media.plane import Aim
from tunnel.media.pump import FaceAddress, Pump

OPENING = Carriage.OPENING


def hairpin_call(rig: CallRig, caller: Party, callee: Party) -> tuple[Call, Call]:
    """Both phones inside, the registrar outside: each SDP that leaves the server comes back to it."""
    out, back = rig.call(), rig.call()
    public_offer = out.inside(caller.offer(), OPENING, ROOT)
    callee.hears(back.outside(public_offer, OPENING, ROOT, source=rig.net_host))
    public_answer = back.inside(callee.offer())
    caller.hears(out.outside(public_answer, source=rig.net_host))
    for call in (out, back):
        call.settle()
    return out, back


async def all_heard(listener: Party, said: list[bytes]) -> None:
    heard: list[bytes] = []

    def have_come() -> bool:
        heard.extend(packet for packet, _ in listener.heard())
        return len(heard) >= len(said)

    await eventually(have_come)
    assert heard == said


async def test_two_inside_phones_hear_each_other_through_an_outside_registrar(rig: CallRig) -> None:
    """S4-3, L6: the packets leave the public face to itself, 50 each way, from the ports that were advertised."""
    alice, bob = rig.phone(), rig.phone()
    calls = hairpin_call(rig, alice, bob)
    await all_heard(bob, alice.talk(50))
    await all_heard(alice, bob.talk(50))
    assert rig.server.pump.leases == 2
    for call in calls:
        call.close()
    for end in (rig.agent, rig.server):
        end.pump.tend(trio.current_time() + 1.0)
        assert (end.pump.sockets, end.ledger.held) == (0, 0)


async def test_two_outside_parties_whom_a_switch_inside_joins_directly(rig: CallRig) -> None:
    """L6: direct media of an inside switch between two of its outside callers turns round at the LAN face."""
    alice, bob = rig.trunk(), rig.trunk()
    one, other = rig.call(), rig.call()
    lan_offer = one.outside(alice.offer(), OPENING, ROOT)
    bob.hears(other.inside(lan_offer, OPENING, ROOT))
    lan_answer = other.outside(bob.offer())
    alice.hears(one.inside(lan_answer))
    await all_heard(bob, alice.talk(50))
    await all_heard(alice, bob.talk(50))


async def test_a_ring_of_two_hairpins_does_not_keep_packets_going(rig: CallRig) -> None:
    """L6: two calls that both faces join with each other: each packet goes round once and no more."""
    phone, trunk = rig.phone(), rig.trunk()
    one, other = rig.answered(phone, rig.trunk()), rig.answered(phone, trunk)
    public = [call.inside(phone.offer(version=2), OPENING) for call in (one, other)]
    lan = [call.outside(trunk.offer(version=2)) for call in (one, other)]
    for call, theirs in ((one, 1), (other, 0)):
        call.outside(public[theirs], OPENING)
        call.inside(lan[theirs])
    before = rig.server.wire.seen + rig.agent.wire.seen
    for n in range(20):  # somebody throws packets into the ring
        assert rig.server.sinks
        for sink in list(rig.server.sinks.values()):
            sink(rtp_packet(n))
    await trio.sleep(0.3)
    went_round = rig.server.wire.seen + rig.agent.wire.seen - before
    await trio.sleep(0.3)
    assert rig.server.wire.seen + rig.agent.wire.seen - before == went_round
    assert went_round <= 20 * len(rig.server.sinks) * 4
    assert rig.server.counters["media.dropped.loop"] + rig.agent.counters["media.dropped.loop"] > 0


async def test_an_sdp_that_names_another_port_of_ours_gets_nothing_there(rig: CallRig) -> None:
    """L6: media never go to our own addresses but to leases: not to SIP, not to a media port that no call has."""
    for port in (5060, 20100):
        call = rig.call()
        call.inside(rig.phone().offer(), OPENING, ROOT)
        own = rig.party(rig.server.host, port) if port == 5060 else None
        body = rig.trunk().offer().replace(rig.net_host.encode(), rig.server.host.encode())
        call.outside(body.replace(b"m=audio %d" % int(body.split(b"m=audio ")[1].split()[0]), b"m=audio %d" % port))
        for n in range(5):
            for sink in list(rig.server.sinks.values()):
                sink(rtp_packet(n))
        await trio.sleep(0.02)
        assert own is None or own.heard() == []
        call.close()
    assert rig.server.counters["media.own_address"] >= 2


async def test_a_lease_is_never_its_own_party(rig: CallRig) -> None:
    """L6: an SDP that sends us our own port back is no party at all."""
    phone, trunk = rig.phone(), rig.trunk()
    call = rig.call()
    offered = call.inside(phone.offer(), OPENING, ROOT)
    call.outside(offered, source=rig.net_host)
    assert rig.server.counters["media.own_address"] >= 1
    trunk.hears(offered)
    for n in range(5):
        trunk.send(rtp_packet(n))
    await eventually(lambda: rig.server.counters["media.latched"])  # from the SIP source, as with any unusable address


def test_what_left_by_a_hairpin_does_not_leave_again() -> None:
    once = Once()
    assert once.admits(b"a", 0.0)
    assert not once.admits(b"a", 0.9)
    assert not once.admits(b"a", 1.5)
    assert once.admits(b"a", 4.0)
    assert all(once.admits(b"%d" % n, 4.0) for n in range(10_000))


@pytest.mark.parametrize(
    ("bind", "advertised"), [("127.0.0.1", "127.0.0.1"), ("127.0.0.1", "203.0.113.10"), ("0.0.0.0", "203.0.113.10")]
)
async def test_two_sessions_of_one_face_meet_there(bind: str, advertised: str) -> None:
    """L6: tenants that call each other by the outside: leases of two pumps, also where the address is that of a cloud."""
    low = 46000 + 100 * os.getpid() % 1000
    ledger, faces = PortLedger(low, low + 39), (FaceAddress(bind, advertised),)
    async with trio.open_nursery() as nursery:
        worlds = []
        for _ in range(2):
            tunnel, sinks, counters = Tunnel(), Sinks(), Counters()
            pump = Pump(faces, ledger, tunnel, sinks, counters, shares_host=False)
            await nursery.start(pump.run)
            lease = pump.take(1, 0.0)
            pump.tie(lease.id, CHANNEL, 0.0)
            worlds.append((pump, lease, tunnel, sinks, counters))
        for (pump, lease, *_), (_, other, *_) in (worlds, worlds[::-1]):
            assert other.rtp.host == advertised
            aim = Aim(other.rtp, other.rtcp, False, "198.51.100.7", True, True, frozenset())
            pump.aim(lease.id, CHANNEL, aim, trio.current_time())
        for (_, _, _, sinks, _), (_, _, tunnel, _, counters) in (worlds, worlds[::-1]):
            said = [rtp_packet(n) for n in range(20)]
            for packet in said:
                sinks[CHANNEL](packet)
            assert await tunnel.wait_for(20) == said
            assert counters["media.own_address"] == 0
        nursery.cancel_scope.cancel()
