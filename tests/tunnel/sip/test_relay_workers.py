"""Way C through both half proxies: remote workers behind NATs of their own use the PBX inside; strangers get nothing."""

from __future__ import annotations

import pytest
from support.ends import HidingWorld, contact_of, offer, request, route_to

from outside_server.limits import CallLimits
from tunnel.sip.half import CallClosed, CallOpened
from tunnel.sip.message import Message
from tunnel.sip.response import build_response
from tunnel.sip.uri import SipUri

PBX = "10.1.0.5:5060"
HOME = "192.168.1.20:5060"  # what a worker's phone thinks its address is
NAT = "198.51.100.7:40000"  # what its router makes of it
OTHER_NAT = "198.51.100.8:40000"
STRANGER = "203.0.113.66:5060"


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


# Nobody else gets in


def forged(contact: bytes, change: str) -> bytes:
    token = SipUri.parse_untrusted(contact).param("wp")
    assert token is not None
    if change == "flipped":
        middle = len(token) // 2
        bad = token[:middle] + (b"A" if token[middle : middle + 1] != b"A" else b"B") + token[middle + 1 :]
    elif change == "cut":
        bad = token[:-4]
    elif change == "made up":
        bad = b"A" * len(token)
    else:
        bad = b""
    return contact.replace(token, bad)


def lan_phone_registers(world: HidingWorld) -> bytes:
    """A phone inside registers with a provider; the masked Contact that the provider knows."""
    world.names["provider.example"] = "203.0.113.30"
    aor = "<sip:eve@provider.example>"
    data = request(
        "REGISTER",
        "sip:provider.example",
        "10.1.0.50:5060",
        caller=aor + ";tag=1",
        callee=aor,
        contact="<sip:eve@10.1.0.50>",
    )
    world.lan("10.1.0.50:5060", data)
    [(to, sent)] = requests_in(world.take_public())
    world.public(to, build_response(sent, 200, "OK", b"x", [b"Contact: " + sent.values("contact")[0].text]))
    world.take_lan()
    return contact_of(sent)


def stranger_calls(world: HidingWorld, uri: bytes) -> None:
    data = request("INVITE", uri, STRANGER, call="evil", contact="<sip:x@203.0.113.66>", body=offer("203.0.113.66", 9))
    world.public(STRANGER, data)


def test_a_true_mask_opens_the_door_to_anybody() -> None:
    world = HidingWorld()
    stranger_calls(world, lan_phone_registers(world))
    [(to, invite)] = requests_in(world.take_lan())
    assert (to, invite.request_uri) == ("10.1.0.50:5060", b"sip:eve@10.1.0.50")


@pytest.mark.parametrize("change", ["flipped", "cut", "made up", "empty"])
def test_a_forged_mask_opens_nothing(change: str) -> None:
    world = HidingWorld()
    stranger_calls(world, forged(lan_phone_registers(world), change))
    assert world.take_lan() == world.take_public() == []
    assert world.public_side.counters["sip.dropped.unknown_source"] == 1


def test_an_expired_mask_opens_nothing() -> None:
    world = HidingWorld()
    contact = lan_phone_registers(world)
    world.wait(61 * 86_400)
    stranger_calls(world, contact)
    assert world.take_lan() == world.take_public() == []


def test_a_mask_of_another_tenant_opens_nothing() -> None:
    world = HidingWorld()
    contact = lan_phone_registers(world)
    world.public_side.door.tenant += 1
    stranger_calls(world, contact)
    assert world.take_lan() == world.take_public() == []


@pytest.mark.parametrize("method", ["ACK", "CANCEL"])
def test_a_stray_hop_by_hop_request_is_dropped_even_for_a_true_mask(method: str) -> None:
    world = HidingWorld()
    world.public(STRANGER, request(method, lan_phone_registers(world), STRANGER, call="evil"))
    assert world.take_lan() == world.take_public() == []
    assert world.public_side.counters[f"sip.dropped.stray_{method.lower()}"] == 1


