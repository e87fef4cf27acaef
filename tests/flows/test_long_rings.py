"""Calls that ring in every manner, in an order that chance decides: at one phone or two, answered, refused or given up."""

from __future__ import annotations

import random
from dataclasses import dataclass

import pytest
from support.flow_table import flow
from support.ladder import Dialog, Phone, media_address
from support.stage import Stage, Talk

from tunnel.sip.message import Message


@dataclass
class Bell:
    """One phone that rings: its INVITE, its dialogs at either end once there are any."""

    phone: Phone
    arrived: Message
    caller: Dialog | None = None
    rseq: int = 0
    is_agreed: bool = False
    told: bytes = b""  # the newest SDP that the caller got of it
    given: bytes = b""  # and that the caller gave it

    @property
    def callee(self) -> Dialog:
        return Dialog.of_callee(self.phone, self.arrived, self.phone.tag)


class Ring:
    """``live`` ends with a call that is hung up, or with none; either way nothing may be left."""

    def __init__(self, stage: Stage, seed: int) -> None:
        self.stage = stage
        self.dice = random.Random(seed)
        self.serial = 0
        self.offerless = self.dice.random() < 0.3
        phones = [stage.second_callee()] if self.dice.random() < 0.6 else []
        body = b"" if self.offerless else None
        self.invite = stage.invite(body=body, headers=("Supported: 100rel",))
        self.bells = [Bell(phone, phone.got("INVITE")) for phone in (stage.callee, *phones)]
        for bell in self.bells:
            self.rings(bell)

    def port(self, phone: Phone) -> int:
        return phone.port + 10 * self.dice.randrange(40)

    def heard(self, bell: Bell, status: int) -> Message:
        """The caller got that response of ``bell``."""
        message = self.stage.caller.got(status)
        assert message.to_tag == bell.phone.tag.encode()
        bell.caller = bell.caller or Dialog.of_caller(self.stage.caller, self.invite, message)
        if message.body:
            bell.told = message.body
        return message

    # What a phone that rings may do

    def rings(self, bell: Bell) -> None:
        self.says(bell, 180)
        self.heard(bell, 180)

    def says(self, bell: Bell, status: int, *headers: str, body: bytes = b"") -> None:
        """A response that differs from the ones before: a copy would be absorbed."""
        self.serial += 1
        bell.phone.answer(bell.arrived, status, headers=(f"X-Serial: {self.serial}", *headers), body=body)

    def plays_a_tone(self, bell: Bell) -> None:
        if self.offerless or bell.is_agreed:
            return
        self.says(bell, 183, body=bell.phone.sdp(self.port(bell.phone)))
        self.heard(bell, 183)
        bell.given = self.stage.caller.sdp()
        self.assert_hears(bell)

    def rings_reliably(self, bell: Bell) -> None:
        """With the answer, or the offer; the caller may have lost it at first."""
        phone, caller = bell.phone, self.stage.caller
        if bell.rseq and not bell.is_agreed:
            return
        bell.rseq += 1
        body = b"" if bell.is_agreed else phone.sdp(self.port(phone))
        self.says(bell, 183, "Require: 100rel", f"RSeq: {bell.rseq}", body=body)
        self.heard(bell, 183)
        if self.dice.random() < 0.3:
            self.stage.world.wait(0.6)
            self.heard(bell, 183)
        answer = caller.sdp(self.port(caller)) if self.offerless and body else b""
        assert bell.caller is not None
        bell.caller.send("PRACK", headers=(f"RAck: {bell.rseq} 1 INVITE",), body=answer)
        phone.answer(phone.got("PRACK"), 200)
        caller.got(200)
        if body:
            bell.given = answer or caller.sdp()
        bell.is_agreed = True
        if body:
            self.assert_hears(bell)

    def updates(self, bell: Bell) -> None:
        """Either party moves its media in the early dialog, or the other refuses that."""
        if not bell.is_agreed or bell.caller is None:
            return
        talk = Talk(bell.caller, bell.callee, self.invite, bell.arrived, bell.arrived)
        talk.callee.cseq = 10 + bell.rseq * 10 + self.dice.randrange(10**6)
        one = self.dice.choice([talk.caller, talk.callee])
        other = talk.other(one)
        offer = one.phone.sdp(self.port(one.phone))
        if self.dice.random() < 0.3:
            talk.refused(one, offer, self.dice.choice([488, 491, 500]), method="UPDATE")
            return
        answer = other.phone.sdp(self.port(other.phone))
        arrived, agreed = talk.offer(one, offer, answer, method="UPDATE")
        by_caller = one is talk.caller
        bell.told, bell.given = (agreed.body, offer) if by_caller else (arrived.body, answer)

    def waits(self, bell: Bell) -> None:
        self.stage.world.wait(self.dice.choice([0.1, 3, 50]))

    def leaves(self, bell: Bell) -> None:
        """199: this early dialog is over, the phone has not said so finally yet."""
        if len(self.bells) > 1 and not bell.is_agreed:
            self.says(bell, 199)
            self.heard(bell, 199)

    # How it ends

    def refuses(self, bell: Bell) -> None:
        bell.phone.answer(bell.arrived, self.dice.choice([404, 480, 486, 503, 600]))
        bell.phone.got("ACK")
        self.bells.remove(bell)
        if not self.bells:
            final = self.stage.caller.inbox.pop(0)
            assert final.status >= 300
            self.stage.caller.ack_failure(self.invite, final)

    def is_given_up(self) -> None:
        caller = self.stage.caller
        caller.cancel(self.invite)
        assert caller.got(200).cseq_method == "CANCEL"
        self.are_cancelled()
        caller.ack_failure(self.invite, caller.inbox.pop(0))

    def is_answered_and_given_up(self, bell: Bell) -> None:
        """The 200 of a phone and the caller's CANCEL cross in the tunnel: the caller hangs up what it did not want."""
        phone, caller = bell.phone, self.stage.caller
        self.stage.world.cut()
        caller.cancel(self.invite)
        phone.answer(bell.arrived, 200, body=b"" if bell.is_agreed else phone.sdp(self.port(phone)))
        self.stage.world.mend()
        answers = {caller.inbox[n].cseq_method: caller.inbox[n] for n in range(len(caller.inbox))}
        caller.inbox.clear()
        assert {message.status for message in answers.values()} == {200}
        assert bell.caller is not None
        offered = self.offerless and bool(answers["INVITE"].body)
        bell.caller.ack(body=caller.sdp() if offered else b"", cseq=1)
        late = [message.method for message in phone.inbox]
        assert sorted(late) in (["ACK"], ["ACK", "CANCEL"])
        for message in phone.inbox:
            if message.method == "CANCEL":
                phone.answer(message, 481)
        phone.inbox.clear()
        self.bells.remove(bell)
        self.are_cancelled()
        Talk(bell.caller, bell.callee, self.invite, bell.arrived, bell.arrived).hang_up()

    def are_cancelled(self) -> None:
        for bell in self.bells:
            bell.phone.answer(bell.phone.got("CANCEL"), 200)
            bell.phone.answer(bell.arrived, 487)
            bell.phone.got("ACK")
        self.bells.clear()

    def is_answered(self, bell: Bell) -> None:
        phone, caller = bell.phone, self.stage.caller
        body = b"" if bell.is_agreed else phone.sdp(self.port(phone))
        phone.answer(bell.arrived, 200, body=body)
        self.heard(bell, 200)
        assert bell.caller is not None
        answer = caller.sdp(self.port(caller)) if self.offerless and body else b""
        bell.caller.ack(body=answer, cseq=1)
        if body:
            bell.given = answer or caller.sdp()
        phone.got("ACK")
        self.bells.remove(bell)
        self.are_cancelled()
        self.stage.world.wait(3)
        self.assert_hears(bell)
        talk = Talk(bell.caller, bell.callee, self.invite, bell.arrived, bell.arrived)
        talk.callee.cseq = 10**7
        talk.offer(talk.callee, phone.sdp(self.port(phone)), caller.sdp(self.port(caller)))
        assert self.stage.reaches(caller, phone)
        assert self.stage.reaches(phone, caller)
        talk.hang_up(self.dice.choice([talk.caller, talk.callee]))

    def assert_hears(self, bell: Bell) -> None:
        """Caller and phone hear each other, by what they agreed in that dialog."""
        caller, phone = self.stage.caller, bell.phone
        before = caller.agreed
        caller.agreed = bell.given, bell.told
        assert self.stage.reaches(phone, caller)
        assert self.stage.reaches(caller, phone, to=media_address(bell.told, 0))
        caller.agreed = before

    def live(self) -> None:
        steps = [self.rings, self.plays_a_tone, self.rings_reliably, self.updates, self.waits, self.leaves]
        phones = [bell.phone for bell in self.bells]
        for _ in range(self.dice.randrange(12)):
            self.dice.choice(steps)(self.dice.choice(self.bells))
        end = self.dice.choice(["answer", "answer", "answer", "refuse", "cancel", "cross"])
        if end == "answer":
            self.is_answered(self.dice.choice(self.bells))
        elif end == "cancel":
            self.is_given_up()
        elif end == "cross":
            self.is_answered_and_given_up(self.dice.choice(self.bells))
        while self.bells:
            self.refuses(self.dice.choice(self.bells))
        self.stage.assert_empty()
        for phone in phones:
            phone.got_nothing()


@flow("fork-early", basic=True)
@pytest.mark.parametrize("seed", range(8))
def test_however_it_rings(stage: Stage, seed: int) -> None:
    """I1, I4, I6, T6, T12: tones, PRACKs, UPDATEs, one phone or two: who answers is heard, and nothing is left."""
    Ring(stage, seed).live()
