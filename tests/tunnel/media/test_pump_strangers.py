"""Somebody sprays every media port while calls are up: nobody hears him, he hears nobody (3-#6, T14)."""

from __future__ import annotations

import random

import pytest
import trio
from support.call_rig import CallRig, Party, eventually
from support.rtp import rtcp_packet, rtp_packet

from tunnel.address import Address
from tunnel.media.exchange import Carriage
from tunnel.media.offer_answer import ROOT


def spray(rig: CallRig, attacker: Party, packet: bytes) -> int:
    """A packet to each port of the public face's range."""
    for port in range(20000, 20200):
        attacker.send(packet, Address(rig.server.host, port))
    return 200


async def test_a_spray_over_all_ports_bleeds_nothing_and_injects_nothing(rig: CallRig) -> None:
    """3-#6, T14: from before the answer to after the end, five calls, RTP and RTCP and noise, one foreign address."""
    attacker = rig.party(rig.foreign_host)
    pairs = [(rig.phone(), rig.trunk()) for _ in range(5)]
    said: dict[Party, list[bytes]] = {party: [] for pair in pairs for party in pair}
    heard: dict[Party, list[bytes]] = {party: [] for party in said}
    evil = [
        rtp_packet(7, ssrc=0xE),
        rtcp_packet(0xE),
        b"",
        random.randbytes(200),
        rtp_packet(3, pairs[0][1].address.port),
    ]

    def drained() -> bool:
        for party, packets in heard.items():
            packets.extend(packet for packet, _ in party.heard() + party.heard_rtcp())
        return all(len(heard[a]) >= len(said[b]) and len(heard[b]) >= len(said[a]) for a, b in pairs)

    spray(rig, attacker, evil[0])
    calls = []
    for phone, trunk in pairs:
        call = rig.call()
        trunk.hears(call.inside(phone.offer(), Carriage.OPENING, ROOT))
        spray(rig, attacker, evil[0])
        await trio.sleep(0.01)
        phone.hears(call.outside(trunk.offer()))
        call.settle()
        calls.append(call)
    for n in range(10):
        spray(rig, attacker, evil[n % len(evil)])
        for party in said:
            said[party] += party.talk(5)
        await trio.sleep(0.02)
    await eventually(drained)
    for phone, trunk in pairs:
        assert (heard[phone], heard[trunk]) == (said[trunk], said[phone])
    assert rig.server.counters["media.dropped.foreign"] >= 100
    for call in calls:
        call.close(linger_s=5.0)
    spray(rig, attacker, evil[0])
    await trio.sleep(0.05)
    drained()
    for phone, trunk in pairs:
        assert (heard[phone], heard[trunk]) == (said[trunk], said[phone])
    assert attacker.heard() == []


async def test_with_a_private_sdp_address_only_the_sip_source_gets_in(rig: CallRig) -> None:
    """T3, 3-#6, L4: c= names a private address: the SIP source is learnt after its fifth packet, the sprayer never."""
    phone, trunk, attacker = rig.phone(), rig.trunk(), rig.party(rig.foreign_host)
    call = rig.call()
    trunk.hears(call.inside(phone.offer(), Carriage.OPENING, ROOT))
    phone.hears(call.outside(trunk.offer().replace(rig.net_host.encode(), b"10.1.33.103")))
    for n in range(20):
        attacker.send(rtp_packet(n, ssrc=0xE), trunk.to)
        for sink in list(rig.server.sinks.values()):
            sink(rtp_packet(n))
    await eventually(lambda: rig.server.counters["media.dropped.foreign"] >= 20)
    assert attacker.heard() == []
    said = trunk.talk(10)
    got: list[bytes] = []
    await eventually(lambda: got.extend(packet for packet, _ in phone.heard()) or len(got) >= 6, within_s=0.5)
    assert got == said[4:]
    trunk.heard()
    answer = phone.talk(5)
    back: list[bytes] = []
    await eventually(lambda: back.extend(packet for packet, _ in trunk.heard()) or len(back) >= 5)
    assert back == answer
    assert attacker.heard() == []


@pytest.mark.parametrize("is_same_stream", [True, False])
async def test_a_nat_that_moves_the_port_is_followed_only_with_its_stream(rig: CallRig, is_same_stream: bool) -> None:
    """T17, L5: the same SSRC going on from another port of the same IP is latched within 1 s; another SSRC never is."""
    phone, before, after = rig.phone(), rig.trunk(), rig.trunk()
    rig.answered(phone, before)
    before.talk(10)
    await eventually(lambda: len(phone.heard()) == 0 and rig.server.counters["media.latched"])
    after.to, after.sequence = before.to, before.sequence
    ssrc = before.address.port if is_same_stream else 0xE
    heard = False
    for _ in range(50):
        after.talk(1, ssrc=ssrc)
        await trio.sleep(0.02)
        heard = heard or any(rtp_packet(0, ssrc)[8:12] == packet[8:12] for packet, _ in phone.heard()[-1:])
    phone.talk(5)
    await trio.sleep(0.05)
    assert bool(after.heard()) is is_same_stream
    if not is_same_stream:
        assert not heard
