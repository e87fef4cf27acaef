"""What the flows share: a pair with a trunk for each module, and its line in both directions."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from field.rig.line import Line, trunk_pair
from field.rig.network import Network
from field.rig.wallpass import Pair


@pytest.fixture(scope="module")
def trunk(network: Network, folder: Path) -> Iterator[Pair]:
    with trunk_pair(network, folder) as pair:
        yield pair


@pytest.fixture(params=["out", "in"])
def line(request: pytest.FixtureRequest, trunk: Pair, folder: Path) -> Line:
    return Line(trunk.network, folder, request.param)
