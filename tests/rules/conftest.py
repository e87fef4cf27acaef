"""Who takes part in most rules: a PBX and a phone inside, a trunk outside. Files with another world have their own."""

from __future__ import annotations

import pytest
from support.ladder import Phone
from support.pair import World


@pytest.fixture
def world() -> World:
    made = World(pbx="sip:10.1.0.5:5060", outside_uri="sip:203.0.113.30")
    made.set_tenant(domains=("acme.example",), trunks=("203.0.113.30",))
    return made


@pytest.fixture
def pbx(world: World) -> Phone:
    return Phone(world, "10.1.0.5:5060", "100", domain="itsp.example")


@pytest.fixture
def alice(world: World) -> Phone:
    return Phone(world, "10.1.0.50:5060", "alice")


@pytest.fixture
def trunk(world: World) -> Phone:
    return Phone(world, "203.0.113.30:5060", "trunk")
