"""The states of a session, as data. The table knows no role; a pair that is missing is an error.

A session lives longer than its connections: AWAY keeps it until its grace has ended.
"""

from __future__ import annotations

from enum import Enum, auto

from tunnel.errors import LocalMisuse

__all__ = ["ATTACHED_STATES", "LIVE_STATES", "TRANSITIONS", "Happening", "State", "Timer", "next_state"]


class State(Enum):
    """Where a session stands."""

    FRESH = "fresh"  # no session, no connection
    GREETING = "greeting"  # a connection, and nothing to resume: hello or welcome is awaited
    RESUMING = "resuming"  # a connection, and a session that it may resume
    UP = "up"  # both ends agree on the session
    AWAY = "away"  # the session has lost its connection and waits for another
    ENDING = "ending"  # the last words may still leave; then the connection is closed


class Happening(Enum):
    """What moves a session from state to state."""

    ATTACHED = "attached"  # an authenticated connection was made
    GREETED = "greeted"  # hello and welcome agreed on a new session
    RESUMED = "resumed"  # hello and welcome agreed to go on
    DETACHED = "detached"  # the connection is gone
    GRACE_ENDED = "grace ended"  # nobody came back in time
    ENDED = "ended"  # one of the ends said goodbye, refused, or broke the rules


class Timer(Enum):
    """Every timer of a session."""

    GREETING = auto()  # hello or welcome must have come
    PING = auto()  # the next ping is due
    SILENCE = auto()  # nothing was heard for too long
    ACKNOWLEDGE = auto()  # received signalling must be acknowledged now
    GRACE = auto()  # a session without a connection ends


TRANSITIONS: dict[tuple[State, Happening], State] = {
    (State.FRESH, Happening.ATTACHED): State.GREETING,
    (State.FRESH, Happening.ENDED): State.FRESH,
    (State.GREETING, Happening.GREETED): State.UP,
    (State.GREETING, Happening.DETACHED): State.FRESH,
    (State.GREETING, Happening.ENDED): State.ENDING,
    (State.RESUMING, Happening.RESUMED): State.UP,
    (State.RESUMING, Happening.GREETED): State.UP,
    (State.RESUMING, Happening.DETACHED): State.AWAY,
    (State.RESUMING, Happening.ENDED): State.ENDING,
    (State.UP, Happening.DETACHED): State.AWAY,
    (State.UP, Happening.ENDED): State.ENDING,
    (State.AWAY, Happening.ATTACHED): State.RESUMING,
    (State.AWAY, Happening.GRACE_ENDED): State.FRESH,
    (State.AWAY, Happening.ENDED): State.FRESH,
    (State.ENDING, Happening.ENDED): State.ENDING,
    (State.ENDING, Happening.DETACHED): State.FRESH,
}

ATTACHED_STATES = frozenset({State.GREETING, State.RESUMING, State.UP, State.ENDING})  # there is a connection
LIVE_STATES = frozenset({State.RESUMING, State.UP, State.AWAY})  # there is a session; signalling is taken


def next_state(state: State, happening: Happening) -> State:
    """The state after ``happening``; LocalMisuse when it cannot happen in ``state``."""
    try:
        return TRANSITIONS[state, happening]
    except KeyError:
        raise LocalMisuse(f"a session that is {state.value} cannot be {happening.value}") from None
