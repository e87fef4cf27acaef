"""Way C: remote workers outside behind NATs of every kind call and are called; signalling on a virtual clock."""

from __future__ import annotations

from itertools import pairwise

import pytest
from support.nat import KINDS, PORT_RESTRICTED, SYMMETRIC, Chain, Nat, Router
from support.nat_calls import assert_talk, hang_up, office, register, talk
from support.nat_world import NattedPhone

HOME = "198.51.100.7"
INSIDE = "192.168.77.10:5060"


def router(how: str) -> Router:
    """A home router of that kind; ``CGN``: the carrier's router behind it (S3-13)."""
    if how == "CGN":
        return Chain(Nat("100.64.3.9", **SYMMETRIC), Nat(HOME, **PORT_RESTRICTED, timeout_s=60))
    return Nat(HOME, **KINDS[how])


EVERY_KIND = pytest.mark.parametrize("how", [*KINDS, "CGN"])


@EVERY_KIND
def test_a_worker_is_called_and_calls(how: str) -> None:
    """S3-1, S3-2, S3-13: by the flow it registered from; and both sides reach each other while they talk."""
    world, alice = office()
    bob = NattedPhone(world, router(how), INSIDE, "bob")
    register(bob)
    for caller, callee in ((alice, bob), (bob, alice)):
        call = talk(caller, callee)
        assert_talk(call)
        hang_up(*call[:: -1 if caller is bob else 1])
    world.wait(200)
    world.assert_empty()


@EVERY_KIND
def test_a_worker_stays_reachable_for_an_hour(how: str) -> None:
    """S3-6: every NAT forgets after 30 s; a call gets through at any moment, and the phone did nothing for it."""
    world, alice = office()
    bob = NattedPhone(world, router(how), INSIDE, "bob")
    register(bob)
    for minute in range(60):
        world.wait(47 + minute % 7)
        hang_up(*talk(alice, bob))
    assert 60 * 50 / 25 - 5 < bob.keepalives_answered < 60 * 50 / 25 + 5


def test_without_an_answer_such_a_nat_forgets() -> None:
    """S3-6: what keeps it open is the phone's answer; a mere packet from outside would not."""
    world, alice = office()
    bob = NattedPhone(world, Nat(HOME, **PORT_RESTRICTED), INSIDE, "bob", answers_keepalives=False)
    register(bob)
    world.wait(40)
    alice.invite(bob.aor)
    bob.got_nothing()


def test_the_keepalive_is_one_that_the_phone_understands() -> None:
    """S3-5: every 25 s an OPTIONS to the phone's own Contact, and nothing for the one that is behind no NAT."""
    world, _ = office()
    bob = NattedPhone(world, Nat(HOME, **PORT_RESTRICTED), INSIDE, "bob", contact=f"<sip:bob@{INSIDE};ob;line=a%20b>")
    register(bob)
    world.kept_alive.clear()
    world.wait(600)
    times = [at for at, to in world.kept_alive if to == bob.seen_from]
    assert [later - at for at, later in pairwise(times)] == [25.0] * 23
    assert {to for _, to in world.kept_alive} == {bob.seen_from}


def test_who_is_behind_no_nat_gets_no_keepalive() -> None:
    """S3-5: 0 packets in 10 minutes for phones whose address is what they say, inside and outside."""
    world, _ = office()
    world.wait(600)
    assert world.kept_alive == []


def test_a_worker_who_asks_for_nothing_gets_its_answers_where_it_sends_from() -> None:
    """S3-1: received and rport are added, and the answer goes to the source, with or without ``rport`` in Via."""
    for asks in (True, False):
        world, _ = office()
        bob = NattedPhone(world, Nat(HOME, **SYMMETRIC), INSIDE, "bob", rport=asks)
        register(bob)
        hosts = [value.text for value in register(bob, cseq=3).values("via")]
        seen = bob.seen_from.rpartition(":")[2].encode()
        assert b"received=198.51.100.7" in hosts[0]
        assert (b"rport=" + seen in hosts[0]) is asks


@pytest.mark.parametrize(
    ("claims", "why"),
    [
        ("198.51.100.7:41000", "STUN told it a port that a symmetric NAT never uses again"),
        ("198.51.100.7:5060", "UPnP or a forwarded port, while the NAT sends from another"),
        ("198.51.100.99:5060", "a static external address that was true last year"),
        ("203.0.113.10:5060", "the server's own address, typed into the wrong field"),
    ],
)
def test_a_phone_that_found_out_wrongly_where_it_is(claims: str, why: str) -> None:
    """S3-7, S4-17: STUN, UPnP, a wrong setting: it is reached where its packets come from."""
    world, alice = office()
    bob = NattedPhone(world, Nat(HOME, **SYMMETRIC), INSIDE, "bob", claims=claims)
    register(bob)
    world.wait(90)
    for caller, callee in ((alice, bob), (bob, alice)):
        call = talk(caller, callee)
        assert_talk(call)
        hang_up(*call)


