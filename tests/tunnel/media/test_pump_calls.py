"""Calls through both ends with real sockets: what the parties hear of each other, to the byte."""

from __future__ import annotations

import random

import pytest
import trio
from support.call_rig import CallRig, Party, eventually
from support.rtp import rtcp_packet, rtp_packet

from tunnel.media.exchange import Carriage
from tunnel.media.offer_answer import ROOT

OPENING, PREVIEW = Carriage.OPENING, Carriage.PREVIEW
PACKETS = 50


async def assert_talk(one: Party, other: Party, packets: int = PACKETS) -> None:
    """Both hear all that the other says, from where they send to, within 100 ms."""
    for speaker, listener in ((one, other), (other, one)):
        listener.heard()
        said = speaker.talk(packets)
        heard: list[bytes] = []

        def all_came(listener: Party = listener, heard: list[bytes] = heard) -> bool:
            for packet, source in listener.heard():
                assert source == listener.to
                heard.append(packet)
            return len(heard) >= packets

        await eventually(all_came, within_s=1.0)
        assert heard == said


@pytest.mark.parametrize("caller", ["inside", "outside"])
async def test_fifty_packets_go_each_way(rig: CallRig, caller: str) -> None:
    """S4-3, T12: whoever calls, both hear each other, and after the end no port is held."""
    phone, trunk = rig.phone(), rig.trunk()
    if caller == "inside":
        call = rig.answered(phone, trunk)
    else:
        call = rig.call()
        phone.hears(call.outside(trunk.offer(), OPENING, ROOT))
        trunk.hears(call.inside(phone.offer()))
        call.settle()
    await assert_talk(phone, trunk)
    call.close()
    for end in (rig.agent, rig.server):
        end.pump.tend(trio.current_time() + 1.0)
        assert (end.pump.leases, end.pump.sockets, end.ledger.held) == (0, 0, 0)


async def test_ipv6_outside_and_inside() -> None:
    """S4-3: the same with IPv6 on both faces."""
    async with trio.open_nursery() as nursery:
        rig = CallRig(nursery, ipv6=True)
        await rig.start()
        phone, trunk = rig.phone(), rig.trunk()
        rig.answered(phone, trunk)
        await assert_talk(phone, trunk)
        nursery.cancel_scope.cancel()
    rig.close()


async def test_a_tone_before_the_answer_reaches_the_silent_caller(rig: CallRig) -> None:
    """S4-22, I5: the first packet of early media arrives though the phone has sent none."""
    phone, trunk = rig.phone(), rig.trunk()
    call = rig.call()
    trunk.hears(call.inside(phone.offer(), OPENING, ROOT))
    phone.hears(call.outside(trunk.offer(), PREVIEW))
    said = trunk.talk(1)
    heard: list[bytes] = []
    await eventually(lambda: heard.extend(packet for packet, _ in phone.heard()) or heard, within_s=0.5)
    assert heard == said


async def test_packets_before_the_answer_are_kept_ten_of_them(rig: CallRig) -> None:
    """I5: what comes while nobody knows where to send it waits, ten packets of it, and is counted beyond."""
    phone, trunk = rig.phone(), rig.trunk()
    call = rig.call()
    trunk.hears(call.inside(phone.offer(), OPENING, ROOT))
    said = trunk.talk(15)
    await eventually(lambda: rig.server.counters["media.dropped.early"] == 5)
    phone.hears(call.outside(trunk.offer()))
    heard: list[bytes] = []
    await eventually(lambda: heard.extend(packet for packet, _ in phone.heard()) or len(heard) == 10)
    assert heard == said[5:]


async def test_a_moved_party_is_followed_and_its_old_port_is_not(rig: CallRig) -> None:
    """T1: after a re-INVITE that moves it, stray packets of the old port are counted and lead nowhere."""
    phone, before, after = rig.phone(), rig.trunk(), rig.trunk()
    call = rig.answered(phone, before)
    await assert_talk(phone, before)
    after.hears(call.inside(phone.offer(version=2), OPENING))
    phone.hears(call.outside(after.offer(version=2)))
    before.to = after.to
    before.talk(4)
    await eventually(lambda: rig.server.counters["media.dropped.stale_source"] == 4)
    await assert_talk(phone, after)
    assert before.heard() == []


async def test_one_port_for_the_whole_dialog(rig: CallRig) -> None:
    """T2, I3: a second 183 and the 200 with another IP: the party is sent to from the same port throughout."""
    phone, first, second = rig.phone(), rig.trunk(), rig.party(rig.net_host.rpartition(".")[0] + ".8")
    call = rig.call()
    offered = call.inside(phone.offer(), OPENING, ROOT)
    first.hears(offered)
    second.hears(offered)
    answers = [
        call.outside(first.offer(), PREVIEW),
        call.outside(second.offer(), PREVIEW, source=second.host),
        call.outside(second.offer(), source=second.host),
    ]
    call.settle()
    assert len({phone.hears(answer) for answer in answers}) == 1
    assert (rig.agent.pump.leases, rig.server.pump.leases) == (1, 1)
    await assert_talk(phone, second)
    assert first.heard() == []


