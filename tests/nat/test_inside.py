"""Ways A and B: phones and PBXs inside, behind a second NAT in the LAN or with ways of their own; on a virtual clock."""

from __future__ import annotations

import pytest
from support.ladder import Dialog, Phone, uri_in
from support.nat import KINDS, PORT_RESTRICTED, SYMMETRIC, Nat
from support.nat_calls import assert_talk, hang_up, provider, register, talk
from support.nat_world import NattedPhone, NatWorld

from tunnel.address import parse_address

BRANCH = "10.1.0.99"  # the outside of the second NAT: a floor, a branch office, a cheap router under a desk
HIDDEN = "192.168.77.10:5060"
EVERY_KIND = pytest.mark.parametrize("how", KINDS)


def hidden_phone(world: NatWorld, how: str = "symmetric", **more: str) -> NattedPhone:
    """A phone of the provider's behind a second NAT inside."""
    return NattedPhone(world, Nat(BRANCH, **KINDS[how]), HIDDEN, "alice", domain="registrar.example", **more)


# Way A: phones


@EVERY_KIND
def test_a_phone_behind_a_second_nat(how: str) -> None:
    """S3-1, S3-2, S3-6: registered, called and calling after an hour of silence, through a NAT that forgets after 30 s."""
    world, carol = provider()
    alice = hidden_phone(world, how)
    register(alice)
    assert [b.natted for b in world.lan_side.bindings._registered.values()] == [True]
    world.wait(3400)
    for caller, callee in ((carol, alice), (alice, carol)):
        call = talk(caller, callee)
        assert_talk(call)
        world.wait(300)
        hang_up(*call)
    world.wait(200)
    world.assert_empty()


def test_a_phone_with_no_nat_before_it_is_not_taken_for_one() -> None:
    """S3-1, S3-5, S4-6: Via and source agree: called at its Contact, wherever it sent from, and no keep-alive in an hour.
    It rings at once after 50 minutes of silence."""
    world, carol = provider()
    alice = Phone(world, "10.1.0.50:5060", "alice")
    register(alice)
    world.wait(3000)
    assert world.kept_alive == []
    begun_at = world.now
    hang_up(*talk(carol, alice))
    assert world.now - begun_at < 0.5


def test_a_phone_that_sends_from_another_port_than_it_listens_on() -> None:
    """S4-15: SIP from an ephemeral port, 5060 in Via and no rport: answers and calls come to 5060."""
    world, carol = provider()
    alice = Phone(world, "10.1.0.50:5060", "alice")
    alice.via = lambda: Phone.via(alice).replace(";rport", "")  # type: ignore[method-assign]
    alice.seen_from = "10.1.0.50:49153"
    register(alice)
    for caller, callee in ((carol, alice), (alice, carol)):
        hang_up(*talk(caller, callee))
    assert world.lan_side.counters["sip.contacts_out_of_reach"] == 0


@pytest.mark.parametrize("claims", ["203.0.113.1:40000", "10.1.0.99:41000", "10.1.7.7:5060"])
def test_an_inside_phone_that_found_out_wrongly_where_it_is(claims: str) -> None:
    """S3-7, S4-17: the firewall's public address by STUN, the inner router's by STUN with a port that is not used any more,
    a wrong setting: reached where its packets come from."""
    world, carol = provider()
    world.said_outside.add(b"10.1.7.7")
    alice = hidden_phone(world, claims=claims)
    register(alice)
    world.wait(600)
    for caller, callee in ((carol, alice), (alice, carol)):
        call = talk(caller, callee)
        assert_talk(call)
        hang_up(*call)


def test_a_phone_with_a_public_contact_and_no_nat_before_it() -> None:
    """S4-17: Via is true, Contact and SDP are what a STUN server said: the flow leads back."""
    world, carol = provider()
    alice = Phone(world, "10.1.0.50:5060", "alice", contact="<sip:alice@203.0.113.1:40000>")
    register(alice)
    hang_up(*talk(carol, alice))
    assert world.lan_side.counters["sip.contacts_out_of_reach"] > 0


def test_two_phones_on_the_same_inside_port() -> None:
    """S4-5: on two hosts, and two more behind one second NAT: each call rings its own phone."""
    world, carol = provider()
    branch = Nat(BRANCH, **PORT_RESTRICTED, keeps_ports=True)
    phones: list[Phone] = [Phone(world, f"10.1.0.{n}:5060", f"direct{n}") for n in (50, 51)]
    for n in (10, 11):
        phones.append(NattedPhone(world, branch, f"192.168.77.{n}:5060", f"hidden{n}", domain="registrar.example"))
    for phone in phones:
        register(phone)
    world.wait(120)
    for phone in phones:
        hang_up(*talk(carol, phone))
        assert all(not other.inbox for other in phones)


