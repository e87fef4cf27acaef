"""An idle link behind firewalls that forget: in virtual time."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import trio
import trio.testing
from support.stations import Stations

from tunnel.carriers.memory import MemoryCarrier
from tunnel.link.events import SessionDown, SignalReceived

FIREWALL_FORGETS_S = 30.0  # the shortest timeout in the field; for TCP it is rarely below a minute


def sent_at(carrier: MemoryCarrier) -> list[float]:
    """When something leaves by ``carrier``, from now on."""
    times: list[float] = []
    plain: Callable[[bytes | memoryview], int] = carrier.try_send

    def noted(data: bytes | memoryview) -> int:
        times.append(trio.current_time())
        return plain(data)

    carrier.try_send = noted  # type: ignore[method-assign]
    return times


async def test_fifty_minutes_of_silence_and_then_a_call(
    stations: Stations, autojump_clock: trio.testing.MockClock
) -> None:
    """S4-6, S3-6: every firewall and NAT on the way has seen a packet in both directions within the last seconds; so a
    call that comes at any moment is at the other end at once, by the same connection."""
    agent, server = await stations.connect()
    directions = [sent_at(carrier) for carrier in (agent, server)]
    await trio.sleep(3000)
    for times in directions:
        assert max(later - at for at, later in pairwise(times)) < FIREWALL_FORGETS_S / 2
    began = trio.current_time()
    stations.server.link.send_signal(b"INVITE")
    await stations.agent.until(SignalReceived(b"INVITE"))
    assert trio.current_time() - began < 0.5
    assert not [event for end in stations.both for event in end.events if isinstance(event, SessionDown)]
