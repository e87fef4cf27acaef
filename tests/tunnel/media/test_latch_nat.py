"""What a latch allows to parties behind NATs that forget, and to phones that speak from elsewhere; and to nobody else."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from support.rtp import rtcp_packet, rtp_packet

from tunnel.address import Address
from tunnel.media.latch import Continuity, Decision, Drop, Latch, Latched, Reason

HOME = "198.51.100.7"
BEFORE, AFTER = Address(HOME, 40000), Address(HOME, 51234)
STRANGER = Address("198.51.100.66", 40000)
LAN = ("10.1.0.50", "10.1.0.60")


@dataclass
class Stream:
    latch: Latch
    packets: int = 0
    last: bytes = b""

    def hear(self, source: Address, packet: bytes, now: float) -> Decision:
        decision = self.latch.receive(source, packet, self, now)
        if not isinstance(decision, Drop):
            self.packets += 1
            self.last = packet
        return decision

    def lost_until_heard(self, source: Address, first: int, now: float, ssrc: int = 0x1234) -> int:
        """How many packets of a stream are lost before it is believed; at most 200 are sent."""
        for n in range(200):
            if not isinstance(self.hear(source, rtp_packet(first + n, ssrc), now + n * 0.02), Drop):
                return n
        return 200


def talking() -> Stream:
    """A natted party that was learnt, and has sent 100 packets until second 2."""
    stream = Stream(Latch(None, HOME, Continuity.RTP))
    for n in range(100):
        stream.hear(BEFORE, rtp_packet(n), n * 0.02)
    assert stream.latch.remote == BEFORE
    return stream


def test_after_a_hold_another_stream_may_come_from_another_port() -> None:
    """S3-6, T16: the NAT forgot the old port, and the phone began with a new SSRC: four packets are lost, and no more."""
    stream = talking()
    stream.latch.resume(stream)
    assert stream.lost_until_heard(AFTER, 5000, 300.0, ssrc=77) == 4
    assert stream.latch.remote == AFTER


def test_after_a_hold_the_same_stream_is_believed_at_once() -> None:
    """T16, T17: the same SSRC from another port, and the other end of the hold was long ago."""
    stream = talking()
    stream.latch.resume(stream)
    assert stream.lost_until_heard(AFTER, 100, 300.0) == 0


def test_who_never_was_on_hold_changes_no_stream() -> None:
    """T17: another SSRC from another port, without any word of SIP, is somebody else."""
    stream = talking()
    assert stream.lost_until_heard(AFTER, 5000, 300.0, ssrc=77) == 200


def test_once_the_party_is_heard_again_the_door_is_closed() -> None:
    """T14: the end of a hold is no invitation for later."""
    stream = talking()
    stream.latch.resume(stream)
    stream.hear(BEFORE, rtp_packet(100), 300.0)
    assert stream.lost_until_heard(AFTER, 5000, 400.0, ssrc=77) == 200


@pytest.mark.parametrize("sends", ["another host", "out of sequence"])
def test_after_a_hold_not_everybody_is_believed(sends: str) -> None:
    """T14: only the party's own address, and only a stream."""
    stream = talking()
    stream.latch.resume(stream)
    for n in range(100):
        source = STRANGER if sends == "another host" else AFTER
        packet = rtp_packet(n) if sends == "another host" else rtp_packet(n * 999, ssrc=n + 5)
        assert isinstance(stream.hear(source, packet, 300.0 + n * 0.02), Drop)


def test_rtcp_after_a_hold() -> None:
    """T16: three reports of the new stream."""
    stream = Stream(Latch(None, HOME, Continuity.RTCP))
    for _ in range(3):
        stream.hear(BEFORE, rtcp_packet(1), 1.0)
    stream.latch.resume(stream)
    decisions = [stream.hear(AFTER, rtcp_packet(2), 300.0 + n) for n in range(3)]
    assert decisions[-1] == Latched(AFTER)


def test_a_party_whose_router_got_another_address() -> None:
    """S3-13: its re-INVITE comes from there, and its stream goes on from there, after half a second of silence."""
    stream = talking()
    moved = Address("198.51.100.8", 40001)
    assert stream.lost_until_heard(moved, 100, 3.0) == 200, "before its SIP said so"
    stream.latch.aim(None, moved.host, Continuity.RTP, 10.0)
    assert stream.lost_until_heard(moved, 300, 10.0) == 25
    assert stream.latch.remote == moved


def test_a_pbx_that_speaks_for_a_phone_takes_no_media_over() -> None:
    """L5: media never came from where the SIP comes from, so where that moves to says nothing."""
    stream = Stream(Latch(AFTER, "10.1.0.5", Continuity.RTP))
    stream.hear(AFTER, rtp_packet(0), 0.0)
    stream.latch.aim(AFTER, "10.1.0.6", Continuity.RTP, 1.0)
    assert stream.lost_until_heard(Address("10.1.0.6", 4000), 1, 5.0) == 200


def test_a_neighbour_speaks_for_a_phone_that_is_silent_itself() -> None:
    """S3-8: another host of the LAN: believed after five packets, if it is one that the agent talks to."""
    phone = Address(LAN[0], 6000)
    stream = Stream(Latch(phone, LAN[0], Continuity.RTP, lambda host: host in LAN))
    assert stream.lost_until_heard(Address("10.9.9.9", 7000), 0, 0.0) == 200
    assert stream.lost_until_heard(Address(LAN[1], 7000), 0, 5.0) == 4
    assert stream.hear(phone, rtp_packet(0, ssrc=9), 6.0) == Latched(phone), "the phone itself comes first"
    refused = stream.hear(Address(LAN[1], 7000), rtp_packet(9), 6.1)
    assert refused == Drop(Reason.FOREIGN)
