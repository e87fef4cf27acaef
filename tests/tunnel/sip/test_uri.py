"""SIP URIs: what is read out of them, and that an edit changes nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunnel.errors import BadPacket
from tunnel.sip.uri import SipUri

URI = b"sip:alice:pw@10.1.0.7:5062;transport=UDP;Ob;line=a%3Bb?Replaces=x%40y&a=b"


def test_all_parts_of_a_uri_are_found() -> None:
    uri = SipUri.parse_untrusted(URI)
    assert (uri.scheme, uri.user, uri.host, uri.port) == ("sip", b"alice", "10.1.0.7", 5062)
    assert uri.params == ((b"transport", b"UDP"), (b"Ob", None), (b"line", b"a%3Bb"))
    assert uri.headers == b"Replaces=x%40y&a=b"
    assert uri.hostport == b"10.1.0.7:5062"
    assert uri.transport == "udp"
    assert uri.has_param("ob")
    assert uri.param("ob") is None
    assert uri.param("line") == b"a%3Bb"


@pytest.mark.parametrize(
    ("text", "user", "host", "port"),
    [
        (b"sip:example.com", None, "example.com", None),
        (b"SIPS:Bob@Example.COM:5061", b"Bob", "example.com", 5061),
        (b"sip:[2001:db8::10:5070]", None, "2001:db8::10:5070", None),
        (b"sip:a@[2001:db8::10]:5070;lr", b"a", "2001:db8::10", 5070),
        (b"sip:user;par=u%40example.net@example.com", b"user;par=u%40example.net", "example.com", None),
        (b"sip:sips%3Auser%40example.com@example.net", b"sips%3Auser%40example.com", "example.net", None),
        (
            b"sip:1~(to-be!sure)&isn't$/crazy?,/;;*@example.com",
            b"1~(to-be!sure)&isn't$/crazy?,/;;*",
            "example.com",
            None,
        ),
        (b"sip:%00@my_host", b"%00", "my_host", None),
        (b"sip:a@h;x=c@d", b"a", "h", None),
        ("sip:jürgen@h".encode(), "jürgen".encode(), "h", None),
    ],
)
def test_odd_users_and_hosts(text: bytes, user: bytes | None, host: str, port: int | None) -> None:
    uri = SipUri.parse_untrusted(text)
    assert (uri.user, uri.host, uri.port) == (user, host, port)
    assert uri.text == text


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"sip:",
        b"sip:a@",
        b"sip:a@b@c",
        b"sip:a b@c",
        b"sip:a@b; lr",
        b"<sip:a@b>",
        b"sip:2001:db8::10",
        b"sip:[2001:db8::10",
        b"sip:[1.2.3.4]",
        b"sip:[::zz]",
        b"sip:[fe80::1%]",
        b"sip:a:70000",
        b"sip:a:",
        b"sip:a:123456",
        b"sip:a\r\nb",
    ],
)
def test_what_is_no_sip_uri_is_refused(text: bytes) -> None:
    with pytest.raises(BadPacket):
        SipUri.parse_untrusted(text)


def test_another_scheme_is_refused_as_such() -> None:
    with pytest.raises(BadPacket) as caught:
        SipUri.parse_untrusted(b"tel:+15551234")
    assert caught.value.status == 416


def test_edits_change_their_span_only() -> None:
    uri = SipUri.parse_untrusted(URI)
    assert uri.with_hostport(b"[2001:db8::1]:5060") == URI.replace(b"10.1.0.7:5062", b"[2001:db8::1]:5060")
    assert uri.with_user(b"bob") == URI.replace(b"alice:pw", b"bob")
    assert uri.with_user(None) == URI.replace(b"alice:pw@", b"")
    assert uri.with_param("transport", b"tcp") == URI.replace(b"UDP", b"tcp")
    assert uri.with_param("ob", b"1") == URI.replace(b"Ob", b"Ob=1")
    assert uri.with_param("wp", b"token") == URI.replace(b"?Rep", b";wp=token?Rep")
    assert uri.without_param("transport") == URI.replace(b";transport=UDP", b"")
    assert uri.without_param("line") == URI.replace(b";line=a%3Bb", b"")
    assert uri.without_param("gr") == URI


def test_a_user_and_a_parameter_can_be_added_where_none_was() -> None:
    uri = SipUri.parse_untrusted(b"sip:h")
    assert uri.with_user(b"a") == b"sip:a@h"
    assert uri.with_param("lr", None) == b"sip:h;lr"
    assert uri.without_param("lr") == b"sip:h"


_PART = st.text("abz019-_.!~%", min_size=1, max_size=8).map(str.encode)
_URIS = st.builds(
    lambda user, host, port, params, headers: b"sip:" + user + host + port + params + headers,
    st.just(b"") | _PART.map(lambda user: user + b"@"),
    st.sampled_from([b"h", b"10.1.0.7", b"[2001:db8::7]"]),
    st.sampled_from([b"", b":5060"]),
    st.lists(st.tuples(_PART, st.just(b"") | _PART.map(lambda v: b"=" + v)), max_size=4).map(
        lambda params: b"".join(b";" + name + value for name, value in params)
    ),
    st.sampled_from([b"", b"?a=b"]),
)


@given(_URIS, _PART)
def test_every_edit_can_be_undone(text: bytes, new: bytes) -> None:
    uri = SipUri.parse_untrusted(text)
    assert SipUri.parse_untrusted(uri.with_hostport(b"other:1")).with_hostport(uri.hostport) == text
    if not uri.has_param("wp"):
        assert SipUri.parse_untrusted(uri.with_param("wp", new)).without_param("wp") == text
    if uri.user is None:
        assert SipUri.parse_untrusted(uri.with_user(new)).with_user(None) == text


@given(st.binary(max_size=80).map(lambda tail: b"sip:" + tail) | st.text("sip:@;=?[].a1%", max_size=30).map(str.encode))
def test_any_bytes_are_read_or_refused(text: bytes) -> None:
    try:
        uri = SipUri.parse_untrusted(text)
    except BadPacket:
        return
    assert uri.with_hostport(uri.hostport) == text


@pytest.mark.parametrize("text", [b"sip:a@[fe80::1%25eth0]:5060", b"sip:a@[FE80::1%eth0.7]:5060"])
def test_a_zone_is_read_past(text: bytes) -> None:
    """C7: it says something to one host only; the address is what counts."""
    uri = SipUri.parse_untrusted(text)
    assert (uri.host, uri.port, uri.text) == ("fe80::1", 5060, text)


def test_a_uri_has_a_hundred_parameters_at_most() -> None:
    """A6"""
    assert len(SipUri.parse_untrusted(b"sip:a" + b";b" * 100).params) == 100
    with pytest.raises(BadPacket, match="parameters"):
        SipUri.parse_untrusted(b"sip:a" + b";b" * 101)
