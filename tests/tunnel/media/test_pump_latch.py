"""Whose packets the pump passes on, with real sockets: NATs, parties that move, strangers."""

from __future__ import annotations

import trio
from support.pump_world import CHANNEL, ELSEWHERE, HOST, Phone, PumpWorld
from support.rtp import rtp_packet


async def test_a_private_sdp_address_is_learnt_from_the_sip_source_only(world: PumpWorld) -> None:
    """T3: a private sdp address is learnt from the sip source only."""
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


async def test_a_spray_is_neither_relayed_nor_answered(world: PumpWorld) -> None:
    """T14, 3-#6: a spray is neither relayed nor answered."""
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


async def test_after_a_new_answer_media_go_to_the_new_port(world: PumpWorld) -> None:
    """T1, T2: after a new answer media go to the new port."""
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


async def test_a_nat_that_moves_the_port_is_followed(world: PumpWorld) -> None:
    """T17: a nat that moves the port is followed."""
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


async def test_an_asymmetric_phone_on_the_lan_is_sent_to_where_it_listens() -> None:
    """S4-15: an asymmetric phone on the lan is sent to where it listens."""
    async with trio.open_nursery() as nursery:
        world = PumpWorld(nursery, asymmetric=True)
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


async def test_a_party_whose_port_is_not_open_yet_is_reached_once_it_is(world: PumpWorld) -> None:
    """L2: by every packet from then on; what ICMP says of the ones before costs none."""
    phone, lease = world.phone(), world.take()
    world.aim(lease, phone.address, trusted=True)
    phone.socket.close()
    world.from_tunnel(rtp_packet(0))
    reopened = Phone(HOST, phone.address.port)
    world.phones.append(reopened)
    for n in range(10):
        world.from_tunnel(rtp_packet(n))
    assert len(reopened.heard()) == 10
