"""Whose packets are let in: the rules L4 to L6, and the attacks and the NATs that they are for."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st
from support.rtp import rtcp_packet, rtp_packet

from tunnel.address import Address
from tunnel.media.latch import Allowance, Continuity, Decision, Drop, Forward, Latch, Latched, Reason

SDP = Address("203.0.113.5", 34150)
OTHER_PORT = Address("203.0.113.5", 40000)
SIP_IP = "198.51.100.9"
BEHIND_SIP_IP = Address(SIP_IP, 50000)
STRANGER = Address("198.51.100.66", 40000)


@dataclass
class Stream:
    """A latch with the counting that its leg does."""

    latch: Latch
    packets: int = 0
    last: bytes = b""
    decisions: list[Decision] = field(default_factory=list)

    def hear(self, source: Address, packet: bytes, now: float = 0.0) -> Decision:
        decision = self.latch.receive(source, packet, self, now)
        if not isinstance(decision, Drop):
            self.packets += 1
            self.last = packet
        self.decisions.append(decision)
        return decision


def stream(target: Address | None = SDP, sip_source: str = SIP_IP, continuity: Continuity = Continuity.RTP) -> Stream:
    return Stream(Latch(target, sip_source, continuity))


def drops(decision: Decision) -> Reason | None:
    return decision.reason if isinstance(decision, Drop) else None


# --- L4 ------------------------------------------------------------------------------------------------------------


def test_the_sdp_address_is_confirmed_by_its_first_packet() -> None:
    """L4: (a) the SDP address is confirmed by its first packet."""
    heard = stream()
    assert heard.hear(SDP, rtp_packet(1)) == Latched(SDP)
    assert heard.hear(SDP, rtp_packet(2)) == Forward()


def test_another_port_of_the_sdp_host_is_believed_at_once() -> None:
    """L4: (b) another port of the SDP host is believed at once."""
    assert stream().hear(OTHER_PORT, rtp_packet(1)) == Latched(OTHER_PORT)


def test_the_sip_source_is_believed_after_five_packets_in_sequence() -> None:
    """T3: the sip source is believed after five packets in sequence."""
    heard = stream(target=None)
    before = [heard.hear(BEHIND_SIP_IP, rtp_packet(n)) for n in range(4)]
    assert [drops(each) for each in before] == [Reason.PRE_LATCH] * 4
    assert heard.hear(BEHIND_SIP_IP, rtp_packet(4)) == Latched(BEHIND_SIP_IP)


def test_five_packets_of_different_streams_confirm_nothing() -> None:
    """L4: (c) takes five packets of one SSRC."""
    heard = stream(target=None)
    for n in range(20):
        assert drops(heard.hear(BEHIND_SIP_IP, rtp_packet(n, ssrc=n))) is Reason.PRE_LATCH


def test_five_packets_out_of_sequence_confirm_nothing() -> None:
    """L4: (c) takes five packets in sequence."""
    heard = stream(target=None)
    for n in range(20):
        assert drops(heard.hear(BEHIND_SIP_IP, rtp_packet(n * 1000))) is Reason.PRE_LATCH


def test_a_second_port_of_the_same_ip_does_not_disturb_the_trial() -> None:
    """L4: (c) each port is on a trial of its own."""
    heard = stream(target=None)
    for n in range(4):
        heard.hear(BEHIND_SIP_IP, rtp_packet(n))
        heard.hear(Address(SIP_IP, 7), rtp_packet(n * 500, ssrc=7))
    assert heard.hear(BEHIND_SIP_IP, rtp_packet(4)) == Latched(BEHIND_SIP_IP)


def test_nobody_else_is_ever_believed() -> None:
    """T14: nobody else is ever believed."""
    for target in (SDP, None):
        heard = stream(target)
        for n in range(100):
            assert drops(heard.hear(STRANGER, rtp_packet(n), n * 0.02)) is Reason.FOREIGN
        assert heard.latch.dropped[Reason.FOREIGN] == 100
        assert heard.latch.remote is None


def test_rtcp_on_the_rtp_port_neither_counts_for_the_trial_nor_breaks_it() -> None:
    """L4: (c) is about RTP."""
    heard = stream(target=None)
    for n in range(4):
        heard.hear(BEHIND_SIP_IP, rtp_packet(n))
        heard.hear(BEHIND_SIP_IP, rtcp_packet())
    assert heard.hear(BEHIND_SIP_IP, rtp_packet(4)) == Latched(BEHIND_SIP_IP)


def test_opaque_datagrams_take_three() -> None:
    """L9: opaque datagrams take three."""
    heard = stream(target=None, continuity=Continuity.NONE)
    assert [drops(heard.hear(BEHIND_SIP_IP, b"udptl")) for _ in range(3)] == [Reason.PRE_LATCH] * 2 + [None]


def test_rtcp_takes_three_of_one_sender() -> None:
    """L4: RTCP is latched by itself."""
    heard = stream(target=None, continuity=Continuity.RTCP)
    packets = [rtcp_packet(1), rtcp_packet(2), rtcp_packet(2), rtcp_packet(2)]
    assert [drops(heard.hear(BEHIND_SIP_IP, packet)) for packet in packets] == [Reason.PRE_LATCH] * 3 + [None]


def test_rtcp_follows_where_rtp_was_confirmed() -> None:
    """L4: where RTP was confirmed, RTCP is believed."""
    heard = stream(target=None, continuity=Continuity.RTCP)
    heard.latch.vouch(SIP_IP)
    assert heard.hear(BEHIND_SIP_IP, rtcp_packet()) == Latched(BEHIND_SIP_IP)


def test_a_learnt_remote_gives_way_to_the_sdp_address_itself() -> None:
    """L4: what was learnt by (b) or (c) gives way to (a)."""
    heard = stream()
    heard.hear(OTHER_PORT, rtp_packet(1))
    assert heard.hear(SDP, rtp_packet(2)) == Latched(SDP)
    assert drops(heard.hear(OTHER_PORT, rtp_packet(3))) is Reason.FOREIGN


# --- L5 ------------------------------------------------------------------------------------------------------------


def test_a_stray_packet_of_the_old_port_does_not_win_it_back() -> None:
    """T1: a stray packet of the old port does not win it back."""
    new = Address(SDP.host, 30840)
    for spacing in (0.0, 0.02, 1.0):
        heard = stream()
        heard.hear(SDP, rtp_packet(1))
        heard.latch.aim(new, SIP_IP, Continuity.RTP, 10.0)
        for n in range(5):
            assert drops(heard.hear(SDP, rtp_packet(2 + n), 10.0 + n * spacing)) is Reason.STALE_SOURCE
        assert heard.latch.dropped[Reason.STALE_SOURCE] == 5
        assert heard.hear(new, rtp_packet(50), 20.0) == Latched(new)
        assert drops(heard.hear(SDP, rtp_packet(7), 20.0)) is Reason.STALE_SOURCE


def test_a_party_that_really_stayed_where_it_was_is_heard_again() -> None:
    """L5: (i) the old source is ignored for 200 ms and five packets, not for ever."""
    heard = stream()
    heard.hear(SDP, rtp_packet(1))
    heard.latch.aim(Address(SDP.host, 30840), SIP_IP, Continuity.RTP, 10.0)
    decisions = [heard.hear(SDP, rtp_packet(n), 10.0 + n * 0.02) for n in range(2, 15)]
    assert decisions[-1] == Forward()


def test_the_same_aim_again_changes_nothing() -> None:
    """I2: the same aim again, as in the session refreshes of a party behind a NAT, changes nothing."""
    heard = stream(target=None)
    for n in range(5):
        heard.hear(BEHIND_SIP_IP, rtp_packet(n))
    heard.latch.aim(None, SIP_IP, Continuity.RTP, 1.0)
    assert heard.hear(BEHIND_SIP_IP, rtp_packet(5), 1.0) == Forward()


def test_a_nat_that_changed_the_port_is_followed() -> None:
    """T17: a nat that changed the port is followed."""
    heard = stream()
    for n in range(50):
        heard.hear(SDP, rtp_packet(n), n * 0.02)
    moved = [heard.hear(OTHER_PORT, rtp_packet(n), n * 0.02) for n in range(50, 90)]
    assert Latched(OTHER_PORT) in moved
    assert moved.index(Latched(OTHER_PORT)) * 0.02 <= 0.6
    assert moved[-1] == Forward()


def test_another_stream_from_the_new_port_is_not_followed() -> None:
    """T17: another stream from the new port is not followed."""
    heard = stream()
    for n in range(50):
        heard.hear(SDP, rtp_packet(n), n * 0.02)
    for n in range(50, 200):
        assert drops(heard.hear(OTHER_PORT, rtp_packet(n, ssrc=2), n * 0.02)) is Reason.FOREIGN


def test_a_new_port_is_not_followed_while_the_old_one_speaks() -> None:
    """L5: (ii) only after 500 ms of silence."""
    heard = stream()
    for n in range(200):
        heard.hear(SDP, rtp_packet(n), n * 0.02)
        if n > 2:
            assert drops(heard.hear(OTHER_PORT, rtp_packet(n + 1), n * 0.02)) is Reason.FOREIGN


def test_another_host_is_not_followed_whatever_it_sends() -> None:
    """L5: (ii) only within the same IP."""
    heard = stream()
    heard.hear(SDP, rtp_packet(0))
    for source in (STRANGER, BEHIND_SIP_IP):
        for n in range(1, 100):
            assert drops(heard.hear(source, rtp_packet(n), n * 0.02)) is Reason.FOREIGN


def test_a_muxed_party_is_followed_though_rtcp_came_last() -> None:
    """L5: (ii) also when the last packet heard was RTCP."""
    heard = stream()
    heard.hear(SDP, rtp_packet(1), 0.0)
    heard.hear(SDP, rtcp_packet(), 0.0)
    heard.hear(OTHER_PORT, rtp_packet(2), 0.1)
    assert heard.hear(OTHER_PORT, rtp_packet(30), 0.7) == Latched(OTHER_PORT)


# --- L6 and everything at once -------------------------------------------------------------------------------------


def test_fifty_packets_may_go_where_nobody_was_heard() -> None:
    """L6: 50 packets to an address that was only named."""
    allowance = Allowance()
    assert [allowance.admits(172) for _ in range(60)].count(True) == 50


def test_or_twenty_thousand_bytes() -> None:
    """L6: or 20 kB."""
    allowance = Allowance()
    assert [allowance.admits(1200) for _ in range(60)].count(True) == 16


sources = st.sampled_from([SDP, OTHER_PORT, BEHIND_SIP_IP, STRANGER, Address("2001:db8::1", 9)])
packets = st.one_of(st.binary(max_size=40), st.builds(rtp_packet, st.integers(0, 300), st.integers(1, 2)))


@given(
    st.sampled_from([SDP, None]), st.sampled_from(list(Continuity)), st.lists(st.tuples(sources, packets), max_size=60)
)
def test_no_sequence_of_packets_lets_a_stranger_in(
    target: Address | None, continuity: Continuity, script: list[tuple[Address, bytes]]
) -> None:
    """L4, 3-#6: no sequence of packets lets a stranger in."""
    heard = stream(target, SIP_IP, continuity)
    for n, (source, packet) in enumerate(script):
        decision = heard.hear(source, packet, n * 0.1)
        if source.host not in (SIP_IP, SDP.host) or (target is None and source.host != SIP_IP):
            assert isinstance(decision, Drop)
