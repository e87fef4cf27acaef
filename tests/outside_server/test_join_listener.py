from __future__ import annotations

import struct

import pytest
import trio
import trio.testing

from outside_server.join_listener import serve_join
from tunnel.errors import CarrierLost, PeerMisbehaved

Pair = tuple[trio.abc.Stream, trio.abc.Stream]


def framed(data: bytes) -> bytes:
    return struct.pack("!H", len(data)) + data


def nobody_asks(request: bytes) -> bytes:
    raise AssertionError(request)


@pytest.fixture
def agent_and_server() -> Pair:
    return trio.testing.memory_stream_pair()


async def test_one_request_gets_one_answer_and_the_end(agent_and_server: Pair, nursery: trio.Nursery) -> None:
    agent, server = agent_and_server
    nursery.start_soon(serve_join, server, bytes.upper)
    for byte in framed(b"request"):
        await agent.send_all(bytes([byte]))
    received = b""
    while more := await agent.receive_some():
        received += more
    assert received == framed(b"REQUEST")


async def test_a_request_that_ends_early_is_answered_by_nothing(agent_and_server: Pair) -> None:
    agent, server = agent_and_server
    await agent.send_all(framed(b"request")[:-1])
    await agent.aclose()
    with pytest.raises(CarrierLost, match="ended early"):
        await serve_join(server, nobody_asks)


async def test_a_request_that_is_too_long_is_not_read(agent_and_server: Pair) -> None:
    agent, server = agent_and_server
    await agent.send_all(framed(b"x" * 16385))
    with pytest.raises(PeerMisbehaved, match="16385 bytes"):
        await serve_join(server, nobody_asks)
    assert await agent.receive_some() == b""


async def test_somebody_who_says_nothing_is_sent_away(
    agent_and_server: Pair, autojump_clock: trio.testing.MockClock
) -> None:
    agent, server = agent_and_server
    await agent.send_all(b"\x00")
    with pytest.raises(PeerMisbehaved, match="within 10 s"):
        await serve_join(server, nobody_asks)
    assert trio.current_time() == pytest.approx(10)
    assert await agent.receive_some() == b""
