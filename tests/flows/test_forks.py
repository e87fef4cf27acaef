"""One call, two phones: a proxy behind the pair or before it rings both (RFC 3261 section 16.7, RFC 6337 section 3.1.1).

In A out, B and C in, one INVITE crosses and two phones answer it; in A in and C out the registrar sends two INVITEs of
one call through the pair. Either way the caller sees two dialogs.
"""

from __future__ import annotations

import pytest
from support.flow_table import flow
from support.ladder import Dialog, Phone, media_address, places_in
from support.stage import Stage, Talk

from tunnel.sip.message import Message


class Ringing:
    """Both phones of the callee ring. ``first`` and ``second``: the phones; their INVITEs as they arrived."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.second = stage.second_callee()
        self.first = stage.callee
        self.invite = stage.invite()
        self.arrived = {phone: phone.got("INVITE") for phone in (self.first, self.second)}

    def rings(self, phone: Phone, status: int = 180, body: bytes = b"") -> Message:
        """The provisional response of that phone, as the caller got it."""
        phone.answer(self.arrived[phone], status, body=body)
        return self.stage.caller.got(status)

    def picks_up(self, phone: Phone) -> Talk:
        """That phone answers and is acknowledged."""
        callee = phone.accept(self.arrived[phone])
        ok = self.stage.caller.got(200)
        caller = Dialog.of_caller(self.stage.caller, self.invite, ok)
        caller.ack()
        phone.got("ACK")
        return Talk(caller, callee, self.invite, self.arrived[phone], ok)

    def is_cancelled(self, phone: Phone) -> None:
        """The proxy took the call from that phone."""
        phone.answer(phone.got("CANCEL"), 200)
        phone.answer(self.arrived[phone], 487)
        phone.got("ACK")

    def hears(self, phone: Phone, early: Message) -> bool:
        """Whether the caller and ``phone`` hear each other, by the SDP of ``early``."""
        caller = self.stage.caller
        to = media_address(early.body, 0)
        return self.stage.reaches(phone, caller) and self.stage.reaches(caller, phone, to=to)

    def assert_over(self) -> None:
        for phone in (self.first, self.second):
            phone.got_nothing()
        self.stage.assert_empty()
        for phone in (self.first, self.second):
            phone.got_nothing()


@flow("fork-early", basic=True)
def test_the_losers_tone_does_not_kill_the_winner(stage: Stage) -> None:
    """T6, I4: 183 with SDP of one phone, then the other answers: audio with that one, none of the loser, ports freed."""
    ringing = Ringing(stage)
    first, second = ringing.first, ringing.second
    tone = ringing.rings(first, 183, first.sdp())
    assert ringing.hears(first, tone)
    ringing.rings(second)
    talk = ringing.picks_up(second)
    ringing.is_cancelled(first)
    assert places_in(talk.answer.body) != places_in(tone.body)
    assert ringing.hears(second, talk.answer)
    stage.world.wait(3)
    assert not stage.reaches(first, stage.caller)
    assert ringing.hears(second, talk.answer)
    stage.caller.got_nothing()
    talk.hang_up()
    ringing.assert_over()


@flow("fork-early")
def test_both_play_a_tone(stage: Stage) -> None:
    """I4: each early dialog has a port of its own towards the caller, who hears the latest; then the first answers."""
    ringing = Ringing(stage)
    first, second = ringing.first, ringing.second
    tones = {phone: ringing.rings(phone, 183, phone.sdp()) for phone in (first, second)}
    assert places_in(tones[first].body) != places_in(tones[second].body)
    assert ringing.hears(second, tones[second])
    offers = [places_in(ringing.arrived[phone].body) for phone in (first, second)]
    is_one_offer = offers[0] == offers[1]  # else the registrar forked before the pair, which carries two calls
    assert stage.reaches(first, stage.caller) is not is_one_offer
    talk = ringing.picks_up(first)
    assert talk.answer.body == tones[first].body
    ringing.is_cancelled(second)
    stage.world.wait(3)
    assert ringing.hears(first, talk.answer)
    assert not stage.reaches(second, stage.caller)
    talk.hang_up(talk.callee)
    ringing.assert_over()


@flow("fork-early")
def test_199_ends_one_early_dialog(stage: Stage) -> None:
    """I4: 199 (RFC 6228) frees the ports of its early dialog at once; the other goes on and answers."""
    ringing = Ringing(stage)
    first, second = ringing.first, ringing.second
    ringing.rings(first, 183, first.sdp())
    tone = ringing.rings(second, 183, second.sdp())
    ringing.rings(first, 199)
    assert not stage.reaches(first, stage.caller)
    assert ringing.hears(second, tone)
    talk = ringing.picks_up(second)
    ringing.is_cancelled(first)
    assert ringing.hears(second, talk.answer)
    talk.hang_up()
    ringing.assert_over()


@flow("fork-early")
def test_one_is_busy_the_other_answers(stage: Stage) -> None:
    """I4, T12: the proxy keeps the 486 to itself; the caller never hears of that phone again."""
    ringing = Ringing(stage)
    first, second = ringing.first, ringing.second
    ringing.rings(first, 183, first.sdp())
    first.answer(ringing.arrived[first], 486)
    first.got("ACK")
    stage.caller.got_nothing()
    talk = ringing.picks_up(second)
    assert ringing.hears(second, talk.answer)
    talk.hang_up()
    ringing.assert_over()


@flow("fork-early")
def test_nobody_takes_it(stage: Stage) -> None:
    """I6, T12: both refuse; the caller gets the best of the answers, once."""
    ringing = Ringing(stage)
    for phone, status in ((ringing.first, 486), (ringing.second, 603)):
        ringing.rings(phone, 183, phone.sdp())
        phone.answer(ringing.arrived[phone], status)
        phone.got("ACK")
    stage.caller.ack_failure(ringing.invite, stage.caller.got(486))
    ringing.assert_over()


@flow("fork-early", basic=True)
def test_the_caller_gives_up(stage: Stage) -> None:
    """I6, B6: both phones stop ringing, and both early dialogs' ports go."""
    ringing = Ringing(stage)
    for phone in (ringing.first, ringing.second):
        ringing.rings(phone, 183, phone.sdp())
    stage.caller.cancel(ringing.invite)
    assert stage.caller.got(200).cseq_method == "CANCEL"
    for phone in (ringing.first, ringing.second):
        ringing.is_cancelled(phone)
    stage.caller.ack_failure(ringing.invite, stage.caller.got(487))
    ringing.assert_over()


