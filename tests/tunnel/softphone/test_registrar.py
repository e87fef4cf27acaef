"""Who is where, and for how long."""

from __future__ import annotations

import random

import pytest

from tunnel.errors import BadPacket
from tunnel.sip.message import Message, parse_untrusted
from tunnel.softphone.digest import Credentials, answer_challenge, pick_challenge
from tunnel.softphone.registrar import Registrar

SECRET = Credentials("1001", "secret")


def request(*lines: bytes, method: bytes = b"REGISTER", user: bytes = b"1001") -> Message:
    head = (
        b"%b sip:provider.example SIP/2.0" % method,
        b"Via: SIP/2.0/UDP 10.1.0.11:5060;branch=z9hG4bK1",
        b"From: <sip:%b@provider.example>;tag=1" % user,
        b"To: <sip:%b@provider.example>" % user,
        b"Call-ID: c1",
        b"CSeq: 1 " + method,
    )
    return parse_untrusted(b"\r\n".join((*head, *lines, b"Content-Length: 0", b"", b"")))


def registrar() -> Registrar:
    return Registrar("provider.example", {"1001": "secret"}, random.Random(4).randbytes)


def authorised(server: Registrar, *lines: bytes) -> tuple[Message, int]:
    refusal, status = server.register_untrusted(request(*lines), 0.0)
    assert status == 401
    challenge = pick_challenge([parse_untrusted(refusal).all("www-authenticate")[0].value])
    assert challenge is not None
    answer = answer_challenge(challenge, SECRET, "REGISTER", b"sip:provider.example", b"c")
    raw, status = server.register_untrusted(request(*lines, b"Authorization: " + answer), 0.0)
    return parse_untrusted(raw), status


@pytest.mark.parametrize(
    ("lines", "seconds"),
    [
        ((b"Contact: <sip:1001@10.1.0.11>;expires=60", b"Expires: 900"), 60),
        ((b"Contact: <sip:1001@10.1.0.11>", b"Expires: 900"), 900),
        ((b"Contact: <sip:1001@10.1.0.11>",), 3600),
        ((b"Contact: <sip:1001@10.1.0.11>;expires=99999",), 3600),
    ],
)
def test_binding_lives_as_long_as_asked_for_but_an_hour_at_most(lines: tuple[bytes, ...], seconds: int) -> None:
    server = registrar()
    answer, status = authorised(server, *lines)
    assert status == 200
    assert answer.all("contact")[0].value == b"<sip:1001@10.1.0.11>;expires=%d" % seconds
    assert server.contact("1001", seconds - 1) == b"sip:1001@10.1.0.11"
    assert server.contact("1001", seconds) is None


def test_contact_is_kept_to_the_byte() -> None:
    server = registrar()
    authorised(server, b'Contact: <sip:To.Ken_%41@203.0.113.9:5070;transport=UDP;x="y">;expires=60'.replace(b'"', b""))
    assert server.contact("1001", 0.0) == b"sip:To.Ken_%41@203.0.113.9:5070;transport=UDP;x=y"


def test_star_removes_the_binding() -> None:
    server = registrar()
    authorised(server, b"Contact: <sip:1001@10.1.0.11>;expires=60")
    answer, _ = authorised(server, b"Contact: *", b"Expires: 0")
    assert server.contact("1001", 0.0) is None
    assert not answer.all("contact")


def test_query_without_contact_tells_the_binding_and_keeps_it() -> None:
    server = registrar()
    authorised(server, b"Contact: <sip:1001@10.1.0.11>;expires=60")
    answer, _ = authorised(server)
    assert answer.all("contact")[0].value == b"<sip:1001@10.1.0.11>;expires=60"


def test_stranger_is_asked_and_never_let_in() -> None:
    server = registrar()
    _, status = server.register_untrusted(request(user=b"2002"), 0.0)
    assert status == 401
    refused = server.challenge(request(method=b"INVITE", user=b"2002"))
    assert refused is not None
    assert refused[1] == 407


@pytest.mark.parametrize("expires", [b"soon", b"-1"])
def test_lifetime_that_is_no_number_is_a_bad_packet(expires: bytes) -> None:
    with pytest.raises(BadPacket):
        authorised(registrar(), b"Contact: <sip:1001@10.1.0.11>;expires=" + expires)
