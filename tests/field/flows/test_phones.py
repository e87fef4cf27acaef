"""Phones: way A, baresip inside and outside with a Kamailio registrar between them; judged at their ears."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from field.rig.audio import RATE_HZ, listen
from field.rig.baresip import Phone
from field.rig.capture import Packet
from field.rig.conversation import assert_both_heard, converse, establish
from field.rig.ear import play
from field.rig.kamailio import Kamailio
from field.rig.network import Network
from field.rig.party import Party, finished
from field.rig.script import Script, audio, sdp
from field.rig.verdicts import watched
from field.rig.voices import VOICES_HZ, assert_heard, only_stream
from field.rig.wallpass import wallpass_pair

pytestmark = [pytest.mark.field, pytest.mark.real("baresip", "kamailio")]

AGENT, SERVER, REGISTRAR = "10.1.0.2", "203.0.113.10", "203.0.113.20"
TALK_S = 1.0
HANDSHAKE_S = 1.5  # DTLS repeats a lost message after a second
VIDEO = "video_source fakevideo,\nvideo_display fakevideo,\nvideo_size 176x144\nvideo_fps 15\nvideo_bitrate 100000\n"


class Site:
    """Phones at itsp.example, inside and outside."""

    def __init__(self, network: Network, folder: Path) -> None:
        self.network = network
        self.folder = folder

    @contextmanager
    def phones(
        self, *users: str, answers: str = "auto", account: str = "", modules: str = "", settings: str = ""
    ) -> Iterator[list[Phone]]:
        """Registered phones of that kind, each on its user's host."""
        with ExitStack() as running:
            started = []
            for user in users:
                outbound = REGISTRAR if user == "carol" else AGENT
                host = getattr(self.network, user)
                more = {"answers": answers, "account": account, "modules": modules.split(), "settings": settings}
                started.append(running.enter_context(Phone(host, self.folder, user, "itsp.example", outbound, **more)))
            for phone in started:
                phone.registered()
            yield started


@pytest.fixture(scope="module")
def site(network: Network, folder: Path) -> Iterator[Site]:
    with Kamailio(network.registrar, folder, "registrar"), wallpass_pair(network, folder):
        yield Site(network, folder)


def uri(user: str) -> str:
    return f"sip:{user}@itsp.example"


@pytest.mark.real("hold-sendonly", "dtmf-4733")
@pytest.mark.parametrize("users", ["alice carol", "carol alice"])
def test_hold_resume_and_digits(site: Site, users: str) -> None:
    """T16: the caller holds, takes up again, and dials digits, which the other phone understands."""
    with site.phones(*users.split()) as (caller, callee), watched(site.network, site.folder) as watch:
        establish(caller, callee, uri(callee.user))
        time.sleep(0.6)
        caller.command("hold")
        callee.await_event("CALL_REMOTE_SDP")
        time.sleep(0.5)
        caller.command("resume")
        callee.await_event("CALL_REMOTE_SDP")
        time.sleep(0.7)
        for digit in "5#":
            caller.command("sndcode", digit)
            assert callee.await_event("CALL_DTMF_START")["param"] == digit
            callee.await_event("CALL_DTMF_END")
        caller.hang_up()
        caller.await_event("CALL_CLOSED")
        callee.await_event("CALL_CLOSED")
    ears = {"alice": (watch.lan.packets, "10.1.0.50"), "carol": (watch.internet.packets, "203.0.113.40")}
    for ear, speaker in ((caller, callee), (callee, caller)):
        packets, address = ears[ear.user]
        heard = assert_heard(only_stream(packets, address), speaker.user, 1.0, longest_gap_ms=900)
        assert heard.longest_gap_ms >= 300, "it was quiet while the call was on hold"


@pytest.mark.real("blind-transfer")
@pytest.mark.parametrize("users", ["alice carol", "carol alice"])
def test_phone_transfers_to_a_colleague(site: Site, users: str) -> None:
    """T8, 3-#5: the transferor is inside or outside, the target inside; the phone hangs up once NOTIFY says 200."""
    with site.phones(*users.split(), "dave") as (caller, callee, dave), watched(site.network, site.folder):
        establish(caller, callee, uri(callee.user))
        time.sleep(0.3)
        callee.forget()
        dave.forget()
        caller.command("transfer", uri("dave"))
        dave.await_event("CALL_ESTABLISHED")
        assert caller.await_event("CALL_CLOSED")["param"] == "Call transfered"
        time.sleep(TALK_S)
        dave.hang_up()
        dave.await_event("CALL_CLOSED")
        assert_heard(dave.heard(), callee.user, TALK_S - 0.3)


@pytest.mark.real("hairpin")
def test_two_inside_phones_through_the_outside_registrar(site: Site) -> None:
    """S4-3: each is called by the contact that the registrar has; they hear each other."""
    with site.phones("alice", "dave") as (alice, dave), watched(site.network, site.folder):
        converse(alice, dave, uri("dave"), "dave", TALK_S)
        assert_both_heard(alice, dave, TALK_S)


