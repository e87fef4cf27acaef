"""Way C through both half proxies: remote workers behind NATs of their own use the PBX inside."""

from __future__ import annotations

import pytest
from support.ends import HidingWorld, contact_of, offer, request, route_to
from support.workers import (
    HOME,
    NAT,
    OTHER_NAT,
    PBX,
    finals_in,
    pbx_calls,
    register,
    requests_in,
    worker_calls,
    world_with_domain,
)

from tunnel.sip.message import Message
from tunnel.sip.response import build_response


def test_a_worker_behind_a_nat_registers_and_sees_its_own_contact() -> None:
    world = world_with_domain()
    contact = register(world, "bob", NAT)
    assert contact.startswith(b"sip:bob@10.1.0.2:5060;ob;rinstance=a%20b;wp=")
    assert world.public_side.bindings.registered == 1


def test_a_refreshed_registration_shows_the_pbx_the_same_contact() -> None:
    world = world_with_domain()
    first = register(world, "bob", NAT)
    world.wait(300)
    assert register(world, "bob", NAT, cseq=2) == first


def test_a_call_to_a_worker_takes_the_flow_it_registered_from() -> None:
    world = world_with_domain()
    to, invite = pbx_calls(world, register(world, "bob", NAT))
    assert to == NAT
    assert invite.request_uri == b"sip:bob@192.168.1.20:5060;ob;rinstance=a%20b"
    assert contact_of(invite).startswith(b"sip:100@203.0.113.10:5060;")


@pytest.mark.parametrize(
    ("users", "nats", "homes"),
    [
        (("bob", "carol"), (NAT, NAT[:-1] + "1"), (HOME, HOME)),
        (("bob", "bob"), (NAT, OTHER_NAT), (HOME, HOME)),
        (("bob", "carol"), (NAT, OTHER_NAT), (HOME, HOME)),
        (("bob", "bob"), (NAT, NAT[:-1] + "1"), (HOME, "192.168.1.21:5060")),
    ],
    ids=["one router, two users", "one user, two routers", "two of both", "one router, one user, two phones"],
)
def test_workers_are_never_mixed(users: tuple[str, str], nats: tuple[str, str], homes: tuple[str, str]) -> None:
    world = world_with_domain()
    contacts = [register(world, user, nat, home=home) for user, nat, home in zip(users, nats, homes, strict=True)]
    assert contacts[0] != contacts[1]
    for number, contact in enumerate(contacts):
        to, invite = pbx_calls(world, contact, call=f"call-{number}")
        assert to == nats[number]
        assert invite.request_uri.startswith(f"sip:{users[number]}@{homes[number]}".encode())


def test_the_next_register_from_another_port_moves_the_flow() -> None:
    world = world_with_domain()
    before = register(world, "bob", NAT)
    moved = "198.51.100.7:51111"
    after = register(world, "bob", moved, cseq=2)
    assert after == before
    assert pbx_calls(world, before)[0] == moved


def test_keepalives_go_to_registered_workers_behind_nats_only() -> None:
    world = world_with_domain()
    register(world, "bob", NAT)
    register(world, "carol", "198.51.100.9:5060", home="198.51.100.9:5060")  # no NAT before this one
    world.public(OTHER_NAT, worker_register_unanswered())
    flows = world.public_side.bindings.keepalive_flows(world.now)
    assert [str(flow.remote) for flow in flows] == [NAT]
    world.wait(600 + 33)
    assert list(world.public_side.bindings.keepalive_flows(world.now)) == []
    assert world.public_side.bindings.registered == 0


def worker_register_unanswered() -> bytes:
    aor = "<sip:dave@acme.example>"
    return request("REGISTER", "sip:acme.example", HOME, call="r9", caller=aor + ";tag=1", callee=aor, contact=aor)


def test_a_worker_that_deregisters_needs_no_keepalives() -> None:
    world = world_with_domain()
    register(world, "bob", NAT)
    aor = "<sip:bob@acme.example>"
    contact = f"<sip:bob@{HOME};ob;rinstance=a%20b>;expires=0"
    world.public(
        NAT,
        request(
            "REGISTER", "sip:acme.example", HOME, call="r", cseq=2, caller=aor + ";tag=1", callee=aor, contact=contact
        ),
    )
    [(_, sent)] = requests_in(world.take_lan())
    world.lan(PBX, build_response(sent, 200, "OK", b"p"))
    assert list(world.public_side.bindings.keepalive_flows(world.now)) == []
    assert world.public_side.bindings.registered == 0


