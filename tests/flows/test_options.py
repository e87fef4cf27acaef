"""OPTIONS: to a face it tells the truth about the tunnel, to a user it is that user's affair (RFC 3261 section 11)."""

from __future__ import annotations

import pytest
from support.faces import AGENT, SERVER, Side
from support.flow_table import flow
from support.ladder import Phone
from support.stage import Stage

from tunnel.sip.message import Message


def ask(stage: Stage, phone: Phone) -> Message:
    """What the face of the phone's side says of itself."""
    phone.request("OPTIONS", f"sip:{SERVER if phone.outside else AGENT}", contact=False)
    return phone.inbox.pop(0)


@flow("options", callers=["inside"])
def test_to_the_agent_itself(stage: Stage) -> None:
    """F3, K: 200 while the tunnel is up, 503 with Retry-After while it is down, or while this end shuts down."""
    phone = stage.caller
    phone.outbound = ""
    assert_truth(stage, phone, stage.world.lan_side)


@flow("options", ways="AB", callers=["outside"])
def test_to_the_server_itself(stage: Stage) -> None:
    """F3, K: the same for a trunk, and for a registrar where somebody of ours is registered."""
    phone = stage.caller
    if stage.way == "A":
        phone = Phone(stage.world, str(stage.registrar.address), "registrar")
    assert_truth(stage, phone, stage.world.public_side)


def assert_truth(stage: Stage, phone: Phone, side: Side) -> None:
    world = stage.world
    assert ask(stage, phone).status == 200
    world.cut()
    ill = ask(stage, phone)
    assert (ill.status, ill.header("retry-after") is not None) == (503, True)
    world.mend()
    assert ask(stage, phone).status == 200
    side.proxy.half.draining = True
    if side.outside:
        side.door.takes_calls = False
    assert ask(stage, phone).status == 503
    stage.assert_empty()


@flow("options", ways="C", callers=["outside"])
def test_a_stranger_is_told_nothing(stage: Stage) -> None:
    """F3, 3-#8: on the public face only peers learn that anybody is there."""
    stage.caller.request("OPTIONS", f"sip:{SERVER}", contact=False)
    stage.assert_empty()


@flow("options", basic=True)
def test_to_a_user(stage: Stage) -> None:
    """F3, E: forwarded to the phone, and its answer back: Allow, Accept and Supported as they are."""
    headers = (
        "Accept: application/sdp",
        "Allow: INVITE, ACK",
        "Supported: replaces, timer",
        "Contact: <sip:x@y.example>",
    )
    request = stage.caller.request("OPTIONS", stage.uri_of(stage.callee, stage.caller))
    arrived = stage.callee.got("OPTIONS")
    assert arrived.call_id == request.call_id
    stage.callee.answer(arrived, 200, headers=headers, body=stage.callee.sdp())
    answer = stage.caller.got(200)
    for line in headers[:3]:
        assert line.encode() in answer.raw
    assert stage.callee.address.host.encode() not in answer.body
    stage.assert_empty()


@flow("options")
@pytest.mark.parametrize("status", [404, 480, 486])
def test_to_a_user_who_is_not_free(stage: Stage, status: int) -> None:
    """F3: the answer that an INVITE would get."""
    stage.caller.request("OPTIONS", stage.uri_of(stage.callee, stage.caller))
    stage.callee.answer(stage.callee.got("OPTIONS"), status)
    stage.caller.got(status)
    stage.assert_empty()


@flow("options", basic=True)
@pytest.mark.parametrize("who", ["caller", "callee"])
def test_in_the_dialog(stage: Stage, who: str) -> None:
    """F3, F4: a phone asks whether the other is still there; 481 says that it is not, and that is passed."""
    talk = stage.talk()
    one = getattr(talk, who)
    talk.request(one, "OPTIONS")
    talk.request(one, "OPTIONS", status=481)
    stage.assert_audio()
    talk.hang_up()
    stage.assert_empty()


@flow("options")
def test_the_last_hop(stage: Stage) -> None:
    """A9: with Max-Forwards 0 it goes no further: our end says so."""
    phone = stage.caller
    uri = stage.uri_of(stage.callee, phone)
    data = phone.request("OPTIONS", uri).raw.replace(b"Max-Forwards: 70", b"Max-Forwards: 0")
    stage.callee.answer(stage.callee.got("OPTIONS"), 200)
    phone.got(200)
    phone.send(data.replace(b"branch=z9hG4bK", b"branch=z9hG4bK0"))
    phone.got(483)
    stage.assert_empty()
