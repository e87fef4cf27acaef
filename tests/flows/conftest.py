"""``stage``: the phones and the pair in one way, with one caller, as the ``flow`` of a test asks for."""

from __future__ import annotations

import pytest
from support.stage import Stage


@pytest.fixture
def stage(request: pytest.FixtureRequest) -> Stage:
    way, caller, hide_full = request.param
    return Stage(way, caller_inside=caller == "inside", hide_full=hide_full)
