"""Calls of phones inside with the outside: set-up, give-up, change and end, seen from both networks (way A)."""

from __future__ import annotations

import pytest
from support.ladders import Talk, answered, assert_all_is_forgotten, hang_up, phones, register, ring, ring_between
from support.pair import World
from support.scripted_phone import ScriptedPhone, audio, media_port, values

from tunnel.sip.half import CallAnswered, CallClosed, CallOpened


@pytest.fixture
def world() -> World:
    return World()


both_ways = pytest.mark.parametrize("incoming", [False, True], ids=["out", "in"])
both_parties = pytest.mark.parametrize("by_caller", [True, False], ids=["caller", "callee"])


@both_ways
@both_parties
def test_a_call_from_ring_to_bye(world: World, incoming: bool, by_caller: bool) -> None:
    talk = ring(world, incoming=incoming)
    talk.callee.respond(180, "Ringing")
    assert talk.caller.phone.expect(180).reason == b"Ringing"
    answered(talk)
    world.wait(60)
    hang_up(*((talk.caller, talk.callee) if by_caller else (talk.callee, talk.caller)))
    for side in (world.lan_side, world.public_side):
        assert [type(event) for event in side.events] == [CallOpened, CallAnswered, CallClosed]
        assert set(side.plane.released.values()) == {5.0}
    assert_all_is_forgotten(world)


@both_ways
def test_neither_network_sees_an_address_of_the_other(world: World, incoming: bool) -> None:
    talk = ring(world, incoming=incoming)
    inside, outside = (talk.callee, talk.caller) if incoming else (talk.caller, talk.callee)
    talk.callee.respond(200, body=audio(talk.callee.phone.host, 7000))
    response = talk.caller.phone.expect(200)
    request = talk.callee.came
    assert request is not None
    to_inside, to_outside = (request, response) if incoming else (response, request)
    assert b"10.1.0." not in to_outside.raw.replace(b"sip:alice@10.1.0.50:5060", b"")
    for message in (to_inside, to_outside):
        assert len(message.all("via")) == 1
    assert b"203.0.113.20" not in to_inside.body
    assert inside.phone.host.encode() not in to_outside.body
    assert outside.phone.host.encode() not in to_inside.body


@both_ways
def test_both_parties_keep_their_ports_when_one_holds_and_resumes(world: World, incoming: bool) -> None:
    talk = ring(world, incoming=incoming)
    offered = media_port(talk.callee.came)
    talk.callee.respond(200, body=audio(talk.callee.phone.host, 7000))
    response = talk.caller.phone.expect(200)
    replied = media_port(response)
    talk.caller.learn(response).ack()
    talk.callee.phone.expect("ACK")
    for version, (who, other) in enumerate([(talk.caller, talk.callee), (talk.callee, talk.caller)] * 2, start=2):
        direction = "sendonly" if version < 4 else "sendrecv"
        shown_to_other, shown_to_who = (offered, replied) if who is talk.caller else (replied, offered)
        who.reinvite(audio(who.phone.host, 6000 if who is talk.caller else 7000, version, direction))
        who.phone.expect(100)
        request = other.phone.expect("INVITE")
        assert media_port(request) == shown_to_other
        assert f"a={direction}".encode() in request.body
        other.respond(200, body=audio(other.phone.host, 7000 if who is talk.caller else 6000, version), to=request)
        ok = who.phone.expect(200)
        assert media_port(ok) == shown_to_who
        who.learn_target(ok).ack()
        assert other.phone.expect("ACK").cseq[0] == who.cseq
    hang_up(talk.callee, talk.caller)
    assert_all_is_forgotten(world)


@both_ways
@both_parties
@pytest.mark.parametrize("status", [488, 491, 500])
def test_a_reinvite_that_fails_leaves_the_media_as_they_were(
    world: World, incoming: bool, by_caller: bool, status: int
) -> None:
    talk = answered(ring(world, incoming=incoming))
    who, other = (talk.caller, talk.callee) if by_caller else (talk.callee, talk.caller)
    before = [dict(side.plane.ties) for side in (world.lan_side, world.public_side)]
    who.reinvite(audio(who.phone.host, 9000, 2))
    who.phone.expect(100)
    other.respond(status, to=other.phone.expect("INVITE"))
    other.phone.expect("ACK")
    who.ack_failure(who.phone.expect(status))
    assert [dict(side.plane.ties) for side in (world.lan_side, world.public_side)] == before
    hang_up(who, other)
    assert_all_is_forgotten(world)


