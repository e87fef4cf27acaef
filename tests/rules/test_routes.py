"""Via, responses and the route machinery (SIP-RULES B, D1 to D3, D6; T5)."""

from __future__ import annotations

import pytest
from support.ladder import Dialog, Phone, uri_in
from support.ladders import Talk, answered, assert_all_is_forgotten, hang_up, ring_between
from support.pair import World
from support.scripted_phone import ScriptedPhone, audio, values
from support.stage import Stage

from tunnel.sip.edit import Edit
from tunnel.sip.message import Message, parse_untrusted
from tunnel.sip.response import build_response

both_ways = pytest.mark.parametrize("incoming", [False, True], ids=["out", "in"])


# B


def test_one_via_of_the_face_that_sends(world: World, pbx: Phone, trunk: Phone) -> None:
    """B1: exactly one own Via: address and port of the sending face, its transport, a fresh branch, rport on UDP only."""
    branches = set()
    for transport in ("udp", "tcp", "udp"):
        pbx.invite(f"sip:1@203.0.113.30;transport={transport}")
        if transport == "udp":
            arrived = trunk.got("INVITE")
        else:
            (_, arrived), *_ = [sent for sent in world.take_public() if sent[1].method == "INVITE"] or [
                ("", trunk.got("INVITE"))
            ]
        (via,) = arrived.values("via")
        rport = b";rport" if transport == "udp" else b""
        assert via.text.startswith(
            b"SIP/2.0/%s 203.0.113.10:5060%s;branch=z9hG4bK" % (transport.upper().encode(), rport)
        )
        branches.add(arrived.top_via.branch)
    assert len(branches) == 3


ODD_VIAS = [
    'v : SIP / 2.0 / UDP  10.1.0.5:5060 ; BRANCH=z9hG4bK-odd;X-foo="a,b"',
    "Via: SIP/2.0/TCP [fd00:1::9]:5070;branch=z9hG4bKtwo,\tSIP/2.0/TLS pbx.local;branch=3;alias",
    "VIA: SIP/2.0/UDP 10.1.0.77;received=10.1.0.78;rport=9;branch=z9hG4bKfour",
]


@pytest.mark.parametrize("hide_full", [True, False], ids=["full", "basic"])
def test_the_vias_of_the_sender_come_back_exactly(hide_full: bool) -> None:
    """B2: spelling, order, joined and repeated values of the sender's Via stack are as they were in every answer."""
    world = World(outside_uri="sip:203.0.113.30", hide_full=hide_full)
    pbx, trunk = Phone(world, "10.1.0.5:5060", "100"), Phone(world, "203.0.113.30:5060", "trunk")
    sent = pbx.invite("sip:1@10.1.0.2")
    trunk.answer(trunk.got("INVITE"), 486)
    trunk.got("ACK")
    pbx.lose()
    plain = sent.lines("via")[0]
    pbx.send(sent.raw.replace(plain, "\r\n".join(ODD_VIAS).encode()).replace(b"CSeq: 1", b"CSeq: 2"))
    trunk.answer(trunk.got("INVITE"), 180)
    for status in (100, 180):
        assert pbx.got(status).lines("via") == [line.encode() for line in ODD_VIAS]


@pytest.mark.parametrize(
    ("via", "stamped", "answered_at"),
    [
        ("10.1.0.5:5060", "10.1.0.5:5060;branch=z9hG4bKx", "10.1.0.5:5060"),
        ("10.1.0.5:5070", "10.1.0.5:5070;branch=z9hG4bKx", "10.1.0.5:5070"),
        ("10.1.0.5:5070;rport", "10.1.0.5:5070;rport=5060;branch=z9hG4bKx;received=10.1.0.5", "10.1.0.5:5060"),
        ("pbx.local", "pbx.local;branch=z9hG4bKx;received=10.1.0.5", "10.1.0.5:5060"),
        ("192.168.77.9:5070", "192.168.77.9:5070;branch=z9hG4bKx;received=10.1.0.5", "10.1.0.5:5060"),
    ],
)
def test_where_answers_go(world: World, via: str, stamped: str, answered_at: str) -> None:
    """B3: RFC 3581: received for a name or another host, rport only where it was asked for; answers by both."""
    phone = Phone(world, "10.1.0.5:5060", "100")
    phone.request("OPTIONS", "sip:x@203.0.113.30")
    request = world.take_public()[0][1]
    world.elements.clear()
    data = phone.request("OPTIONS", "sip:10.1.0.2").raw
    world.take_lan()
    sent_by, _, rport = via.partition(";")
    line = parse_untrusted(data).lines("via")[0]
    new = f"Via: SIP/2.0/UDP {sent_by}{';' + rport if rport else ''};branch=z9hG4bKx".encode()
    world.lan("10.1.0.5:5060", data.replace(line, new))
    ((to, answer),) = world.take_lan()
    assert to == answered_at
    assert answer.lines("via") == [b"Via: SIP/2.0/UDP " + stamped.encode()]
    assert request.method == "OPTIONS"