async def test_fax_flows_to_another_ip_at_once(rig: CallRig) -> None:
    """T15, L9: audio turns into T.38 at another address: UDPTL reaches it with the first packet, as it was."""
    phone, gateway, fax = rig.phone(), rig.trunk(), rig.party(rig.net_host.rpartition(".")[0] + ".40")
    call = rig.answered(phone, gateway)
    await assert_talk(phone, gateway)
    t38 = ("a=T38FaxVersion:0", "a=T38FaxUdpEC:t38UDPRedundancy")
    offered = call.outside(fax.offer(*t38, proto="udptl t38", kind="image", version=2), OPENING)
    assert b"udptl t38\r\na=T38FaxVersion:0\r\na=T38FaxUdpEC:t38UDPRedundancy\r\n" in phone.hears(offered)
    fax.hears(call.inside(phone.offer(*t38, proto="udptl t38", kind="image", version=2)))
    for way in ((phone, fax), (fax, phone)):
        datagram = b"\x00\x01" + random.randbytes(60)
        way[0].send(datagram)
        got: list[bytes] = []
        await eventually(lambda who=way[1], got=got: got.extend(p for p, _ in who.heard()) or got)
        assert got == [datagram]


async def test_a_session_refresh_leaves_fax_running(rig: CallRig) -> None:
    """T15: the same SDP again changes nothing of a T.38 stream."""
    phone, fax = rig.phone(), rig.trunk()
    call = rig.answered(phone, fax, proto="udptl t38", kind="image")
    before = phone.to, fax.to
    fax.hears(call.inside(phone.offer(proto="udptl t38", kind="image"), OPENING))
    phone.hears(call.outside(fax.offer(proto="udptl t38", kind="image")))
    assert (phone.to, fax.to) == before
    fax.send(b"udptl")
    await eventually(phone.heard)


SRTP = "RTP/SAVP 8"
CRYPTO = "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj"
DTLS = "UDP/TLS/RTP/SAVPF 111"
FINGERPRINT = "a=fingerprint:sha-256 " + ":".join(["4A"] * 32)


@pytest.mark.parametrize(
    ("proto", "lines"), [(SRTP, (CRYPTO,)), (DTLS, (FINGERPRINT, "a=setup:actpass", "a=tls-id:abc3de65cddef001be82"))]
)
async def test_encrypted_media_and_its_keys_pass_to_the_byte(rig: CallRig, proto: str, lines: tuple[str, ...]) -> None:
    """S1-9, T22, S4-19, L2: keys, fingerprints, SRTP over the wrap of its sequence numbers, DTLS, STUN and TURN."""
    phone, trunk = rig.phone(), rig.trunk()
    call = rig.answered(phone, trunk, *lines, proto=proto)
    wrap = [rtp_packet(n, payload=random.randbytes(170)) for n in range(65530, 65542)]
    stun = bytes.fromhex("000100002112a442") + random.randbytes(12)
    turn_channel = b"\x40\x01\x00\x10" + random.randbytes(16)
    hello = b"\x16\xfe\xff" + bytes(8) + random.randbytes(90)
    said = [hello, stun, *wrap[:6], turn_channel]
    offer = call.inside(phone.offer(*lines, proto=proto, version=2), OPENING)
    assert all(line.encode() + b"\r\n" in offer for line in lines)
    again = call.outside(trunk.offer(*lines, proto=proto, version=2))
    assert all(line.encode() + b"\r\n" in again for line in lines)
    said += wrap[6:]
    for speaker, listener in ((phone, trunk), (trunk, phone)):
        for packet in said:
            speaker.send(packet)
        got: list[bytes] = []
        await eventually(lambda who=listener, got=got: got.extend(p for p, _ in who.heard()) or len(got) >= len(said))
        assert got == said


async def test_rtcp_passes_as_it_was_said(rig: CallRig) -> None:
    """L2, L3: reports with extensions nobody knows pass to the byte, from the port next to that of RTP."""
    phone, trunk = rig.phone(), rig.trunk()
    rig.answered(phone, trunk)
    report = rtcp_packet() + bytes.fromhex("81cf0003") + random.randbytes(12)
    phone.rtcp.sendto(report, (phone.to.host, phone.to.port + 1))
    got: list[object] = []
    await eventually(lambda: got.extend(trunk.heard_rtcp()) or got)
    assert got == [(report, (trunk.to.host, trunk.to.port + 1))]


async def test_a_relay_candidate_is_as_good_as_any_address(rig: CallRig) -> None:
    """S4-18, S4-20: an offer of relay candidates only: they are removed both ways, media go where c= says."""
    phone, relay = rig.phone(), rig.trunk()
    ice = ("a=ice-ufrag:8hhY", "a=ice-pwd:asd88fgpdd777uzjYhagZg", "a=candidate:1 1 UDP 1 203.0.113.99 4444 typ relay")
    call = rig.call()
    offer = call.outside(relay.offer(*ice), OPENING, ROOT)
    answer = call.inside(phone.offer(*ice))
    assert b"candidate" not in offer + answer
    assert b"ice-" not in offer + answer
    phone.hears(offer)
    relay.hears(answer)
    await assert_talk(phone, relay)