def test_removing_all_contacts_passes_as_it_is() -> None:
    world = world_with_domain()
    register(world, "bob", NAT)
    aor = "<sip:bob@acme.example>"
    data = request(
        "REGISTER",
        "sip:acme.example",
        HOME,
        call="r",
        cseq=2,
        caller=aor + ";tag=1",
        callee=aor,
        contact="*",
        more=("Expires: 0",),
    )
    world.public(NAT, data)
    [(_, sent)] = requests_in(world.take_lan())
    assert sent.values("contact")[0].text == b"*"
    world.lan(PBX, build_response(sent, 200, "OK", b"p"))
    assert finals_in(world.take_public())[0][0] == NAT


def test_the_pbx_never_sees_outbound_half_done() -> None:
    world = world_with_domain()
    aor = "<sip:bob@acme.example>"
    contact = f'<sip:bob@{HOME};ob>;reg-id=1;+sip.instance="<urn:uuid:0-1>"'
    more = ("Supported: path, outbound, gruu",)
    data = request("REGISTER", "sip:acme.example", HOME, caller=aor + ";tag=1", callee=aor, contact=contact, more=more)
    world.public(NAT, data)
    [(_, sent)] = requests_in(world.take_lan())
    assert [value.text for value in sent.values("supported")] == [b"path", b"gruu"]
    assert b"reg-id" not in sent.raw
    assert sent.values("contact")[0].text.endswith(b'>;+sip.instance="<urn:uuid:0-1>"')


# In a dialog


def test_both_sides_of_a_workers_call_reach_each_other() -> None:
    world = world_with_domain()
    [(to, invite)] = worker_calls(world)
    assert to == PBX
    assert invite.request_uri == b"sip:100@acme.example"
    assert b"192.168" not in invite.raw
    shown = contact_of(invite)
    assert shown.startswith(b"sip:bob@10.1.0.2:5060;wp=")
    world.take_public()
    extra = [b"Contact: <sip:100@10.1.0.5:5060>", b"Content-Type: application/sdp"]
    world.lan(PBX, build_response(invite, 200, "OK", b"p9", extra, offer("10.1.0.5", 10000)))
    [(to, ok)] = finals_in(world.take_public())
    assert to == NAT
    routes = route_to(ok, caller=True)
    to_tag = "<sip:100@acme.example>;tag=p9"
    from_tag = "<sip:bob@acme.example>;tag=w1"
    ids = {"call": "from-worker", "caller": from_tag, "callee": to_tag}
    world.public(NAT, request("ACK", contact_of(ok), HOME, more=routes, **ids))  # type: ignore[arg-type]
    assert [(to, m.method, m.request_uri) for to, m in world.take_lan()] == [(PBX, "ACK", b"sip:100@10.1.0.5:5060")]
    world.public(NAT, request("INFO", contact_of(ok), HOME, cseq=2, more=routes, **ids))  # type: ignore[arg-type]
    [(to, info)] = requests_in(world.take_lan())
    assert (to, info.request_uri) == (PBX, b"sip:100@10.1.0.5:5060")
    world.lan(PBX, build_response(info, 200, "OK"))
    assert finals_in(world.take_public())[0][0] == NAT
    world.lan(
        PBX,
        request(
            "BYE", shown, PBX, call="from-worker", caller=to_tag, callee=from_tag, more=route_to(invite, caller=False)
        ),
    )
    [(to, bye)] = requests_in(world.take_public())
    assert (to, bye.request_uri) == (NAT, f"sip:bob@{HOME}".encode())
    world.public(NAT, build_response(bye, 200, "OK"))
    assert [(to, m.status) for to, m in finals_in(world.take_lan())] == [(PBX, 200)]