@both_ways
def test_a_reinvite_that_nobody_answers_leaves_the_media_as_they_were(world: World, incoming: bool) -> None:
    talk = answered(ring(world, incoming=incoming))
    before = [dict(side.plane.ties) for side in (world.lan_side, world.public_side)]
    talk.caller.reinvite(audio(talk.caller.phone.host, 9000, 2))
    world.wait(40)
    talk.caller.ack_failure(next(m for m in talk.caller.phone.take() if m.status == 408))
    assert [dict(side.plane.ties) for side in (world.lan_side, world.public_side)] == before
    talk.callee.phone.take()
    hang_up(talk.callee, talk.caller)
    assert_all_is_forgotten(world)


@both_ways
@pytest.mark.parametrize("rings", [True, False])
def test_a_caller_who_gives_up(world: World, incoming: bool, rings: bool) -> None:
    talk = ring(world, incoming=incoming)
    if rings:
        talk.callee.respond(180)
        talk.caller.phone.expect(180)
    talk.caller.cancel()
    talk.caller.phone.expect(200)
    if not rings:
        talk.callee.phone.expect_nothing()  # a CANCEL must wait for a provisional response
        talk.callee.respond(100)
    cancel = talk.callee.phone.expect("CANCEL")
    assert talk.callee.came is not None
    assert cancel.top_via.branch == talk.callee.came.top_via.branch
    assert cancel.request_uri == talk.callee.came.request_uri
    talk.callee.phone.answer(cancel, 200)
    talk.callee.respond(487, "Request Terminated")
    talk.callee.phone.expect("ACK")
    talk.caller.ack_failure(talk.caller.phone.expect(487))
    for side in (world.lan_side, world.public_side):
        assert side.plane.held == {}
    assert_all_is_forgotten(world)


@both_ways
def test_an_answer_that_crosses_the_cancel(world: World, incoming: bool) -> None:
    talk = ring(world, incoming=incoming)
    talk.callee.respond(180)
    talk.caller.phone.expect(180)
    talk.caller.cancel()
    talk.caller.phone.expect(200)
    cancel = talk.callee.phone.expect("CANCEL")
    answered(talk)
    talk.callee.phone.answer(cancel, 481)
    hang_up(talk.caller, talk.callee)
    assert_all_is_forgotten(world)


def test_a_call_given_up_while_its_name_is_looked_up(world: World) -> None:
    alice, _ = phones(world)
    lookups = []
    world.public_side.proxy.take_lookups, take = (
        lambda: lookups.extend(take()) or [],
        world.public_side.proxy.take_lookups,
    )  # type: ignore[method-assign,func-returns-value]
    call = alice.invite(b"sip:bob@slow.example")
    alice.expect(100)
    call.cancel()
    call.ack_failure(alice.expect(200, 487))
    world.public_side.proxy.resolved(lookups[0].key, [], world.now)
    world.settle()
    assert world.take_public() == []
    assert_all_is_forgotten(world)


@both_ways
@pytest.mark.parametrize("status", [404, 480, 486, 603])
def test_a_call_that_is_refused(world: World, incoming: bool, status: int) -> None:
    talk = ring(world, incoming=incoming)
    talk.callee.respond(status, "No")
    talk.callee.phone.expect("ACK")
    failure = talk.caller.phone.expect(status)
    assert failure.reason == b"No"
    talk.caller.ack_failure(failure)
    for side in (world.lan_side, world.public_side):
        assert side.events[-1] == CallClosed(side.events[0].call, status, 0.0)
        assert set(side.plane.released.values()) <= {2.0}
    assert_all_is_forgotten(world)


def test_a_redirection_names_its_target_as_it_is(world: World) -> None:
    talk = ring(world)
    talk.callee.respond(302, more=[b"Contact: <sip:bob@198.51.100.9>;q=1, <sip:bob@elsewhere.example>"])
    moved = talk.caller.phone.expect(302)
    assert values(moved, "contact") == [b"<sip:bob@198.51.100.9>;q=1", b"<sip:bob@elsewhere.example>"]


