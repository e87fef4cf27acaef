"""Proxies on both sides that record routes: what each of them is asked to pass, and in which order (D, T4, T5)."""

from __future__ import annotations

import pytest
from support.ladder import Dialog, Phone
from support.pair import World
from support.proxies import Proxy, Registrar


@pytest.mark.parametrize("caller", ["alice", "bob"])
@pytest.mark.parametrize("who", ["alice", "bob"])
def test_two_proxies_on_each_side(caller: str, who: str) -> None:
    """alice - p1 - p2 - agent = server - q2 - q1 - bob: every in-dialog request passes all four."""
    world = World(pbx="sip:10.1.0.12:5060")
    world.set_tenant(domains=("acme.example",))
    alice = Phone(world, "10.1.0.50:5060", "alice", outbound="10.1.0.11:5060")
    bob = Phone(world, "203.0.113.40:5060", "bob", outbound="203.0.113.21:5060")
    inside = ["10.1.0.50", "10.1.0.11", "10.1.0.12", "10.1.0.2"]
    outside = ["203.0.113.10", "203.0.113.22", "203.0.113.21", "203.0.113.40"]
    ahead = 1 if caller == "alice" else -1
    proxies = [
        Proxy(world, f"{hosts[at]}:5060", onward=f"{hosts[at + ahead]}:5060")
        for hosts in (inside, outside)
        for at in (1, 2)
    ]
    one, other = (alice, bob) if caller == "alice" else (bob, alice)
    sent = one.invite("sip:bob@203.0.113.22:5060" if caller == "alice" else "sip:alice@acme.example")
    callee = other.accept(other.got("INVITE"))
    calling = Dialog.of_caller(one, sent, one.got(200))
    calling.ack()
    other.got("ACK")
    for proxy in proxies:
        proxy.onward = ""
        proxy.seen.clear()
    ends, hears = (calling, callee) if who == one.user else (callee, calling)
    ends.send("BYE")
    request = hears.phone.got("BYE")
    assert request.request_uri == f"sip:{hears.phone.user}@{hears.phone.address}".encode()
    assert not request.values("route")
    hears.phone.answer(request, 200)
    ends.phone.got(200)
    assert [[m.method or m.status for m in proxy.seen] for proxy in proxies] == [["BYE", 200]] * 4
    world.wait(200)
    world.assert_empty()


def test_two_inside_phones_talk_through_a_registrar_outside() -> None:
    """The hairpin: the registrar proxies alice's call back to carol's mask (two calls of one session)."""
    world = World()
    Registrar(world, "203.0.113.20:5060", "registrar.example")
    alice, carol = Phone(world, "10.1.0.50:5060", "alice"), Phone(world, "10.1.0.60:5060", "carol")
    for phone in (alice, carol):
        phone.register("sip:registrar.example", call_id=phone.user)
        phone.got(401)
        phone.register("sip:registrar.example", call_id=phone.user, cseq=2, headers=["Authorization: Digest x=y"])
        assert phone.got(200).values("contact")[0].text.startswith(phone.contact.encode())
    sent = alice.invite("sip:carol@registrar.example")
    invite = carol.got("INVITE")
    assert invite.request_uri == b"sip:carol@10.1.0.60:5060"
    callee = carol.accept(invite)
    caller = Dialog.of_caller(alice, sent, alice.got(200))
    caller.ack()
    carol.got("ACK")
    for one, other in ((caller, callee), (callee, caller)):
        one.send("INVITE", body=one.phone.sdp(version=2))
        again = other.phone.got("INVITE")
        other.phone.answer(again, 200, tag=again.to_tag.decode(), body=other.phone.sdp(version=2))
        one.phone.got(200)
        one.ack()
        other.phone.got("ACK")
    callee.send("BYE")
    alice.answer(alice.got("BYE"), 200)
    carol.got(200)
    alice.got_nothing()
    carol.got_nothing()
    world.wait(200)
    world.assert_empty()
