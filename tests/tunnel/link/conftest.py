"""Two links in a nursery, for the tests of the driver."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import trio
from support.stations import Stations
from support.tls import Authority


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
async def stations(authority: Authority) -> AsyncIterator[Stations]:
    async with trio.open_nursery() as nursery:
        made = Stations(nursery, authority)
        for end in made.both:
            await nursery.start(end.link.run)
        yield made
        nursery.cancel_scope.cancel()
