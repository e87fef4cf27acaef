"""Which SDP is an offer and which an answer, by state (RFC 3264, RFC 6337): the table, and nothing else.

Seen from one face of one dialog: its network's party is **heard**, and what the party at the far end of the tunnel
says is **spoken** to it. ``Carriage`` is the only thing known of the message around the SDP.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import TypeAlias

__all__ = ["TRANSITIONS", "Carriage", "Meaning", "Side", "State", "carriage_of", "withdrawn"]


class Side(Enum):
    """Who said it, seen from one face."""

    HEARD = auto()
    SPOKEN = auto()


class Carriage(Enum):
    """What the message may do to an exchange."""

    OPENING = auto()
    """INVITE or UPDATE request: its SDP is an offer whatever went before."""
    PREVIEW = auto()
    """Unreliable provisional response: shows an answer and does not close the exchange (RFC 6337 3.1.1)."""
    REPLY = auto()
    """Everything else (2xx, reliable provisional, PRACK, ACK): offer or answer by state."""


class State(Enum):
    """Where the exchange of one dialog stands."""

    STABLE = auto()
    HEARD = auto()
    """An offer was heard in an INVITE or UPDATE and waits for its answer."""
    SPOKEN = auto()
    """An offer was spoken in an INVITE or UPDATE and waits for its answer."""
    GLARE = auto()
    """Both; at least one of them will fail with 491."""
    HEARD_IN_REPLY = auto()
    """SDP was heard in a response or PRACK with no offer open: an offer (offerless INVITE) or a needless copy."""
    SPOKEN_IN_REPLY = auto()


class Meaning(Enum):
    """What an SDP is, and so when the addresses in it take effect."""

    OFFER = auto()
    """Effective with its answer."""
    REPLY_OFFER = auto()
    """Effective at once: the response that carries it cannot fail. Agreed with its answer or with the next exchange."""
    PREVIEW = auto()
    """Effective at once, not yet agreed."""
    ANSWER = auto()
    """Effective and agreed."""


Event: TypeAlias = tuple[Side, Carriage]

_HEARD: dict[tuple[State, Carriage], tuple[State, Meaning]] = {
    (State.STABLE, Carriage.OPENING): (State.HEARD, Meaning.OFFER),
    (State.STABLE, Carriage.PREVIEW): (State.STABLE, Meaning.PREVIEW),
    (State.STABLE, Carriage.REPLY): (State.HEARD_IN_REPLY, Meaning.REPLY_OFFER),
    (State.HEARD, Carriage.OPENING): (State.HEARD, Meaning.OFFER),
    (State.HEARD, Carriage.PREVIEW): (State.HEARD, Meaning.OFFER),
    (State.HEARD, Carriage.REPLY): (State.HEARD, Meaning.OFFER),
    (State.SPOKEN, Carriage.OPENING): (State.GLARE, Meaning.OFFER),
    (State.SPOKEN, Carriage.PREVIEW): (State.SPOKEN, Meaning.PREVIEW),
    (State.SPOKEN, Carriage.REPLY): (State.STABLE, Meaning.ANSWER),
    (State.GLARE, Carriage.OPENING): (State.GLARE, Meaning.OFFER),
    (State.GLARE, Carriage.PREVIEW): (State.GLARE, Meaning.PREVIEW),
    (State.GLARE, Carriage.REPLY): (State.HEARD, Meaning.ANSWER),
    (State.HEARD_IN_REPLY, Carriage.OPENING): (State.HEARD, Meaning.OFFER),
    (State.HEARD_IN_REPLY, Carriage.PREVIEW): (State.HEARD_IN_REPLY, Meaning.PREVIEW),
    (State.HEARD_IN_REPLY, Carriage.REPLY): (State.HEARD_IN_REPLY, Meaning.REPLY_OFFER),
    (State.SPOKEN_IN_REPLY, Carriage.OPENING): (State.HEARD, Meaning.OFFER),
    (State.SPOKEN_IN_REPLY, Carriage.PREVIEW): (State.SPOKEN_IN_REPLY, Meaning.PREVIEW),
    (State.SPOKEN_IN_REPLY, Carriage.REPLY): (State.STABLE, Meaning.ANSWER),
}
_MIRROR = {
    State.STABLE: State.STABLE,
    State.GLARE: State.GLARE,
    State.HEARD: State.SPOKEN,
    State.SPOKEN: State.HEARD,
    State.HEARD_IN_REPLY: State.SPOKEN_IN_REPLY,
    State.SPOKEN_IN_REPLY: State.HEARD_IN_REPLY,
}

TRANSITIONS: dict[tuple[State, Event], tuple[State, Meaning]] = {
    **{(state, (Side.HEARD, carriage)): result for (state, carriage), result in _HEARD.items()},
    **{
        (_MIRROR[state], (Side.SPOKEN, carriage)): (_MIRROR[result], meaning)
        for (state, carriage), (result, meaning) in _HEARD.items()
    },
}
"""``TRANSITIONS[state, (side, carriage)] -> state, meaning``; every pair is there, the two sides mirror each other."""

_WITHDRAWN = {
    (State.HEARD, Side.HEARD): State.STABLE,
    (State.SPOKEN, Side.SPOKEN): State.STABLE,
    (State.GLARE, Side.HEARD): State.SPOKEN,
    (State.GLARE, Side.SPOKEN): State.HEARD,
    (State.HEARD_IN_REPLY, Side.HEARD): State.STABLE,
    (State.SPOKEN_IN_REPLY, Side.SPOKEN): State.STABLE,
}


def withdrawn(state: State, side: Side) -> State:
    """The state after the offer of ``side`` failed; unchanged when that side has none open."""
    return _WITHDRAWN.get((state, side), state)


def carriage_of(method: str, status: int, reliable: bool) -> Carriage:
    """The carriage of a message: its (CSeq) method, its status or 0 for a request, and whether it has ``RSeq``."""
    if not status:
        return Carriage.OPENING if method in ("INVITE", "UPDATE") else Carriage.REPLY
    return Carriage.PREVIEW if status < 200 and not reliable else Carriage.REPLY
