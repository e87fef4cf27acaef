"""Sessions by the pair: greeting, replacement, resumption, endings (N4-N6, T19, 3-#2)."""

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
    PeerRefused,
    RenewalReceived,
    RenewRequested,
    SessionDown,
    SessionExpired,
    SessionUp,
    SignalReceived,
)
from tunnel.link.frames import CLOCK, LINK, SIGNAL, clock_frame, frame, signal_frame
from tunnel.link.priority import Priority
from tunnel.link.resume import NoSession, SignallingFull
from tunnel.link.session import GRACE_S, GREETING_TIMEOUT_S, Role, Session
from tunnel.link.states import State


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
    with pytest.raises(SignallingFull):
        for _ in range(1000):
            pair.agent.session.send_signal(b"x" * 1000, pair.clock.now)
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


# --- reconnects ------------------------------------------------------------------------------------------------------


def test_a_cut_session_goes_on_over_the_next_connection() -> None:
    pair = SessionPair().up()
    pair.cut()
    assert pair.agent.session.is_live
    assert not pair.agent.session.is_up
    assert pair.agent.session.down_since == pair.clock.now
    pair.agent.session.send_signal(b"BYE", pair.clock.now)
    pair.clock.advance(GRACE_S - 1)
    pair.connect()
    pair.run(0.01)
    assert pair.server.events[1:] == [SessionDown("cut"), SessionUp(True, b"hello"), SignalReceived(b"BYE")]
    assert pair.agent.session.down_since is None


def test_a_new_connection_replaces_the_old_one_at_once() -> None:
    pair = SessionPair().up()
    pair.server.session.send_signal(b"INVITE", pair.clock.now)
    pair.connect()
    pair.run(0.01)
    for end in pair.ends:
        assert end.events[1:3] == [SessionDown("replaced by a newer connection"), SessionUp(True, b"hello")]
    assert pair.agent.signals == [b"INVITE"]


def test_nobody_coming_back_ends_the_session_after_60_s() -> None:
    pair = SessionPair().up()
    pair.cut()
    pair.agent.session.send_signal(b"BYE", pair.clock.now)
    assert pair.agent.session.deadline() == pair.clock.now + GRACE_S
    pair.run(GRACE_S - 0.1, step=0.05)
    assert isinstance(pair.agent.events[-1], SessionDown)
    pair.run(0.2, step=0.05)
    assert pair.agent.events[-1] == SessionExpired("nobody came back within 60 s", 1)
    assert isinstance(pair.server.events[-1], SessionExpired)
    pair.connect()
    pair.run(0.01)
    assert pair.agent.events[-1] == SessionUp(False, b"hello")
    assert pair.server.signals == []


def test_failed_attempts_do_not_prolong_the_grace() -> None:
    pair = SessionPair().up()
    pair.cut()
    for _ in range(70):
        pair.clock.advance(1.0)
        pair.agent.session.attach(pair.clock.now)
        pair.agent.session.detach(pair.clock.now, "no route")
        pair.agent.session.tick(pair.clock.now)
    pair.agent.collect()
    assert sum(isinstance(event, SessionExpired) for event in pair.agent.events) == 1
    assert sum(isinstance(event, SessionDown) for event in pair.agent.events) == 1


def test_a_restarted_server_makes_the_agent_start_anew() -> None:
    pair = SessionPair().up()
    pair.cut()
    pair.agent.session.send_signal(b"BYE", pair.clock.now)
    pair.server.session = Session(Role.SERVER, pair.server.counters, lambda size: b"n" * size, b"again")
    pair.connect()
    pair.run(0.01)
    assert pair.agent.events[-2:] == [
        SessionExpired("the other end had nothing to resume", 1),
        SessionUp(False, b"again"),
    ]


def test_a_restarted_agent_makes_the_server_start_anew() -> None:
    pair = SessionPair().up()
    pair.agent.session = Session(Role.AGENT, pair.agent.counters, bytes)
    pair.connect()
    pair.run(0.01)
    assert pair.server.events[-3:] == [
        SessionDown("replaced by a newer connection"),
        SessionExpired("the other end had nothing to resume", 0),
        SessionUp(False, b"hello"),
    ]


