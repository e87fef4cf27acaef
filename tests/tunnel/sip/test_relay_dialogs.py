"""Dialogs of way A: what else is said in them, how they begin and how they end (SIP-RULES D, E, F, I).

Alice is inside, registered outside at a registrar that proxies Bob's calls to her.
"""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from support.faces import AGENT, SERVER, SERVER6
from support.ladder import Dialog, Phone, sdp_address, sdp_port, uri_in
from support.pair import World

from tunnel.sip.half import CallAnswered, CallClosed, CallOpened
from tunnel.sip.message import Message


@dataclass
class Office:
    world: World
    alice: Phone
    bob: Phone
    mask: bytes

    def call_in(self) -> Message:
        """Bob calls; the INVITE as Alice gets it."""
        self.sent = self.bob.invite(self.mask)
        return self.alice.got("INVITE")

    def answered_in(self) -> tuple[Dialog, Dialog]:
        """Bob calls and Alice answers: her dialog and his."""
        invite = self.call_in()
        alice = self.alice.accept(invite)
        bob = Dialog.of_caller(self.bob, self.sent, self.bob.got(200))
        bob.ack()
        self.alice.got("ACK")
        return alice, bob

    def answered_out(self) -> tuple[Dialog, Dialog]:
        """Alice calls and Bob answers: her dialog and his."""
        sent = self.alice.invite("sip:bob@203.0.113.40:5060")
        bob = self.bob.accept(self.bob.got("INVITE"))
        alice = Dialog.of_caller(self.alice, sent, self.alice.got(200))
        alice.ack()
        self.bob.got("ACK")
        return alice, bob

    def over(self) -> None:
        """Nobody has anything more to say, and nothing is left."""
        self.alice.got_nothing()
        self.bob.got_nothing()
        self.world.wait(400)
        self.world.assert_empty()


@pytest.fixture
def office() -> Office:
    world = World()
    world.names["registrar.example"] = "203.0.113.20"
    registrar = Phone(world, "203.0.113.20:5060", "registrar")
    alice = Phone(world, "10.1.0.50:5060", "alice", contact="<sip:alice@10.1.0.50:5060;ob;line=x>")
    bob = Phone(world, "203.0.113.40:5060", "bob", port=4000)
    alice.register("sip:registrar.example")
    request = registrar.got("REGISTER")
    mask = request.values("contact")[0].text
    registrar.answer(request, 200, headers=[f"Contact: {mask.decode()};expires=3600"])
    alice.got(200)
    world.wait(40)
    world.crossed.clear()
    return Office(world, alice, bob, uri_in(mask))


def hang_up(one: Dialog, other: Dialog) -> None:
    one.send("BYE")
    other.phone.answer(other.phone.got("BYE"), 200)
    one.phone.got(200)


@pytest.mark.parametrize("direction", ["in", "out"])
@pytest.mark.parametrize("who", ["alice", "bob"])
def test_a_call_and_its_end(office: Office, direction: str, who: str) -> None:
    alice, bob = office.answered_in() if direction == "in" else office.answered_out()
    hang_up(*((alice, bob) if who == "alice" else (bob, alice)))
    assert [type(event) for event in office.world.lan_side.events] == [CallOpened, CallAnswered, CallClosed]
    assert office.world.lan_side.events[0].outbound is (direction == "out")  # type: ignore[union-attr]
    office.over()


def test_what_alice_sees_of_an_incoming_call(office: Office) -> None:
    invite = office.call_in()
    assert invite.request_uri == b"sip:alice@10.1.0.50:5060;ob;line=x"
    assert [value.text.split(b";")[0] for value in invite.values("via")] == [b"SIP/2.0/UDP 10.1.0.2:5060"]
    assert [value.text for value in invite.values("record-route")] == [b"<sip:10.1.0.2:5060;lr>"]
    assert invite.max_forwards == 69
    assert (sdp_address(invite), sdp_port(invite)) == (AGENT.host, 30000)
    assert b"203.0.113.10" not in invite.raw.replace(b"To: <sip:alice@203.0.113.10:5060", b"")


def test_what_bob_sees_of_the_answer(office: Office) -> None:
    office.alice.accept(office.call_in())
    trying = office.bob.got(100)
    assert trying.to_tag == b""
    answer = office.bob.got(200)
    assert [value.text.split(b";")[0] for value in answer.values("via")] == [b"SIP/2.0/UDP 203.0.113.40:5060"]
    assert [value.text for value in answer.values("record-route")] == [b"<sip:203.0.113.10:5060;lr>"]
    assert answer.values("contact")[0].text.startswith(b"<sip:alice@203.0.113.10:5060;ob;line=x;wp=")
    assert (sdp_address(answer), sdp_port(answer)) == (SERVER.host, 20000)


