"""Way B: a PBX inside, a carrier outside; the carrier knows the PBX by the server's address, or by its registration."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from field.rig.baresip import Phone
from field.rig.conversation import TALK_S, assert_both_heard, converse
from field.rig.kamailio import Kamailio
from field.rig.network import Network
from field.rig.program import Program, eventually
from field.rig.sipp import Gateway
from field.rig.verdicts import Watch, watched
from field.rig.voices import assert_heard, only_stream
from field.rig.wallpass import wallpass_pair

pytestmark = [pytest.mark.field, pytest.mark.real("call-basic", "baresip", "kamailio", "sipp")]

SERVER, AGENT, REGISTRAR, TRUNK = "203.0.113.10", "10.1.0.2", "203.0.113.20", "203.0.113.30"
LAN = 'pbx = "sip:10.1.0.5:5060"\noutside = "sip:203.0.113.30"'


@dataclass(frozen=True, slots=True)
class Office:
    alice: Phone
    carol: Phone
    registrar: Program


@pytest.fixture(scope="module")
def office(network: Network, folder: Path) -> Iterator[Office]:
    """Alice at the PBX inside, which is a customer of itsp.example; Carol outside, at itsp.example too."""
    with ExitStack() as running:
        start = running.enter_context
        registrar = start(Kamailio(network.registrar, folder, "registrar"))
        start(wallpass_pair(network, folder, tenant=["--trunk", f"sip:{TRUNK}"], lan=LAN))
        start(Kamailio(network.pbx, folder, "pbx", trunk_registration=True))
        alice = start(Phone(network.alice, folder, "alice", "acme.example", outbound="10.1.0.5"))
        carol = start(Phone(network.carol, folder, "carol", "itsp.example", outbound=REGISTRAR))
        alice.registered()
        carol.registered()
        yield Office(alice, carol, registrar)


@pytest.mark.parametrize("who_hangs_up", ["gateway", "alice"])
def test_carrier_calls_the_number_at_the_servers_address(
    office: Office, network: Network, folder: Path, who_hangs_up: str
) -> None:
    """`sip:+49301234@203.0.113.10`, without any token of ours: the trunk is known by its address."""
    with watched(network, folder, excuse_call_id=True) as watch:
        office.alice.forget()
        talk_s = TALK_S if who_hangs_up == "gateway" else None
        with Gateway(network.trunk, folder, number="+49301234", peer=SERVER, talk_s=talk_s) as gateway:
            talk(office.alice, gateway, who_hangs_up)
    assert_alice_and_gateway_heard(office.alice, watch)


@pytest.mark.parametrize(
    ("number", "who_hangs_up"),
    [
        pytest.param("+498912", "alice", id="PBX names the carrier, alice hangs up"),
        pytest.param("+498912", "gateway", id="PBX names the carrier, gateway hangs up"),
        pytest.param("+494034", "alice", id="PBX names the agent, alice hangs up"),
        pytest.param("+494034", "gateway", id="PBX names the agent, gateway hangs up"),
    ],
)
def test_pbx_calls_out(office: Office, network: Network, folder: Path, number: str, who_hangs_up: str) -> None:
    """The Request-URI's host is the carrier's (it goes there) or the agent's own (it goes to `outside`)."""
    with watched(network, folder, excuse_call_id=True) as watch:
        office.alice.forget()
        talk_s = TALK_S if who_hangs_up == "gateway" else None
        with Gateway(network.trunk, folder, talk_s=talk_s) as gateway:
            office.alice.dial(f"sip:{number}@acme.example")
            talk(office.alice, gateway, who_hangs_up)
    assert_alice_and_gateway_heard(office.alice, watch)


@pytest.mark.parametrize("who_hangs_up", ["carol", "alice"])
def test_carrier_calls_the_registered_pbx(office: Office, network: Network, folder: Path, who_hangs_up: str) -> None:
    """The PBX has registered `acme` through the pair; the carrier calls the contact that it was given."""
    eventually(lambda: registrations(office.registrar) >= 2, 10.0, "the PBX's REGISTER, challenged and repeated")
    with watched(network, folder, excuse_call_id=True):
        converse(office.carol, office.alice, "sip:acme@itsp.example", who_hangs_up)
    assert_both_heard(office.alice, office.carol)


@pytest.mark.parametrize("who_hangs_up", ["carol", "alice"])
def test_pbx_calls_a_customer_of_the_carrier(office: Office, network: Network, folder: Path, who_hangs_up: str) -> None:
    """Two challenges in one call, the PBX's and the carrier's: digest passes both ways untouched."""
    with watched(network, folder, excuse_call_id=True):
        converse(office.alice, office.carol, "sip:carol@itsp.example", who_hangs_up)
    assert_both_heard(office.alice, office.carol)


def registrations(registrar: Program) -> int:
    """REGISTERs that have come from the server."""
    return registrar.stderr.count(f"<- {SERVER}:5060 REGISTER")


def talk(alice: Phone, gateway: Gateway, who_hangs_up: str) -> None:
    """From the answer to the end of the call at both of them."""
    alice.await_event("CALL_ESTABLISHED")
    if who_hangs_up == "alice":
        time.sleep(TALK_S)
        alice.hang_up()
    alice.await_event("CALL_CLOSED")
    gateway.finished()


def assert_alice_and_gateway_heard(alice: Phone, watch: Watch) -> None:
    assert_heard(alice.heard(), "gateway", TALK_S - 0.4)
    assert_heard(only_stream(watch.lan.packets, "10.1.0.50"), "gateway", TALK_S - 0.4)
    at_the_gateway = only_stream(watch.internet.packets, TRUNK)
    assert_heard(at_the_gateway, "alice", TALK_S - 0.4)
    assert at_the_gateway.source[0] == SERVER