# --- liveness --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("calls", "within_s"), [(3, 2.0), (0, 15.0)])
def test_t19_a_black_hole_is_noticed(calls: int, within_s: float) -> None:
    pair = SessionPair(delay_s=0.02).up()
    for end in pair.ends:
        end.session.set_busy(calls, pair.clock.now)
    pair.run(20, step=0.01)
    assert all(end.session.is_up for end in pair.ends)
    for end in pair.ends:
        end.wire.black_hole = True
    pair.run(within_s, step=0.01)
    for end in pair.ends:
        assert end.events[-1] == SessionDown("the other end fell silent")
        assert end.session.finished == "the other end fell silent"
        assert end.session.is_live


def test_an_idle_link_is_nearly_silent() -> None:
    pair = SessionPair().up()
    records = 0
    for _ in range(60_00):
        now = pair.clock.advance(0.01)
        for end, other in (pair.ends, pair.ends[::-1]):
            if end.session.deadline() <= now:
                end.session.tick(now)
            while record := end.session.outgoing(now):
                records += 1
                other.session.receive_untrusted(record, now)
    assert records <= 60 / 5 * 2 * 2


def test_round_trips_are_measured() -> None:
    pair = SessionPair(delay_s=0.02).up()
    pair.run(0.1)
    assert pair.agent.session.keepalive.smoothed_rtt_s == pytest.approx(0.04, abs=0.005)


# --- endings ---------------------------------------------------------------------------------------------------------


def test_a_refused_agent_is_told_why_and_the_session_is_over() -> None:
    pair = SessionPair().up()
    pair.server.session.refuse("revoked", pair.clock.now)
    pair.run(0.01)
    assert pair.agent.events[1:] == [PeerRefused("revoked"), SessionDown("revoked"), SessionExpired("revoked", 0)]
    assert pair.agent.session.finished == "revoked"
    assert pair.server.session.finished == "revoked"
    pair.cut()
    assert pair.server.session.state is State.FRESH


def test_an_agent_can_be_refused_before_it_is_greeted() -> None:
    pair = SessionPair()
    pair.connect()
    pair.server.session.refuse("tenant removed", pair.clock.now)
    pair.run(0.01)
    assert pair.agent.events == [PeerRefused("tenant removed")]
    assert pair.server.events == []


def test_after_goodbye_nobody_waits_for_a_return() -> None:
    pair = SessionPair().up()
    pair.agent.session.bye(pair.clock.now)
    pair.run(0.01)
    assert pair.server.events[-1] == SessionExpired("the other end said goodbye", 0)
    pair.cut()
    for end in pair.ends:
        assert end.session.state is State.FRESH
        assert end.session.deadline() == float("inf")


def test_goodbye_without_a_connection_forgets_the_session() -> None:
    pair = SessionPair().up()
    pair.cut()
    pair.agent.session.bye(pair.clock.now)
    pair.connect()
    pair.run(0.01)
    assert pair.server.events[-1] == SessionUp(False, b"hello")


def test_a_peer_that_breaks_the_rules_loses_its_session_so_that_it_is_not_replayed_for_ever() -> None:
    pair = SessionPair().up()
    with pytest.raises(BadPacket):
        pair.server.session.receive_untrusted(frame(SIGNAL, b"short"), pair.clock.now)
    pair.server.collect()
    assert isinstance(pair.server.events[-1], SessionExpired)
    pair.connect()
    pair.run(0.01)
    assert pair.agent.events[-1] == SessionUp(False, b"hello")


@given(st.lists(st.binary(max_size=80) | st.builds(frame, st.integers(0, 20), st.binary(max_size=40)), max_size=6))
def test_any_bytes_are_taken_or_a_bad_packet(chunks: list[bytes]) -> None:
    pair = SessionPair().up()
    session = pair.server.session
    try:
        for chunk in chunks:
            while session.receive_untrusted(chunk, pair.clock.now):
                chunk = b""
    except BadPacket:
        assert session.finished is not None


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
