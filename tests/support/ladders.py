"""The parts of a call that most ladders have in common: it rings, it is answered, it ends, nothing is left of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from support.pair import World
from support.scripted_phone import ScriptedCall, ScriptedPhone, audio, contact_uri

__all__ = [
    "Talk",
    "answered",
    "assert_all_is_forgotten",
    "hang_up",
    "phones",
    "register",
    "ring",
    "ring_between",
]


@dataclass
class Talk:
    """An established call."""

    world: World
    caller: ScriptedCall
    callee: ScriptedCall


def phones(world: World) -> tuple[ScriptedPhone, ScriptedPhone]:
    """Alice inside and Bob outside, who is a registrar as well."""
    alice = ScriptedPhone(world, "lan", "10.1.0.50:5060", "alice")
    return alice, ScriptedPhone(world, "public", "203.0.113.20:5060", "bob")


def register(phone: ScriptedPhone, registrar: ScriptedPhone) -> bytes:
    """``phone`` registers; the URI by which the registrar knows it from now on."""
    phone.register(b"sip:" + registrar.address.encode())
    request = registrar.expect("REGISTER")
    registrar.answer(request, 200, more=request.lines("contact"))
    phone.expect(200)
    return contact_uri(request)


def ring(world: World, *, incoming: bool = False, **more: Sequence[bytes]) -> Talk:
    """A call between Alice and Bob that was not answered yet, from outside to inside if ``incoming``."""
    alice, bob = phones(world)
    return ring_between(alice, bob, incoming=incoming, **more)


def ring_between(
    alice: ScriptedPhone, bob: ScriptedPhone, *, incoming: bool = False, more: Sequence[bytes] = ()
) -> Talk:
    """A call between an inside and an outside user agent; a proxy in front of Bob is his registrar."""
    uri = register(alice, bob) if incoming else b"sip:bob@" + bob.address.encode()
    if alice.transport != "udp" or bob.transport != "udp":
        uri += b"" if incoming else b";transport=" + bob.transport.encode()
    caller_phone, callee_phone = (bob, alice) if incoming else (alice, bob)
    caller = caller_phone.invite(uri, more=more)
    caller_phone.expect(100)
    return Talk(alice.world, caller, callee_phone.pick_up(callee_phone.expect("INVITE")))


def answered(talk: Talk) -> Talk:
    """The callee picks up, the caller acknowledges."""
    talk.callee.respond(200, body=audio(talk.callee.phone.host, 7000))
    talk.caller.learn(talk.caller.phone.expect(200)).ack()
    talk.callee.phone.expect("ACK")
    return talk


def hang_up(who: ScriptedCall, other: ScriptedCall) -> None:
    """BYE and its answer."""
    who.bye()
    other.respond(200, to=other.phone.expect("BYE"))
    who.phone.expect(200)


def assert_all_is_forgotten(world: World) -> None:
    """200 s later nothing of any call is left at either end."""
    world.wait(200)
    for side in (world.lan_side, world.public_side):
        assert side.proxy.transactions == 0
        assert len(side.half.calls) == 0
        assert side.plane.held == {}
        assert side.plane.ties == {}
        assert side.channels.in_use == 0
        assert side.index.transactions == {}
        assert side.index.branches == {}
        assert side.index.dialogs == {}
        assert side.proxy.deadline() is None