def test_answers_that_belong_to_nothing_are_dropped(world: World, pbx: Phone, trunk: Phone) -> None:
    """B4: RFC 6026: a stray answer goes nowhere, be it a 2xx: it would let anybody aim our packets."""
    pbx.invite("sip:1@10.1.0.2")
    invite = trunk.got("INVITE")
    pbx.lose()
    for change in ((b"branch=z9hG4bK", b"branch=z9hG4bKnot"), (b"branch=z9hG4bK", b"x=")):
        world.public("203.0.113.30:5060", build_response(invite, 200, "OK", b"t").replace(*change))
    pbx.got_nothing()
    trunk.answer(invite, 200, body=trunk.sdp())
    pbx.got(200)
    world.wait(65)
    pbx.lose()
    trunk.answer(invite, 200, tag="late", body=trunk.sdp())
    pbx.got_nothing()


def test_repetitions_stay_on_their_side(world: World, pbx: Phone, trunk: Phone) -> None:
    """B5: a repeated INVITE is answered by the face itself and crosses once; 100 comes at once and stays here."""
    sent = pbx.invite("sip:1@10.1.0.2")
    pbx.got(100)
    crossed = len(world.crossed)
    for _ in range(3):
        pbx.send(sent.raw)
        pbx.got(100)
    assert len(world.crossed) == crossed == 1
    trunk.got("INVITE")
    trunk.got_nothing()


def test_cancel_and_the_ack_of_a_failure_belong_to_one_hop(world: World, pbx: Phone, trunk: Phone) -> None:
    """B6: each hop answers CANCEL and acknowledges failures itself; the ACK of a 2xx goes from end to end."""
    sent = pbx.invite("sip:1@10.1.0.2")
    invite = trunk.got("INVITE")
    trunk.answer(invite, 180)
    pbx.got(180)
    pbx.cancel(sent)
    pbx.got(200)
    cancel = trunk.got("CANCEL")
    assert cancel.values("via")[0].text == invite.values("via")[0].text
    trunk.answer(cancel, 200)
    trunk.answer(invite, 487)
    ack = trunk.got("ACK")
    assert ack.values("via")[0].text == invite.values("via")[0].text
    refused = pbx.got(487)
    pbx.ack_failure(sent, refused)
    trunk.got_nothing()


def test_a_call_that_rings_is_given_up_after_three_minutes_of_silence_only(
    world: World, pbx: Phone, trunk: Phone
) -> None:
    """B6: Timer C is more than three minutes, and every 101 to 199 begins it anew."""
    pbx.invite("sip:1@10.1.0.2")
    invite = trunk.got("INVITE")
    for _ in range(3):
        trunk.answer(invite, 183)
        pbx.got(183)
        world.wait(170)
        trunk.got_nothing()
    world.wait(30)
    trunk.got("CANCEL")


def test_an_answer_returns_by_the_connection_of_its_request(world: World) -> None:
    """B7: on TCP an answer leaves by the flow that the request came by."""
    phone = Phone(world, "10.1.0.50:40001", "alice", transport="tcp", connection=6)
    bob = Phone(world, "203.0.113.40:5060", "bob")
    phone.invite("sip:bob@203.0.113.40")
    bob.answer(bob.got("INVITE"), 486)
    phone.got(486)
    assert {(flow.transport, flow.connection) for flow in phone.flows} == {("tcp", 6)}


