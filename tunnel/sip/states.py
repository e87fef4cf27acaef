"""The four transaction machines as tables (RFC 3261 section 17 as corrected by RFC 6026).

A table knows no bytes and no clock. A missing pair is an error of the program: whatever a network can bring about has a
row in every state but ``TERMINATED``, and a timer has a row only where it can run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

from tunnel.sip.timers import Timer

__all__ = [
    "INVITE_CLIENT",
    "INVITE_SERVER",
    "MACHINES",
    "NON_INVITE_CLIENT",
    "NON_INVITE_SERVER",
    "Machine",
    "Seen",
    "State",
    "Trigger",
]


class State(Enum):
    """Where a transaction is; the RFC's names."""

    CALLING = "calling"
    TRYING = "trying"
    PROCEEDING = "proceeding"
    ACCEPTED = "accepted"
    COMPLETED = "completed"
    CONFIRMED = "confirmed"
    TERMINATED = "terminated"


class Seen(Enum):
    """What the network or the user of a transaction did to it."""

    REQUEST = "request"  # server: the request came again
    ACK = "ACK"  # INVITE server: the hop-by-hop ACK came
    PROVISIONAL = "1xx"  # client: received; server: to be sent
    SUCCESS = "2xx"
    FAILURE = "3xx-6xx"
    TRANSPORT_ERROR = "transport error"  # client: the request could not be sent, or its connection is gone


Trigger: TypeAlias = Seen | Timer


@dataclass(frozen=True, slots=True)
class Machine:
    """One machine: where it begins, and ``table[state, trigger] -> state``."""

    name: str
    initial: State
    table: Mapping[tuple[State, Trigger], State]


_CALLING, _TRYING, _PROCEEDING = State.CALLING, State.TRYING, State.PROCEEDING
_ACCEPTED, _COMPLETED, _CONFIRMED, _TERMINATED = State.ACCEPTED, State.COMPLETED, State.CONFIRMED, State.TERMINATED

INVITE_CLIENT = Machine(
    "INVITE client",
    _CALLING,
    {
        (_CALLING, Timer.A): _CALLING,
        (_CALLING, Timer.B): _TERMINATED,
        (_CALLING, Seen.PROVISIONAL): _PROCEEDING,
        (_CALLING, Seen.SUCCESS): _ACCEPTED,
        (_CALLING, Seen.FAILURE): _COMPLETED,
        (_CALLING, Seen.TRANSPORT_ERROR): _TERMINATED,
        (_PROCEEDING, Timer.C): _PROCEEDING,
        (_PROCEEDING, Timer.CANCELLED): _TERMINATED,
        (_PROCEEDING, Seen.PROVISIONAL): _PROCEEDING,
        (_PROCEEDING, Seen.SUCCESS): _ACCEPTED,
        (_PROCEEDING, Seen.FAILURE): _COMPLETED,
        (_PROCEEDING, Seen.TRANSPORT_ERROR): _PROCEEDING,
        (_ACCEPTED, Timer.M): _TERMINATED,
        (_ACCEPTED, Seen.PROVISIONAL): _ACCEPTED,
        (_ACCEPTED, Seen.SUCCESS): _ACCEPTED,
        (_ACCEPTED, Seen.FAILURE): _ACCEPTED,
        (_ACCEPTED, Seen.TRANSPORT_ERROR): _ACCEPTED,
        (_COMPLETED, Timer.D): _TERMINATED,
        (_COMPLETED, Seen.PROVISIONAL): _COMPLETED,
        (_COMPLETED, Seen.SUCCESS): _COMPLETED,
        (_COMPLETED, Seen.FAILURE): _COMPLETED,
        (_COMPLETED, Seen.TRANSPORT_ERROR): _TERMINATED,
    },
)