def test_what_bob_sees_of_a_call_from_inside(office: Office) -> None:
    office.alice.invite("sip:bob@203.0.113.40:5060;transport=udp;x=1")
    invite = office.bob.got("INVITE")
    assert invite.request_uri == b"sip:bob@203.0.113.40:5060;transport=udp;x=1"
    assert len(invite.values("via")) == 1
    assert invite.values("contact")[0].text.startswith(b"<sip:alice@203.0.113.10:5060;ob;line=x;wp=")


def test_nobody_ever_acknowledges(office: Office) -> None:
    """No ACK and no BYE from anybody: the call is given up all the same."""
    office.alice.accept(office.call_in())
    office.world.wait(200)
    office.alice.lose()
    office.bob.lose()
    office.over()


def test_a_challenged_bye_goes_on(office: Office) -> None:
    office.world.set_tenant(trunks=("203.0.113.40",))
    alice, bob = office.answered_out()
    alice.send("BYE")
    office.bob.answer(office.bob.got("BYE"), 407)
    office.alice.got(407)
    assert len(office.world.lan_side.plane.held) == 1
    hang_up(alice, bob)
    office.over()


def test_bye_from_both_at_once(office: Office) -> None:
    alice, bob = office.answered_in()
    alice.send("BYE")
    bob.send("BYE")
    office.alice.answer(office.alice.got("BYE"), 200)
    office.bob.answer(office.bob.got("BYE"), 200)
    office.alice.got(200)
    office.bob.got(200)
    office.over()


def test_cancel_of_nothing(office: Office) -> None:
    sent = office.alice.invite("sip:bob@203.0.113.40:5060")
    office.bob.answer(office.bob.got("INVITE"), 486)
    office.bob.got("ACK")
    office.alice.got(486)
    office.alice.cancel(sent)
    office.alice.got(200)
    office.bob.got_nothing()
    office.world.wait(40)
    office.alice.lose()
    office.alice.cancel(sent)
    office.alice.got(481)


def test_reliable_provisional_and_update(office: Office) -> None:
    """183 with RSeq until PRACK, UPDATE in the early dialog (RFC 3262, 3311; T10)."""
    invite = office.call_in()
    office.alice.answer(invite, 183, headers=["Require: 100rel", "RSeq: 9"], body=office.alice.sdp())
    early = office.bob.got(183)
    office.world.wait(0.5)
    office.bob.got(183)  # repeated by the server, not by Alice
    bob = Dialog.of_caller(office.bob, office.sent, early)
    bob.send("PRACK", headers=[f"RAck: 9 {office.sent.cseq[0]} INVITE"])
    prack = office.alice.got("PRACK")
    assert prack.lines("rack") == [b"RAck: 9 1 INVITE"]
    office.alice.answer(prack, 200)
    office.bob.got(200)
    office.world.wait(20)
    office.bob.got_nothing()
    bob.send("UPDATE", body=office.bob.sdp(port=4002, version=2))
    update = office.alice.got("UPDATE")
    office.alice.answer(update, 200, body=office.alice.sdp(version=2))
    answer = office.bob.got(200)
    assert (sdp_address(update), sdp_address(answer)) == (AGENT.host, SERVER.host)
    alice = Dialog.of_callee(office.alice, invite, "alice")
    office.alice.answer(invite, 200)
    office.bob.got(200)
    bob.ack(cseq=1)
    office.alice.got("ACK")
    hang_up(alice, bob)
    office.over()


def test_a_second_200_of_another_fork_is_a_call_of_its_own_until_its_bye(office: Office) -> None:
    sent = office.alice.invite("sip:bob@203.0.113.40:5060")
    invite = office.bob.got("INVITE")
    first = office.bob.accept(invite, tag="b1")
    second = office.bob.accept(invite, tag="b2")
    dialogs = [Dialog.of_caller(office.alice, sent, office.alice.got(200)) for _ in range(2)]
    for dialog in dialogs:
        dialog.ack()
        assert office.bob.got("ACK").to_tag == dialog.remote.rpartition(b"=")[2]
    hang_up(dialogs[1], second)
    assert not any(isinstance(event, CallClosed) for event in office.world.lan_side.events)
    assert len(office.world.lan_side.plane.held) == 1
    hang_up(dialogs[0], first)
    office.over()


def test_199_frees_an_early_dialog_at_once(office: Office) -> None:
    office.alice.invite("sip:bob@203.0.113.40:5060")
    invite = office.bob.got("INVITE")
    office.bob.answer(invite, 183, tag="b1", body=office.bob.sdp())
    office.bob.answer(invite, 183, tag="b2", body=office.bob.sdp(port=5000))
    held = len(office.world.lan_side.plane.held)
    office.bob.answer(invite, 199, tag="b1")
    assert len(office.world.lan_side.plane.held) == held - 1


def test_requests_in_the_dialog_go_both_ways(office: Office) -> None:
    alice, bob = office.answered_in()
    for one, other in ((alice, bob), (bob, alice)):
        for method in ("INFO", "OPTIONS", "MESSAGE"):
            one.send(method)
            request = other.phone.got(method)
            assert not request.values("route")
            other.phone.answer(request, 200)
            one.phone.got(200)
    hang_up(alice, bob)
    office.over()


