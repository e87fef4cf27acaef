"""A call between two phones, as the tests hold it: dialled, talked, hung up by one, and judged at both ears."""

from __future__ import annotations

import time

from field.rig.baresip import Phone
from field.rig.voices import assert_heard

__all__ = ["TALK_S", "assert_both_heard", "converse", "establish"]

TALK_S = 3.0
# baresip's recorder keeps what it has not yet played when the call ends: up to 0.1 s, and the first packets' way.
_LOST_AT_THE_ENDS_S = 0.4


def establish(caller: Phone, callee: Phone, uri: str) -> None:
    """The caller dials; returns once both say that the call is up."""
    caller.forget()
    callee.forget()
    caller.dial(uri)
    caller.await_event("CALL_ESTABLISHED")
    callee.await_event("CALL_ESTABLISHED")


def converse(caller: Phone, callee: Phone, uri: str, who_hangs_up: str, talk_s: float = TALK_S) -> None:
    """A whole call; both phones have seen its end when this returns."""
    establish(caller, callee, uri)
    time.sleep(talk_s)
    (caller if who_hangs_up == caller.user else callee).hang_up()
    caller.await_event("CALL_CLOSED")
    callee.await_event("CALL_CLOSED")


def assert_both_heard(one: Phone, other: Phone, talked_s: float = TALK_S) -> None:
    """Each one's recording holds the other's voice for as long as they talked, and no other sound."""
    assert_heard(one.heard(), other.user, talked_s - _LOST_AT_THE_ENDS_S)
    assert_heard(other.heard(), one.user, talked_s - _LOST_AT_THE_ENDS_S)