@pytest.mark.real("srtp-sdes", "srtp-dtls")
@pytest.mark.parametrize("account", ["mediaenc=srtp-mand", "mediaenc=dtls_srtp"])
@pytest.mark.parametrize("users", ["alice carol", "carol alice"])
def test_encrypted_call(site: Site, account: str, users: str) -> None:
    """S1-9, T22: keys and fingerprints pass to the byte, the phones hear each other, and nobody between them does."""
    with site.phones(*users.split(), account=account, modules="srtp dtls_srtp") as (caller, callee):
        with watched(site.network, site.folder) as watch:
            establish(caller, callee, uri(callee.user))
            for phone in (caller, callee):  # with DTLS the keys are agreed only after the answer
                phone.await_output("incoming rtp for 'audio' established")
            time.sleep(TALK_S + HANDSHAKE_S)
            caller.hang_up()
            caller.await_event("CALL_CLOSED")
            callee.await_event("CALL_CLOSED")
        assert_both_heard(caller, callee, TALK_S)
    keys = [keys_in(watch.lan.packets), keys_in(watch.internet.packets)]
    assert keys[0] == keys[1]
    assert len(keys[0]) >= 2
    for packets, ear in ((watch.lan.packets, "10.1.0.50"), (watch.internet.packets, "203.0.113.40")):
        overheard = play(only_stream(packets, ear))[-RATE_HZ // 2 :]  # before DTLS is through, this phone speaks openly
        assert max(listen(overheard, frequency).right_s for frequency in VOICES_HZ.values()) < 0.1, "noise to others"


def keys_in(packets: list[Packet]) -> set[bytes]:
    found = re.compile(rb"^a=(?:crypto|fingerprint|setup):.*\r$", re.MULTILINE)
    return {key for packet in packets if packet.sip for key in found.findall(packet.payload)}


@pytest.mark.real("video")
@pytest.mark.parametrize("users", ["alice carol", "carol alice"])
def test_video_call(site: Site, users: str) -> None:
    """Every packet of both pictures arrives as it was sent, and the audio with it."""
    with site.phones(*users.split(), account="video_codecs=vp8", modules="vp8 fakevideo", settings=VIDEO) as phones:
        caller, callee = phones
        with watched(site.network, site.folder) as watch:
            converse(caller, callee, uri(callee.user), caller.user, TALK_S)
        assert_both_heard(caller, callee, TALK_S)
    inside, outside = watch.lan.packets, watch.internet.packets
    for sent, arrived in (
        (pictures(inside, "10.1.0.50", AGENT), pictures(outside, SERVER, "203.0.113.40")),
        (pictures(outside, "203.0.113.40", SERVER), pictures(inside, AGENT, "10.1.0.50")),
    ):
        assert len(arrived) >= 10
        assert arrived == sent[: len(arrived)]
        assert len(sent) - len(arrived) <= 2, "only what was on its way when they hung up is missing"


def pictures(packets: list[Packet], source: str, target: str) -> list[bytes]:
    """RTP of a dynamic payload type below those of RTCP (RFC 5761)."""
    between = [packet.payload for packet in packets if (packet.source, packet.target) == (source, target)]
    return [payload for payload in between if payload[:1] in (b"\x80", b"\x90") and 96 <= payload[1] & 0x7F <= 126]


@pytest.mark.real("fork-early", "sipp")
def test_registrar_rings_two_and_one_answers(site: Site) -> None:
    """T6: a carrier's gateway plays early media until Carol answers; Alice hears her, and the gateway is cancelled."""
    gateway = Script("gateway")
    ring = gateway.take(routed=False, behind_proxy=True)
    ring.asked("INVITE")
    ring.answer(183, body=sdp(audio()))
    gateway.speak()
    ring.asked("CANCEL")
    ring.answer(200, "CANCEL")
    ring.answer(487)
    ring.asked("ACK")
    with (
        site.phones("alice", "carol", answers="manual") as (alice, carol),
        watched(site.network, site.folder) as watch,
        Party(site.network.trunk, site.folder, gateway, voice="gateway") as party,
    ):
        alice.dial(uri("team"))
        carol.await_event("CALL_INCOMING")
        watch.lan.await_sip("183")
        carol.accept()
        alice.await_event("CALL_ESTABLISHED")
        finished(party)
        time.sleep(TALK_S)
        alice.hang_up()
        carol.await_event("CALL_CLOSED")
        alice.await_event("CALL_CLOSED")
    assert_heard(carol.heard(), "alice", TALK_S - 0.4)
    assert listen(alice.heard(), VOICES_HZ["carol"]).right_s >= TALK_S - 0.4
