"""Channel ids: two halves that never meet, and ids that rest after use."""

from __future__ import annotations

import pytest

from tunnel.errors import LocalMisuse
from tunnel.media.channels import AGENT_CHANNELS, SERVER_CHANNELS, ChannelSpace
from tunnel.media.plane import LedgerFull


def test_the_halves_are_even_and_apart() -> None:
    assert (AGENT_CHANNELS[0], AGENT_CHANNELS[-1]) == (16, 32766)
    assert (SERVER_CHANNELS[0], SERVER_CHANNELS[-1]) == (32768, 65534)
    assert all(channel % 2 == 0 for channel in [*AGENT_CHANNELS, *SERVER_CHANNELS])


def test_a_freed_id_comes_back_after_all_others() -> None:
    space = ChannelSpace(range(16, 24, 2))
    first = space.allocate()
    space.free(first)
    assert [space.allocate() for _ in range(4)] == [18, 20, 22, first]


def test_a_full_space_says_so_and_recovers() -> None:
    space = ChannelSpace(range(16, 20, 2))
    assert [space.allocate(), space.allocate()] == [16, 18]
    with pytest.raises(LedgerFull):
        space.allocate()
    space.free(16)
    assert space.allocate() == 16
    assert space.in_use == 2


def test_the_other_ends_ids_are_passed_over_and_double_frees_are_not() -> None:
    space = ChannelSpace(AGENT_CHANNELS)
    space.free(32768)
    space.free(0)
    with pytest.raises(LocalMisuse):
        space.free(16)
    assert space.in_use == 0