def test_a_redirection_to_an_inside_phone_can_be_followed(world: World) -> None:
    talk = ring(world, incoming=True)
    talk.callee.respond(302, more=[b"Contact: <sip:desk@10.1.0.51:5060>, <sip:mobile@198.51.100.9>"])
    moved = talk.caller.phone.expect(302)
    desk, mobile = values(moved, "contact")
    assert mobile == b"<sip:mobile@198.51.100.9>"
    assert b"10.1.0." not in desk
    talk.caller.ack_failure(moved)
    talk.caller.phone.invite(desk[1:-1])
    other = ScriptedPhone(world, "lan", "10.1.0.51:5060", "desk")
    assert other.expect("INVITE").request_uri == b"sip:desk@10.1.0.51:5060"


@both_ways
def test_a_challenged_call(world: World, incoming: bool) -> None:
    """H3: a challenge passes as it came, where its sender may ask for credentials."""
    world.set_tenant(trunks=("203.0.113.20",))
    talk = ring(world, incoming=incoming)
    challenge = b'Proxy-Authenticate: Digest realm="r", nonce="n", algorithm=MD5'
    talk.callee.respond(407, more=[challenge])
    talk.callee.phone.expect("ACK")
    refused = talk.caller.phone.expect(407)
    assert challenge in refused.raw
    talk.caller.ack_failure(refused)
    credentials = b'Proxy-Authorization: Digest username="a", realm="r", nonce="n", uri="sip:x", response="0"'
    again = talk.caller.phone.invite(talk.caller.target, more=[credentials], after=talk.caller)
    talk.caller.phone.expect(100)
    invite = talk.callee.phone.expect("INVITE")
    assert credentials in invite.raw
    assert invite.call_id == talk.caller.call_id
    assert invite.cseq[0] == 2
    second = answered(Talk(world, again, talk.callee.phone.pick_up(invite)))
    hang_up(second.caller, second.callee)
    assert_all_is_forgotten(world)


@both_ways
def test_early_media_come_from_the_port_of_the_answer(world: World, incoming: bool) -> None:
    talk = ring(world, incoming=incoming)
    body = audio(talk.callee.phone.host, 7000)
    talk.callee.respond(183, body=body)
    early = talk.caller.phone.expect(183)
    talk.callee.respond(200, body=body)
    late = talk.caller.phone.expect(200)
    assert early.body == late.body
    talk.caller.learn(late).ack()
    talk.callee.phone.expect("ACK")
    hang_up(talk.caller, talk.callee)
    assert_all_is_forgotten(world)


@both_ways
def test_an_offer_that_comes_with_the_answer(world: World, incoming: bool) -> None:
    alice, bob = phones(world)
    uri = register(alice, bob) if incoming else b"sip:bob@203.0.113.20"
    caller_phone, callee_phone = (bob, alice) if incoming else (alice, bob)
    caller = caller_phone.invite(uri, b"")
    caller_phone.expect(100)
    callee = callee_phone.pick_up(callee_phone.expect("INVITE"))
    callee.respond(200, body=audio(callee_phone.host, 7000))
    offer = caller_phone.expect(200)
    caller.learn(offer).ack(audio(caller_phone.host, 6000))
    ack = callee_phone.expect("ACK")
    assert media_port(ack) != 6000
    assert caller_phone.host.encode() not in ack.body
    hang_up(caller, callee)
    assert_all_is_forgotten(world)


@both_ways
def test_an_update_moves_the_media_of_an_early_dialog(world: World, incoming: bool) -> None:
    talk = ring(world, incoming=incoming)
    talk.callee.respond(183, body=audio(talk.callee.phone.host, 7000), more=[b"Require: 100rel", b"RSeq: 1"])
    early = talk.caller.phone.expect(183)
    talk.caller.learn(early).prack(early)
    talk.callee.respond(200, to=talk.callee.phone.expect("PRACK"))
    talk.caller.phone.expect(200)
    talk.caller.request(
        "UPDATE", audio(talk.caller.phone.host, 6100, 2), more=[b"Contact: " + talk.caller.phone.contact]
    )
    update = talk.callee.phone.expect("UPDATE")
    assert talk.callee.came is not None
    assert media_port(update) == media_port(talk.callee.came)
    talk.callee.respond(200, body=audio(talk.callee.phone.host, 7000, 2), to=update)
    assert media_port(talk.caller.phone.expect(200)) == media_port(early)
    side = world.public_side if incoming else world.lan_side
    assert [aim.rtp.port for aim in side.plane.ties.values() if aim is not None and aim.rtp is not None] == [6100]
    talk.callee.respond(200)
    talk.caller.learn(talk.caller.phone.expect(200)).ack()
    talk.callee.phone.expect("ACK")
    hang_up(talk.caller, talk.callee)
    assert_all_is_forgotten(world)