def test_twenty_phones_and_one_that_gets_another_address() -> None:
    """S4-8: nothing is set up for any of them; after DHCP gave new addresses the next REGISTER heals it, and whoever has an
    old address by then is not rung for somebody else."""
    world, carol = provider()
    phones = [Phone(world, f"10.1.0.{n}:5060", f"p{n}") for n in range(50, 70)]
    for phone in phones:
        register(phone, call_id=phone.user)
    first, second = phones[0], phones[1]
    for phone, at in ((first, "10.1.0.80"), (second, "10.1.0.50")):  # the second one has now the first one's
        phone.address, phone.seen_from = parse_address(f"{at}:5060"), f"{at}:5060"
        phone.contact = f"<sip:{phone.user}@{at}:5060>"
        world.attach(False, phone.seen_from, phone)
        register(phone, call_id=phone.user, cseq=3)
    call_both_contacts(carol, first)
    call_both_contacts(carol, second)
    assert [binding.moved for binding in world.lan_side.bindings._registered.values()].count(True) == 2
    world.wait(120)
    assert world.kept_alive == []


def call_both_contacts(caller: Phone, callee: Phone) -> None:
    """The registrar has two Contacts of the callee by now and forks: both lead to the phone, wherever that is."""
    sent = caller.invite(callee.aor)
    merged, invite = callee.got("INVITE"), callee.got("INVITE")
    assert merged.request_uri != invite.request_uri == uri_in(callee.contact.encode())
    callee.answer(merged, 482)
    callee.got("ACK")
    answered = callee.accept(invite)
    calling = Dialog.of_caller(caller, sent, caller.got(200))
    calling.ack()
    callee.got("ACK")
    hang_up(calling, answered)
    callee.got_nothing()


# Way B: PBXs


@EVERY_KIND
def test_a_pbx_behind_a_second_nat_with_a_registered_trunk(how: str) -> None:
    """S3-2, S3-6: the PBX registers at its carrier; calls for its number come after an hour, by the flow."""
    world, carol = provider()
    pbx = NattedPhone(world, Nat(BRANCH, **KINDS[how]), "192.168.77.5:5060", "4930", domain="registrar.example")
    register(pbx)
    world.wait(3500)
    hang_up(*talk(carol, pbx))
    hang_up(*talk(pbx, carol)[::-1])


def test_an_unregistered_pbx_behind_a_second_nat_calls_out() -> None:
    """S3-3: the same look at its INVITE; what the callee asks of it half an hour later still reaches it."""
    world, carol = provider()
    pbx = NattedPhone(world, Nat(BRANCH, **SYMMETRIC), "192.168.77.5:5060", "4930", domain="registrar.example")
    call = talk(pbx, carol)
    world.wait(1800)
    assert_talk(call)
    hang_up(*call[::-1])


def test_a_contact_on_another_inside_host() -> None:
    """S3-10: legal, and in the allowed networks: routed there, and not to whoever registered it."""
    world, carol = provider()
    pbx = Phone(world, "10.1.0.5:5060", "4930", contact="<sip:4930@10.1.0.6:5080>")
    gateway = Phone(world, "10.1.0.6:5080", "4930")
    register(pbx)
    hang_up(*talk(carol, gateway))
    assert world.lan_side.counters["sip.contacts_out_of_reach"] == 0


def test_a_contact_on_a_host_that_the_agent_may_not_send_to() -> None:
    """S3-10: outside the allowed networks: back to the source, and counted."""
    world, carol = provider()
    pbx = Phone(world, "10.1.0.5:5060", "4930", contact="<sip:4930@172.16.0.6:5080>")
    register(pbx)
    hang_up(*talk(carol, pbx))
    assert world.lan_side.counters["sip.contacts_out_of_reach"] > 0


def test_a_flow_of_a_hidden_phone_over_tcp_that_is_gone() -> None:
    """S3-2: its connection is closed and its Contact leads nowhere from here: 480 at once, and nothing is dialled."""
    world, carol = provider()
    alice = Phone(
        world, "192.168.77.10:5060", "alice", seen_from="10.1.0.99:40000", transport="tcp", connection=7,
        contact="<sip:alice@192.168.77.10:5060;transport=tcp>",
    )  # fmt: skip
    register(alice)
    sent = carol.invite(alice.aor)
    alice.got("INVITE")
    world.lan_side.proxy.transport_failed("tcp", parse_address("10.1.0.99:40000"), 7, world.now)
    world.settle()
    carol.ack_failure(sent, carol.got(480))
