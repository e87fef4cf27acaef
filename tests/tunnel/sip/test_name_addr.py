"""Addresses in headers, with and without angle brackets."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunnel.errors import BadPacket
from tunnel.sip.name_addr import NameAddr, tag_untrusted
from tunnel.sip.uri import SipUri


def test_brackets_part_the_parameters_of_the_uri_from_those_of_the_header() -> None:
    text = b'"A, \\"B\\" <c>" <sip:a@10.1.0.7;ob> ; expires=60;+sip.instance="<urn:uuid:1>";reg-id=1'
    address = NameAddr.parse_untrusted(text)
    assert address.display == b'"A, \\"B\\" <c>"'
    assert isinstance(address.uri, SipUri)
    assert address.uri_text == b"sip:a@10.1.0.7;ob"
    assert address.uri.has_param("ob")
    assert address.param("expires") == b"60"
    assert address.param("+sip.instance") == b'"<urn:uuid:1>"'
    assert not address.has_param("ob")


def test_without_brackets_all_parameters_are_the_headers() -> None:
    address = NameAddr.parse_untrusted(b"sip:a@10.1.0.7 ;expires=60")
    assert address.uri_text == b"sip:a@10.1.0.7"
    assert address.param("expires") == b"60"
    assert not address.bracketed
    assert address.display == b""


@pytest.mark.parametrize(
    ("text", "display", "uri"),
    [
        (b"caller<sip:c@d>", b"caller", b"sip:c@d"),
        (b"<sip:c@d>", b"", b"sip:c@d"),
        (b"Bell, Alexander <sip:c@d>", b"Bell, Alexander", b"sip:c@d"),
        (b'"Watson, Thomas" < sip:t.watson@example.org >', b'"Watson, Thomas"', b"sip:t.watson@example.org"),
        (b"<tel:+1;phone-context=x>;tag=1", b"", b"tel:+1;phone-context=x"),
        (b"isbn:2983792873", b"", b"isbn:2983792873"),
        (b"*", b"", b"*"),
    ],
)
def test_forms_of_an_address(text: bytes, display: bytes, uri: bytes) -> None:
    address = NameAddr.parse_untrusted(text)
    assert (address.display, address.uri_text) == (display, uri)
    assert text[address.uri_start : address.uri_end] == uri
    assert address.is_wildcard is (text == b"*")


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"alice",
        b'"A <sip:a@b>',
        b'"A" sip:a@b',
        b"<sip:a@b",
        b"<sip:a b@c>",
        b"sip:user@example.com?Route=%3Csip:sip.example.com%3E",
        b"sip:a,b@c",
        b"<sip:a@b>;;;;",
        b'<sip:a@b>;x="',
        b"<>",
    ],
)
def test_what_is_no_address_is_refused(text: bytes) -> None:
    with pytest.raises(BadPacket):
        NameAddr.parse_untrusted(text)


def test_another_uri_gets_brackets_where_they_are_due() -> None:
    named = NameAddr.parse_untrusted(b'"A" < sip:a@b >;q=1')
    assert named.bracketing(b"sip:c@d;wp=x") == b"sip:c@d;wp=x"
    bare = NameAddr.parse_untrusted(b"sip:a@b;expires=5")
    assert bare.bracketing(b"sip:c@d") == b"sip:c@d"
    assert bare.bracketing(b"sip:c@d;wp=x") == b"<sip:c@d;wp=x>"


@pytest.mark.parametrize(
    ("text", "tag"),
    [
        (b"<sip:a@b>;tag=1", b"1"),
        (b"<sip:a@b;tag=no>", b""),
        (b"sip:a@b;tag=x", b"x"),
        (b'"x;tag=2 <" <sip:a@b> ; Tag = 1 ', b"1"),
        (b'sip:a@b;x="<;tag=no";tag=yes', b"yes"),
        (b"<sip:a@b>;x=y;tag=1", b"1"),
        (b"sip:a@b", b""),
    ],
)
def test_the_tag_is_found(text: bytes, tag: bytes) -> None:
    assert tag_untrusted(text) == tag


@pytest.mark.parametrize("text", [b"<sip:a@b>;tag", b"<sip:a@b>;tag=", b"sip:a@b;x;tag=;y"])
def test_an_empty_tag_is_refused(text: bytes) -> None:
    with pytest.raises(BadPacket):
        tag_untrusted(text)


@given(st.binary(max_size=60) | st.text('"\\<>;=sip:a@b, ', max_size=40).map(str.encode))
def test_any_bytes_are_read_or_refused(text: bytes) -> None:
    try:
        address = NameAddr.parse_untrusted(text)
    except BadPacket:
        return
    assert text[address.uri_start : address.uri_end] == address.uri_text
    if address.param("tag") or not address.has_param("tag"):
        assert tag_untrusted(text) == (address.param("tag") or b"")
