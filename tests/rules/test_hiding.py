"""``hide = "basic"`` beside ``"full"``: what each side sees of the other, and that calls go either way (B2, D3)."""

from __future__ import annotations

import re

import pytest
from support.ladder import uri_in
from support.ladders import Talk, answered, assert_all_is_forgotten, hang_up, ring_between
from support.pair import World
from support.scripted_phone import ScriptedPhone, audio, values
from support.stage import Stage

from tunnel.sip.message import Message

ways = pytest.mark.parametrize("way", ["A", "B", "C"])
both_ways = pytest.mark.parametrize("caller_inside", [True, False], ids=["out", "in"])
both_levels = pytest.mark.parametrize("hide_full", [True, False], ids=["full", "basic"])

INSIDE = re.compile(rb"10\.1\.[0-9]+\.[0-9]+")
LAN_PROXIES = [b"<sip:10.1.0.8;lr>", b"<sip:10.1.0.9;lr;x=y>"]  # the nearest to the agent first
PUBLIC_PROXIES = [b"<sip:203.0.113.20;lr>", b"<sip:203.0.113.30;lr;ftag=x>"]


@ways
@both_ways
@both_levels
def test_a_call_with_requests_in_the_dialog_both_ways(way: str, caller_inside: bool, hide_full: bool) -> None:
    """B2, D3: at either level answers find back by Via and in-dialog requests by Route, from both parties."""
    stage = Stage(way, caller_inside=caller_inside, hide_full=hide_full)
    talk = stage.talk()
    stage.assert_audio()
    for speaker, listener in ((talk.caller, talk.callee), (talk.callee, talk.caller)):
        speaker.send("INFO", headers=["Info-Package: x"])
        listener.phone.answer(listener.phone.got("INFO"), 200)
        speaker.phone.got(200)
        speaker.send("INVITE", body=speaker.phone.sdp(version=2))
        listener.phone.answer(listener.phone.got("INVITE"), 200, body=listener.phone.sdp(version=2))
        speaker.phone.got(200)
        speaker.ack()
        listener.phone.got("ACK")
    stage.assert_audio()
    talk.hang_up(talk.callee)
    stage.assert_empty()


@ways
@both_ways
@both_levels
def test_contact_and_media_never_name_an_inside_address(way: str, caller_inside: bool, hide_full: bool) -> None:
    """C1, S4-9: at either level what goes out has our address in Contact and SDP; "full" has it everywhere."""
    stage = Stage(way, caller_inside=caller_inside, hide_full=hide_full)
    talk = stage.talk()
    seen = [talk.arrived if caller_inside else talk.answer]
    for message in seen:
        assert not INSIDE.search(uri_in(message.values("contact")[0].text))
        assert not INSIDE.search(message.body)


def via_hosts(message: Message) -> list[bytes]:
    return [value.text.split()[1].split(b";")[0] for value in message.values("via")]


@both_levels
@both_ways
def test_the_vias_of_the_other_side_stay_behind_or_below(caller_inside: bool, hide_full: bool) -> None:
    """B2: "full" strips them and restores them exactly in answers; "basic" leaves them unedited below ours."""
    stage = Stage("B", caller_inside=caller_inside, hide_full=hide_full)
    invite = stage.invite()
    arrived = stage.callee.got("INVITE")
    ours = b"203.0.113.10:5060" if caller_inside else b"10.1.0.2:5060"
    own_side = [] if caller_inside else [b"10.1.0.5:5060"]  # the PBX inside stands between the agent and alice
    hosts = via_hosts(arrived)
    assert hosts[: len(own_side) + 1] == [*own_side, ours]
    below = hosts[len(own_side) + 1 :]
    if hide_full:
        assert below == []
    else:
        assert below[-1] == invite.values("via")[0].text.split()[1].split(b";")[0]
        sent = invite.values("via")[0].text.split(b";rport")[0]
        assert arrived.values("via")[-1].text.startswith(sent)
    stage.callee.answer(arrived, 180)
    answer = stage.caller.got(180)
    (via,) = answer.values("via")
    assert via.text.startswith(invite.values("via")[0].text.split(b";rport")[0])


@both_levels
@both_ways
def test_the_route_sets_that_each_party_sees(caller_inside: bool, hide_full: bool) -> None:
    """D3, T5: "full": each sees its own side's proxies and our nearer face; "basic": those of the other side as well."""
    world = World(hide_full=hide_full)
    alice = ScriptedPhone(
        world, "lan", "10.1.0.8:5060", "alice", contact="<sip:alice@10.1.0.50:5060>", record_route=LAN_PROXIES
    )
    bob = ScriptedPhone(
        world, "public", "203.0.113.20:5060", "bob", contact="<sip:bob@203.0.113.77>", record_route=PUBLIC_PROXIES
    )
    if not caller_inside:
        alice.record_route, alice.address = [], "10.1.0.50:5060"
    talk = ring_between(alice, bob, incoming=not caller_inside)
    agent, server = b"<sip:10.1.0.2:5060;lr>", b"<sip:203.0.113.10:5060;lr>"
    near, far = (agent, server) if caller_inside else (server, agent)
    caller, callee = (alice, bob) if caller_inside else (bob, alice)
    assert values(talk.callee.came, "record-route") == [far, *([] if hide_full else caller.record_route)]
    talk = answered_and_seen(talk, [*([] if hide_full else callee.record_route[::-1]), near, *caller.record_route])
    hang_up(talk.callee, talk.caller)
    assert_all_is_forgotten(world)


def answered_and_seen(talk: Talk, seen: list[bytes]) -> Talk:
    """The call is answered; the caller sees ``seen`` as Record-Route."""
    talk.callee.respond(200, body=audio(talk.callee.phone.host, 7000))
    ok = talk.caller.phone.expect(200)
    assert values(ok, "record-route") == seen
    talk.caller.learn(ok).ack()
    talk.callee.phone.expect("ACK")
    return talk


def test_levels_are_independent_of_each_other() -> None:
    """B2: the agent may hide all of the outside while the server shows the Vias of the inside to its carrier."""
    world = World(hide_full=True)
    world.hide_full = False
    world.public_side.half.hide_full = False
    world.public_side.half.rewriter._hide_full = False
    alice = ScriptedPhone(world, "lan", "10.1.0.50:5060", "alice")
    bob = ScriptedPhone(world, "public", "203.0.113.20:5060", "bob")
    talk = answered(ring_between(alice, bob))
    assert len(values(talk.callee.came, "via")) == 2
    hang_up(talk.callee, talk.caller)
    assert_all_is_forgotten(world)
