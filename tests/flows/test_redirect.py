"""The callee sends the caller elsewhere (RFC 3261 sections 8.1.3.4 and 21.3)."""

from __future__ import annotations

import pytest
from support.faces import SERVER
from support.flow_table import flow
from support.ladder import Dialog, Phone, uri_in
from support.stage import Stage, Talk

from tunnel.sip.message import Message

FOREIGN = '"The other one" <sip:+4930123@gw.example;user=phone?Subject=moved>;q=0.5;reason=away'


def redirected(stage: Stage, status: int, *contacts: str) -> tuple[Message, list[bytes]]:
    """A call that is answered so: the answer as the caller got it, and the URIs in it."""
    invite = stage.invite()
    stage.callee.answer(stage.callee.got("INVITE"), status, headers=[f"Contact: {each}" for each in contacts])
    answer = stage.caller.got(status)
    stage.caller.ack_failure(invite, answer)
    stage.callee.got("ACK")
    return answer, [uri_in(value.text) for value in answer.values("contact")]


@flow("redirect-302", basic=True)
@pytest.mark.parametrize("status", [300, 301, 302, 305, 380, 485])
def test_a_place_that_is_of_nobody_inside(stage: Stage, status: int) -> None:
    """C5: it passes byte for byte, parameters, headers and all."""
    answer, _ = redirected(stage, status, FOREIGN, "<tel:+4930999>", "<mailto:bob@office.example>")
    assert [value.text.decode() for value in answer.values("contact")] == [
        FOREIGN,
        "<tel:+4930999>",
        "<mailto:bob@office.example>",
    ]
    stage.assert_empty()


def colleague(stage: Stage) -> Phone:
    """Somebody on the callee's side, whose address the callee knows."""
    address, port = ("203.0.113.60:5060", 7600) if stage.callee.outside else ("10.1.0.60:5060", 6600)
    return Phone(stage.world, address, "carol", port=port)


@flow("redirect-302", basic=True)
def test_the_caller_follows(stage: Stage) -> None:
    """C3, C5, S4-9: an inside address is masked outwards and is its exact bytes when the new call gets there; an outside
    one stays as it is."""
    carol = colleague(stage)
    exact = f"sip:carol@{carol.address};x=1"
    _, (uri,) = redirected(stage, 302, f"<{exact}>")
    if stage.callee.outside:
        assert uri == exact.encode()
    else:
        assert str(SERVER.host).encode() in uri
    stage.caller.outbound = ""  # it goes there by itself, not through its registrar
    invite = stage.caller.invite(uri)
    arrived = carol.got("INVITE")
    assert arrived.request_uri == exact.encode()
    callee = carol.accept(arrived)
    ok = stage.caller.got(200)
    caller = Dialog.of_caller(stage.caller, invite, ok)
    caller.ack()
    carol.got("ACK")
    assert stage.reaches(stage.caller, carol)
    assert stage.reaches(carol, stage.caller)
    Talk(caller, callee, invite, arrived, ok).hang_up()
    stage.assert_empty()


@flow("redirect-302")
def test_several_places(stage: Stage) -> None:
    """C5: of a list only the inside address is masked; order and parameters stay."""
    carol = colleague(stage)
    answer, uris = redirected(stage, 302, f"<sip:carol@{carol.address}>;q=0.9", FOREIGN)
    first, second = (value.text for value in answer.values("contact"))
    assert first.endswith(b">;q=0.9")
    assert second == FOREIGN.encode()
    assert b"10.1." not in uris[0]
    stage.assert_empty()
