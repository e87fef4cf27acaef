"""A running pump, or both ends of a call's media, for each test that asks for one."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import trio
from support.call_rig import CallRig
from support.media_pair import MediaPair
from support.pump_world import PumpWorld


@pytest.fixture
async def world() -> AsyncIterator[PumpWorld]:
    async with trio.open_nursery() as nursery:
        world = PumpWorld(nursery)
        await world.start()
        yield world
        nursery.cancel_scope.cancel()
    for phone in world.phones:
        phone.socket.close()


@pytest.fixture
def pair() -> MediaPair:
    return MediaPair()


@pytest.fixture
async def rig() -> AsyncIterator[CallRig]:
    async with trio.open_nursery() as nursery:
        rig = CallRig(nursery)
        await rig.start()
        yield rig
        nursery.cancel_scope.cancel()
    rig.close()
