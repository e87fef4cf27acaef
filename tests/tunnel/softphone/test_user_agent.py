"""Two user agents on a wire in memory with a clock that jumps: what each of them gets to know of a call."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from tunnel.address import Address
from tunnel.errors import BadPacket, LocalMisuse
from tunnel.sip.message import Message, parse_untrusted
from tunnel.softphone.account import Account
from tunnel.softphone.leg import Leg, LegState
from tunnel.softphone.registrar import Registrar
from tunnel.softphone.user_agent import UserAgent
from tunnel.softphone.user_agent_events import CallChanged, CallOffered, RequestFinished, UserAgentEvent

ALICE = Address("10.1.0.11", 5060)
BOB = Address("203.0.113.5", 5060)
ALICE_AUDIO = Address("10.1.0.11", 4000)
BOB_AUDIO = Address("203.0.113.5", 6000)
BOB_URI = b"sip:bob@203.0.113.5:5060"


class World:
    """A wire of 10 ms between phones; ``lose(sender, message)`` says which messages get lost."""

    def __init__(self, lose: Callable[[Address, Message], bool] = lambda sender, message: False) -> None:
        self.now = 0.0
        self.lose = lose
        self.phones: dict[Address, UserAgent] = {}
        self.sent: list[tuple[Address, Message]] = []
        self.events: dict[Address, list[UserAgentEvent]] = {}
        self._in_flight: list[tuple[float, Address, Address, bytes]] = []
        self._random = random.Random(7)

    def add(self, address: Address, account: Account, registrar: Registrar | None = None) -> UserAgent:
        phone = UserAgent(account, address, "udp", self._random.randbytes, registrar)
        self.phones[address] = phone
        self.events[address] = []
        return phone

    def run(self, seconds: float) -> None:
        end = self.now + seconds
        while True:
            self._drain()
            due = [at for at, *_ in self._in_flight]
            due += [at for phone in self.phones.values() if (at := phone.deadline()) is not None]
            if not due or min(due) > end:
                self.now = end
                return
            self.now = max(self.now, min(due))
            arrived = [flight for flight in self._in_flight if flight[0] <= self.now]
            self._in_flight = [flight for flight in self._in_flight if flight[0] > self.now]
            for _, source, destination, data in arrived:
                self.phones[destination].receive_untrusted(data, source, self.now)
                self._drain()
            for phone in self.phones.values():
                phone.tick(self.now)

    def said(self, sender: Address) -> list[str]:
        """What a phone put on the wire, lost or not."""
        return [message.method or str(message.status) for who, message in self.sent if who == sender]

    def _drain(self) -> None:
        for address, phone in self.phones.items():
            self.events[address] += phone.events()
            for data, destination in phone.outgoing():
                message = parse_untrusted(data)
                self.sent.append((address, message))
                if not self.lose(address, message) and destination in self.phones:
                    self._in_flight.append((self.now + 0.01, address, destination, data))


def two_phones(
    lose: Callable[[Address, Message], bool] = lambda sender, message: False,
) -> tuple[World, UserAgent, UserAgent]:
    world = World(lose)
    alice = world.add(ALICE, Account("alice", "203.0.113.5:5060", "wonder"))
    bob = world.add(BOB, Account("bob", "203.0.113.5:5060"))
    return world, alice, bob


def offered(world: World, address: Address) -> Leg:
    (leg,) = [event.leg for event in world.events[address] if isinstance(event, CallOffered)]
    return leg


def talk(world: World, alice: UserAgent, bob: UserAgent) -> tuple[Leg, Leg]:
    out = alice.call(BOB_URI, ALICE_AUDIO, world.now)
    world.run(0.1)
    incoming = offered(world, BOB)
    bob.ring(incoming, world.now)
    world.run(0.1)
    assert out.state is LegState.RINGING
    bob.answer(incoming, BOB_AUDIO, world.now)
    world.run(0.1)
    assert (out.state, incoming.state) == (LegState.TALKING, LegState.TALKING)
    return out, incoming


def test_answered_call_knows_where_each_party_hears() -> None:
    world, alice, bob = two_phones()
    out, incoming = talk(world, alice, bob)
    assert out.speak_to == BOB_AUDIO
    assert incoming.speak_to == ALICE_AUDIO
    assert incoming.peer == b"sip:alice@203.0.113.5:5060"
    assert world.said(ALICE) == ["INVITE", "ACK"]
    assert world.said(BOB) == ["100", "180", "200"]


@pytest.mark.parametrize("caller_hangs_up", [True, False])
def test_either_party_hangs_up_with_one_bye(caller_hangs_up: bool) -> None:
    world, alice, bob = two_phones()
    out, incoming = talk(world, alice, bob)
    if caller_hangs_up:
        alice.hang_up(out, world.now)
    else:
        bob.hang_up(incoming, world.now)
    world.run(1)
    assert out.state is incoming.state is LegState.ENDED
    assert out.end is not None
    assert incoming.end is not None
    assert (out.end.by_us, incoming.end.by_us) == (caller_hangs_up, not caller_hangs_up)
    assert out.end.status == incoming.end.status == 200
    assert (world.said(ALICE) + world.said(BOB)).count("BYE") == 1


def test_cancel_while_ringing_ends_both_sides_with_487() -> None:
    world, alice, bob = two_phones()
    out = alice.call(BOB_URI, ALICE_AUDIO, world.now)
    world.run(0.1)
    bob.ring(offered(world, BOB), world.now)
    world.run(0.1)
    alice.hang_up(out, world.now)
    world.run(1)
    incoming = offered(world, BOB)
    assert out.end is not None
    assert incoming.end is not None
    assert (out.end.status, out.end.by_us) == (487, True)
    assert (incoming.end.status, incoming.end.by_us) == (487, False)
    assert world.said(ALICE) == ["INVITE", "CANCEL", "ACK"]


def test_answer_that_crosses_the_cancel_is_acknowledged_and_hung_up() -> None:
    world, alice, bob = two_phones()
    out = alice.call(BOB_URI, ALICE_AUDIO, world.now)
    world.run(0.1)
    alice.hang_up(out, world.now)
    bob.answer(offered(world, BOB), BOB_AUDIO, world.now)
    world.run(2)
    assert out.state is offered(world, BOB).state is LegState.ENDED
    assert world.said(ALICE) == ["INVITE", "CANCEL", "ACK", "BYE"]


def test_busy_callee_is_acknowledged_and_the_caller_is_told() -> None:
    world, alice, bob = two_phones()
    out = alice.call(BOB_URI, ALICE_AUDIO, world.now)
    world.run(0.1)
    bob.reject(offered(world, BOB), 486, world.now)
    world.run(1)
    assert out.end is not None
    assert (out.end.status, out.end.reason, out.end.by_us) == (486, "Busy Here", False)
    assert world.said(ALICE) == ["INVITE", "ACK"]


def test_nobody_answers_at_all_within_32_seconds() -> None:
    world, alice, _ = two_phones(lose=lambda sender, message: True)
    out = alice.call(BOB_URI, ALICE_AUDIO, world.now)
    world.run(33)
    assert out.end is not None
    assert out.end.status == 408
    assert world.said(ALICE) == ["INVITE"] * 7


def test_answer_without_ack_is_repeated_and_then_hung_up() -> None:
    world, alice, bob = two_phones(lose=lambda sender, message: message.method == "ACK")
    alice.call(BOB_URI, ALICE_AUDIO, world.now)
    world.run(0.1)
    bob.answer(offered(world, BOB), BOB_AUDIO, world.now)
    world.run(40)
    assert world.said(BOB).count("200") > 5
    assert "BYE" in world.said(BOB)
    assert offered(world, BOB).state is LegState.ENDED


@pytest.mark.parametrize("seed", range(20))
def test_every_call_comes_to_its_end_over_a_wire_that_loses_a_third(seed: int) -> None:
    dice = random.Random(seed)
    world, alice, bob = two_phones(lose=lambda sender, message: dice.random() < 0.33)
    out = alice.call(BOB_URI, ALICE_AUDIO, world.now)
    world.run(10)
    incoming = offered(world, BOB)
    bob.answer(incoming, BOB_AUDIO, world.now)
    world.run(20)
    assert (out.state, incoming.state) == (LegState.TALKING, LegState.TALKING)
    alice.hang_up(out, world.now)
    world.run(40)
    assert out.state is incoming.state is LegState.ENDED
    assert out.end is not None
    assert out.end.status == 200


def test_hold_silences_the_peer_and_resume_lets_it_speak() -> None:
    world, alice, bob = two_phones()
    out, incoming = talk(world, alice, bob)
    alice.hold(out, True, world.now)
    world.run(0.1)
    assert incoming.speak_to is None
    assert out.speak_to == BOB_AUDIO, "who holds may still play music"
    alice.hold(out, False, world.now)
    world.run(0.1)
    assert (incoming.speak_to, out.speak_to) == (ALICE_AUDIO, BOB_AUDIO)


def test_second_hold_before_the_first_is_answered_is_our_mistake() -> None:
    world, alice, bob = two_phones()
    out, _ = talk(world, alice, bob)
    alice.hold(out, True, world.now)
    with pytest.raises(LocalMisuse):
        alice.hold(out, False, world.now)


def test_holds_that_cross_are_both_refused_and_the_call_goes_on() -> None:
    world, alice, bob = two_phones()
    out, incoming = talk(world, alice, bob)
    alice.hold(out, True, world.now)
    bob.hold(incoming, True, world.now)
    world.run(1)
    assert world.said(ALICE).count("491") == world.said(BOB).count("491") == 1
    assert (incoming.speak_to, out.speak_to) == (ALICE_AUDIO, BOB_AUDIO)


def test_registration_is_challenged_and_then_known_until_removed() -> None:
    world = World()
    registrar = Registrar("example", {"alice": "wonder"}, random.Random(1).randbytes)
    world.add(BOB, Account("bob", "203.0.113.5:5060"), registrar)
    alice = world.add(ALICE, Account("alice", "203.0.113.5:5060", "wonder"))
    exchange = alice.register(60, world.now)
    world.run(1)
    assert exchange.response is not None
    assert exchange.response.status == 200
    assert world.said(BOB) == ["401", "200"]
    assert registrar.contact("alice", world.now) == b"sip:alice@10.1.0.11:5060"
    assert registrar.contact("alice", world.now + 60) is None
    alice.register(0, world.now)
    world.run(1)
    assert registrar.contact("alice", world.now) is None
    numbers = [message.cseq[0] for who, message in world.sent if who == ALICE]
    assert numbers == sorted(set(numbers))


def test_wrong_password_is_refused_after_one_more_try() -> None:
    world = World()
    registrar = Registrar("example", {"alice": "wonder"}, random.Random(1).randbytes)
    world.add(BOB, Account("bob", "203.0.113.5:5060"), registrar)
    alice = world.add(ALICE, Account("alice", "203.0.113.5:5060", "guess"))
    exchange = alice.register(60, world.now)
    world.run(1)
    assert world.said(ALICE) == ["REGISTER", "REGISTER"]
    assert exchange.response is not None
    assert exchange.response.status == 401
    assert registrar.contact("alice", world.now) is None


def test_call_to_a_provider_is_challenged_and_then_rings() -> None:
    world = World()
    registrar = Registrar("example", {"alice": "wonder"}, random.Random(1).randbytes)
    bob = world.add(BOB, Account("bob", "203.0.113.5:5060"), registrar)
    alice = world.add(ALICE, Account("alice", "203.0.113.5:5060", "wonder"))
    talk(world, alice, bob)
    assert world.said(ALICE) == ["INVITE", "ACK", "INVITE", "ACK"]
    assert world.said(BOB) == ["407", "100", "180", "200"]


def test_options_is_answered_with_what_the_phone_can_do() -> None:
    world, alice, _ = two_phones()
    exchange = alice.ask_options(BOB_URI, world.now)
    world.run(1)
    assert exchange.response is not None
    assert exchange.response.status == 200
    assert any(isinstance(event, RequestFinished) for event in world.events[ALICE])


def test_two_answers_of_a_forked_call_leave_one_dialog() -> None:
    world, alice, bob = two_phones()
    carol = Address("203.0.113.6", 5060)
    twin = world.add(carol, Account("bob", "203.0.113.5:5060"))
    out = alice.call(BOB_URI, ALICE_AUDIO, world.now)
    world.run(0)
    (invite,) = [message for _, message in world.sent]
    twin.receive_untrusted(invite.raw, ALICE, world.now)
    world.run(0.1)
    bob.answer(offered(world, BOB), BOB_AUDIO, world.now)
    twin.answer(offered(world, carol), Address("203.0.113.6", 6000), world.now)
    world.run(1)
    assert out.state is LegState.TALKING
    assert sorted([offered(world, BOB).state, offered(world, carol).state]) == [LegState.ENDED, LegState.TALKING]


def test_recorded_route_is_followed_in_both_directions() -> None:
    world, alice, bob = two_phones()
    proxy = b"Record-Route: <sip:198.51.100.1:5060;lr>\r\n"
    alice.call(BOB_URI, ALICE_AUDIO, world.now)
    ((raw, _),) = alice.outgoing()
    bob.receive_untrusted(raw.replace(b"Max-Forwards", proxy + b"Max-Forwards"), ALICE, world.now)
    (event,) = bob.events()
    assert isinstance(event, CallOffered)
    bob.answer(event.leg, BOB_AUDIO, world.now)
    answer = bob.outgoing()[-1][0]
    alice.receive_untrusted(answer, BOB, world.now)
    ((ack, hop),) = alice.outgoing()
    assert hop == Address("198.51.100.1", 5060)
    assert parse_untrusted(ack).request_uri == b"sip:bob@203.0.113.5:5060"
    bob.receive_untrusted(ack, ALICE, world.now)
    bob.hang_up(event.leg, world.now)
    ((bye, hop),) = bob.outgoing()
    assert hop == Address("198.51.100.1", 5060)
    assert parse_untrusted(bye).request_uri == b"sip:alice@10.1.0.11:5060"


def test_outbound_proxy_is_a_loose_route_of_the_first_request() -> None:
    world = World()
    proxy = Address("10.1.0.2", 5060)
    alice = world.add(ALICE, Account("alice", "itsp.example", "wonder", outbound=proxy))
    alice.call(b"sip:bob@itsp.example", ALICE_AUDIO, world.now)
    ((raw, hop),) = alice.outgoing()
    assert hop == proxy
    assert parse_untrusted(raw).header("route").value == b"<sip:10.1.0.2:5060;lr>"  # type: ignore[union-attr]


def test_bye_of_a_stranger_is_answered_481() -> None:
    world, _, bob = two_phones()
    bye = (
        b"BYE sip:bob@203.0.113.5 SIP/2.0\r\nVia: SIP/2.0/UDP 10.1.0.11:5060;branch=z9hG4bKx\r\n"
        b"From: <sip:a@x>;tag=1\r\nTo: <sip:b@x>;tag=2\r\nCall-ID: c\r\nCSeq: 1 BYE\r\nContent-Length: 0\r\n\r\n"
    )
    bob.receive_untrusted(bye, ALICE, world.now)
    world.run(0.1)
    assert world.said(BOB) == ["481"]


def test_what_is_no_sip_is_a_bad_packet() -> None:
    _, _, bob = two_phones()
    with pytest.raises(BadPacket):
        bob.receive_untrusted(b"\x00\x01", ALICE, 0.0)


def test_offer_without_pcmu_is_not_acceptable() -> None:
    world, alice, bob = two_phones()
    alice.call(BOB_URI, ALICE_AUDIO, world.now)
    ((raw, _),) = alice.outgoing()
    bob.receive_untrusted(raw.replace(b"RTP/AVP 0", b"RTP/AVP 8"), ALICE, world.now)
    world.run(0.1)
    assert world.said(BOB) == ["488"]


def test_call_changes_are_told_in_order() -> None:
    world, alice, bob = two_phones()
    out, _ = talk(world, alice, bob)
    assert [type(event) for event in world.events[ALICE]] == [CallChanged, CallChanged, RequestFinished]
    assert out.ringing_at is not None
    assert out.answered_at is not None
    assert out.begun_at < out.ringing_at < out.answered_at
