"""Another maker's phone: way A, linphone against baresip and against itself; ICE is on at every linphone."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from field.rig.baresip import Phone
from field.rig.ear import rtp_streams
from field.rig.kamailio import Kamailio
from field.rig.linphone import Linphone
from field.rig.network import Network
from field.rig.program import eventually
from field.rig.verdicts import Watch, watched
from field.rig.voices import assert_heard, only_stream
from field.rig.wallpass import wallpass_pair

pytestmark = [pytest.mark.field, pytest.mark.real("linphone", "kamailio")]

AGENT, SERVER, REGISTRAR = "10.1.0.2", "203.0.113.10", "203.0.113.20"
TALK_S = 1.0


@dataclass(frozen=True, slots=True)
class Office:
    network: Network
    folder: Path
    alice: Linphone
    dave: Linphone

    def watch(self) -> AbstractContextManager[Watch]:
        return watched(self.network, self.folder)


@pytest.fixture(scope="module")
def office(network: Network, folder: Path) -> Iterator[Office]:
    """Alice and Dave inside."""
    with ExitStack() as running:
        start = running.enter_context
        start(Kamailio(network.registrar, folder, "registrar"))
        start(wallpass_pair(network, folder))
        alice = start(Linphone(network.alice, folder, "alice", "itsp.example", AGENT, ice=True))
        dave = start(Linphone(network.dave, folder, "dave", "itsp.example", AGENT, ice=True))
        alice.registered()
        dave.registered()
        yield Office(network, folder, alice, dave)


def assert_no_candidates(watch: Watch) -> None:
    """S4-20: linphone offers them, and our ends show nobody any, nor anything else of ICE."""
    assert any(b"\r\na=candidate:" in packet.payload for packet in watch.lan.packets)
    ours = [packet for packet in watch.lan.packets if packet.source == AGENT and packet.sip]
    ours += [packet for packet in watch.internet.packets if packet.source == SERVER and packet.sip]
    shown = [packet for packet in ours if b"\r\na=candidate:" in packet.payload or b"\r\na=ice-" in packet.payload]
    assert not shown


@pytest.mark.real("ice-stripped", "hold-sendonly", "dtmf-4733", "baresip")
def test_linphone_calls_holds_and_dials_digits(office: Office) -> None:
    """S4-20, T16: a phone of another make outside hears it, is held, hears it again, and understands its digit."""
    alice = office.alice
    with Phone(office.network.carol, office.folder, "carol", "itsp.example", outbound=REGISTRAR) as carol:
        carol.registered()
        with office.watch() as watch:
            number = alice.dial("sip:carol@itsp.example")
            alice.await_call("StreamsRunning", number)
            alice.speak(number)
            time.sleep(TALK_S)
            alice.command(f"call-pause {number}")
            alice.await_call("Paused", number)
            time.sleep(0.3)
            alice.command(f"call-resume {number}")
            alice.await_call("StreamsRunning", number)
            alice.speak(number)
            time.sleep(TALK_S)
            alice.command("dtmf 5")
            assert carol.await_event("CALL_DTMF_START")["param"] == "5"
            carol.hang_up()
            carol.await_event("CALL_CLOSED")
    assert_no_candidates(watch)
    assert_heard(only_stream(watch.internet.packets, "203.0.113.40"), "alice", TALK_S, longest_gap_ms=2000)
    assert_heard(only_stream(watch.lan.packets, "10.1.0.50"), "carol", TALK_S, longest_gap_ms=2000)


@pytest.mark.real("call-basic", "ice-stripped", "baresip")
def test_linphone_is_called(office: Office) -> None:
    """S4-2, S4-20: by a phone that knows nothing of ICE."""
    with Phone(office.network.carol, office.folder, "carol", "itsp.example", outbound=REGISTRAR) as carol:
        carol.registered()
        with office.watch() as watch:
            carol.dial("sip:alice@itsp.example")
            carol.await_event("CALL_ESTABLISHED")
            office.alice.await_call("StreamsRunning")
            office.alice.speak()
            time.sleep(TALK_S)
            carol.hang_up()
            carol.await_event("CALL_CLOSED")
    assert_heard(only_stream(watch.internet.packets, "203.0.113.40"), "alice", TALK_S - 0.4)
    assert_heard(only_stream(watch.lan.packets, "10.1.0.50"), "carol", TALK_S - 0.4)


@pytest.mark.real("ice-stripped", "attended-transfer")
def test_linphone_transfers_to_whom_it_has_asked(office: Office) -> None:
    """S4-20, T7, 3-#5: Alice calls Carol outside and Dave inside, and joins them: Carol's INVITE replaces Alice's call."""
    alice, dave = office.alice, office.dave
    with (
        Linphone(office.network.carol, office.folder, "carol", "itsp.example", REGISTRAR, ice=True) as carol,
        office.watch() as watch,
    ):
        carol.registered()
        first = alice.dial("sip:carol@itsp.example")
        alice.await_call("StreamsRunning", first)
        alice.command(f"call-pause {first}")
        alice.await_call("Paused", first)
        second = alice.dial("sip:dave@itsp.example")
        alice.await_call("StreamsRunning", second)
        alice.command(f"call-transfer {first} {second}")
        eventually(lambda: not alice.has_calls(), 10.0, "Alice is rid of both calls")
        carol.speak()
        dave.speak()
        time.sleep(TALK_S)
        dave.command("terminate")
        eventually(lambda: not carol.has_calls(), 10.0, "Dave has hung up")
    assert_no_candidates(watch)
    last_to_dave = rtp_streams(watch.lan.packets, AGENT, "10.1.0.51")[-1]
    last_to_carol = rtp_streams(watch.internet.packets, SERVER, "203.0.113.40")[-1]
    assert_heard(last_to_dave, "carol", TALK_S - 0.5)
    assert_heard(last_to_carol, "dave", TALK_S - 0.5)
