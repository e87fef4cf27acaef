"""Whose word counts for who somebody is, and who learns of it (SIP-RULES E, RFC 3325)."""

from __future__ import annotations

import pytest
from support.ladder import Dialog, Phone
from support.pair import World

ASSERTED = ["P-Asserted-Identity: <sip:boss@acme.example>", "Remote-Party-ID: <sip:boss@acme.example>;screen=yes"]
OTHERS = ["P-Preferred-Identity: <sip:boss@acme.example>", "Diversion: <sip:d@acme.example>", "Privacy: id;header"]


def test_what_an_untrusted_caller_asserts_is_removed_on_entry(world: World, pbx: Phone) -> None:
    """E: P-Asserted-Identity, RFC 3325: from an untrusted outside peer PAI and RPID go, nothing else."""
    stranger = Phone(world, "198.51.100.66:5060", "stranger")
    stranger.invite("sip:100@acme.example", headers=[*ASSERTED, *OTHERS])
    arrived = pbx.got("INVITE")
    assert not arrived.all("p-asserted-identity")
    assert not arrived.all("remote-party-id")
    assert arrived.lines("p-preferred-identity") + arrived.lines("diversion") + arrived.lines("privacy") == [
        other.encode() for other in OTHERS
    ]


def test_what_an_untrusted_callee_asserts_is_removed_too(world: World) -> None:
    """E: P-Asserted-Identity: in answers, and in later requests of one who was called."""
    alice = Phone(world, "10.1.0.50:5060", "alice")
    callee = Phone(world, "198.51.100.66:5060", "eve")
    sent = alice.invite("sip:eve@198.51.100.66")
    invite = callee.got("INVITE")
    callee.answer(invite, 200, headers=ASSERTED, body=callee.sdp())
    ok = alice.got(200)
    assert not ok.all("p-asserted-identity")
    assert not ok.all("remote-party-id")
    Dialog.of_caller(alice, sent, ok).ack()
    callee.got("ACK")
    Dialog.of_callee(callee, invite, "eve").send("UPDATE", headers=ASSERTED)
    assert not alice.got("UPDATE").all("p-asserted-identity")


def test_the_word_of_a_trunk_counts_both_ways(world: World, pbx: Phone, trunk: Phone) -> None:
    """E: P-Asserted-Identity: trunks are trusted: identities pass even with Privacy: id, which it will honour itself."""
    headers = [*ASSERTED, *OTHERS]
    pbx.invite("sip:1@10.1.0.2", headers=headers)
    arrived = trunk.got("INVITE")
    assert [arrived.lines(h.split(":")[0].lower())[0] for h in headers] == [h.encode() for h in headers]
    trunk.answer(arrived, 180, headers=ASSERTED)
    assert [pbx.got(180).lines("p-asserted-identity")] == [[ASSERTED[0].encode()]]


@pytest.mark.parametrize(("privacy", "passes"), [("id", False), ("header; ID ;critical", False), ("none", True)])
def test_privacy_is_kept_towards_the_untrusted(world: World, privacy: str, passes: bool) -> None:
    """E: Privacy, RFC 3325 9.3: with Privacy: id the asserted identity goes to nobody untrusted, in requests and answers."""
    alice = Phone(world, "10.1.0.50:5060", "alice")
    eve = Phone(world, "198.51.100.66:5060", "eve")
    headers = [*ASSERTED, f"Privacy: {privacy}"]
    alice.invite("sip:eve@198.51.100.66", headers=headers)
    arrived = eve.got("INVITE")
    assert bool(arrived.all("p-asserted-identity")) is bool(arrived.all("remote-party-id")) is passes
    assert arrived.lines("privacy") == [f"Privacy: {privacy}".encode()]


@pytest.mark.parametrize(("privacy", "passes"), [("id", False), ("none", True)])
def test_privacy_is_kept_in_answers_to_the_untrusted(world: World, pbx: Phone, privacy: str, passes: bool) -> None:
    """E: Privacy: whom the caller reached is named to nobody untrusted either."""
    eve = Phone(world, "198.51.100.66:5060", "eve")
    eve.invite("sip:100@acme.example")
    pbx.answer(pbx.got("INVITE"), 180, headers=[ASSERTED[0], f"Privacy: {privacy}"])
    assert bool(eve.got(180).all("p-asserted-identity")) is passes