@flow("fork-two-answers", basic=True)
@pytest.mark.parametrize("rings_first", [True, False], ids=["rang", "at-once"])
def test_two_phones_answer(stage: Stage, rings_first: bool) -> None:
    """I4, T12: both 200s and both ACKs pass; the caller says BYE to one and talks to the other."""
    ringing = Ringing(stage)
    first, second = ringing.first, ringing.second
    if rings_first:
        for phone in (first, second):
            ringing.rings(phone)
    kept = ringing.picks_up(first)
    second.lose()  # the CANCEL: it has just picked up
    other = ringing.picks_up(second)
    assert places_in(kept.answer.body) != places_in(other.answer.body)
    assert ringing.hears(first, kept.answer)
    assert ringing.hears(second, other.answer)
    other.hang_up()
    stage.world.wait(10)
    assert ringing.hears(first, kept.answer)
    assert not stage.reaches(second, stage.caller)
    kept.offer(kept.callee, first.sdp(port=7900, version=2), stage.caller.sdp(version=2))
    assert ringing.hears(first, kept.answer)
    kept.hang_up(kept.callee)
    ringing.assert_over()


@flow("late-2xx", basic=True)
def test_a_late_200_of_another_fork(stage: Stage) -> None:
    """I4, B4: twenty seconds into the call another phone answers; it is acknowledged and gets its BYE."""
    ringing = Ringing(stage)
    first, second = ringing.first, ringing.second
    kept = ringing.picks_up(first)
    second.lose()  # the CANCEL
    stage.world.wait(20)
    second.lose()
    late = ringing.picks_up(second)
    assert ringing.hears(first, kept.answer)
    late.hang_up()
    assert ringing.hears(first, kept.answer)
    kept.hang_up()
    ringing.assert_over()
