"""Proxies on both sides: every user agent sees a route set that is right in its own network (RFC 3261 section 12.1)."""

from __future__ import annotations

import pytest
from support.ladders import answered, assert_all_is_forgotten, hang_up, phones, register, ring_between
from support.pair import World
from support.scripted_phone import ScriptedPhone, audio, contact_uri, values

both_ways = pytest.mark.parametrize("incoming", [False, True], ids=["out", "in"])

LAN_PROXIES = [b"<sip:10.1.0.8;lr>", b"<sip:10.1.0.9;lr>"]  # the nearest to the agent first
PUBLIC_PROXIES = [b"<sip:203.0.113.20;lr>", b"<sip:203.0.113.30;lr;ftag=x>"]
AGENT_ROUTE = b"<sip:10.1.0.2:5060;lr>"
SERVER_ROUTE = b"<sip:203.0.113.10:5060;lr>"
ALICE = "<sip:alice@10.1.0.50:5060;ob>"
BOB = "<sip:bob@203.0.113.77:5090;x=y>"


@pytest.fixture
def world() -> World:
    return World()


def behind_proxies(world: World) -> tuple[ScriptedPhone, ScriptedPhone]:
    alice = ScriptedPhone(world, "lan", "10.1.0.8:5060", "alice", contact=ALICE, record_route=LAN_PROXIES)
    bob = ScriptedPhone(world, "public", "203.0.113.20:5060", "bob", contact=BOB, record_route=PUBLIC_PROXIES)
    return alice, bob


@both_ways
def test_route_sets_through_two_proxies_on_each_side(world: World, incoming: bool) -> None:
    alice, bob = behind_proxies(world)
    # A call from outside arrives at Alice's mask, whose Contact the agent reaches itself: her proxies are not asked.
    if incoming:
        alice.record_route = []
        alice.address = "10.1.0.50:5060"
    talk = ring_between(alice, bob, incoming=incoming)
    near, far = (SERVER_ROUTE, AGENT_ROUTE) if incoming else (AGENT_ROUTE, SERVER_ROUTE)
    assert values(talk.callee.came, "record-route") == [far]
    assert values(talk.callee.came, "route") == []
    talk.callee.respond(200, body=audio(talk.callee.phone.host, 7000))
    ok = talk.caller.phone.expect(200)
    assert values(ok, "record-route") == [near, *talk.caller.phone.record_route]

    talk.caller.learn(ok).ack()
    ack = talk.callee.phone.expect("ACK")
    assert ack.request_uri == talk.callee.phone.contact[1:-1]
    assert values(ack, "route") == talk.callee.phone.record_route

    talk.callee.reinvite(audio(talk.callee.phone.host, 7000, 2))
    talk.callee.phone.expect(100)
    reinvite = talk.caller.phone.expect("INVITE")
    assert reinvite.request_uri == talk.caller.phone.contact[1:-1]
    assert values(reinvite, "route") == talk.caller.phone.record_route
    talk.caller.respond(200, body=audio(talk.caller.phone.host, 6000, 2), to=reinvite)
    talk.callee.learn_target(talk.callee.phone.expect(200)).ack()
    assert values(talk.caller.phone.expect("ACK"), "route") == talk.caller.phone.record_route

    talk.caller.bye()
    bye = talk.callee.phone.expect("BYE")
    assert bye.request_uri == talk.callee.phone.contact[1:-1]
    assert values(bye, "route") == talk.callee.phone.record_route
    talk.callee.respond(200, to=bye)
    talk.caller.phone.expect(200)
    assert_all_is_forgotten(world)


@both_ways
def test_a_strict_router_gets_its_own_address_in_the_request_line(world: World, incoming: bool) -> None:
    alice, bob = behind_proxies(world)
    alice.record_route, alice.address = [], "10.1.0.50:5060"
    bob.record_route = [b"<sip:203.0.113.20>", b"<sip:203.0.113.30;lr>"]
    talk = ring_between(alice, bob, incoming=incoming)
    talk.callee.respond(200, body=audio(talk.callee.phone.host, 7000))
    talk.caller.learn(talk.caller.phone.expect(200)).ack()
    talk.callee.phone.expect("ACK")
    (talk.callee if incoming else talk.caller).bye()
    bye = bob.expect("BYE")
    assert bye.request_uri == b"sip:203.0.113.20"
    assert values(bye, "route") == [b"<sip:203.0.113.30;lr>", BOB.encode()]


def test_a_strict_router_that_puts_our_address_into_the_request_line(world: World) -> None:
    """RFC 3261 section 16.4: the last Route value is where the request was meant to go."""
    alice, bob = behind_proxies(world)
    alice.record_route, alice.address = [], "10.1.0.50:5060"
    talk = answered(ring_between(alice, bob))
    mask, talk.callee.target = talk.callee.target, b"sip:203.0.113.10:5060;lr"
    talk.callee.routes = [b"<" + mask + b">"]
    talk.callee.bye()
    bye = alice.expect("BYE")
    assert bye.request_uri == ALICE[1:-1].encode()
    assert values(bye, "route") == []


def test_the_agent_as_outbound_proxy(world: World) -> None:
    alice, bob = behind_proxies(world)
    alice.record_route, alice.address = [], "10.1.0.50:5060"
    alice.invite(b"sip:bob@203.0.113.20:5060", more=[b"Route: <sip:10.1.0.2;lr>, <sip:203.0.113.20;lr;token=t>"])
    invite = bob.expect("INVITE")
    assert invite.request_uri == b"sip:bob@203.0.113.20:5060"
    assert values(invite, "route") == [b"<sip:203.0.113.20;lr;token=t>"]