@both_ways
def test_other_bodies_of_a_call_are_left_alone(world: World, incoming: bool) -> None:
    talk = answered(ring(world, incoming=incoming))
    ports = [dict(side.plane.ties) for side in (world.lan_side, world.public_side)]
    body = audio("192.0.2.1", 1234)
    talk.callee.request("INFO", body)
    info = talk.caller.phone.expect("INFO")
    assert info.body == body
    talk.caller.respond(200, to=info)
    talk.callee.phone.expect(200)
    assert [dict(side.plane.ties) for side in (world.lan_side, world.public_side)] == ports


@pytest.mark.parametrize(
    ("kind", "body", "start"),
    [
        (b"application/sdp", b"m=nonsense", b"SIP/2.0 400 Bad Request\r\n"),
        (b"application/sdp\r\nContent-Encoding: gzip", b"\x1f\x8b", b"SIP/2.0 415 Unsupported Media Type\r\n"),
        (
            b"application/sdp",
            audio("203.0.113.9", 4000).replace(b"203.0.113.9", b"224.2.1.1/127"),
            b"SIP/2.0 488 Not Acceptable Here\r\n",
        ),
        (b"application/pkcs7-mime", b"\x30\x80", b"SIP/2.0 493 Undecipherable\r\n"),
    ],
    ids=["400", "415", "488", "493"],
)
def test_media_that_cannot_be_relayed_are_refused_by_their_name(
    world: World, kind: bytes, body: bytes, start: bytes
) -> None:
    """A8, K: an encoded body is refused with what we would take."""
    alice, _ = phones(world)
    call = alice.invite(b"sip:bob@203.0.113.20", body, kind=kind)
    refusal = alice.expect(100, refusal_status := int(start.split()[1]))
    assert refusal.raw.startswith(start)
    assert refusal.status == refusal_status
    assert refusal.all("warning")
    assert refusal.lines("accept-encoding") == ([b"Accept-Encoding: identity"] if refusal_status == 415 else [])
    call.ack_failure(refusal)
    assert world.take_public() == []
    assert_all_is_forgotten(world)


@pytest.mark.parametrize("inside", ["udp", "tcp"])
@pytest.mark.parametrize("outside", ["udp", "tcp"])
@both_ways
def test_any_transport_on_either_face(world: World, incoming: bool, inside: str, outside: str) -> None:
    alice = ScriptedPhone(
        world, "lan", "10.1.0.50:5060", "alice", transport=inside, connection=1 if inside == "tcp" else 0
    )
    bob = ScriptedPhone(
        world, "public", "203.0.113.20:5060", "bob", transport=outside, connection=2 if outside == "tcp" else 0
    )
    talk = ring_between(alice, bob, incoming=incoming)
    assert talk.callee.came is not None
    callee_transport = talk.callee.phone.transport
    assert talk.callee.came.top_via.transport.lower() == callee_transport
    assert (b";transport=tcp" in values(talk.callee.came, "record-route")[0]) == (callee_transport == "tcp")
    answered(talk)
    hang_up(talk.callee, talk.caller)
    assert_all_is_forgotten(world)


def test_a_connection_lost_after_the_answer_does_not_end_the_call(world: World) -> None:
    alice, _ = phones(world)
    bob = ScriptedPhone(world, "public", "203.0.113.20:5060", "bob", transport="tcp", connection=2)
    talk = answered(ring_between(alice, bob))
    flow = world.public_side.half.calls.get(next(iter(world.public_side.half.calls)).handle)
    assert flow is not None
    world.public_side.proxy.transport_failed("tcp", flow.dialogs[talk.callee.tag].party.flow.remote, 2, world.now)  # type: ignore[union-attr]
    world.settle()
    assert alice.take() == []
    hang_up(talk.caller, talk.callee)
    assert_all_is_forgotten(world)