def test_a_refer_names_masked_addresses_and_its_notify_comes_back(office: Office) -> None:
    alice, bob = office.answered_in()
    alice.send("REFER", headers=["Refer-To: <sip:carol@10.1.0.60>"])
    refer = office.bob.got("REFER")
    target = uri_in(refer.values("refer-to")[0].text)
    assert target.startswith(b"sip:carol@203.0.113.10:5060;wp=")
    bob.send("NOTIFY", headers=["Event: refer", "Subscription-State: active"])  # overtakes the 202 (T8)
    notify = office.alice.got("NOTIFY")
    office.alice.answer(notify, 200)
    office.bob.answer(refer, 202)
    office.alice.got(202)
    office.bob.got(200)
    carol = Phone(office.world, "10.1.0.60:5060", "carol")
    office.bob.invite(target)
    assert carol.got("INVITE").request_uri == b"sip:carol@10.1.0.60"


def test_a_subscription_and_a_notify_before_its_answer(office: Office) -> None:
    sent = office.alice.request("SUBSCRIBE", "sip:bob@203.0.113.40:5060", headers=["Event: dialog", "Expires: 600"])
    subscribe = office.bob.got("SUBSCRIBE")
    bob = Dialog.of_callee(office.bob, subscribe, "bob")
    bob.send("NOTIFY", headers=["Event: dialog", "Subscription-State: active;expires=600"])
    office.alice.answer(office.alice.got("NOTIFY"), 200)
    office.bob.got(200)
    office.bob.answer(subscribe, 200, headers=["Expires: 600"])
    alice = Dialog.of_caller(office.alice, sent, office.alice.got(200))
    office.world.wait(500)
    alice.send("SUBSCRIBE", headers=["Event: dialog", "Expires: 600"])
    office.bob.answer(office.bob.got("SUBSCRIBE"), 200, headers=["Expires: 600"])
    office.alice.got(200)
    office.world.wait(500)
    bob.send("NOTIFY", headers=["Event: dialog", "Subscription-State: terminated"])
    office.alice.answer(office.alice.got("NOTIFY"), 200)
    office.bob.got(200)
    office.over()


def test_options_answers_with_no_inside_address_in_its_sdp(office: Office) -> None:
    office.bob.request("OPTIONS", office.mask)
    office.alice.answer(office.alice.got("OPTIONS"), 200, body=office.alice.sdp())
    answer = office.bob.got(200)
    assert (sdp_address(answer), sdp_port(answer)) == (SERVER.host, 0)


def test_ice_candidates_in_an_info_are_refused(office: Office) -> None:
    alice, _ = office.answered_in()
    alice.send("INFO", headers=["Info-Package: trickle-ice"])
    office.alice.got(469)
    office.bob.got_nothing()


def test_a_reinvite_of_a_call_that_is_over_is_refused(office: Office) -> None:
    alice, bob = office.answered_in()
    hang_up(alice, bob)
    bob.send("INVITE", body=office.bob.sdp())
    office.bob.got(481)
    office.alice.got_nothing()


@pytest.mark.parametrize(("headers", "status"), [(["Proxy-Require: sec-agree"], 420)])
def test_what_every_proxy_refuses(office: Office, headers: list[str], status: int) -> None:
    office.alice.invite("sip:bob@203.0.113.40:5060", headers=headers)
    refused = office.alice.got(status)
    assert refused.lines("unsupported") == [b"Unsupported: sec-agree"]
    office.bob.got_nothing()


def test_the_last_hop_is_not_taken(office: Office) -> None:
    data = office.alice.invite("sip:bob@203.0.113.41:5060").raw
    office.alice.send(
        data.replace(b"Max-Forwards: 70", b"Max-Forwards: 0").replace(b"branch=z9hG4bK", b"branch=z9hG4bKx")
    )
    office.alice.got(483)


@pytest.mark.parametrize("inside", ["[fd00:1::50]:5060", "10.1.0.50:5060"])
def test_addresses_of_ipv6_stand_in_brackets(inside: str) -> None:
    outside = "[2001:db8::40]:5060"
    world = World()
    alice, bob = Phone(world, inside, "alice"), Phone(world, outside, "bob")
    sent = alice.invite(f"sip:bob@{outside}")
    invite = bob.got("INVITE")
    assert invite.top_via.host == SERVER6.host
    assert uri_in(invite.values("contact")[0].text).startswith(b"sip:alice@[2001:db8::10]:5060;wp=")
    assert [value.text for value in invite.values("record-route")] == [b"<sip:[2001:db8::10]:5060;lr>"]
    callee = bob.accept(invite)
    caller = Dialog.of_caller(alice, sent, alice.got(200))
    caller.ack()
    bob.got("ACK")
    callee.send("BYE")
    alice.answer(alice.got("BYE"), 200)
    bob.got(200)
    world.wait(200)
    world.assert_empty()