# D1 to D3


@pytest.mark.parametrize("method", ["INVITE", "SUBSCRIBE", "REFER", "NOTIFY", "UPDATE"])
def test_dialogs_come_back_through_us(world: World, pbx: Phone, trunk: Phone, method: str) -> None:
    """D1: a Record-Route with lr in every request that forms or refreshes a dialog: of the face that sends, on top."""
    others = "Record-Route: <sip:10.1.0.8;lr;x=1>,<sip:10.1.0.9;lr>"
    to_tag = "x" if method == "UPDATE" else ""
    if to_tag:  # an UPDATE needs a dialog
        sent = pbx.invite("sip:1@10.1.0.2")
        callee = trunk.accept(trunk.got("INVITE"))
        Dialog.of_caller(pbx, sent, pbx.got(200)).ack()
        trunk.got("ACK")
        callee.send("UPDATE")
        assert pbx.got("UPDATE").values("record-route")[0].text == b"<sip:10.1.0.2:5060;lr>"
        return
    pbx.request(method, "sip:1@10.1.0.2", headers=[others, "Event: x"])
    arrived = trunk.got(method)
    assert [value.text for value in arrived.values("record-route")] == [b"<sip:203.0.113.10:5060;lr>"]


def test_the_record_route_names_transport_and_family(world: World, pbx: Phone) -> None:
    """D1: runner-up "IPv6 Record-Route without brackets": each face names itself as the peer must reach it."""
    far = Phone(world, "[2001:db8::40]:5060", "far", transport="tcp", connection=3)
    far6 = Phone(world, "[2001:db8::41]:5060", "far6")
    pbx.invite("sip:far@[2001:db8::40];transport=tcp")
    pbx.invite("sip:far@[2001:db8::41]")
    assert values(far.got("INVITE"), "record-route") == [b"<sip:[2001:db8::10]:5060;transport=tcp;lr>"]
    arrived = far6.got("INVITE")
    assert values(arrived, "record-route") == [b"<sip:[2001:db8::10]:5060;lr>"]
    assert arrived.values("via")[0].text.startswith(b"SIP/2.0/UDP [2001:db8::10]:5060;rport;")
    assert b"@[2001:db8::10]:5060;" in arrived.values("contact")[0].text


@pytest.mark.parametrize(
    "routes",
    [
        ["<sip:10.1.0.2;lr>, <sip:203.0.113.99;lr;a=b>"],
        ["<sip:10.1.0.2:5060;transport=udp;lr>", '"p" <sip:203.0.113.99;lr;a=b>;hp=1'],
        ["<sip:203.0.113.99;lr;a=b>"],
    ],
)
def test_a_preloaded_route_is_followed_without_our_own_part(world: World, routes: list[str]) -> None:
    """D2: our own values are popped, the rest is followed; naming us alone makes us the outbound proxy."""
    alice = Phone(world, "10.1.0.50:5060", "alice")
    proxy = Phone(world, "203.0.113.99:5060", "proxy")
    alice.invite("sip:bob@nowhere.example", routes=routes)
    invite = proxy.got("INVITE")
    assert invite.request_uri == b"sip:bob@nowhere.example"
    left = routes[-1].rpartition(", ")[2]
    assert values(invite, "route") == [left.encode()]


def test_the_next_route_is_a_strict_router(world: World) -> None:
    """D2: RFC 3261 16.6 step 6: a route without lr becomes the Request-URI, and that the last Route."""
    alice = Phone(world, "10.1.0.50:5060", "alice")
    proxy = Phone(world, "203.0.113.99:5060", "proxy")
    alice.request(
        "INVITE",
        "sip:bob@nowhere.example;x=1",
        headers=["Route: <sip:10.1.0.2;lr>,<sip:203.0.113.99;y=2>,<sip:203.0.113.98;lr>"],
    )
    invite = proxy.got("INVITE")
    assert invite.request_uri == b"sip:203.0.113.99;y=2"
    assert values(invite, "route") == [b"<sip:203.0.113.98;lr>", b"<sip:bob@nowhere.example;x=1>"]


