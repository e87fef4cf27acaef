"""Forks with everything that one dialog may have: reliable responses, UPDATEs, offers in the answer, several m-lines."""

from __future__ import annotations

from support.describe import describe
from support.flow_table import flow
from support.ladder import Dialog, Phone, media_address, places_in
from support.stage import Stage, Talk

from tunnel.sip.message import Message

RELIABLE = ("Require: 100rel", "RSeq: 1")


def ring_both(stage: Stage, body: bytes | None = None) -> tuple[Message, dict[Phone, Message]]:
    """The INVITE, and what each of the callee's two phones got of it."""
    second = stage.second_callee()
    invite = stage.invite(body=body, headers=("Supported: 100rel",))
    return invite, {phone: phone.got("INVITE") for phone in (stage.callee, second)}


def hears(stage: Stage, phone: Phone, told: bytes, stream: int = 0) -> bool:
    """Whether caller and ``phone`` hear each other; ``told``: the SDP of that dialog as the caller got it."""
    to = media_address(told, stream)
    return stage.reaches(phone, stage.caller, stream) and stage.reaches(stage.caller, phone, stream, to=to)


@flow("fork-early")
def test_each_fork_has_its_own_prack(stage: Stage) -> None:
    """I4, B5, T6: reliable 183s of both phones with one RSeq; each PRACK finds its phone, and only that is acknowledged."""
    invite, arrived = ring_both(stage)
    early = {}
    for phone, message in arrived.items():
        phone.answer(message, 183, headers=RELIABLE, body=phone.sdp())
        early[phone] = stage.caller.got(183)
    first, second = arrived
    dialogs = {phone: Dialog.of_caller(stage.caller, invite, early[phone]) for phone in arrived}
    dialogs[second].send("PRACK", headers=("RAck: 1 1 INVITE",))
    second.answer(second.got("PRACK"), 200)
    stage.caller.got(200)
    first.got_nothing()
    stage.world.wait(0.6)
    assert stage.caller.got(183).to_tag == early[first].to_tag
    stage.caller.got_nothing()
    dialogs[first].send("PRACK", headers=("RAck: 1 1 INVITE",))
    first.answer(first.got("PRACK"), 200)
    stage.caller.got(200)
    callee = second.accept(arrived[second], body=b"")
    ok = stage.caller.got(200)
    dialogs[second].ack(cseq=1)
    second.got("ACK")
    first.answer(first.got("CANCEL"), 200)
    first.answer(arrived[first], 487)
    first.got("ACK")
    stage.world.wait(3)
    assert hears(stage, second, early[second].body)
    assert not stage.reaches(first, stage.caller)
    Talk(dialogs[second], callee, invite, arrived[second], ok).hang_up()
    stage.assert_empty()


@flow("fork-early")
def test_an_update_of_one_fork(stage: Stage) -> None:
    """I4, T10: an UPDATE moves one early dialog's media; the other one's stay."""
    invite, arrived = ring_both(stage)
    early, dialogs = {}, {}
    for phone, message in arrived.items():
        phone.answer(message, 183, headers=RELIABLE, body=phone.sdp())
        early[phone] = stage.caller.got(183)
        dialogs[phone] = Dialog.of_caller(stage.caller, invite, early[phone])
        dialogs[phone].send("PRACK", headers=("RAck: 1 1 INVITE",))
        phone.answer(phone.got("PRACK"), 200)
        stage.caller.got(200)
    first, second = arrived
    callee = Dialog.of_callee(first, arrived[first], first.tag)
    callee.send("UPDATE", body=first.sdp(port=7850, version=2))
    update = stage.caller.got("UPDATE")
    assert places_in(update.body) == places_in(early[first].body)
    stage.caller.answer(update, 200, body=stage.caller.sdp())
    first.got(200)
    assert hears(stage, second, early[second].body)  # whose 183 came last
    first.answer(arrived[first], 200)
    ok = stage.caller.got(200)
    dialogs[first].ack(cseq=1)
    first.got("ACK")
    second.answer(second.got("CANCEL"), 200)
    second.answer(arrived[second], 487)
    second.got("ACK")
    assert hears(stage, first, early[first].body)
    Talk(dialogs[first], callee, invite, arrived[first], ok).hang_up(callee)
    stage.assert_empty()


@flow("fork-two-answers")
def test_both_answer_with_an_offer(stage: Stage) -> None:
    """I4, T11: an INVITE without SDP: each 200 offers, each ACK answers, each call has ports of its own."""
    invite, arrived = ring_both(stage, b"")
    talks = {}
    for n, (phone, message) in enumerate(arrived.items()):
        phone.inbox.clear()  # the CANCEL of who was slower
        callee = phone.accept(message)
        ok = stage.caller.got(200)
        caller = Dialog.of_caller(stage.caller, invite, ok)
        caller.ack(body=stage.caller.sdp(port=6000 + 10 * n))
        ack = phone.got("ACK")
        assert ack.body
        talks[phone] = Talk(caller, callee, invite, message, ok)
        assert hears(stage, phone, ok.body)
    first, second = talks
    assert places_in(talks[first].answer.body) != places_in(talks[second].answer.body)
    talks[second].hang_up()
    stage.caller.agreed = stage.caller.sdp(port=6000), talks[first].answer.body
    assert hears(stage, first, talks[first].answer.body)
    talks[first].hang_up()
    stage.assert_empty()


@flow("fork-early")
def test_one_takes_the_video_the_other_does_not(stage: Stage) -> None:
    """I4, J: of each early dialog each m-line has its own port, and one that a phone refused stays refused there alone."""

    def sdp(phone: Phone, video: int) -> bytes:
        return describe(
            phone, [f"m=audio {phone.port} RTP/AVP 0"], [f"m=video {video and phone.port + video} RTP/AVP 96"]
        )

    _, arrived = ring_both(stage, sdp(stage.caller, 2))
    told = {}
    for phone, message in arrived.items():
        phone.answer(message, 183, body=sdp(phone, 2 if phone is stage.callee else 0))
        told[phone] = stage.caller.got(183).body
        assert hears(stage, phone, told[phone])
        assert hears(stage, phone, told[phone], stream=1) is (phone is stage.callee)
    _, second = told
    assert places_in(told[second])[1][1] == 0
    assert len({port for body in told.values() for _, port in places_in(body)} - {0}) == 3
    for phone in told:
        phone.answer(arrived[phone], 486)
        phone.got("ACK")
    assert stage.caller.inbox.pop().status == 486
    stage.world.wait(200)
    stage.caller.lose()
    stage.assert_empty()