@both_ways
def test_what_is_not_hidden_lies_below_ours(incoming: bool) -> None:
    world = World(hide_full=False)
    alice, bob = behind_proxies(world)
    alice.address = "10.1.0.50:5060"
    alice.record_route = []
    talk = ring_between(alice, bob, incoming=incoming)
    assert talk.callee.came is not None
    assert len(talk.callee.came.all("via")) == 2
    assert values(talk.callee.came, "record-route")[1:] == talk.caller.phone.record_route
    answered(talk)
    hang_up(talk.caller, talk.callee)
    assert_all_is_forgotten(world)


@both_ways
def test_a_party_moves_by_a_new_contact(world: World, incoming: bool) -> None:
    alice, bob = behind_proxies(world)
    alice.record_route, alice.address = [], "10.1.0.50:5060"
    talk = answered(ring_between(alice, bob, incoming=incoming))
    moved = ScriptedPhone(world, "lan", "10.1.0.51:5060", "alice")
    who, other = (talk.callee, talk.caller) if incoming else (talk.caller, talk.callee)
    shown = other.target
    who.phone = moved
    who.reinvite(audio("10.1.0.51", 6000, 2))
    moved.expect(100)
    request = other.phone.expect("INVITE")
    assert contact_uri(request) != shown
    other.respond(200, body=audio(other.phone.host, 7000, 2), to=request)
    who.learn_target(moved.expect(200)).ack()
    other.phone.expect("ACK")
    hang_up(other, who)
    alice.expect_nothing()
    assert_all_is_forgotten(world)


def test_two_phones_inside_talk_through_a_proxy_outside(world: World) -> None:
    """A hairpin: the proxy sends Alice's INVITE back to the mask of Carol, who is registered with it as well."""
    alice, proxy = phones(world)
    carol = ScriptedPhone(world, "lan", "10.1.0.60:5060", "carol")
    register(alice, proxy)
    mask = register(carol, proxy)

    proxy.record_route = [b"<sip:203.0.113.20;lr>"]
    outward = alice.invite(b"sip:carol@203.0.113.20:5060")
    alice.expect(100)
    first = proxy.expect("INVITE")
    upstream = proxy.pick_up(first)
    proxy.contact = b"<" + contact_uri(first) + b">"
    downstream = proxy.invite(mask, first.body, after=outward)
    proxy.expect(100)
    invite = carol.expect("INVITE")
    assert invite.request_uri == b"sip:carol@10.1.0.60:5060"
    callee = carol.pick_up(invite)
    callee.respond(200, body=audio("10.1.0.60", 7000))
    ok = proxy.expect(200)
    proxy.contact = b"<" + contact_uri(ok) + b">"
    upstream.tag = callee.tag
    upstream.respond(200, body=ok.body)
    outward.learn(alice.expect(200)).ack()
    proxy.expect("ACK")
    downstream.learn(ok).ack()
    carol.expect("ACK")
    assert len(world.lan_side.plane.held) == 2
    assert len(world.public_side.plane.held) == 2

    callee.bye()
    bye = proxy.expect("BYE")
    assert values(bye, "route") == [b"<sip:203.0.113.20;lr>"]
    popped = bye.raw.replace(b"Route: <sip:203.0.113.20;lr>\r\n", b"")
    world.public(
        "203.0.113.20:5060", popped.replace(b"Via: ", b"Via: SIP/2.0/UDP 203.0.113.20;branch=z9hG4bKpx\r\nVia: ")
    )
    alice.answer(alice.expect("BYE"), 200)
    back = proxy.expect(200)
    world.public("203.0.113.20:5060", back.raw.replace(back.all("via")[0].value, b"", 1).replace(b"Via: \r\n", b"", 1))
    carol.expect(200)
    assert_all_is_forgotten(world)


def test_a_proxy_that_steps_out_of_the_way_of_a_hairpin(world: World) -> None:
    """Without its Record-Route what Alice and Carol send each other comes from us to ourselves."""
    alice = ScriptedPhone(world, "lan", "10.1.0.50:5060", "alice")
    carol = ScriptedPhone(world, "lan", "10.1.0.60:5060", "carol")
    proxy = ScriptedPhone(world, "public", "203.0.113.20:5060", "bob")
    ourselves = ScriptedPhone(world, "public", "203.0.113.10:5060", "us")
    mask = register(carol, proxy)
    outward = alice.invite(b"sip:carol@203.0.113.20:5060")
    alice.expect(100)
    first = proxy.expect("INVITE")
    proxy.identity = b"<sip:alice@example.com>"
    proxy.contact = b"<" + contact_uri(first) + b">"
    upstream = proxy.pick_up(first)
    downstream = proxy.invite(mask, first.body, after=outward)
    proxy.expect(100)
    # Like any proxy it passes on the route set that it got, with ours on the bottom.
    callee = carol.pick_up(carol.expect("INVITE"))
    callee.respond(200, body=audio("10.1.0.60", 7000))
    ok = proxy.expect(200)
    proxy.contact = b"<" + contact_uri(ok) + b">"
    upstream.tag = callee.tag
    upstream.respond(200, body=ok.body)
    outward.learn(alice.expect(200)).ack()
    ourselves.reflect()
    carol.expect("ACK")
    assert downstream.call_id == callee.call_id
    callee.bye()
    ourselves.reflect()
    outward.respond(200, to=alice.expect("BYE"))
    ourselves.reflect()
    carol.expect(200)
    assert_all_is_forgotten(world)
