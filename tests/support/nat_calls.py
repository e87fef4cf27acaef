"""Calls with phones behind NATs, step by step: each phone gets what the steps say, or the test fails there."""

from __future__ import annotations

from support.ladder import Dialog, Phone
from support.nat_world import NattedPhone, NatWorld
from support.proxies import Registrar
from tunnel.sip.message import Message

__all__ = ["OFFICE", "PROVIDER", "assert_talk", "hang_up", "office", "provider", "register", "talk"]

OFFICE = "10.1.0.5:5060"
PROVIDER = "203.0.113.20:5060"


def office() -> tuple[NatWorld, Phone]:
    """Way C: a registrar of acme.example inside, and alice at it."""
    world = NatWorld(pbx=f"sip:{OFFICE}")
    world.set_tenant(domains=("acme.example",))
    Registrar(world, OFFICE, "acme.example")
    alice = Phone(world, "10.1.0.50:5060", "alice", domain="acme.example", outbound=OFFICE)
    register(alice)
    return world, alice


def provider() -> tuple[NatWorld, Phone]:
    """Way A: a registrar of registrar.example outside, and carol at it."""
    world = NatWorld()
    Registrar(world, PROVIDER, "registrar.example")
    carol = Phone(world, "203.0.113.40:5060", "carol", outbound=PROVIDER)
    register(carol)
    return world, carol


def register(phone: Phone, *, cseq: int = 1, call_id: str = "", expires: int = 3600) -> Message:
    """Register as phones do: challenged, then accepted; the 200."""
    domain = phone.aor.rpartition("@")[2]
    call = call_id or f"reg-{phone.user}-{phone.address}"
    more = [f"Expires: {expires}"]
    phone.register(f"sip:{domain}", call_id=call, cseq=cseq, headers=more)
    phone.got(401)
    phone.register(f"sip:{domain}", call_id=call, cseq=cseq + 1, headers=[*more, "Authorization: Digest x=y"])
    accepted = phone.got(200)
    assert any(value.text.startswith(phone.contact.encode()) for value in accepted.values("contact"))
    return accepted


def talk(caller: Phone, callee: Phone) -> tuple[Dialog, Dialog]:
    """The caller dials the callee's address-of-record; the caller's dialog and the callee's."""
    sent = caller.invite(callee.aor)
    invite = callee.got("INVITE")
    contact = callee.contact.partition(">")[0].lstrip("<").encode()
    assert invite.request_uri == contact, "S3-2: the callee is called by its own Contact"
    callee.answer(invite, 180)
    caller.got(180)
    answered = callee.accept(invite)
    calling = Dialog.of_caller(caller, sent, caller.got(200))
    calling.ack()
    callee.got("ACK")
    return calling, answered


def assert_talk(calls: tuple[Dialog, Dialog]) -> None:
    """Either one's requests reach the other, and the answers come back."""
    for one, other in (calls, calls[::-1]):
        one.send("INVITE", body=one.phone.sdp(version=one.cseq + 1))
        again = other.phone.got("INVITE")
        other.phone.answer(again, 200, tag=again.to_tag.decode(), body=other.phone.sdp(version=other.cseq + 1))
        one.phone.got(200)
        one.ack()
        other.phone.got("ACK")


def hang_up(one: Dialog, other: Dialog) -> None:
    """``one`` ends the call."""
    one.send("BYE")
    other.phone.answer(other.phone.got("BYE"), 200)
    one.phone.got(200)
    for phone in (one.phone, other.phone):
        if isinstance(phone, NattedPhone):
            phone.got_nothing()
