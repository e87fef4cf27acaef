"""The carrier in memory behaves as a real one does when the path misbehaves."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from tunnel.carriers.memory import memory_pair
from tunnel.errors import CarrierLost


async def test_bytes_cross_in_both_directions() -> None:
    left, right = memory_pair()
    assert left.try_receive(10) is None
    assert left.try_send(b"there") == 5
    assert right.try_send(memoryview(b"back")) == 4
    await right.wait_readable()
    assert right.try_receive(3) == b"the"
    assert right.try_receive(30) == b"re"
    assert left.try_receive(30) == b"back"


async def test_a_full_carrier_takes_what_fits_and_says_when_there_is_room() -> None:
    left, right = memory_pair(capacity_bytes=4)
    assert left.try_send(b"abcdef") == 4
    assert left.room() == 0
    assert left.try_send(b"ef") == 0
    async with trio.open_nursery() as nursery:
        nursery.start_soon(left.wait_writable)
        await trio.testing.wait_all_tasks_blocked()
        right.try_receive(10)
    assert left.room() > 0


async def test_a_closed_end_is_read_to_its_end() -> None:
    left, right = memory_pair()
    left.try_send(b"last")
    left.close()
    left.close()
    assert right.try_receive(10) == b"last"
    assert right.try_receive(10) == b""
    with pytest.raises(CarrierLost, match="closed"):
        left.try_receive(10)


async def test_a_cut_wakes_and_ends_everybody() -> None:
    left, right = memory_pair()

    async def wait() -> None:
        with pytest.raises(CarrierLost, match="reset"):
            await right.wait_readable()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        left.cut()
    for end in (left, right):
        with pytest.raises(CarrierLost):
            end.try_send(b"x")
        with pytest.raises(CarrierLost):
            end.room()


async def test_a_frozen_path_keeps_what_it_has_until_it_thaws() -> None:
    left, right = memory_pair()
    left.freeze()
    left.try_send(b"later")
    assert right.try_receive(10) is None
    left.thaw()
    await right.wait_readable()
    assert right.try_receive(10) == b"later"


async def test_a_black_hole_takes_everything_and_delivers_nothing() -> None:
    left, right = memory_pair(capacity_bytes=10)
    left.try_send(b"lost too")
    left.swallow()
    assert left.try_send(b"x" * 100) == 100
    assert left.room() > 0
    assert right.try_receive(10) is None
