from __future__ import annotations

import pytest
import trio
import trio.testing

from tunnel.errors import CarrierLost, PeerMisbehaved
from tunnel.link.join_wire import receive_message, send_message


@pytest.mark.parametrize("data", [b"", b"x", b"x" * 16384])
async def test_a_message_arrives_as_it_was_sent(data: bytes, nursery: trio.Nursery) -> None:
    left, right = trio.testing.lockstep_stream_pair()
    nursery.start_soon(send_message, left, data)
    assert await receive_message(right) == data


async def test_a_message_that_is_too_long_is_not_read() -> None:
    left, right = trio.testing.memory_stream_pair()
    await left.send_all(b"\x40\x01")
    with pytest.raises(PeerMisbehaved, match="16385 bytes"):
        await receive_message(right)


@pytest.mark.parametrize("part", [b"", b"\x00", b"\x00\x05half"])
async def test_an_end_in_the_middle_is_a_lost_carrier(part: bytes) -> None:
    left, right = trio.testing.memory_stream_pair()
    await left.send_all(part)
    await left.aclose()
    with pytest.raises(CarrierLost, match="ended early"):
        await receive_message(right)


async def test_a_connection_that_breaks_is_a_lost_carrier() -> None:
    left, right = trio.testing.memory_stream_pair()
    await right.aclose()
    with pytest.raises(CarrierLost, match="was lost"):
        await send_message(left, b"x")
    with pytest.raises(CarrierLost, match="was lost"):
        await receive_message(right)