NON_INVITE_CLIENT = Machine(
    "non-INVITE client",
    _TRYING,
    {
        (_TRYING, Timer.E): _TRYING,
        (_TRYING, Timer.F): _TERMINATED,
        (_TRYING, Seen.PROVISIONAL): _PROCEEDING,
        (_TRYING, Seen.SUCCESS): _COMPLETED,
        (_TRYING, Seen.FAILURE): _COMPLETED,
        (_TRYING, Seen.TRANSPORT_ERROR): _TERMINATED,
        (_PROCEEDING, Timer.E): _PROCEEDING,
        (_PROCEEDING, Timer.F): _TERMINATED,
        (_PROCEEDING, Seen.PROVISIONAL): _PROCEEDING,
        (_PROCEEDING, Seen.SUCCESS): _COMPLETED,
        (_PROCEEDING, Seen.FAILURE): _COMPLETED,
        (_PROCEEDING, Seen.TRANSPORT_ERROR): _TERMINATED,
        (_COMPLETED, Timer.K): _TERMINATED,
        (_COMPLETED, Seen.PROVISIONAL): _COMPLETED,
        (_COMPLETED, Seen.SUCCESS): _COMPLETED,
        (_COMPLETED, Seen.FAILURE): _COMPLETED,
        (_COMPLETED, Seen.TRANSPORT_ERROR): _COMPLETED,
    },
)

# A server keeps its state when a response cannot be sent (RFC 6026 section 7.1): its timers end it.
INVITE_SERVER = Machine(
    "INVITE server",
    _PROCEEDING,
    {
        (_PROCEEDING, Seen.REQUEST): _PROCEEDING,
        (_PROCEEDING, Seen.ACK): _PROCEEDING,
        (_PROCEEDING, Seen.PROVISIONAL): _PROCEEDING,
        (_PROCEEDING, Seen.SUCCESS): _ACCEPTED,
        (_PROCEEDING, Seen.FAILURE): _COMPLETED,
        (_ACCEPTED, Timer.L): _TERMINATED,
        (_ACCEPTED, Seen.REQUEST): _ACCEPTED,
        (_ACCEPTED, Seen.ACK): _ACCEPTED,
        (_ACCEPTED, Seen.PROVISIONAL): _ACCEPTED,
        (_ACCEPTED, Seen.SUCCESS): _ACCEPTED,
        (_ACCEPTED, Seen.FAILURE): _ACCEPTED,
        (_COMPLETED, Timer.G): _COMPLETED,
        (_COMPLETED, Timer.H): _TERMINATED,
        (_COMPLETED, Seen.REQUEST): _COMPLETED,
        (_COMPLETED, Seen.ACK): _CONFIRMED,
        (_COMPLETED, Seen.PROVISIONAL): _COMPLETED,
        (_COMPLETED, Seen.SUCCESS): _COMPLETED,
        (_COMPLETED, Seen.FAILURE): _COMPLETED,
        (_CONFIRMED, Timer.I): _TERMINATED,
        (_CONFIRMED, Seen.REQUEST): _CONFIRMED,
        (_CONFIRMED, Seen.ACK): _CONFIRMED,
        (_CONFIRMED, Seen.PROVISIONAL): _CONFIRMED,
        (_CONFIRMED, Seen.SUCCESS): _CONFIRMED,
        (_CONFIRMED, Seen.FAILURE): _CONFIRMED,
    },
)

NON_INVITE_SERVER = Machine(
    "non-INVITE server",
    _TRYING,
    {
        (_TRYING, Seen.REQUEST): _TRYING,
        (_TRYING, Seen.PROVISIONAL): _PROCEEDING,
        (_TRYING, Seen.SUCCESS): _COMPLETED,
        (_TRYING, Seen.FAILURE): _COMPLETED,
        (_PROCEEDING, Seen.REQUEST): _PROCEEDING,
        (_PROCEEDING, Seen.PROVISIONAL): _PROCEEDING,
        (_PROCEEDING, Seen.SUCCESS): _COMPLETED,
        (_PROCEEDING, Seen.FAILURE): _COMPLETED,
        (_COMPLETED, Timer.J): _TERMINATED,
        (_COMPLETED, Seen.REQUEST): _COMPLETED,
        (_COMPLETED, Seen.PROVISIONAL): _COMPLETED,
        (_COMPLETED, Seen.SUCCESS): _COMPLETED,
        (_COMPLETED, Seen.FAILURE): _COMPLETED,
    },
)

MACHINES = (INVITE_CLIENT, NON_INVITE_CLIENT, INVITE_SERVER, NON_INVITE_SERVER)
