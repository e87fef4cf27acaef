"""Way A: phones inside with the agent as their outbound proxy, their registrar outside.

What the outside sees is the server alone; what a phone hears is the other phone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from field.rig.baresip import Phone
from field.rig.capture import Packet
from field.rig.conversation import TALK_S, assert_both_heard, converse
from field.rig.kamailio import Kamailio
from field.rig.network import Network
from field.rig.verdicts import Watch, watched
from field.rig.voices import assert_heard, only_stream
from field.rig.wallpass import wallpass_pair

pytestmark = [pytest.mark.field, pytest.mark.real("call-basic", "baresip", "kamailio")]

SERVER, AGENT, REGISTRAR = "203.0.113.10", "10.1.0.2", "203.0.113.20"


@dataclass(frozen=True, slots=True)
class Office:
    alice: Phone
    dave: Phone
    carol: Phone
    registration: Watch


@pytest.fixture(scope="module")
def office(network: Network, folder: Path) -> Iterator[Office]:
    """Alice and Dave inside, Carol outside, all registered at itsp.example."""
    with ExitStack() as running:
        start = running.enter_context
        start(Kamailio(network.registrar, folder, "registrar"))
        start(wallpass_pair(network, folder))
        carol = start(Phone(network.carol, folder, "carol", "itsp.example", outbound=REGISTRAR))
        carol.registered()
        with watched(network, folder) as registration:
            alice = start(Phone(network.alice, folder, "alice", "itsp.example", outbound=AGENT))
            dave = start(Phone(network.dave, folder, "dave", "itsp.example", outbound=AGENT))
            alice.registered()
            dave.registered()
        yield Office(alice, dave, carol, registration)


def header(packet: Packet, name: str) -> str:
    """The value of the first such header."""
    found = re.search(rf"^{name}[ \t]*:[ \t]*(.*?)\r?$", packet.payload.decode(), re.MULTILINE | re.IGNORECASE)
    assert found, f"no {name} in {packet.payload!r}"
    return found[1]


def contact(packet: Packet) -> str:
    """The URI of its Contact."""
    return header(packet, "Contact").partition("<")[2].partition(">")[0]


def sip_from(packets: list[Packet], kind: str, source: str, target: str) -> list[Packet]:
    return [packet for packet in packets if (packet.sip, packet.source, packet.target) == (kind, source, target)]


def test_registration_names_only_the_server(office: Office) -> None:
    """S4-2, S4-9: the registrar learns an address that it can reach, two phones two different ones."""
    registers = sip_from(office.registration.internet.packets, "REGISTER", SERVER, REGISTRAR)
    contacts = {header(packet, "To"): contact(packet) for packet in registers}
    assert len(contacts) == 2
    assert len(set(contacts.values())) == 2
    for uri in contacts.values():
        assert re.fullmatch(rf"sip:[^@]+@{re.escape(SERVER)}(:5060)?(;.*)?", uri), uri
    answers = sip_from(office.registration.lan.packets, "200", AGENT, "10.1.0.50")
    assert "<sip:alice-" in header(answers[-1], "Contact"), "the phone finds its own contact in the answer"


@pytest.mark.parametrize("who_hangs_up", ["alice", "carol"])
def test_call_out(office: Office, network: Network, folder: Path, who_hangs_up: str) -> None:
    """S4-4, S4-11: the firewall lets TCP 443 out to the server and nothing else, and nobody tried anything else."""
    with watched(network, folder) as watch:
        converse(office.alice, office.carol, "sip:carol@itsp.example", who_hangs_up)
    assert_both_heard(office.alice, office.carol)
    assert_media_between(watch, "10.1.0.50", "203.0.113.40")


@pytest.mark.parametrize("who_hangs_up", ["alice", "carol"])
def test_call_in(office: Office, network: Network, folder: Path, who_hangs_up: str) -> None:
    with watched(network, folder) as watch:
        converse(office.carol, office.alice, "sip:alice@itsp.example", who_hangs_up)
    assert_both_heard(office.alice, office.carol)
    assert_media_between(watch, "10.1.0.50", "203.0.113.40")
    registered = sip_from(office.registration.lan.packets, "REGISTER", "10.1.0.50", AGENT)
    (invite,) = sip_from(watch.lan.packets, "INVITE", AGENT, "10.1.0.50")
    request_uri = invite.payload.split(b" ")[1].decode()
    assert request_uri == contact(registered[-1]), "S4-2: called by the very URI that it registered"


def test_two_phones_on_one_port_are_told_apart(office: Office, network: Network, folder: Path) -> None:
    """S4-5: both listen on 5060; the call reaches the one that was meant."""
    with watched(network, folder) as watch:
        converse(office.carol, office.dave, "sip:dave@itsp.example", "dave")
    assert_both_heard(office.dave, office.carol)
    assert sip_from(watch.lan.packets, "INVITE", AGENT, "10.1.0.50") == []


def assert_media_between(watch: Watch, inside: str, outside: str) -> None:
    """On the wire at either ear: one stream each, from our end's one port, and back to that same port (RFC 4961)."""
    to_inside, to_outside = only_stream(watch.lan.packets, inside), only_stream(watch.internet.packets, outside)
    assert_heard(to_inside, "carol", TALK_S - 0.4)
    assert_heard(to_outside, "alice", TALK_S - 0.4)
    assert to_inside.source[0] == AGENT
    assert to_outside.source[0] == SERVER
    assert only_stream(watch.lan.packets, AGENT).target == to_inside.source
    assert only_stream(watch.internet.packets, SERVER).target == to_outside.source
