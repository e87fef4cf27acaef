"""Calls in which everything happens, one thing after the other, in an order that chance decides."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from support.describe import describe
from support.flow_table import flow
from support.ladder import Dialog, Phone, places_in
from support.stage import Stage

STEPS = 40
ZERO = "0.0.0.0"


class LongTalk:
    """A call whose phones change their minds. After every step: what a phone was told of a stream never moves, and
    whoever is not on hold is heard."""

    def __init__(self, stage: Stage, seed: int) -> None:
        self.stage = stage
        self.dice = random.Random(seed)
        self.version = 1
        self.told: dict[tuple[str, int], int] = {}
        caller, callee = stage.caller, stage.callee
        self.talk = stage.talk(body=self.describe(caller, video=False), answer=self.describe(callee, video=False))

    def describe(self, phone: Phone, *, video: bool | None = None, direction: str = "", held: bool = False) -> bytes:
        """A fresh description, on ports that may be new; the m-lines that there ever were stay."""
        before = places_in(phone.agreed[0]) if phone.agreed[0] else []
        wants_video = self.dice.random() < 0.4 if video is None else video
        base = phone.port + 10 * self.dice.randrange(40)
        lines = [f"a={direction}"] if direction else []
        media = [[f"m=audio {base} RTP/AVP 0 101", "a=rtpmap:101 telephone-event/8000", *lines]]
        if wants_video or len(before) > 1:
            media.append([f"m=video {base + 2 if wants_video else 0} RTP/AVP 96", *lines])
        self.version += 1
        return describe(phone, *media, version=self.version, address=ZERO if held else "")

    def answer_to(self, offer: bytes, phone: Phone, direction: str = "") -> bytes:
        """An answer with as many m-lines as the offer, closed where that is."""
        ports = [port for _, port in places_in(offer)]
        base = phone.port + 10 * self.dice.randrange(40)
        lines = [f"a={direction}"] if direction else []
        media = [
            [f"m={kind} {base + 2 * n if port else 0} RTP/AVP {formats}", *lines]
            for n, (port, (kind, formats)) in enumerate(zip(ports, (("audio", "0"), ("video", "96")), strict=False))
        ]
        self.version += 1
        return describe(phone, *media, version=self.version)

    # Steps

    def offer(self, by: Dialog) -> None:
        """A new offer by INVITE or UPDATE, with other ports, with video or without."""
        body = self.describe(by.phone)
        method = self.dice.choice(["INVITE", "UPDATE"])
        self.talk.offer(by, body, self.answer_to(body, self.talk.other(by).phone), method=method)

    def hold(self, by: Dialog) -> None:
        """On hold for a while in one of the three ways, and back, by either party."""
        direction, answer = self.dice.choice([("sendonly", "recvonly"), ("inactive", "inactive"), ("", "")])
        body = self.describe(by.phone, direction=direction, held=not direction)
        self.talk.offer(by, body, self.answer_to(body, self.talk.other(by).phone, answer))
        self.stage.world.wait(self.dice.choice([1, 60, 9000]))
        self.offer(self.dice.choice([self.talk.caller, self.talk.callee]))

    def refused(self, by: Dialog) -> None:
        method = self.dice.choice(["INVITE", "UPDATE"])
        self.talk.refused(by, self.describe(by.phone), self.dice.choice([400, 488, 491, 500, 606]), method=method)

    def refresh(self, by: Dialog) -> None:
        """The same again: the same bytes arrive."""
        other = self.talk.other(by).phone
        told = by.phone.agreed[1], other.agreed[1]
        self.talk.offer(by, by.phone.agreed[0], other.agreed[0])
        assert (by.phone.agreed[1], other.agreed[1]) == told

    def offerless(self, by: Dialog) -> None:
        other = self.talk.other(by).phone
        offer = self.describe(other)
        self.talk.request(by, "INVITE", answer=offer)
        by.ack(body=self.answer_to(offer, by.phone))
        other.got("ACK")

    def glare(self, by: Dialog) -> None:
        """Both offer at once; the other party refuses, and its own offer is taken or refused as well."""
        other = self.talk.other(by)
        before = by.phone.agreed, other.phone.agreed
        mine, theirs = self.describe(by.phone), self.describe(other.phone)
        crosses_in_the_tunnel = self.dice.random() < 0.5
        if crosses_in_the_tunnel:
            self.stage.world.cut()
        by.send("UPDATE", body=mine)
        other.send("UPDATE", body=theirs)
        if crosses_in_the_tunnel:
            self.stage.world.mend()
        other.phone.answer(other.phone.got("UPDATE"), 491)
        crossing = by.phone.got("UPDATE")
        by.phone.got(491)
        by.phone.agreed, other.phone.agreed = before
        if self.dice.random() < 0.5:
            by.phone.answer(crossing, 491)
            other.phone.got(491)
            return
        by.phone.agreed = by.phone.agreed[0], crossing.body
        by.phone.answer(crossing, 200, body=self.answer_to(theirs, by.phone))
        other.phone.agreed = theirs, other.phone.got(200).body

    def cut(self, by: Dialog) -> None:
        """The tunnel is away while an offer is under way."""
        other = self.talk.other(by).phone
        body = self.describe(by.phone)
        self.stage.world.cut()
        by.send("INVITE", body=body)
        self.stage.world.wait(self.dice.choice([0.3, 3, 20]))
        other.got_nothing()
        self.stage.world.mend()
        other.answer(other.got("INVITE"), 200, body=self.answer_to(body, other))
        by.phone.got(200)
        by.ack()
        other.got("ACK")

    def regrets(self, by: Dialog) -> None:
        """The CANCEL of a re-INVITE and its 200 cross in the tunnel."""
        other = self.talk.other(by).phone
        body = self.describe(by.phone)
        request = by.send("INVITE", body=body)
        arrived = other.got("INVITE")
        other.answer(arrived, 180)
        by.phone.got(180)
        self.stage.world.cut()
        by.phone.cancel(request)
        assert by.phone.got(200).cseq_method == "CANCEL"
        other.answer(arrived, 200, body=self.answer_to(body, other))
        self.stage.world.mend()
        by.phone.got(200)
        by.ack()
        other.got("ACK")

    def refuses_late(self, by: Dialog) -> None:
        """An offer of the other party crosses the refusal of one's own."""
        other = self.talk.other(by)
        before = by.phone.agreed, other.phone.agreed
        request = by.send("INVITE", body=self.describe(by.phone))
        arrived = other.phone.got("INVITE")
        theirs = self.describe(other.phone)
        self.stage.world.cut()
        other.phone.answer(arrived, 488)
        other.send("UPDATE", body=theirs)
        self.stage.world.mend()
        by.phone.ack_failure(request, by.phone.got(488))
        other.phone.got("ACK")
        by.phone.agreed, other.phone.agreed = before
        update = by.phone.got("UPDATE")
        by.phone.agreed = by.phone.agreed[0], update.body
        by.phone.answer(update, 200, body=self.answer_to(theirs, by.phone))
        other.phone.agreed = theirs, other.phone.got(200).body

    def chat(self, by: Dialog) -> None:
        self.talk.request(by, self.dice.choice(["INFO", "OPTIONS", "MESSAGE"]))
        self.stage.world.wait(self.dice.choice([0.1, 40, 3000]))

    # Checks

    def check(self) -> None:
        stage = self.stage
        stage.assert_quiet()
        for phone in (stage.caller, stage.callee):
            for n, (_, port) in enumerate(places_in(phone.agreed[1])):
                if port:
                    assert self.told.setdefault((phone.user, n), port) == port, "what a phone was told has moved"
        streams = min(len(places_in(phone.agreed[0])) for phone in (stage.caller, stage.callee))
        for n in range(streams):
            if all(places_in(phone.agreed[0])[n][1] for phone in (stage.caller, stage.callee)):
                stage.assert_audio(n)

    def live(self) -> None:
        steps: list[Callable[[Dialog], None]] = [
            self.offer,
            self.hold,
            self.refused,
            self.refresh,
            self.offerless,
            self.glare,
            self.cut,
            self.regrets,
            self.refuses_late,
            self.chat,
        ]
        self.check()
        for _ in range(STEPS):
            self.dice.choice(steps)(self.dice.choice([self.talk.caller, self.talk.callee]))
            self.check()
        self.talk.hang_up(self.dice.choice([self.talk.caller, self.talk.callee]))
        self.stage.assert_empty()


@flow("renegotiate", basic=True)
@pytest.mark.parametrize("seed", range(4))
def test_whatever_happens_in_a_call(stage: Stage, seed: int) -> None:
    """I3, DEC3, F7, T16: forty changes: ports that were told never move, and both are heard after each of them."""
    LongTalk(stage, seed).live()