def test_a_called_worker_is_reached_by_its_flow_for_the_whole_call() -> None:
    world = world_with_domain()
    _, invite = pbx_calls(world, register(world, "bob", NAT))
    extra = [f"Contact: <sip:bob@{HOME}>".encode(), b"Content-Type: application/sdp"]
    world.public(NAT, build_response(invite, 200, "OK", b"w9", extra, offer("192.168.1.20", 7000)))
    [(to, ok)] = finals_in(world.take_lan())
    assert to == PBX
    assert b"192.168" not in ok.raw
    data = request(
        "ACK",
        contact_of(ok),
        PBX,
        call="to-worker",
        caller="<sip:100@acme.example>;tag=p1",
        callee="<sip:bob@acme.example>;tag=w9",
        more=route_to(ok, caller=True),
    )
    world.lan(PBX, data)
    assert [(to, m.request_uri) for to, m in world.take_public()] == [(NAT, f"sip:bob@{HOME}".encode())]
    bye = request(
        "BYE",
        contact_of(invite),
        HOME,
        call="to-worker",
        caller="<sip:bob@acme.example>;tag=w9",
        callee="<sip:100@acme.example>;tag=p1",
        more=route_to(invite, caller=False),
    )
    world.public(NAT, bye)
    [(to, inside)] = requests_in(world.take_lan())
    assert (to, inside.request_uri) == (PBX, b"sip:100@10.1.0.5:5060")


def test_two_workers_talk_through_the_pbx() -> None:
    world = world_with_domain()
    register(world, "bob", NAT)
    carol = register(world, "carol", OTHER_NAT)
    [(_, inward)] = worker_calls(world)
    world.take_public()
    to, outward = pbx_calls(world, carol, call="leg-b")
    assert to == OTHER_NAT
    extra = [f"Contact: <sip:carol@{HOME}>".encode(), b"Content-Type: application/sdp"]
    world.public(OTHER_NAT, build_response(outward, 200, "OK", b"c9", extra, offer("192.168.1.20", 7000)))
    assert finals_in(world.take_lan())[0][0] == PBX
    extra = [b"Contact: <sip:100@10.1.0.5:5060>", b"Content-Type: application/sdp"]
    world.lan(PBX, build_response(inward, 200, "OK", b"p9", extra, offer("10.1.0.5", 10000)))
    assert finals_in(world.take_public())[0][0] == NAT


def test_a_caller_of_a_worker_hears_that_the_agent_is_offline() -> None:
    world = world_with_domain()
    world.public_side.door.is_up = False
    worker_calls(world)
    assert world.public_side.counters["answered.480"] == 1


# Secrets


def test_what_a_worker_proves_to_the_pbx_passes_untouched() -> None:
    world = world_with_domain()
    aor = "<sip:bob@acme.example>"
    proof = 'Authorization: Digest  username="bob",realm="acme",nonce="n",uri="sip:acme.example",response="0"'
    data = request(
        "REGISTER",
        "sip:acme.example",
        HOME,
        caller=aor + ";tag=1",
        callee=aor,
        contact=f"<sip:bob@{HOME}>",
        more=(proof,),
    )
    world.public(NAT, data)
    [(_, sent)] = requests_in(world.take_lan())
    assert proof.encode() + b"\r\n" in sent.raw


def test_what_was_never_asked_for_outside_stays_inside() -> None:
    world = HidingWorld()
    world.names["provider.example"] = "203.0.113.30"
    aor = "<sip:eve@provider.example>"
    inside = 'Proxy-Authorization: Digest username="eve", realm="pbx", nonce="n", uri="sip:10.1.0.5", response="0"'
    asked = (
        'authorization : Digest username="eve",  realm="provider", nonce="n",uri="sip:provider.example", response="1"'
    )

    def register_with(cseq: int, *more: str) -> Message:
        phone = "10.1.0.50:5060"
        data = request(
            "REGISTER",
            "sip:provider.example",
            phone,
            cseq=cseq,
            caller=aor + ";tag=1",
            callee=aor,
            contact="<sip:eve@10.1.0.50>",
            more=more,
        )
        world.lan(phone, data)
        [(_, sent)] = requests_in(world.take_public())
        return sent

    first = register_with(1, inside, asked)
    assert not first.all("authorization")
    assert not first.all("proxy-authorization")
    challenge = b'WWW-Authenticate: Digest realm="provider", nonce="n", qop="auth-int,auth", algorithm=SHA-256'
    world.public("203.0.113.30:5060", build_response(first, 401, "Unauthorized", b"x", [challenge]))
    [(_, heard)] = finals_in(world.take_lan())
    assert challenge.replace(b"auth-int,auth", b"auth") + b"\r\n" in heard.raw
    second = register_with(2, inside, asked)
    assert asked.encode() + b"\r\n" in second.raw
    assert not second.all("proxy-authorization")