DOUBLE = [b"<sip:203.0.113.20:5060;transport=udp;lr>,<sip:203.0.113.20;r2=on;lr;ftag=1>"]
INSIDE_DOUBLE = [b"<sip:10.1.0.8;lr> ,\r\n <sip:10.1.0.8:5061;transport=tcp;lr>", b"<sip:10.1.0.9;lr>"]


@both_ways
def test_double_record_routes_keep_their_order(incoming: bool) -> None:
    """T5: proxies that put in two values, joined, repeated or folded: requests of both parties follow RFC 3261 12.1."""
    world = World()
    alice = ScriptedPhone(world, "lan", "10.1.0.8:5060", "alice", contact="<sip:alice@10.1.0.50:5060>")
    bob = ScriptedPhone(world, "public", "203.0.113.20:5060", "bob", contact="<sip:bob@203.0.113.77>")
    bob.record_route = DOUBLE
    if incoming:
        alice.address = "10.1.0.50:5060"
    else:
        alice.record_route = INSIDE_DOUBLE
    talk = ring_between(alice, bob, incoming=incoming)
    by_bob = [b"<sip:203.0.113.20:5060;transport=udp;lr>", b"<sip:203.0.113.20;r2=on;lr;ftag=1>"]
    by_alice = [b"<sip:10.1.0.8;lr>", b"<sip:10.1.0.8:5061;transport=tcp;lr>", b"<sip:10.1.0.9;lr>"]
    # The caller's proxies are met in the order of their values, the callee's in the reverse (12.1.1, 12.1.2).
    by_bob = by_bob if incoming else by_bob[::-1]
    talk.callee.respond(200, body=audio(talk.callee.phone.host, 7000))
    alice.record_route, bob.record_route = by_alice if alice.record_route else [], by_bob
    talk.caller.learn(talk.caller.phone.expect(200)).ack()
    talk.callee.phone.expect("ACK")
    out, back = (talk.callee, talk.caller) if incoming else (talk.caller, talk.callee)
    for _ in range(2):
        out.request("INFO")
        info = bob.expect("INFO")
        assert values(info, "route") == by_bob
        back.respond(200, to=info)
        alice.expect(200)
    back.request("INFO")
    info = alice.expect("INFO")
    assert values(info, "route") == ([] if incoming else by_alice)
    out.respond(200, to=info)
    bob.expect(200)
    hang_up(talk.caller, talk.callee)
    assert_all_is_forgotten(world)


@both_ways
def test_what_each_party_sees_is_complete_in_itself(world: World, incoming: bool) -> None:
    """D3: with hide = "full" the set of the other side is stripped and put back when requests return."""
    alice = ScriptedPhone(world, "lan", "10.1.0.50:5060", "alice")
    bob = ScriptedPhone(world, "public", "203.0.113.20:5060", "bob", record_route=[b"<sip:203.0.113.20;lr>"])
    talk: Talk = answered(ring_between(alice, bob, incoming=incoming))
    assert values(talk.callee.came, "record-route")[0].startswith(
        b"<sip:10.1.0.2" if incoming else b"<sip:203.0.113.10"
    )
    hang_up(talk.callee, talk.caller)
    assert_all_is_forgotten(world)


# D6


def registered(world: World, answer: tuple[str, ...], *, way: str) -> tuple[Phone, Phone, Message]:
    """A phone and its registrar beyond the wall, which answers with those headers; the answer as the phone sees it."""
    if way == "A":
        world.names["registrar.example"] = "203.0.113.20"
        phone = Phone(world, "10.1.0.50:5060", "alice")
        registrar = Phone(world, "203.0.113.20:5060", "registrar")
        phone.register("sip:registrar.example")
    else:
        phone = Phone(world, "192.168.77.20:5060", "bob", seen_from="198.51.100.7:40000", domain="acme.example")
        registrar = Phone(world, "10.1.0.5:5060", "pbx")
        phone.register("sip:acme.example")
    request = registrar.got("REGISTER")
    registrar.answer(request, 200, headers=[*(line.decode() for line in request.lines("contact")), *answer])
    return phone, registrar, phone.got(200)


