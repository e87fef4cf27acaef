"""Two phones on the same side call each other through a registrar on the other one: two calls of one session."""

from __future__ import annotations

import pytest
from support.flow_table import flow
from support.ladder import Dialog, places_in
from support.stage import Stage, Talk


def hairpin(stage: Stage) -> Talk:
    """In way A two phones inside call by the registrar outside, in B by the trunk, in C two remote workers by the PBX."""
    if stage.way == "C":
        carol = stage.outside_phone("carol", "192.168.78.10:5060", seen_from="198.51.100.8:40002", port=7600)
        uri = carol.aor
    else:
        carol = stage.inside_phone("carol", "10.1.0.60:5060", port=6600)
        uri = carol.aor if stage.way == "A" else "sip:carol@10.1.0.2"
    if stage.way == "B":  # it knows whose number carol's is: ours
        trunk = stage.trunk_proxy()
        trunk.bindings[f"sip:carol@{trunk.domain}".encode()] = {b"sip:carol@203.0.113.10": 3600}
    stage.callee = carol
    invite = stage.caller.invite(uri)
    arrived = carol.got("INVITE")
    carol.answer(arrived, 180)
    stage.caller.got(180)
    callee = carol.accept(arrived)
    ok = stage.caller.got(200)
    caller = Dialog.of_caller(stage.caller, invite, ok)
    caller.ack()
    carol.got("ACK")
    return Talk(caller, callee, invite, arrived, ok)


@flow("hairpin", ways="AB", callers=["inside"], basic=True)
@pytest.mark.parametrize("who", ["caller", "callee"])
def test_inside(stage: Stage, who: str) -> None:
    """S4-3, A9: a spiral is no loop; both hear each other, re-INVITE and BYE of either find the other."""
    talk_and_end(stage, who)


@flow("hairpin", ways="C", callers=["outside"], basic=True)
@pytest.mark.parametrize("who", ["caller", "callee"])
def test_two_remote_workers(stage: Stage, who: str) -> None:
    """S4-3, A9: both behind NATs of their own, the PBX inside joins them."""
    talk_and_end(stage, who)


@flow("hairpin", ways="A", callers=["inside"])
@pytest.mark.parametrize("who", ["caller", "callee"])
def test_a_digest_names_the_uri_that_the_registrar_sees(stage: Stage, who: str) -> None:
    """H1, C4, S4-9: a colleague inside keeps the mask that the outside knows him by, or a phone would name his inside
    address in the ``uri`` of its credentials."""
    talk = hairpin(stage)
    by = getattr(talk, who)
    assert b"@203.0.113.10:5060" in by.target
    talk.hang_up(by)
    seen = [message for message in stage.registrar.seen if message.is_request and message.method == "BYE"]
    assert {message.request_uri for message in seen} >= {by.target}


def talk_and_end(stage: Stage, who: str) -> None:
    talk = hairpin(stage)
    stage.assert_audio()
    one = getattr(talk, who)
    other = talk.other(one)
    before = [places_in(phone.agreed[1]) for phone in (one.phone, other.phone)]
    talk.offer(one, one.phone.sdp(direction="sendonly", version=2), other.phone.sdp(direction="recvonly", version=2))
    talk.offer(other, other.phone.sdp(version=3), one.phone.sdp(port=6910, version=3))
    assert [places_in(phone.agreed[1]) for phone in (one.phone, other.phone)] == before
    stage.assert_audio()
    stage.world.wait(65)
    stage.assert_quiet()
    stage.callee.got_nothing()
    talk.hang_up(one)
    stage.callee.got_nothing()
    stage.assert_empty()
