"""The driver over carriers in memory, in virtual time (T19, 3-#2, 3-#3)."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
import trio
import trio.testing
from support.stations import Stations
from support.tls import Authority

from tunnel.carriers.memory import memory_pair
from tunnel.errors import CarrierLost, PeerMisbehaved, Refused, WallpassError
from tunnel.link.driver import HANDSHAKE_TIMEOUT_S, handshake, refuse
from tunnel.link.events import PeerRefused, SessionDown, SessionEvent, SessionUp, SignalReceived
from tunnel.link.frames import frame
from tunnel.link.secure import SecureChannel, agent_context

PACKET = bytes((0x80, 0)).ljust(172, b"x")


async def test_signals_and_media_cross(stations: Stations, autojump_clock: trio.testing.MockClock) -> None:
    await stations.connect()
    heard: list[bytes] = []
    stations.server.link.sinks[16] = heard.append
    stations.agent.link.send_signal(b"INVITE")
    stations.agent.link.session.send_media([frame(16, PACKET)] * 3, 3, trio.current_time())
    stations.agent.link.flush()
    await stations.server.until(SignalReceived(b"INVITE"))
    await trio.testing.wait_all_tasks_blocked()
    assert heard == [PACKET] * 3
    assert stations.agent.link.carrier_name == "memory"


async def test_a_large_message_crosses_a_narrow_carrier_in_both_directions_at_once(
    stations: Stations, autojump_clock: trio.testing.MockClock
) -> None:
    """Both send more than the carrier holds: nobody may wait for a write without reading."""
    await stations.connect(capacity_bytes=1000)
    large = bytes(200_000)
    for end in stations.both:
        end.link.send_signal(large)
    for end in stations.both:
        await end.until(SignalReceived(large))


async def test_a_receiver_of_events_may_send_and_events_stay_in_order(
    stations: Stations, autojump_clock: trio.testing.MockClock
) -> None:
    await stations.connect()
    plain = stations.server._deliver

    def answer(event: SessionEvent) -> None:
        plain(event)
        if isinstance(event, SignalReceived):
            stations.server.link.send_signal(b"200 to " + event.payload)

    stations.server.link._deliver = answer
    for number in range(20):
        stations.agent.link.session.send_signal(b"%d" % number, trio.current_time())
    stations.agent.link.flush()
    await stations.agent.until(SignalReceived(b"200 to 19"))
    assert stations.agent.signals == [b"200 to %d" % number for number in range(20)]


async def test_a_cut_is_told_at_once_and_the_next_carrier_resumes(
    stations: Stations, autojump_clock: trio.testing.MockClock
) -> None:
    carrier, _ = await stations.connect()
    carrier.cut()
    for end in stations.both:
        assert isinstance(await end.until_ended(), CarrierLost)
    stations.agent.link.send_signal(b"BYE")
    assert stations.agent.link.carrier_name == ""
    await stations.connect()
    await stations.server.until(SignalReceived(b"BYE"))
    assert SessionUp(True, b"hello") in stations.agent.events


@pytest.mark.parametrize(("calls", "within_s"), [(1, 2.1), (0, 15.0)])
async def test_t19_a_black_hole_is_noticed(
    stations: Stations, autojump_clock: trio.testing.MockClock, calls: int, within_s: float
) -> None:
    carriers = await stations.connect()
    for end in stations.both:
        end.link.session.set_busy(calls, trio.current_time())
        end.link.flush()
    await trio.sleep(33.3)
    assert all(end.link.session.is_up for end in stations.both)
    for carrier in carriers:
        carrier.swallow()
    with trio.fail_after(within_s):
        for end in stations.both:
            await end.until(SessionDown("the other end fell silent"))
            await end.until_ended()


async def test_a_process_that_slept_reads_what_came_before_it_judges_the_silence(
    stations: Stations, autojump_clock: trio.testing.MockClock
) -> None:
    await stations.connect()
    for end in stations.both:
        end.link.session.set_busy(1, trio.current_time())
        end.link.flush()
    for _ in range(10):
        await trio.sleep(1)
        for end in stations.both:
            end.link.send_signal(b"still here")
        autojump_clock.jump(2.5)
    await trio.sleep(1)
    assert [len(end.events) for end in stations.both] == [11, 11]


async def test_a_new_carrier_replaces_a_half_dead_one(
    stations: Stations, autojump_clock: trio.testing.MockClock
) -> None:
    carriers = await stations.connect()
    for carrier in carriers:
        carrier.swallow()
    stations.agent.link.send_signal(b"into the hole")
    with trio.fail_after(1):
        await stations.connect()
        await stations.server.until(SignalReceived(b"into the hole"))
    assert "replaced" in str(await stations.server.until_ended())
    assert stations.server.events[1] == SessionDown("replaced by a newer connection")


async def test_a_freeze_of_a_second_loses_no_signal_and_delivers_no_old_sound(
    stations: Stations, autojump_clock: trio.testing.MockClock
) -> None:
    carriers = await stations.connect(capacity_bytes=16384)
    ages: list[float] = []
    stations.server.link.sinks[16] = lambda packet: ages.append(
        trio.current_time() - struct.unpack_from("!d", packet, 2)[0]
    )
    for end in stations.both:
        end.link.session.set_busy(20, trio.current_time())
    sent = []
    for tick in range(1500):
        if tick == 200:
            for carrier in carriers:
                carrier.freeze()
        if tick == 1200:
            for carrier in carriers:
                carrier.thaw()
        now = trio.current_time()
        packet = b"\x80\x00" + struct.pack("!d", now)
        stations.agent.link.session.send_media(frame(16, packet.ljust(172, b"x")), 1, now)
        if tick % 50 == 0:
            sent.append(b"%d" % tick)
            stations.agent.link.session.send_signal(sent[-1], now)
        stations.agent.link.flush()
        await trio.sleep(0.001)
    await trio.sleep(0.1)
    assert max(ages) <= 0.150
    assert stations.server.signals == sent
    assert len(stations.agent.events) == 1
    assert (
        len(ages) + stations.agent.counters["link.late_dropped.other"] + stations.server.counters["link.stale_received"]
        == 1500
    )


async def test_nobody_coming_back_expires_the_session(
    stations: Stations, autojump_clock: trio.testing.MockClock
) -> None:
    carrier, _ = await stations.connect()
    carrier.cut()
    await trio.sleep(61)
    assert not stations.agent.link.session.is_live
    assert not stations.server.link.session.is_live


async def test_a_refused_agent_hears_why_and_run_carrier_says_so(
    stations: Stations, autojump_clock: trio.testing.MockClock
) -> None:
    await stations.connect()
    stations.server.link.session.refuse("revoked", trio.current_time())
    stations.server.link.flush()
    why = await stations.agent.until_ended()
    assert isinstance(why, Refused)
    assert why.reason == "revoked"
    await stations.server.until_ended()


async def test_goodbye_reaches_the_other_end(stations: Stations, autojump_clock: trio.testing.MockClock) -> None:
    await stations.connect()
    stations.agent.link.session.bye(trio.current_time())
    stations.agent.link.flush()
    await stations.server.until_ended()
    assert not stations.server.link.session.is_live


async def test_last_words_do_not_wait_for_a_peer_that_reads_no_more(
    stations: Stations, autojump_clock: trio.testing.MockClock
) -> None:
    carrier, _ = await stations.connect(capacity_bytes=2000)
    carrier.freeze()
    stations.agent.link.send_signal(bytes(50_000))
    stations.agent.link.session.bye(trio.current_time())
    stations.agent.link.flush()
    with trio.fail_after(1.5):
        await stations.agent.until_ended()


async def test_garbage_after_the_handshake_ends_the_carrier(
    stations: Stations, autojump_clock: trio.testing.MockClock
) -> None:
    carrier, _ = await stations.connect()
    carrier.try_send(b"\x17\x03\x03\x00\x20" + bytes(32))
    assert isinstance(await stations.server.until_ended(), PeerMisbehaved)
    assert isinstance(await stations.agent.until_ended(), WallpassError)
    await stations.connect()
    assert SessionUp(True, b"hello") in stations.server.events


async def test_cancellation_closes_the_carrier_and_leaves_a_session_to_resume(
    stations: Stations, autojump_clock: trio.testing.MockClock
) -> None:
    ours, theirs = memory_pair()
    stations.nursery.start_soon(stations.server.serve, theirs)
    with trio.move_on_after(1):
        await stations.agent.serve(ours)
    assert isinstance(await stations.server.until_ended(), CarrierLost)
    assert stations.agent.link.session.is_live
    assert SessionDown("stopped") in stations.agent.events


async def test_a_peer_that_does_not_shake_hands_is_given_up(
    authority: Authority, autojump_clock: trio.testing.MockClock
) -> None:
    carrier, _ = memory_pair()
    started = trio.current_time()
    with pytest.raises(CarrierLost, match="no TLS handshake"):
        await handshake(carrier, SecureChannel(authority.agent(), server_side=False))
    assert trio.current_time() - started == HANDSHAKE_TIMEOUT_S


async def test_an_agent_that_is_not_accepted_is_told_so(
    stations: Stations, authority: Authority, tmp_path: Path
) -> None:
    stranger = Authority(tmp_path, "stranger")
    stations.agent.context = agent_context(authority.pem, *stranger.issue("agent", "agent"))
    stations.start(*memory_pair())
    assert isinstance(await stations.server.until_ended(), PeerMisbehaved)
    why = await stations.agent.until_ended()
    assert isinstance(why, Refused)
    assert "unknown ca" in why.reason
    assert stations.server.events == []


async def test_who_is_turned_away_at_the_door_hears_why(
    stations: Stations, autojump_clock: trio.testing.MockClock
) -> None:
    ours, theirs = memory_pair()
    stations.nursery.start_soon(stations.agent.serve, ours)
    secure = SecureChannel(stations.server.context, server_side=True)
    await handshake(theirs, secure)
    await refuse(theirs, secure, "tenant removed")
    why = await stations.agent.until_ended()
    assert isinstance(why, Refused)
    assert why.reason == "tenant removed"
    assert stations.agent.events == [PeerRefused("tenant removed")]
