"""Way C: a PBX inside that is the registrar of acme.example, and a remote worker behind a home router of his own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from field.rig.baresip import Phone
from field.rig.conversation import TALK_S, assert_both_heard, converse
from field.rig.kamailio import Kamailio
from field.rig.network import Network
from field.rig.verdicts import watched
from field.rig.voices import assert_heard, only_stream
from field.rig.wallpass import wallpass_pair

pytestmark = [pytest.mark.field, pytest.mark.real("call-basic", "baresip", "kamailio")]

SERVER = "203.0.113.10"
HOME = "198.51.100.7"


@dataclass(frozen=True, slots=True)
class Office:
    alice: Phone
    bob: Phone


@pytest.fixture(scope="module")
def office(network: Network, folder: Path) -> Iterator[Office]:
    """Alice at the PBX inside, Bob at the same PBX from home: his phone only knows the server's public address."""
    with ExitStack() as running:
        start = running.enter_context
        tenant = ["--domain", "acme.example"]
        start(wallpass_pair(network, folder, tenant=tenant, lan='pbx = "sip:10.1.0.5:5060"'))
        start(Kamailio(network.pbx, folder, "pbx"))
        alice = start(Phone(network.alice, folder, "alice", "acme.example", outbound="10.1.0.5"))
        alice.registered()
        with watched(network, folder):
            bob = start(Phone(network.bob, folder, "bob", "acme.example", outbound=SERVER))
            bob.registered()
        yield Office(alice, bob)


@pytest.mark.parametrize("who_hangs_up", ["alice", "bob"])
def test_remote_worker_is_called(office: Office, network: Network, folder: Path, who_hangs_up: str) -> None:
    with watched(network, folder) as watch:
        converse(office.alice, office.bob, "sip:bob@acme.example", who_hangs_up)
    assert_both_heard(office.alice, office.bob)
    assert_heard(only_stream(watch.internet.packets, HOME), "alice", TALK_S - 0.4)


@pytest.mark.parametrize("who_hangs_up", ["alice", "bob"])
def test_remote_worker_calls(office: Office, network: Network, folder: Path, who_hangs_up: str) -> None:
    with watched(network, folder) as watch:
        converse(office.bob, office.alice, "sip:alice@acme.example", who_hangs_up)
    assert_both_heard(office.alice, office.bob)
    assert_heard(only_stream(watch.internet.packets, HOME), "alice", TALK_S - 0.4)