def test_what_a_registrar_outside_says_of_routes_passes_and_is_followed(world: World) -> None:
    """D6: Service-Route, P-Associated-URI and Path pass; the phone's Route made of it is followed (D2)."""
    said = (
        "Service-Route: <sip:orig@203.0.113.21;lr>, <sip:203.0.113.22;lr>",
        "P-Associated-URI: <sip:a@x>, <tel:+1>",
        "Path: <sip:203.0.113.23;lr>",
        "Flow-Timer: 120",
    )
    phone, _, ok = registered(world, said, way="A")
    names = ("service-route", "p-associated-uri", "path", "flow-timer")
    assert [ok.lines(name) for name in names] == [[line.encode()] for line in said]
    edge = Phone(world, "203.0.113.21:5060", "edge")
    phone.invite(
        "sip:bob@registrar.example",
        routes=["<sip:10.1.0.2;lr>", "<sip:orig@203.0.113.21;lr>", "<sip:203.0.113.22;lr>"],
    )
    assert values(edge.got("INVITE"), "route") == [b"<sip:orig@203.0.113.21;lr>", b"<sip:203.0.113.22;lr>"]


def test_what_a_registrar_inside_says_of_routes_is_masked_and_opened(world: World) -> None:
    """D6, D3: a worker outside sees no inside address in Service-Route and Path, and its Route leads there all the same."""
    said = ("Service-Route: <sip:orig@10.1.0.7;lr;x=1>", "Path: <sip:10.1.0.8;lr>, <sip:203.0.113.5;lr>")
    worker, _, ok = registered(world, said, way="C")
    (route,) = values(ok, "service-route")
    assert route.startswith(b"<sip:orig@203.0.113.10:5060;lr;x=1;wp=")
    assert values(ok, "path") == [b"<sip:203.0.113.5;lr>"]
    edge = Phone(world, "10.1.0.7:5060", "edge")
    worker.invite("sip:100@acme.example", routes=["<sip:203.0.113.10;lr>", route.decode()])
    invite = edge.got("INVITE")
    assert values(invite, "route") == [b"<sip:orig@10.1.0.7;lr;x=1>"]
    assert invite.request_uri == b"sip:100@acme.example"


def test_a_mask_of_a_phone_is_no_route(world: World) -> None:
    """D6, C6: only what was a route is one: the mask of a Contact does not turn a phone into a proxy."""
    alice = Phone(world, "10.1.0.50:5060", "alice")
    pbx = Phone(world, "10.1.0.5:5060", "pbx")
    trunk = Phone(world, "203.0.113.30:5060", "trunk")
    alice.invite("sip:x@203.0.113.30")
    mask = uri_in(trunk.got("INVITE").values("contact")[0].text).decode()
    trunk.invite("sip:100@acme.example", routes=[f"<{mask};lr>"])
    alice.lose()
    assert values(pbx.got("INVITE"), "route") == []
    alice.got_nothing()


def test_a_stage_of_proxies_around_a_carrier() -> None:
    """D2, S4-14: our own Route values of both faces are popped where a proxy keeps us on its path twice (a spiral)."""
    stage = Stage("A", caller_inside=True)
    second = stage.inside_phone("carol", "10.1.0.60:5060", port=6100)
    invite = stage.inside.invite(second.aor)
    call = second.accept(second.got("INVITE"))
    caller = Dialog.of_caller(stage.inside, invite, stage.inside.got(200))
    caller.ack()
    second.got("ACK")
    call.send("BYE")
    stage.inside.answer(stage.inside.got("BYE"), 200)
    second.got(200)


def test_a_record_route_that_cannot_be_read_does_not_lose_the_call(world: World, pbx: Phone, trunk: Phone) -> None:
    """D2: runner-up "IPv6 Record-Route without brackets": a peer's own mistake is passed back to it, nothing else breaks."""
    sent = trunk.request("MESSAGE", "sip:1@203.0.113.10", headers=["Record-Route: <sip:2001:db8::20;lr>"])
    arrived = pbx.got("MESSAGE")
    pbx.answer(arrived, 200)
    trunk.got(200)
    edit = Edit(sent)
    assert edit.result() == sent.raw
