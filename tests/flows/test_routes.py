"""Proxies between the phones and the pair that stay on the path, two on each side (RFC 3261 sections 12 and 16)."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from support.flow_table import flow
from support.ladder import Dialog, Phone, uri_in
from support.pair import World
from support.proxies import Proxy
from support.stage import Stage, Talk

INSIDE = ("10.1.0.50", "10.1.0.11", "10.1.0.12", "10.1.0.2")
OUTSIDE = ("203.0.113.10", "203.0.113.22", "203.0.113.21", "203.0.113.40")


@dataclass
class Street:
    """alice - 11 - 12 - agent = server - 22 - 21 - bob; every proxy records its route."""

    world: World
    alice: Phone
    bob: Phone
    proxies: list[Proxy]

    @classmethod
    def of(cls, caller: str, contact: str = "") -> Street:
        world = World(pbx="sip:10.1.0.12:5060")
        world.set_tenant(domains=("acme.example",))
        alice = Phone(world, "10.1.0.50:5060", "alice", outbound="10.1.0.11:5060")
        bob = Phone(world, "203.0.113.40:5060", "bob", outbound="203.0.113.21:5060", contact=contact, port=7000)
        ahead = 1 if caller == "alice" else -1
        proxies = [
            Proxy(world, f"{hosts[at]}:5060", onward=f"{hosts[at + ahead]}:5060")
            for hosts in (INSIDE, OUTSIDE)
            for at in (1, 2)
        ]
        return cls(world, alice, bob, proxies)

    def talk(self, caller: str) -> Talk:
        one, other = (self.alice, self.bob) if caller == "alice" else (self.bob, self.alice)
        invite = one.invite("sip:bob@203.0.113.22:5060" if caller == "alice" else "sip:alice@acme.example")
        arrived = other.got("INVITE")
        callee = other.accept(arrived)
        ok = one.got(200)
        calling = Dialog.of_caller(one, invite, ok)
        for proxy in self.proxies:
            proxy.onward = ""  # the initial request is past: from now on Route says it
            proxy.seen.clear()
        calling.ack()
        other.got("ACK")
        return Talk(calling, callee, invite, arrived, ok)

    def passed(self) -> list[list[object]]:
        """What each proxy has passed since the last time."""
        passed: list[list[object]] = [
            [message.method or message.status for message in proxy.seen if message.status != 100]
            for proxy in self.proxies
        ]
        for proxy in self.proxies:
            proxy.seen.clear()
        return passed


def hosts(values: list[bytes]) -> list[str]:
    return [value.partition(b"sip:")[2].partition(b":")[0].decode() for value in values]


@pytest.mark.parametrize("caller", ["alice", "bob"])
def test_the_ack_and_everything_after_it_pass_all_four(caller: str) -> None:
    """T4, T5, S4-14: ACK, re-INVITE, REFER and BYE of either party by the reversed route, alive at 65 s."""
    street = Street.of(caller)
    talk = street.talk(caller)
    assert street.passed() == [["ACK"]] * 4
    street.world.wait(65)
    for phone in (street.alice, street.bob):
        phone.got_nothing()
    for one in (talk.caller, talk.callee):
        talk.offer(one, one.phone.sdp(version=2), talk.other(one).phone.sdp(version=2))
        assert street.passed() == [["INVITE", 200, "ACK"]] * 4
        talk.request(one, "REFER", headers=("Refer-To: <sip:carol@there.example>",), status=405)
        assert street.passed() == [["REFER", 405]] * 4
    talk.hang_up(talk.callee)
    assert street.passed() == [["BYE", 200]] * 4
    street.world.wait(200)
    street.world.assert_empty()


@pytest.mark.parametrize("caller", ["alice", "bob"])
def test_the_order_of_each_route_set(caller: str) -> None:
    """T5, D1, D3: each phone sees its own side's proxies and our face, in the order of RFC 3261 12.1.1 and 12.1.2."""
    talk = Street.of(caller).talk(caller)
    alice, bob = (talk.caller, talk.callee) if caller == "alice" else (talk.callee, talk.caller)
    assert hosts(alice.routes) == ["10.1.0.11", "10.1.0.12", "10.1.0.2"]
    assert hosts(bob.routes) == ["203.0.113.21", "203.0.113.22", "203.0.113.10"]


@pytest.mark.parametrize("caller", ["alice", "bob"])
def test_a_private_contact_of_the_providers_own_network(caller: str) -> None:
    """T4: a Contact that only the provider's proxies can reach is theirs to resolve: it stays, and requests go by Route."""
    street = Street.of(caller, contact="<sip:bob@10.200.3.4:5062>")
    street.world.attach(True, "10.200.3.4:5062", street.bob)
    talk = street.talk(caller)
    shown = talk.answer if caller == "alice" else talk.arrived
    assert shown.values("contact")[0].text == b"<sip:bob@10.200.3.4:5062>"
    for one in (talk.caller, talk.callee):
        request, _ = talk.request(one, "INFO")
        assert request.request_uri == uri_in(talk.other(one).phone.contact.encode())
    assert street.passed() == [["ACK", "INFO", 200, "INFO", 200]] * 4


@flow("call-basic", basic=True)
@pytest.mark.parametrize("who", ["caller", "callee"])
def test_the_call_is_alive_after_timer_h(stage: Stage, who: str) -> None:
    """T4: the ACK got there: nobody repeats his 200, and requests of both get through at 65 s."""
    talk = stage.talk()
    stage.world.wait(65)
    stage.assert_quiet()
    one = getattr(talk, who)
    talk.request(one, "INFO")
    talk.offer(one, one.phone.sdp(version=2), talk.other(one).phone.sdp(version=2))
    stage.assert_audio()
    talk.hang_up(one)
    stage.assert_empty()
