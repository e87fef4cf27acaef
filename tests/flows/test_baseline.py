"""What Windows CE phones of 2002 needed NAT helpers for: the plain statements of FIELD-NOTES 2.1, in each way."""

from __future__ import annotations

from support.describe import unplaced
from support.faces import SERVER
from support.flow_table import flow
from support.ladder import uri_in
from support.stage import Stage

from tunnel.sip.message import Message

# What a hop changes in any case, and what shows where a party is.
PLACES = {"via", "record-route", "route", "contact", "max-forwards", "content-length", "cseq"}


def told(message: Message) -> list[bytes]:
    """Everything in a message that is not about places."""
    return [message.line(header) for header in message.headers if header.name not in PLACES]


@flow("call-basic", basic=True)
def test_as_if_nothing_were_between(stage: Stage) -> None:
    """S4-1, A3: headers, codecs, digits and the BYE are what they would be on a direct call, but for the places."""
    headers = ('Subject: a call; with <odd> "characters"', "X-Odd:  two  blanks ", "User-Agent: phone/1 (x)")
    talk = stage.talk(headers=headers)
    assert told(talk.arrived) == told(talk.invite)
    assert unplaced(talk.arrived.body) == unplaced(stage.caller.agreed[0])
    assert unplaced(talk.answer.body) == unplaced(stage.callee.agreed[0])
    body = b"Signal=5\r\nDuration=160\r\n"
    info, _ = talk.request(talk.caller, "INFO", headers=("Content-Type: application/dtmf-relay",), body=body)
    assert info.body == body
    stage.assert_audio()
    talk.hang_up()
    stage.assert_empty()


@flow("call-basic", ways="A", callers=["outside"])
def test_the_registrar_sees_the_server(stage: Stage) -> None:
    """S4-2, C3: the Contact registered is the server's; a call to it rings with the phone's own Contact, to the byte."""
    (registered,) = stage.registrar.bindings[f"sip:alice@{stage.registrar.domain}".encode()]
    assert SERVER.host.encode() in registered
    stage.invite()
    arrived = stage.callee.got("INVITE")
    assert arrived.request_uri == uri_in(stage.callee.contact.encode())


@flow("call-basic", ways="C")
def test_the_pbx_sees_the_agent(stage: Stage) -> None:
    """S4-2, C3: a remote worker's Contact is the agent's inside; a call to it rings with his own Contact, to the byte."""
    (registered,) = stage.registrar.bindings[f"sip:bob@{stage.registrar.domain}".encode()]
    assert b"@10.1.0.2:5060;" in registered
    if not stage.callee.outside:
        return
    stage.invite()
    arrived = stage.callee.got("INVITE")
    assert arrived.request_uri == uri_in(stage.callee.contact.encode())


@flow("call-basic")
def test_nothing_is_asked_of_the_firewall(stage: Stage) -> None:
    """S4-4: cut the one connection, and nothing finds another way: no answer, no audio; mended, the call is there."""
    talk = stage.talk()
    stage.world.cut()
    talk.caller.send("INFO")
    stage.callee.got_nothing()
    stage.world.wait(3)
    stage.callee.got_nothing()
    stage.world.mend()
    stage.callee.answer(stage.callee.got("INFO"), 200)
    stage.caller.got(200)
    stage.assert_audio()
    talk.hang_up()
    stage.assert_empty()
