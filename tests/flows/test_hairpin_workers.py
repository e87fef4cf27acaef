"""Two remote workers whose PBX does not stay in the route of their calls."""

from __future__ import annotations

from support.flow_table import flow
from support.ladder import Dialog
from support.stage import Stage
from support.transfers import Cast


@flow("hairpin", ways="C", callers=["outside"])
def test_the_pbx_does_not_record_route(stage: Stage) -> None:
    """T5, D1: without the PBX in the route set the call turns at the agent's own face, for ACK, INFO and BYE too."""
    stage.registrar.records_route = False
    cast = Cast(stage, transferor="outside", transferee="outside", target="inside")
    one, other = cast.transferor, cast.transferee
    talk = stage.call(one, other)
    assert talk.arrived.lines("record-route") == [b"Record-Route: <sip:203.0.113.10:5060;lr>"]
    assert stage.reaches(one, other)
    assert stage.reaches(other, one)
    for sender, receiver in ((talk.caller, talk.callee), (talk.callee, talk.caller)):
        sender.send("INFO", headers=["Content-Type: text/plain"], body=b"x")
        receiver.phone.answer(receiver.phone.got("INFO"), 200)
        sender.phone.got(200)
        renew(sender, receiver)
    assert stage.reaches(one, other)
    assert stage.reaches(other, one)
    talk.hang_up(talk.callee)
    for phone in (one, other):
        phone.got_nothing()
    stage.assert_empty()


def renew(sender: Dialog, receiver: Dialog) -> None:
    """A re-INVITE."""
    sender.send("INVITE", body=sender.phone.sdp(version=sender.cseq))
    again = receiver.phone.got("INVITE")
    receiver.phone.answer(again, 200, tag=again.to_tag.decode(), body=receiver.phone.sdp(version=sender.cseq))
    sender.phone.got(200)
    sender.ack()
    receiver.phone.got("ACK")
