"""Way C in datagrams: workers behind NATs of their own, and the PBX inside that they are registered at."""

from __future__ import annotations

from support.ends import HidingWorld, contact_of, offer, request
from tunnel.sip.message import Message
from tunnel.sip.response import build_response

__all__ = [
    "HOME",
    "NAT",
    "OTHER_NAT",
    "PBX",
    "finals_in",
    "pbx_calls",
    "register",
    "requests_in",
    "worker_calls",
    "world_with_domain",
]

PBX = "10.1.0.5:5060"
HOME = "192.168.1.20:5060"  # what a worker's phone thinks its address is
NAT = "198.51.100.7:40000"  # what its router makes of it
OTHER_NAT = "198.51.100.8:40000"


def world_with_domain() -> HidingWorld:
    world = HidingWorld(pbx="sip:10.1.0.5")
    world.set_tenant(domains=("acme.example",))
    return world


def requests_in(sent: list[tuple[str, Message]]) -> list[tuple[str, Message]]:
    return [(to, message) for to, message in sent if message.is_request]


def finals_in(sent: list[tuple[str, Message]]) -> list[tuple[str, Message]]:
    return [(to, message) for to, message in sent if not message.is_request and message.status >= 200]


def register(
    world: HidingWorld, user: str, nat: str, *, cseq: int = 1, home: str = HOME, more: str = "", call: str = ""
) -> bytes:
    """A worker registers and the PBX accepts; the Contact that the PBX knows afterwards."""
    exact = f"<sip:{user}@{home};ob;rinstance=a%20b>;expires=600{more}"
    data = request(
        "REGISTER",
        "sip:acme.example",
        home,
        call=call or f"reg-{user}-{home}-{nat.partition(':')[0]}",
        cseq=cseq,
        caller=f"<sip:{user}@acme.example>;tag=r",
        callee=f"<sip:{user}@acme.example>",
        contact=exact,
    )
    world.public(nat, data)
    [(to, sent)] = requests_in(world.take_lan())
    assert to == PBX
    assert sent.request_uri == b"sip:acme.example"
    seen = sent.values("contact")[0].text
    assert b"192.168" not in seen
    world.lan(PBX, build_response(sent, 200, "OK", b"p", [b"Contact: " + seen + b";q=0.5"]))
    [(to, ok)] = finals_in(world.take_public())
    assert to == nat
    assert ok.values("contact")[0].text == exact.encode() + b";q=0.5"
    return contact_of(sent)


def pbx_calls(world: HidingWorld, contact: bytes, call: str = "to-worker") -> tuple[str, Message]:
    """The PBX calls a Contact it knows; what arrives outside, and where."""
    data = request(
        "INVITE",
        contact,
        PBX,
        call=call,
        caller="<sip:100@acme.example>;tag=p1",
        callee="<sip:bob@acme.example>",
        contact="<sip:100@10.1.0.5:5060>",
        body=offer("10.1.0.5", 10000),
    )
    world.lan(PBX, data)
    [found] = requests_in(world.take_public())
    world.take_lan()
    return found


def worker_calls(world: HidingWorld, nat: str = NAT, call: str = "from-worker") -> list[tuple[str, Message]]:
    """A worker calls a colleague; what arrives inside."""
    data = request(
        "INVITE",
        "sip:100@acme.example",
        HOME,
        call=call,
        caller="<sip:bob@acme.example>;tag=w1",
        callee="<sip:100@acme.example>",
        contact=f"<sip:bob@{HOME}>",
        body=offer("192.168.1.20", 7000),
    )
    world.public(nat, data)
    return [(to, message) for to, message in requests_in(world.take_lan()) if message.call_id == call.encode()]


# Registering and being called
