"""The tables lead everywhere and nowhere else, and the machines do what the tables say."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from support.transactions import INVITE, OPTIONS, response

from tunnel.sip.client_transaction import ClientTransaction
from tunnel.sip.server_transaction import ServerTransaction
from tunnel.sip.states import (
    INVITE_CLIENT,
    INVITE_SERVER,
    MACHINES,
    NON_INVITE_CLIENT,
    NON_INVITE_SERVER,
    Machine,
    Seen,
    State,
    Trigger,
)
from tunnel.sip.timers import Timer

FINALS = {Seen.SUCCESS: 200, Seen.FAILURE: 486}
STATUS = {Seen.PROVISIONAL: 180, **FINALS}

# When a timer fires after its state was entered on an unreliable transport, in seconds (RFC 3261 table 4, RFC 6026).
FIRES_AFTER_S = {
    Timer.A: 0.5,
    Timer.B: 32,
    Timer.C: 181,
    Timer.D: 32,
    Timer.E: 0.5,
    Timer.F: 32,
    Timer.G: 0.5,
    Timer.H: 32,
    Timer.I: 5,
    Timer.J: 32,
    Timer.K: 5,
    Timer.L: 32,
    Timer.M: 32,
    Timer.CANCELLED: 32,
}

# How a machine is brought from its initial state to another one.
WAY = {
    INVITE_CLIENT.name: {
        State.CALLING: [],
        State.PROCEEDING: [Seen.PROVISIONAL],
        State.ACCEPTED: [Seen.SUCCESS],
        State.COMPLETED: [Seen.FAILURE],
    },
    NON_INVITE_CLIENT.name: {
        State.TRYING: [],
        State.PROCEEDING: [Seen.PROVISIONAL],
        State.COMPLETED: [Seen.SUCCESS],
    },
    INVITE_SERVER.name: {
        State.PROCEEDING: [],
        State.ACCEPTED: [Seen.SUCCESS],
        State.COMPLETED: [Seen.FAILURE],
        State.CONFIRMED: [Seen.FAILURE, Seen.ACK],
    },
    NON_INVITE_SERVER.name: {
        State.TRYING: [],
        State.PROCEEDING: [Seen.PROVISIONAL],
        State.COMPLETED: [Seen.SUCCESS],
    },
}

ROWS = [(machine, *row) for machine in MACHINES for row in machine.table.items()]


def _start(machine: Machine) -> ClientTransaction | ServerTransaction:
    if machine is INVITE_CLIENT or machine is NON_INVITE_CLIENT:
        invite = machine is INVITE_CLIENT
        return ClientTransaction(invite, INVITE if invite else OPTIONS, False, 0.0)
    return ServerTransaction(machine is INVITE_SERVER, False, 0.0)


def _apply(transaction: ClientTransaction | ServerTransaction, seen: Seen) -> None:
    if isinstance(transaction, ClientTransaction):
        if seen is Seen.TRANSPORT_ERROR:
            transaction.transport_failed(0.0)
        else:
            method = "INVITE" if transaction.invite else "OPTIONS"
            transaction.receive(STATUS[seen], response(STATUS[seen], "b1", method), b"b1", 0.0)
    elif seen is Seen.REQUEST:
        transaction.receive_retransmission(0.0)
    elif seen is Seen.ACK:
        transaction.receive_ack(0.0)
    else:
        transaction.respond(response(STATUS[seen]), STATUS[seen], b"b1", 0.0)


def _wait_for(transaction: ClientTransaction | ServerTransaction, after_s: float) -> None:
    before = transaction.state
    while (deadline := transaction.deadline()) is not None and deadline <= after_s:
        if deadline < after_s:
            assert transaction.state is before
        transaction.tick(deadline)


def _row_id(value: object) -> str:
    if isinstance(value, Machine):
        return value.name.replace(" ", "-")
    if isinstance(value, tuple):
        state, trigger = value
        return f"{state.name}-{trigger.name}"
    assert isinstance(value, State)
    return value.name


@pytest.mark.parametrize(("machine", "at", "after"), ROWS, ids=_row_id)
def test_each_row_is_what_the_machine_does(machine: Machine, at: tuple[State, Trigger], after: State) -> None:
    state, trigger = at
    transaction = _start(machine)
    for step in WAY[machine.name][state]:
        _apply(transaction, step)
    assert transaction.state is state
    if isinstance(trigger, Seen):
        _apply(transaction, trigger)
    else:
        if trigger is Timer.CANCELLED:
            assert isinstance(transaction, ClientTransaction)
            transaction.cancel(0.0)
        first_resend = 4.0 if (state, trigger) == (State.PROCEEDING, Timer.E) else FIRES_AFTER_S[trigger]
        _wait_for(transaction, first_resend)
    assert transaction.state is after


@pytest.mark.parametrize("machine", MACHINES, ids=_row_id)
class TestTable:
    def test_every_state_is_reached_from_the_initial_one(self, machine: Machine) -> None:
        named = {machine.initial} | {state for state, _ in machine.table} | set(machine.table.values())
        assert _closure(machine.initial, lambda state: _next(machine, state)) == named

    def test_every_state_leads_to_the_end(self, machine: Machine) -> None:
        for state, _ in machine.table:
            assert State.TERMINATED in _closure(state, lambda state: _next(machine, state))

    def test_the_end_is_the_end(self, machine: Machine) -> None:
        assert not _next(machine, State.TERMINATED)

    def test_whatever_a_network_does_has_a_row_in_every_state(self, machine: Machine) -> None:
        seen = {trigger for _, trigger in machine.table if isinstance(trigger, Seen)}
        states = {state for state, _ in machine.table}
        assert {(state, trigger) for state in states for trigger in seen} <= set(machine.table)


def test_every_timer_belongs_to_a_machine() -> None:
    used = {trigger for machine in MACHINES for _, trigger in machine.table if isinstance(trigger, Timer)}
    assert used == set(Timer) == set(FIRES_AFTER_S)


def _next(machine: Machine, state: State) -> set[State]:
    return {after for (before, _), after in machine.table.items() if before is state}


def _closure(start: State, following: Callable[[State], set[State]]) -> set[State]:
    reached, left = {start}, [start]
    while left:
        for state in following(left.pop()) - reached:
            reached.add(state)
            left.append(state)
    return reached