def test_a_name_that_only_the_home_network_knows() -> None:
    """S3-7: a Contact under ``.local`` or ``.invalid`` leads nowhere; the flow does."""
    for host in ("bobs-phone.local", "df7jal23ls0d.invalid"):
        world, alice = office()
        bob = NattedPhone(world, Nat(HOME, **SYMMETRIC), INSIDE, "bob", contact=f"<sip:bob@{host}>")
        register(bob)
        hang_up(*talk(alice, bob))


def test_a_reboot_of_the_router_is_healed_by_the_next_register() -> None:
    """S3-2, S3-13: the NAT forgot everything; a REGISTER from a new port moves the flow, under the same Contact."""
    world, alice = office()
    home = Nat(HOME, **SYMMETRIC)
    bob = NattedPhone(world, home, INSIDE, "bob")
    register(bob)
    before = bob.seen_from
    home.reboot()
    world.wait(60)
    register(bob, cseq=3)
    assert bob.seen_from != before
    hang_up(*talk(alice, bob))
    assert world.public_side.bindings.registered == 1


def test_a_new_public_address_is_healed_by_the_next_register() -> None:
    """S3-2: another address from the provider: the registrar sees the same Contact as before, and no second one."""
    world, alice = office()
    home = Nat(HOME, **SYMMETRIC)
    bob = NattedPhone(world, home, INSIDE, "bob")
    register(bob)
    call = talk(alice, bob)
    home.reboot("198.51.100.8")
    register(bob, cseq=3)
    assert bob.seen_from.startswith("198.51.100.8:")
    assert world.public_side.bindings.registered == 1
    other = talk(alice, bob)  # to the one Contact that the registrar has
    hang_up(*other)
    call[1].send("INVITE", body=bob.sdp(version=2))  # the old call: its re-INVITE says where bob is now
    again = alice.got("INVITE")
    alice.answer(again, 200, tag=again.to_tag.decode(), body=alice.sdp(version=2))
    bob.got(200)
    call[1].ack()
    alice.got("ACK")
    hang_up(*call)


def test_nobody_moves_somebody_elses_flow() -> None:
    """S3-2: a REGISTER that the registrar refuses moves nothing, whoever's Call-ID it bears."""
    world, alice = office()
    bob = NattedPhone(world, Nat(HOME, **SYMMETRIC), INSIDE, "bob")
    register(bob)
    thief = NattedPhone(world, Nat("198.51.100.66", **SYMMETRIC), INSIDE, "bob")
    thief.register("sip:acme.example", call_id=f"reg-bob-{INSIDE}", cseq=7)
    thief.got(401)
    hang_up(*talk(alice, bob))
    thief.got_nothing()


def test_two_workers_behind_one_router_with_the_same_port() -> None:
    """S4-5, S1-1: each one's calls reach it and not the other."""
    world, alice = office()
    home = Nat(HOME, **SYMMETRIC, keeps_ports=True)
    workers = [NattedPhone(world, home, f"192.168.77.{n}:5060", f"worker{n}") for n in range(10, 30)]
    for each in workers:
        register(each)
    world.wait(100)
    for each in workers:
        hang_up(*talk(alice, each))
    for one, other in pairwise(workers):
        hang_up(*talk(one, other))


def test_after_a_restart_of_the_server_a_lost_flow_is_said_at_once() -> None:
    """S3-2, S2-1: 480 and not half a minute of silence; nothing is sent to a private address of who knows which network."""
    world, alice = office()
    bob = NattedPhone(world, Nat(HOME, **SYMMETRIC), INSIDE, "bob")
    register(bob)
    for table in (world.public_side.bindings._registered, world.public_side.bindings._passing):
        table.clear()  # as in a server that has just started
    sent = alice.invite(bob.aor)
    alice.ack_failure(sent, alice.got(480))
    assert world.take_public() == []
    register(bob, cseq=3)
    hang_up(*talk(alice, bob))


@EVERY_KIND
def test_a_worker_without_a_registration_calls(how: str) -> None:
    """S3-3: the same look at an INVITE; the call is as good as that of somebody registered."""
    world, alice = office()
    bob = NattedPhone(world, router(how), INSIDE, "bob")
    call = talk(bob, alice)
    world.wait(20)
    assert_talk(call)
    hang_up(*call[::-1])


def test_a_long_call_of_somebody_not_registered_can_be_ended_from_inside() -> None:
    """S3-3, S3-6: nothing was said for minutes, and the home router forgets after 30 s; the BYE still arrives."""
    world, alice = office()
    bob = NattedPhone(world, Nat(HOME, **SYMMETRIC), INSIDE, "bob")
    call = talk(bob, alice)
    world.wait(600)
    hang_up(*call[::-1])
