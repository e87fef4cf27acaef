"""Sessions and their connections: replacement, resumption, liveness, endings (N4-N6, T19)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.wire import SessionPair

from tunnel.errors import BadPacket
from tunnel.link.events import (
    PeerRefused,
    SessionDown,
    SessionExpired,
    SessionUp,
    SignalReceived,
)
from tunnel.link.frames import SIGNAL, frame
from tunnel.link.session import GRACE_S, Role, Session
from tunnel.link.states import State

# --- reconnects ------------------------------------------------------------------------------------------------------


def test_a_cut_session_goes_on_over_the_next_connection() -> None:
    """N5, 3-#2: signalling goes on where it was."""
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
    """N6, T19: the newest connection of an agent is the one that counts."""
    pair = SessionPair().up()
    pair.server.session.send_signal(b"INVITE", pair.clock.now)
    pair.connect()
    pair.run(0.01)
    for end in pair.ends:
        assert end.events[1:3] == [SessionDown("replaced by a newer connection"), SessionUp(True, b"hello")]
    assert pair.agent.signals == [b"INVITE"]


def test_a_frame_cut_in_half_does_not_spoil_the_next_connection() -> None:
    pair = SessionPair().up()
    pair.agent.session.send_signal(b"INVITE", pair.clock.now)
    record = pair.agent.session.outgoing(pair.clock.now)
    pair.server.session.receive_untrusted(record[:7], pair.clock.now)
    pair.connect()
    pair.run(0.01)
    assert pair.server.signals == [b"INVITE"]


def test_nobody_coming_back_ends_the_session_after_60_s() -> None:
    pair = SessionPair().up()
    pair.cut()
    pair.agent.session.send_signal(b"BYE", pair.clock.now)
    assert pair.agent.session.deadline() == pair.clock.now + GRACE_S
    pair.run(GRACE_S - 0.1, step=0.05)
    assert not any(isinstance(event, SessionExpired) for end in pair.ends for event in end.events)
    pair.run(0.2, step=0.05)
    assert pair.server.events[-1] == SessionExpired("nobody came back within 60 s", 0)
    pair.connect()
    pair.run(0.01)
    assert pair.agent.events[-2:] == [SessionExpired("nobody came back within 60 s", 1), SessionUp(False, b"hello")]
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
