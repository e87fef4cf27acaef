"""A phone inside that speaks TLS alone, with a registrar outside on UDP.

This baresip does not look at certificates; tests/system/test_tls_peers.py does.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from field.rig.baresip import Phone
from field.rig.conversation import assert_both_heard, converse
from field.rig.kamailio import Kamailio
from field.rig.network import Network
from field.rig.verdicts import watched
from field.rig.wallpass import wallpass_pair

pytestmark = pytest.mark.field

AGENT, REGISTRAR, ALICE = "10.1.0.2", "203.0.113.20", "10.1.0.50"


@dataclass(frozen=True, slots=True)
class Office:
    alice: Phone
    carol: Phone


@pytest.fixture(scope="module")
def office(network: Network, folder: Path) -> Iterator[Office]:
    """Alice inside by TLS, Carol outside by UDP, both registered at itsp.example."""
    with ExitStack() as running:
        start = running.enter_context
        start(Kamailio(network.registrar, folder, "registrar"))
        start(wallpass_pair(network, folder))
        carol = start(Phone(network.carol, folder, "carol", "itsp.example", outbound=REGISTRAR))
        carol.registered()
        outbound = f"{AGENT}:5061;transport=tls"
        alice = start(Phone(network.alice, folder, "alice", "itsp.example", outbound=outbound))
        alice.registered()
        yield Office(alice, carol)


@pytest.mark.parametrize("caller", ["alice", "carol"])
def test_calls_of_a_phone_on_tls(office: Office, network: Network, folder: Path, caller: str) -> None:
    """M4, M5: out and in, by the phone's own connection; nothing of its SIP can be read on the LAN."""
    with watched(network, folder) as watch:
        if caller == "alice":
            converse(office.alice, office.carol, "sip:carol@itsp.example", "alice")
        else:
            converse(office.carol, office.alice, "sip:alice@itsp.example", "alice")
    assert_both_heard(office.alice, office.carol)
    assert len(watch.lan.packets) > 50, "its RTP was seen"
    assert not [packet for packet in watch.lan.packets if packet.sip and ALICE in (packet.source, packet.target)]
    assert [packet for packet in watch.internet.packets if packet.sip == "INVITE"]
