"""Sessions by the pair: greeting, signalling, media, and any mixture of them with cuts (3-#2)."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.wire import SessionPair

from tunnel.counters import Counters
from tunnel.errors import BadPacket
from tunnel.link import control
from tunnel.link.events import (
    PeerDraining,
    RenewalReceived,
    RenewRequested,
    SessionExpired,
    SessionUp,
    SignalReceived,
)
from tunnel.link.frames import CLOCK, LINK, clock_frame, frame, signal_frame
from tunnel.link.priority import Priority
from tunnel.link.resume import NoSession, SignallingFull
from tunnel.link.session import GRACE_S, GREETING_TIMEOUT_S, Role, Session


def rtp(payload_type: int = 0, size: int = 172) -> bytes:
    return bytes((0x80, payload_type)).ljust(size, b"x")


# --- greeting --------------------------------------------------------------------------------------------------------


def test_both_ends_come_up_and_the_agent_gets_the_greeting() -> None:
    pair = SessionPair(greeting=b"mask key").up()
    assert pair.agent.events == [SessionUp(False, b"mask key")]
    assert pair.server.events == [SessionUp(False, b"mask key")]


def test_a_server_that_speaks_another_version_says_so() -> None:
    pair = SessionPair()
    pair.server.session.attach(pair.clock.now)
    hello = control.encode(control.Hello(99, b"", 0))
    pair.server.session.receive_untrusted(frame(LINK, hello), pair.clock.now)
    assert b"version 1" in pair.server.session.outgoing(pair.clock.now)
    assert pair.server.session.finished is not None


def test_a_connection_without_a_greeting_is_closed() -> None:
    pair = SessionPair()
    session = pair.server.session
    session.attach(pair.clock.now)
    assert session.deadline() == pair.clock.now + GREETING_TIMEOUT_S
    session.tick(session.deadline())
    assert session.finished == "no greeting within 5 s"
    assert session.events() == []


@pytest.mark.parametrize(
    "early",
    [
        clock_frame(1.0) + frame(16, rtp()),
        signal_frame(1, 0, b"INVITE"),
        frame(LINK, control.encode(control.Ping(0, 0))),
        frame(LINK, control.encode(control.Welcome(b"t", False, 0, b""))),
        frame(9, b"reserved"),
    ],
)
def test_before_the_greeting_nothing_else_is_taken(early: bytes) -> None:
    session = Session(Role.SERVER, Counters(), bytes)
    session.attach(10.0)
    heard: list[bytes] = []
    session.sinks[16] = heard.append
    with pytest.raises(BadPacket):
        session.receive_untrusted(early, 10.0)
    assert heard == []
    assert session.finished is not None


def test_media_before_the_greeting_are_not_heard() -> None:
    session = Session(Role.SERVER, Counters(), bytes)
    session.attach(10.0)
    heard: list[bytes] = []
    session.sinks[16] = heard.append
    session.receive_untrusted(frame(16, rtp()), 10.0)
    assert heard == []


# --- signalling ------------------------------------------------------------------------------------------------------


def test_without_a_session_signalling_is_refused() -> None:
    with pytest.raises(NoSession):
        SessionPair().agent.session.send_signal(b"INVITE", 0.0)


def test_a_message_reaches_the_user_before_the_media_behind_it() -> None:
    pair = SessionPair().up()
    now = pair.clock.now
    pair.agent.session.send_signal(b"183", now)
    pair.agent.session.send_media(frame(16, rtp()), 1, now)
    record = pair.agent.session.outgoing(now)
    heard: list[bytes] = []
    assert pair.server.session.receive_untrusted(record, now)
    assert pair.server.session.events() == [SignalReceived(b"183")]
    pair.server.session.sinks[16] = heard.append
    assert not pair.server.session.receive_untrusted(b"", now)
    assert heard == [rtp()]


def test_acknowledgements_ride_along_or_follow_within_100_ms() -> None:
    pair = SessionPair().up()
    pair.agent.session.send_signal(b"INVITE", pair.clock.now)
    record = pair.agent.session.outgoing(pair.clock.now)
    pair.server.session.receive_untrusted(record, pair.clock.now)
    assert pair.server.session.outgoing(pair.clock.now) == b""
    pair.server.session.tick(pair.clock.advance(0.1))
    acknowledgement = pair.server.session.outgoing(pair.clock.now)
    assert acknowledgement
    assert pair.server.session.outgoing(pair.clock.now) == b""
    pair.agent.session.receive_untrusted(acknowledgement, pair.clock.now)
    pair.cut()
    pair.clock.advance(GRACE_S)
    pair.agent.session.tick(pair.clock.now)
    pair.agent.collect()
    assert pair.agent.events[-1] == SessionExpired("nobody came back within 60 s", 0)


def test_an_idle_peer_that_never_acknowledges_makes_the_sender_refuse_more() -> None:
    pair = SessionPair().up()
    pair.cut()
    pair.agent.session.send_signal(bytes(300_000), pair.clock.now)
    with pytest.raises(SignallingFull):
        pair.agent.session.send_signal(b"one too many", pair.clock.now)
    assert pair.agent.counters["link.signals_refused"] == 1


def test_a_busy_link_keeps_up_with_much_signalling() -> None:
    pair = SessionPair(delay_s=0.02).up()
    sent = []
    for number in range(1000):
        message = b"%d " % number + b"x" * 1000
        pair.agent.session.send_signal(message, pair.clock.now)
        sent.append(message)
        pair.step(0.001)
    pair.run(0.5)
    assert pair.server.signals == sent


def test_signalling_goes_before_media() -> None:
    pair = SessionPair().up()
    session, now = pair.agent.session, pair.clock.now
    session.send_media(frame(16, rtp()) * 80, 80, now)
    session.send_signal(b"BYE", now)
    assert session.outgoing(now).startswith(signal_frame(1, 0, b"BYE"))


def test_renewal_of_a_certificate_survives_a_cut() -> None:
    pair = SessionPair().up()
    pair.cut()
    pair.agent.session.request_renewal(b"csr", pair.clock.now)
    pair.connect()
    pair.run(0.05)
    assert pair.server.events[-1] == RenewRequested(b"csr")
    pair.server.session.answer_renewal(b"chain", pair.clock.now)
    pair.cut()
    pair.connect()
    pair.run(0.05)
    assert pair.agent.events[-1] == RenewalReceived(b"chain")


def test_draining_is_announced() -> None:
    pair = SessionPair().up()
    pair.server.session.drain(2.5, pair.clock.now)
    pair.run(0.01)
    assert pair.agent.events[-1] == PeerDraining(2.5)


# --- media -----------------------------------------------------------------------------------------------------------


def test_media_of_both_ends_cross() -> None:
    pair = SessionPair().up()
    heard: list[bytes] = []
    pair.server.session.sinks[16] = heard.append
    pair.agent.session.send_media([frame(16, rtp()), frame(16, rtp(8))], 2, pair.clock.now)
    pair.run(0.01)
    assert heard == [rtp(), rtp(8)]
    assert pair.server.counters["link.unknown_channel"] == 0


def test_media_for_a_stream_that_is_gone_are_counted() -> None:
    pair = SessionPair().up()
    pair.agent.session.send_media(frame(16, rtp()) * 3, 3, pair.clock.now)
    pair.run(0.01)
    assert pair.server.counters["link.unknown_channel"] == 3


def test_media_are_not_kept_for_a_connection_to_come_but_dtmf_is() -> None:
    pair = SessionPair().up()
    heard: list[bytes] = []
    pair.server.session.sinks[16] = heard.append
    pair.agent.session.set_class(16, Priority.AUDIO, [101])
    pair.cut()
    pair.agent.session.send_media(frame(16, rtp()) + frame(16, rtp(101)), 2, pair.clock.now)
    pair.connect()
    pair.run(0.01)
    assert heard == [rtp(101)]
    assert pair.agent.counters["link.dropped_while_down"] == 1


def test_media_before_the_first_session_are_thrown_away() -> None:
    pair = SessionPair()
    pair.agent.session.send_media(frame(16, rtp()) * 5, 5, pair.clock.now)
    pair.up()
    assert pair.agent.counters["link.dropped_while_down"] == 5
    assert pair.server.counters["link.unknown_channel"] == 0


def test_a_clock_frame_of_another_size_is_refused() -> None:
    pair = SessionPair().up()
    with pytest.raises(BadPacket, match="stamp"):
        pair.server.session.receive_untrusted(frame(CLOCK, b"12345"), pair.clock.now)


# --- anything at all -------------------------------------------------------------------------------------------------

steps = st.sampled_from(["agent", "server", "large", "media", "cut", "connect", "replace", "run", "crawl", "away"])


@settings(deadline=None)
@given(st.lists(steps, max_size=40), st.sampled_from([0.0, 0.003, 0.02]))
def test_any_interleaving_of_sending_and_cutting_delivers_each_signal_once_in_order(
    script: list[str], delay_s: float
) -> None:
    pair = SessionPair(delay_s=delay_s, rate_bytes_s=2e6).up()
    sent: dict[str, list[bytes]] = {"agent": [], "server": []}
    for number, step in enumerate(script):
        match step:
            case "agent" | "server":
                end = pair.agent if step == "agent" else pair.server
                sent[step].append(b"%d" % number)
                end.session.send_signal(sent[step][-1], pair.clock.now)
            case "large":
                sent["agent"].append(b"%d" % number * 5000)
                pair.agent.session.send_signal(sent["agent"][-1], pair.clock.now)
            case "media":
                for end in pair.ends:
                    end.session.send_media(frame(16, rtp()) * 50, 50, pair.clock.now)
            case "cut":
                pair.cut()
            case "connect":
                if not pair.is_connected:
                    pair.connect()
            case "replace":
                pair.connect()
            case "run":
                pair.run(0.1)
            case "crawl":
                pair.run(0.004)
            case "away":
                pair.cut()
                pair.clock.advance(20)
                pair.connect()
                pair.run(0.1)
    if not pair.is_connected:
        pair.connect()
    pair.run(1.0, step=0.005)
    assert pair.server.signals == sent["agent"]
    assert pair.agent.signals == sent["server"]
    assert not any(isinstance(event, SessionExpired) for end in pair.ends for event in end.events)
