"""Real phones behind real NATs: carrier-grade NAT, a router that forgets after 30 s, a second NAT inside the enterprise.

The tunnel itself leaves by a firewall that gives its connections ports at random.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from field.rig.baresip import Phone
from field.rig.capture import Packet, leaks
from field.rig.conversation import TALK_S, assert_both_heard, converse, establish
from field.rig.host import Host
from field.rig.kamailio import Kamailio
from field.rig.nats import (
    CGN_PUBLIC,
    FLOOR_PUBLIC,
    FORGETFUL_PUBLIC,
    UDP_TIMEOUT_S,
    forgotten,
    hidden_phones,
    random_ports,
)
from field.rig.network import Network
from field.rig.verdicts import watched
from field.rig.voices import assert_heard, only_stream
from field.rig.wallpass import Pair, wallpass_pair

pytestmark = pytest.mark.field

SERVER, AGENT, REGISTRAR = "203.0.113.10", "10.1.0.2", "203.0.113.20"
BEFORE_S, AFTER_S = 1.5, 4.0
# STUN, PCP and NAT-PMP, SSDP: what a program sends that asks routers for help.
HELP_PORTS = {3478, 5351, 1900}


@dataclass(frozen=True, slots=True)
class Office:
    """Alice at the PBX inside, workers of hers behind a CGN and behind a router that forgets; Dave inside, behind a second
    NAT, and Carol outside, both registered at itsp.example."""

    alice: Phone
    behind_cgn: Phone
    forgotten: Phone
    silent_since: float
    dave: Phone
    carol: Phone
    pair: Pair
    carrier: Host


@pytest.fixture(scope="module")
def office(network: Network, folder: Path) -> Iterator[Office]:
    with ExitStack() as running:
        start = running.enter_context
        start(random_ports(network.firewall))
        hosts = start(hidden_phones(network))
        tenant = ["--domain", "acme.example"]
        pair = start(wallpass_pair(network, folder, tenant=tenant, lan='pbx = "sip:10.1.0.5:5060"'))
        start(Kamailio(network.pbx, folder, "pbx"))
        start(Kamailio(network.registrar, folder, "registrar"))
        alice = start(Phone(network.alice, folder, "alice", "acme.example", outbound="10.1.0.5"))
        forgotten = start(Phone(hosts.forgetful, folder, "bob", "acme.example", outbound=SERVER))
        forgotten.registered()
        silent_since = time.monotonic()
        cgn = start(Phone(hosts.cgn, folder, "gateway", "acme.example", outbound=SERVER))
        dave = start(Phone(hosts.floor, folder, "dave", "itsp.example", outbound=AGENT))
        carol = start(Phone(network.carol, folder, "carol", "itsp.example", outbound=REGISTRAR))
        for phone in (alice, cgn, dave, carol):
            phone.registered()
        yield Office(alice, cgn, forgotten, silent_since, dave, carol, pair, hosts.carrier)


@pytest.mark.parametrize("direction", ["in", "out"])
def test_a_worker_behind_a_carrier_grade_nat(office: Office, network: Network, folder: Path, direction: str) -> None:
    """S3-13, S1-3: two NATs in series; calls to it and from it, two-way audio, and no address of its network inside."""
    with watched(network, folder) as watch:
        if direction == "in":
            converse(office.alice, office.behind_cgn, "sip:gateway@acme.example", "alice")
        else:
            converse(office.behind_cgn, office.alice, "sip:alice@acme.example", "gateway")
    assert_both_heard(office.alice, office.behind_cgn)
    assert_heard(only_stream(watch.internet.packets, CGN_PUBLIC), "alice", TALK_S - 0.4)
    for hidden in ("192.168.78.0/24", "100.64.7.0/24"):
        assert not leaks(watch.lan.packets, hidden)


@pytest.mark.parametrize("direction", ["in", "out"])
def test_a_phone_behind_a_second_nat_inside(office: Office, network: Network, folder: Path, direction: str) -> None:
    """S3-1, S3-2, S3-4, S4-16, S4-17: way A through a router within the LAN that changes ports; the outside sees the server
    alone, and the agent asks no router for anything."""
    with watched(network, folder) as watch:
        if direction == "in":
            converse(office.carol, office.dave, "sip:dave@itsp.example", "carol")
        else:
            converse(office.dave, office.carol, "sip:carol@itsp.example", "dave")
    assert_both_heard(office.carol, office.dave)
    assert_heard(only_stream(watch.lan.packets, FLOOR_PUBLIC), "carol", TALK_S - 0.4)
    assert not leaks(watch.internet.packets, "192.168.80.0/24")
    assert_asks_no_router(watch.lan.packets, network.agent.address)


@pytest.mark.parametrize("direction", ["in", "out"])
def test_a_worker_whose_router_forgets_after_30_s(
    office: Office, network: Network, folder: Path, direction: str
) -> None:
    """S3-6: called when its phone has been silent for longer than that; then it calls."""
    with watched(network, folder) as watch:
        if direction == "in":
            time.sleep(max(0.0, office.silent_since + UDP_TIMEOUT_S + 6.0 - time.monotonic()))
            converse(office.alice, office.forgotten, "sip:bob@acme.example", "bob")
        else:
            converse(office.forgotten, office.alice, "sip:alice@acme.example", "alice")
    assert_both_heard(office.alice, office.forgotten)
    assert_heard(only_stream(watch.internet.packets, FORGETFUL_PUBLIC), "alice", TALK_S - 0.4)
    assert not leaks(watch.lan.packets, "192.168.79.0/24")


@pytest.mark.parametrize("who_forgets", ["the carrier's router", "the enterprise's firewall"])
def test_a_router_that_forgets_everything_in_a_call(
    office: Office, network: Network, folder: Path, who_forgets: str
) -> None:
    """S3-13, T17: the worker's media come from another port, or the tunnel by another connection; the call goes on."""
    alice, worker = office.alice, office.behind_cgn
    at_carrier = who_forgets == "the carrier's router"
    longest_gap_ms = 1000.0 if at_carrier else 2500.0
    with watched(network, folder) as watch:
        establish(worker, alice, "sip:alice@acme.example")
        time.sleep(BEFORE_S)
        old = office.pair.tunnel_port()
        with forgotten(office.carrier if at_carrier else network.gateway):
            time.sleep(AFTER_S)
        assert (office.pair.tunnel_port() == old) is at_carrier
        assert not {packet.sip for packet in watch.internet.so_far()} & {"BYE", "CANCEL"}
        worker.hang_up()
        worker.await_event("CALL_CLOSED")
        alice.await_event("CALL_CLOSED")
    heard_s = BEFORE_S + AFTER_S - longest_gap_ms / 1000 - 0.4
    assert_heard(alice.heard(), "gateway", heard_s, longest_gap_ms)
    assert_heard(worker.heard(), "alice", heard_s, longest_gap_ms)


def assert_asks_no_router(packets: list[Packet], host: str) -> None:
    """S4-16, S4-17: the agent needs no help of any router and asks none, not even for its address."""
    asked = [packet for packet in packets if packet.source == host and packet.target_port in HELP_PORTS]
    assert asked == []
    assert not [packet for packet in packets if packet.source == host and packet.target.startswith(("224.", "239."))]
