from __future__ import annotations

from collections.abc import Callable

import pytest
import trio
from structlog.testing import capture_logs

from inside_agent import dialer
from inside_agent.dialer import Backoff, Dialer
from tunnel.address import Address
from tunnel.errors import CarrierLost, PeerMisbehaved, Refused, WallpassError

SERVERS = Address("203.0.113.10", 443), Address("203.0.113.11", 443)


def longest(low: float, high: float) -> float:
    return high


def test_waits_double_from_nearly_nothing() -> None:
    backoff = Backoff(longest)
    assert [backoff.wait_s() for _ in range(7)] == [0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 2.0]


def test_a_server_that_restarts_is_asked_often_for_a_minute() -> None:
    """S2-1: back within 3 s, however long within that minute the restart took."""
    backoff = Backoff(longest)
    passed_s = 0.0
    while passed_s < 60.0:
        wait_s = backoff.wait_s()
        assert wait_s <= 2.0
        passed_s += wait_s


def test_waits_never_exceed_30_s() -> None:
    backoff = Backoff(longest)
    waits = [backoff.wait_s() for _ in range(200)]
    assert waits == sorted(waits)
    assert max(waits) == 30.0


def test_waits_are_drawn_from_the_upper_half() -> None:
    spans: list[tuple[float, float]] = []
    backoff = Backoff(lambda low, high: spans.append((low, high)) or low)
    for _ in range(60):
        backoff.wait_s()
    assert all(low == high / 2 for low, high in spans)


def test_whoever_said_no_is_not_asked_at_once() -> None:
    backoff = Backoff(longest)
    assert backoff.wait_s(least_s=5.0) == 5.0
    assert backoff.wait_s() == 0.1


def test_reset_begins_anew() -> None:
    backoff = Backoff(longest)
    for _ in range(100):
        backoff.wait_s()
    backoff.reset()
    assert [backoff.wait_s() for _ in range(3)] == [0.05, 0.1, 0.2]


class Network:
    """Servers of which a script says how each connection goes: seconds to connect, seconds up, and why it ended."""

    def __init__(self, script: list[tuple[float, float, WallpassError]]) -> None:
        self.script = script
        self.asked: list[tuple[float, Address]] = []
        self.came_up: Callable[[], None] = lambda: None

    async def connect(self, server: Address, timeout_s: float) -> Network:
        self.asked.append((round(trio.current_time(), 3), server))
        connect_s, up_s, why = self.script.pop(0) if self.script else (0.0, 0.0, CarrierLost("refused"))
        await trio.sleep(connect_s)
        self.plan = up_s, why
        if not up_s:
            raise CarrierLost(str(why)) if isinstance(why, CarrierLost) else AssertionError
        return self

    async def run_carrier(self, carrier: Network, channel: object) -> WallpassError:
        up_s, why = self.plan
        if up_s > 0:
            self.came_up()
        await trio.sleep(abs(up_s))
        return why


async def dial(
    monkeypatch: pytest.MonkeyPatch, script: list[tuple[float, float, WallpassError]], for_s: float
) -> Network:
    """Dial both servers for so long; an ``up_s`` below 0 is a connection that is made and never serves."""
    network = Network(script)
    monkeypatch.setattr(dialer, "connect_direct", network.connect)
    dialing = Dialer(network, SERVERS, lambda: None)  # type: ignore[arg-type, return-value]
    network.came_up = dialing.came_up
    begun_at = trio.current_time()
    with trio.move_on_after(for_s), capture_logs():
        await dialing.run()
    network.asked = [(round(at - begun_at, 3), server) for at, server in network.asked]
    return network


@pytest.fixture(autouse=True)
def steady(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Backoff.__init__, "__defaults__", (longest,))


async def test_a_server_that_does_not_answer_gives_way_to_the_next(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock
) -> None:
    """A connection attempt that hangs for 5 s is no session that lasted 5 s."""
    silent = CarrierLost("no answer")
    network = await dial(monkeypatch, [(5.0, 0.0, silent)] * 3, 16.0)
    assert [server for _, server in network.asked[:3]] == [SERVERS[0], SERVERS[1], SERVERS[0]]
    assert [at for at, _ in network.asked[:3]] == [0.0, 5.05, 10.15]


async def test_after_a_good_session_the_same_server_is_asked_at_once(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock
) -> None:
    cut = CarrierLost("reset")
    network = await dial(monkeypatch, [(0.0, 0.0, cut)] * 8 + [(0.0, 3600.0, cut), (0.0, 100.0, cut)], 3630.0)
    (before, good), (after, again) = network.asked[-2:]
    assert good == again
    assert after - before == pytest.approx(3600.05, abs=0.01)


@pytest.mark.parametrize("why", [Refused("revoked"), PeerMisbehaved("not our server")])
async def test_a_refusal_is_no_reason_to_hurry(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock, why: WallpassError
) -> None:
    network = await dial(monkeypatch, [(0.0, -0.01, why)] * 3, 14.0)
    assert [at for at, _ in network.asked] == [0.0, 5.01, 10.02]


async def test_garbage_in_the_middle_of_a_session_is_a_cut_like_any_other(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock
) -> None:
    network = await dial(monkeypatch, [(0.0, 60.0, PeerMisbehaved("bad record")), (0.0, 60.0, CarrierLost("x"))], 70.0)
    assert [at for at, _ in network.asked] == [0.0, 60.05]
