"""The tunnel's connection is cut in the middle of a call: the call goes on, with a short gap in the audio."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from field.rig.baresip import Phone
from field.rig.conversation import establish
from field.rig.kamailio import Kamailio
from field.rig.middlebox import middlebox
from field.rig.network import Network
from field.rig.verdicts import watched
from field.rig.voices import assert_heard, only_stream
from field.rig.wallpass import Pair, wallpass_pair

pytestmark = pytest.mark.field

BEFORE_S, AFTER_S = 1.5, 4.0
AFTER_END_MS, AFTER_SILENCE_MS = 600.0, 2500.0


@dataclass(frozen=True, slots=True)
class Office:
    pair: Pair
    alice: Phone
    carol: Phone


@pytest.fixture(scope="module")
def office(network: Network, folder: Path) -> Iterator[Office]:
    with ExitStack() as running:
        start = running.enter_context
        start(Kamailio(network.registrar, folder, "registrar"))
        pair = start(wallpass_pair(network, folder))
        carol = start(Phone(network.carol, folder, "carol", "itsp.example", outbound="203.0.113.20"))
        alice = start(Phone(network.alice, folder, "alice", "itsp.example", outbound="10.1.0.2"))
        carol.registered()
        alice.registered()
        yield Office(pair, alice, carol)


@contextmanager
def reset(pair: Pair, folder: Path) -> Iterator[Callable[[], None]]:
    """RST to the server, an error to the agent."""
    yield pair.reset_tunnel


@contextmanager
def reset_by_firewall(pair: Pair, folder: Path) -> Iterator[Callable[[], None]]:
    """RST to the agent; the server is told nothing and still holds the old connection when the new one comes."""
    with ExitStack() as faults:
        yield lambda: faults.enter_context(pair.network.firewall.resetting(pair.tunnel_port()))


@contextmanager
def silence(pair: Pair, folder: Path) -> Iterator[Callable[[], None]]:
    """The connection's packets vanish both ways, for as long as the call lasts; a new connection gets through."""
    with ExitStack() as faults:
        yield lambda: faults.enter_context(pair.network.firewall.swallowing(pair.tunnel_port()))


@contextmanager
def polite_end(pair: Pair, folder: Path) -> Iterator[Callable[[], None]]:
    """FIN to both ends, by a middlebox through which the tunnel goes."""
    with middlebox(pair.network, folder) as box:
        direct = pair.tunnel_port()
        pair.reset_tunnel()
        pair.await_new_tunnel(direct)
        yield box.end_politely


Cut = Callable[[Pair, Path], AbstractContextManager[Callable[[], None]]]


@pytest.mark.parametrize(
    ("cut", "longest_gap_ms"),
    [
        (silence, AFTER_SILENCE_MS),
        (reset, AFTER_END_MS),
        (reset_by_firewall, AFTER_END_MS),
        (polite_end, AFTER_END_MS),
    ],
)
def test_call_survives(office: Office, network: Network, folder: Path, cut: Cut, longest_gap_ms: float) -> None:
    """T19: both ears hear the other again in time, from the same ports, and nobody was told that anything ended."""
    alice, carol = office.alice, office.carol
    with cut(office.pair, folder) as strike, watched(network, folder) as watch:
        establish(alice, carol, "sip:carol@itsp.example")
        time.sleep(BEFORE_S)
        old = office.pair.tunnel_port()
        strike()
        time.sleep(AFTER_S)
        assert office.pair.tunnel_port() != old, "the tunnel is carried by another connection now"
        said = {packet.sip for packet in [*watch.lan.so_far(), *watch.internet.so_far()]}
        assert not said & {"BYE", "CANCEL"}, f"the call was ended by the cut: {sorted(said)}"
        alice.hang_up()
        alice.await_event("CALL_CLOSED")
        carol.await_event("CALL_CLOSED")
    heard_s = BEFORE_S + AFTER_S - longest_gap_ms / 1000 - 0.4
    gaps = {
        speaker: assert_heard(only_stream(packets, ear), speaker, heard_s, longest_gap_ms).longest_gap_ms
        for speaker, packets, ear in (
            ("carol", watch.lan.packets, "10.1.0.50"),
            ("alice", watch.internet.packets, "203.0.113.40"),
        )
    }
    print(f"after {cut.__name__}: alice heard a gap of {gaps['carol']:.0f} ms, carol one of {gaps['alice']:.0f} ms")
    assert_heard(alice.heard(), "carol", heard_s, longest_gap_ms)
    assert_heard(carol.heard(), "alice", heard_s, longest_gap_ms)