@pytest.mark.parametrize("method", ["BYE", "INFO", "REFER", "INVITE", "ACK", "CANCEL"])
def test_wrong_tags_open_no_dialog(method: str) -> None:
    world = world_with_domain()
    worker_calls(world)
    world.take_public()
    data = request(
        method,
        "sip:bob@203.0.113.10",
        STRANGER,
        call="from-worker",
        caller="<sip:bob@acme.example>;tag=guess",
        callee="<sip:100@acme.example>;tag=p9",
    )
    world.public(STRANGER, data)
    assert world.take_lan() == world.take_public() == []
    assert sum(n for name, n in world.public_side.counters.values.items() if name.startswith("sip.dropped")) == 1


def test_a_stray_response_is_dropped() -> None:
    world = world_with_domain()
    to, invite = pbx_calls(world, register(world, "bob", NAT))
    stray = build_response(invite, 200, "OK", b"w9").replace(invite.top_via.branch, b"z9hG4bKguess")
    world.public(STRANGER, stray)
    assert world.take_lan() == world.take_public() == []
    assert world.public_side.counters["sip.dropped.stray_response"] == 1
    assert to == NAT


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


# Limits


class LimitedWorld(HidingWorld):
    """Keeps the count of live calls as the server does."""

    def __init__(self, max_calls: int, calls_per_second: float) -> None:
        super().__init__(pbx="sip:10.1.0.5")
        self.set_tenant(domains=("acme.example",))
        limits = self.public_side.limits
        limits.max_calls, limits.calls_per_second = max_calls, calls_per_second

    @property
    def limits(self) -> CallLimits:
        return self.public_side.limits

    def settle(self) -> None:
        super().settle()
        events = self.public_side.events
        opened = sum(isinstance(event, CallOpened) for event in events)
        self.limits.active = opened - sum(isinstance(event, CallClosed) for event in events)


def test_a_tenant_has_so_many_calls_and_no_more_until_one_ends() -> None:
    world = LimitedWorld(1, 0)
    [(_, invite)] = worker_calls(world)
    world.take_public()
    assert worker_calls(world, call="second") == []
    [(_, refused)] = finals_in(world.take_public())
    assert refused.status == 503
    assert refused.header("retry-after") is not None
    world.lan(PBX, build_response(invite, 486, "Busy Here", b"p9"))
    world.take_lan()
    assert len(worker_calls(world, call="third")) == 1


def test_the_limit_holds_for_calls_from_inside_too() -> None:
    world = LimitedWorld(1, 0)
    contact = register(world, "bob", NAT)
    worker_calls(world)
    world.take_public()
    data = request("INVITE", contact, PBX, call="out", contact="<sip:100@10.1.0.5>", body=offer("10.1.0.5", 10000))
    world.lan(PBX, data)
    assert requests_in(world.take_public()) == []
    [(_, refused)] = finals_in(world.take_lan())
    assert (refused.status, refused.header("retry-after") is not None) == (503, True)
    assert world.limits.active == 1
    assert len(world.lan_side.half.calls) == 2  # the refused one is remembered a little for its late messages
    world.wait(40)
    assert len(world.lan_side.half.calls) == 1


def test_a_tenant_begins_so_many_calls_a_second_and_no_more() -> None:
    world = LimitedWorld(0, 2)
    begun = [len(worker_calls(world, call=f"call-{number}")) for number in range(4)]
    assert begun == [1, 1, 0, 0]
    assert [m.status for _, m in finals_in(world.take_public())] == [503, 503]
    world.wait(0.5)
    assert len(worker_calls(world, call="later")) == 1


def test_registrations_and_in_dialog_requests_are_not_counted() -> None:
    world = LimitedWorld(1, 1)
    worker_calls(world)
    world.take_public()
    register(world, "bob", NAT)
