"""The table of session states is whole."""

from __future__ import annotations

import pytest

from tunnel.errors import LocalMisuse
from tunnel.link.states import ATTACHED_STATES, LIVE_STATES, TRANSITIONS, Happening, State, next_state


def test_every_state_can_be_reached_and_left() -> None:
    assert set(TRANSITIONS.values()) == set(State)
    assert {state for state, _ in TRANSITIONS} == set(State)


def test_every_happening_has_its_place() -> None:
    assert {happening for _, happening in TRANSITIONS} == set(Happening)


def test_losing_the_connection_is_possible_exactly_where_there_is_one() -> None:
    assert {state for state, happening in TRANSITIONS if happening is Happening.DETACHED} == ATTACHED_STATES


def test_a_live_session_outlives_its_connection_and_others_do_not() -> None:
    for state in ATTACHED_STATES:
        assert (next_state(state, Happening.DETACHED) is State.AWAY) == (state in LIVE_STATES)


def test_what_is_not_in_the_table_is_misuse() -> None:
    with pytest.raises(LocalMisuse, match="fresh cannot be resumed"):
        next_state(State.FRESH, Happening.RESUMED)
