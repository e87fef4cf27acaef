from __future__ import annotations

import base64
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.certificates import NOW, SECRET, open_authority, token_of

from tunnel.address import Address
from tunnel.errors import BadPacket
from tunnel.link.token import Token


@pytest.fixture
def token(tmp_path: Path) -> Token:
    return token_of(open_authority(tmp_path), expires=NOW)


def packed(*fields: object) -> str:
    return "wp1." + base64.urlsafe_b64encode(msgspec.msgpack.encode(fields)).rstrip(b"=").decode()


def test_a_token_is_one_line_that_comes_back_whole(token: Token) -> None:
    text = str(token)
    assert text.startswith("wp1.")
    assert len(text) < 800
    assert text.replace("wp1.", "").replace("-", "").replace("_", "").isalnum()
    assert Token.parse_untrusted(text) == token


@pytest.mark.parametrize("tenant", ["a", "ab", "abc", "abcd"])
def test_a_token_of_any_length_comes_back(token: Token, tenant: str) -> None:
    other = Token(token.servers, token.authority, tenant, token.secret, token.expires)
    assert Token.parse_untrusted(str(other)) == other


def test_ipv6_and_names_come_back(token: Token) -> None:
    servers = (Address("2001:db8::1", 443), Address("relay.example", 8443))
    other = Token(servers, token.authority, token.tenant, token.secret, token.expires)
    assert Token.parse_untrusted(str(other)).servers == servers


def test_what_a_terminal_or_a_mail_did_to_the_line_is_forgiven(token: Token) -> None:
    text = str(token)
    assert Token.parse_untrusted(f"  {text[:70]}\n{text[70:]}\r\n") == token


def test_a_token_does_not_print_its_secret(token: Token) -> None:
    assert "acme" in repr(token)
    assert str(SECRET)[2:-1] not in repr(token)
    assert "secret" not in repr(token)


def test_the_fingerprint_is_that_of_the_authority(tmp_path: Path) -> None:
    authority = open_authority(tmp_path)
    assert token_of(authority).fingerprint == authority.fingerprint
    assert len(authority.fingerprint) == 64


@pytest.mark.parametrize("cut", [4, 20, -1])
def test_part_of_a_token_is_refused(token: Token, cut: int) -> None:
    with pytest.raises(BadPacket, match="damaged"):
        Token.parse_untrusted(str(token)[:cut])


@pytest.mark.parametrize("text", ["", "wp2.AAAA", "eyJhbGciOi", "wp1." + "A" * 5000, "wp1.ä"])
def test_what_is_no_token_is_refused(text: str) -> None:
    with pytest.raises(BadPacket):
        Token.parse_untrusted(text)


def test_fields_that_cannot_be_are_refused(token: Token) -> None:
    good: list[object] = [["203.0.113.10:443"], token.authority, "acme", SECRET, 1]
    assert Token.parse_untrusted(packed(*good)).tenant == "acme"
    wrong = [(0, []), (0, ["203.0.113.10"]), (1, b"no certificate"), (2, ""), (2, "\x1b[2J"), (3, b"short"), (4, "1")]
    for place, value in wrong:
        with pytest.raises(BadPacket):
            Token.parse_untrusted(packed(*(value if place == at else field for at, field in enumerate(good))))


@given(
    st.one_of(
        st.text(max_size=200),
        st.binary(max_size=200).map(lambda data: f"wp1.{base64.urlsafe_b64encode(data).decode()}"),
    )
)
def test_any_text_is_only_ever_a_bad_packet(text: str) -> None:
    with pytest.raises(BadPacket):
        Token.parse_untrusted(text)
