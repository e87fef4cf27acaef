"""Offer or answer: the table of states."""

from __future__ import annotations

from itertools import product

import pytest

from tunnel.media.exchange import TRANSITIONS, Carriage, Meaning, Side, State, carriage_of, withdrawn


def meanings(*script: tuple[Side, Carriage]) -> tuple[list[Meaning], State]:
    state, said = State.STABLE, []
    for event in script:
        state, meaning = TRANSITIONS[state, event]
        said.append(meaning)
    return said, state


HEAR, SPEAK = Side.HEARD, Side.SPOKEN
OPENING, PREVIEW, REPLY = Carriage.OPENING, Carriage.PREVIEW, Carriage.REPLY


def test_every_state_knows_every_event() -> None:
    assert set(TRANSITIONS) == set(product(State, product(Side, Carriage)))


@pytest.mark.parametrize(("offerer", "answerer"), [(HEAR, SPEAK), (SPEAK, HEAR)])
def test_the_six_exchanges(offerer: Side, answerer: Side) -> None:
    # INVITE/2xx, INVITE/rel-1xx, UPDATE/2xx
    assert meanings((offerer, OPENING), (answerer, REPLY)) == ([Meaning.OFFER, Meaning.ANSWER], State.STABLE)
    # 2xx/ACK, rel-1xx/PRACK, PRACK/2xx
    assert meanings((offerer, REPLY), (answerer, REPLY)) == ([Meaning.REPLY_OFFER, Meaning.ANSWER], State.STABLE)


def test_previews_leave_the_exchange_open_for_the_answer() -> None:
    said, state = meanings((HEAR, OPENING), (SPEAK, PREVIEW), (SPEAK, PREVIEW), (SPEAK, REPLY))
    assert said == [Meaning.OFFER, Meaning.PREVIEW, Meaning.PREVIEW, Meaning.ANSWER]
    assert state is State.STABLE


def test_a_needless_copy_of_the_answer_does_not_spoil_the_next_exchange() -> None:
    said, state = meanings((HEAR, OPENING), (SPEAK, REPLY), (SPEAK, REPLY), (HEAR, OPENING), (SPEAK, REPLY))
    assert said[3:] == [Meaning.OFFER, Meaning.ANSWER]
    assert state is State.STABLE


def test_in_glare_one_failed_offer_leaves_the_other_open() -> None:
    _, state = meanings((HEAR, OPENING), (SPEAK, OPENING))
    assert state is State.GLARE
    assert withdrawn(state, HEAR) is State.SPOKEN
    assert withdrawn(state, SPEAK) is State.HEARD
    assert TRANSITIONS[withdrawn(state, HEAR), (HEAR, REPLY)] == (State.STABLE, Meaning.ANSWER)


def test_failing_without_an_open_offer_changes_nothing() -> None:
    assert withdrawn(State.STABLE, HEAR) is State.STABLE
    assert withdrawn(State.SPOKEN, HEAR) is State.SPOKEN


@pytest.mark.parametrize(
    ("method", "status", "reliable", "expected"),
    [
        ("INVITE", 0, False, OPENING),
        ("UPDATE", 0, False, OPENING),
        ("ACK", 0, False, REPLY),
        ("PRACK", 0, False, REPLY),
        ("INVITE", 183, False, PREVIEW),
        ("INVITE", 183, True, REPLY),
        ("INVITE", 200, False, REPLY),
    ],
)
def test_what_a_message_may_do(method: str, status: int, reliable: bool, expected: Carriage) -> None:
    assert carriage_of(method, status, reliable) is expected
