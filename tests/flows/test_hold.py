"""Hold and resume: by direction, by 0.0.0.0, for a long time, and with a new port (RFC 3264 section 8.4, RFC 2543)."""

from __future__ import annotations

import pytest
from support.describe import describe
from support.flow_table import flow
from support.ladder import Dialog, places_in
from support.stage import Stage, Talk

from tunnel.sip.message import Message

both_hold = pytest.mark.parametrize("who_holds", ["caller", "callee"])


def swap(talk: Talk, holder: Dialog, direction: str, answered: str, *, address: str = "", version: int) -> Message:
    """``holder`` offers that direction and gets that answer: the offer as it arrived."""
    held = talk.other(holder)
    offer, answer = talk.offer(
        holder,
        holder.phone.sdp(direction=direction, address=address, version=version),
        held.phone.sdp(direction=answered, version=version),
    )
    for message, said in ((offer, direction), (answer, answered)):
        assert not said or f"a={said}\r\n".encode() in message.body
    return offer


def places(talk: Talk) -> tuple[list[tuple[str, int]], ...]:
    """What each party has been told last."""
    return tuple(places_in(dialog.phone.agreed[1]) for dialog in (talk.caller, talk.callee))


def hold_and_resume(stage: Stage, who_holds: str, direction: str, answered: str) -> None:
    talk = stage.talk()
    holder = getattr(talk, who_holds)
    before = places(talk)
    swap(talk, holder, direction, answered, version=2)
    assert places(talk) == before
    stage.world.wait(300)
    swap(talk, holder, "", "", version=3)
    assert places(talk) == before
    stage.assert_audio()
    talk.hang_up(talk.other(holder))
    stage.assert_empty()


@flow("hold-sendonly", basic=True)
@both_hold
def test_sendonly_and_back(stage: Stage, who_holds: str) -> None:
    """DEC3, I3: the direction lines pass as they are, and every port stays."""
    hold_and_resume(stage, who_holds, "sendonly", "recvonly")


@flow("hold-inactive", basic=True)
@both_hold
def test_inactive_and_back(stage: Stage, who_holds: str) -> None:
    """DEC3, I3: nobody sends; every port stays."""
    hold_and_resume(stage, who_holds, "inactive", "inactive")


@flow("hold-zero", basic=True)
@both_hold
def test_zero_address_and_back(stage: Stage, who_holds: str) -> None:
    """J, I3: 0.0.0.0 means hold and arrives as 0.0.0.0; the port is the one that was told before."""
    talk = stage.talk()
    holder = getattr(talk, who_holds)
    held = talk.other(holder).phone
    (before,) = places_in(held.agreed[1])
    offer = swap(talk, holder, "", "", address="0.0.0.0", version=2)
    assert places_in(offer.body) == [("0.0.0.0", before[1])]
    assert not stage.reaches(held, holder.phone)
    swap(talk, holder, "", "", version=3)
    assert places_in(held.agreed[1]) == [before]
    stage.assert_audio()
    talk.hang_up(holder)
    stage.assert_empty()


@flow("hold-zero")
@both_hold
def test_zero_address_with_sendonly(stage: Stage, who_holds: str) -> None:
    """J: old phones say both; the resuming offer comes from the party on hold."""
    talk = stage.talk()
    holder = getattr(talk, who_holds)
    swap(talk, holder, "inactive", "inactive", address="0.0.0.0", version=2)
    swap(talk, talk.other(holder), "", "", version=3)
    stage.assert_audio()
    talk.hang_up(holder)
    stage.assert_empty()


@flow("hold-zero")
def test_a_call_that_begins_on_hold(stage: Stage) -> None:
    """J: a hold offer in the initial INVITE; audio comes with the first real address."""
    talk = stage.talk(body=stage.caller.sdp(address="0.0.0.0"))
    assert places_in(talk.arrived.body)[0][0] == "0.0.0.0"
    assert not stage.reaches(stage.callee, stage.caller)
    swap(talk, talk.caller, "", "", version=2)
    stage.assert_audio()
    talk.hang_up()
    stage.assert_empty()


def two_hours_of_hold(stage: Stage, who_holds: str, direction: str, address: str = "") -> None:
    talk = stage.talk()
    holder = getattr(talk, who_holds)
    before = places(talk)
    swap(talk, holder, direction, "recvonly" if direction == "sendonly" else "inactive", address=address, version=2)
    stage.world.wait(7200)
    stage.assert_quiet()
    talk.offer(holder, holder.phone.sdp(port=6550, version=3), talk.other(holder).phone.sdp(version=3))
    assert holder.phone.listens_at() is not None
    assert places(talk) == before
    stage.assert_audio()
    talk.hang_up()
    stage.assert_empty()


@flow("hold-sendonly")
@both_hold
def test_two_hours_of_sendonly(stage: Stage, who_holds: str) -> None:
    """T16, I8: nothing ends a call that is on hold; it resumes on another port of the holder's."""
    two_hours_of_hold(stage, who_holds, "sendonly")


@flow("hold-inactive")
@both_hold
def test_two_hours_of_inactive(stage: Stage, who_holds: str) -> None:
    """T16, I8: nothing ends a call in which nobody sends; it resumes on another port of the holder's."""
    two_hours_of_hold(stage, who_holds, "inactive")


@flow("hold-zero")
@both_hold
def test_two_hours_of_zero_address(stage: Stage, who_holds: str) -> None:
    """T16, I8: nothing ends a call on hold by 0.0.0.0; it resumes on another port of the holder's."""
    two_hours_of_hold(stage, who_holds, "inactive", "0.0.0.0")


@flow("hold-inactive")
@both_hold
def test_a_refused_video_before_the_hold(stage: Stage, who_holds: str) -> None:
    """T16, I8, F7: a stream that was offered and refused is no open one: three hours of hold do not end the call."""
    talk = stage.talk()
    holder = getattr(talk, who_holds)
    video = describe(holder.phone, ["m=audio 6000 RTP/AVP 0"], ["m=video 6002 RTP/AVP 96"], version=2)
    talk.refused(holder, video, 488)
    swap(talk, holder, "inactive", "inactive", version=3)
    stage.world.wait(3 * 3600)
    swap(talk, holder, "", "", version=4)
    stage.assert_audio()
    talk.hang_up()
    stage.assert_empty()


@flow("hold-inactive")
@both_hold
def test_hold_by_port_zero(stage: Stage, who_holds: str) -> None:
    """T16, I8, I3: a phone that closes its only m-line to hold: three hours later it has the ports that it had."""
    talk = stage.talk()
    holder = getattr(talk, who_holds)
    before = places(talk)
    closed = [describe(dialog.phone, ["m=audio 0 RTP/AVP 0 101"], version=2) for dialog in (holder, talk.other(holder))]
    talk.offer(holder, *closed)
    stage.world.wait(3 * 3600)
    stage.assert_quiet()
    swap(talk, holder, "", "", version=3)
    assert places(talk) == before
    stage.assert_audio()
    talk.hang_up()
    stage.assert_empty()
