"""Messages as they come: nothing lost, nothing trusted that was not checked (A1 to A6)."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.messages import INVITE, OFFER, REGISTER, accepted, compose, mutations, odd_messages, refused

from tunnel.errors import BadPacket
from tunnel.sip.message import (
    MAX_HEADER_BYTES,
    MAX_HEADERS,
    MAX_MESSAGE_BYTES,
    MAX_VALUES,
    MAX_VIAS,
    Message,
    parse_untrusted,
)

MINIMAL = [
    "Via: SIP/2.0/UDP h;branch=z9hG4bK1",
    "From: <sip:a@b>;tag=1",
    "To: <sip:c@d>",
    "Call-ID: 1",
    "CSeq: 1 OPTIONS",
]


def options(*lines: str | bytes, body: bytes = b"") -> bytes:
    return compose("OPTIONS sip:c@d SIP/2.0", *MINIMAL, *lines, body=body)


def test_a_request_is_read() -> None:
    invite = parse_untrusted(INVITE)
    assert invite.is_request
    assert (invite.method, invite.request_uri, invite.status) == ("INVITE", b"sip:bob@example.com", 0)
    assert invite.uri is not None
    assert invite.uri.host == "example.com"
    assert (invite.call_id, invite.cseq) == (b"a84b4c76e66710@10.1.0.7", (314159, "INVITE"))
    assert (invite.from_tag, invite.to_tag, invite.max_forwards) == (b"1928301774", b"", 70)
    assert invite.top_via.branch == b"z9hG4bKnashds8"
    assert invite.body == OFFER
    assert invite.raw[invite.body_offset :] == OFFER
    assert b"alice" not in repr(invite).encode()


def test_a_response_is_read() -> None:
    response = parse_untrusted(accepted["rfc4475_unreason"])
    assert not response.is_request
    assert (response.method, response.request_uri, response.status) == ("", b"", 200)
    assert response.reason == "= 2**3 * 5**2 но сто девяносто девять - простое".encode()
    assert (response.cseq_method, response.to_tag) == ("INVITE", b"2229")


def test_an_empty_reason_is_no_error() -> None:
    assert parse_untrusted(accepted["rfc4475_noreason"]).status == 100
    assert parse_untrusted(compose("SIP/2.0 100", *MINIMAL)).reason == b""


def test_compact_forms_and_mixed_case_are_understood_and_kept() -> None:
    """A2"""
    register = parse_untrusted(REGISTER)
    contact = register.header("contact")
    assert contact is not None
    assert (contact.name, contact.raw_name) == ("contact", b"m")
    assert [value.text for value in register.values("supported")] == [b"path", b"outbound", b"gruu"]
    assert register.top_via.transport == "TCP"


def test_each_header_and_value_knows_its_place() -> None:
    for data in [INVITE, REGISTER, *accepted.values()]:
        message = parse_untrusted(data)
        position = message.raw.index(b"\r\n") + 2
        for header in message.headers:
            assert header.start == position
            assert message.raw[header.start :].startswith(header.raw_name)
            spelled = message.raw[header.value_start : header.value_end]
            assert spelled.replace(b"\r\n", b"  ") == header.value
            assert message.line(header) + b"\r\n" == message.raw[header.start : header.end]
            position = header.end
        assert message.raw[position : position + 2] == b"\r\n"
        assert message.body_offset == position + 2
        for name in ("via", "contact", "route", "supported"):
            for value in message.values(name):
                assert message.raw[value.start : value.end].replace(b"\r\n", b"  ") == value.text


def test_repeated_and_joined_values_are_one_list() -> None:
    """A3"""
    register = parse_untrusted(
        options("Route: <sip:a;lr> , <sip:b,c>", "X: y", 'route:\r\n "q,\\"" <sip:d>,', "ROUTE:", "Route: <sip:e>")
    )
    values = register.values("route")
    assert [value.text for value in values] == [b"<sip:a;lr>", b"<sip:b,c>", b'"q,\\"" <sip:d>', b"<sip:e>"]
    assert [header.raw_name for header in register.all("route")] == [b"Route", b"route", b"ROUTE", b"Route"]
    assert register.header("path") is None
    assert register.values("path") == []
    assert register.all("path") == []
    assert register.lines("path") == []


def test_lines_are_given_back_with_their_folds() -> None:
    """A3"""
    message = parse_untrusted(accepted["rfc4475_wsinv"])
    assert message.lines("via")[0] == b"Via  : SIP  /   2.0\r\n /UDP\r\n    192.0.2.2;branch=390skdjuw"
    assert [via.text.split()[-1] for via in message.values("via")][-1] == b"z9hG4bK30239"
    assert message.header("newfangledheader").value == b"newfangled value   continued newfangled value"  # type: ignore[union-attr]


def test_an_open_quote_in_a_list_is_found_when_it_is_asked_for() -> None:
    message = parse_untrusted(options('Contact: "open, <sip:a@b>'))
    with pytest.raises(BadPacket):
        message.values("contact")


def test_a_datagram_without_content_length_is_body_to_its_end() -> None:
    """A4"""
    message = parse_untrusted(options(body=b"all of\r\n\r\nthis"))
    assert message.body == b"all of\r\n\r\nthis"


def test_a_stream_without_content_length_has_no_body() -> None:
    """A4"""
    message = parse_untrusted(options(body=b"next message"), stream=True)
    assert message.body == b""
    assert message.raw.endswith(b"\r\n\r\n")


def test_what_follows_the_body_is_cut_off() -> None:
    """A4: a datagram longer than its message."""
    message = parse_untrusted(options("l: 4", body=b"bodyrest"))
    assert message.body == b"body"
    assert message.raw.endswith(b"\r\n\r\nbody")
    register = parse_untrusted(accepted["rfc4475_dblreq"])
    assert (register.method, register.body) == ("REGISTER", b"")
    assert b"INVITE" not in register.raw


def test_line_ends_before_a_datagram_are_passed_over() -> None:
    """A4"""
    assert parse_untrusted(b"\r\n\r\n" + INVITE).raw == INVITE


@pytest.mark.parametrize("name", accepted)
def test_every_odd_message_of_the_torture_rfcs_is_read(name: str) -> None:
    """A1"""
    message = parse_untrusted(accepted[name])
    assert accepted[name].startswith(message.raw)


def test_what_the_torture_messages_say() -> None:
    wsinv = parse_untrusted(accepted["rfc4475_wsinv"])
    assert (wsinv.cseq, wsinv.max_forwards) == ((9, "INVITE"), 68)
    assert (wsinv.from_tag, wsinv.to_tag) == (b"98asjd8", b"1918181833n")
    assert len(wsinv.values("via")) == 3
    intmeth = parse_untrusted(accepted["rfc4475_intmeth"])
    assert intmeth.method == "!interesting-Method0123456789_*+`.%indeed'~"
    assert intmeth.from_tag == b"_token~1'+`*%!-."
    assert len(parse_untrusted(accepted["rfc4475_longreq"]).values("via")) == 34
    assert len(parse_untrusted(accepted["rfc4475_esc02"]).values("contact")) == 2
    assert parse_untrusted(accepted["rfc4475_unkscm"]).uri is None
    assert parse_untrusted(accepted["rfc4475_inv2543"]).from_tag == b""
    assert parse_untrusted(accepted["rfc4475_zeromf"]).max_forwards == 0


@pytest.mark.parametrize("name", refused)
def test_every_broken_message_of_the_torture_rfcs_is_refused(name: str) -> None:
    """A1"""
    with pytest.raises(BadPacket) as caught:
        parse_untrusted(refused[name])
    assert caught.value.status == (505 if name == "rfc4475_badvers" else 400)


@pytest.mark.parametrize("missing", range(len(MINIMAL)))
def test_none_of_the_five_headers_may_be_missing(missing: int) -> None:
    lines = [line for number, line in enumerate(MINIMAL) if number != missing]
    with pytest.raises(BadPacket, match="missing"):
        parse_untrusted(compose("OPTIONS sip:c@d SIP/2.0", *lines))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"OPTIONS sip:c@d SIP/2.0", b"GET / HTTP/1.1"),
        (b"OPTIONS sip:c@d SIP/2.0", b"SIP/2.0 99 Low"),
        (b"OPTIONS sip:c@d SIP/2.0", b"SIP/2.0 700 High"),
        (b"OPTIONS sip:c@d SIP/2.0", b"OPTIONS\tsip:c@d SIP/2.0"),
        (b"OPTIONS sip:c@d SIP/2.0", b"OPTIONS sip:c@d SIP/2.0\r\n folded"),
        (b"OPTIONS sip:c@d SIP/2.0", b"OPTIONS nowhere SIP/2.0"),
        (b"CSeq: 1 OPTIONS", b"CSeq: 1 options"),
        (b"CSeq: 1 OPTIONS", b"CSeq: -1 OPTIONS"),
        (b"CSeq: 1 OPTIONS", b"CSeq: 4294967296 OPTIONS"),
        (b"CSeq: 1 OPTIONS", b"CSeq: 1 OPTIONS x"),
        (b"Call-ID: 1", b"Call-ID:"),
        (b"Call-ID: 1", b"Call-ID: 1\r\ni: 2"),
        (b"To: <sip:c@d>", b"To: <sip:c@d"),
        (b"To: <sip:c@d>", b'To: "C <sip:c@d>'),
        (b"From: <sip:a@b>;tag=1", b'From: <sip:a@b>;x=";tag=1'),
        (b"Via: SIP/2.0/UDP h", b"Via: , SIP/2.0/UDP h;;"),
        (b"Via: SIP/2.0/UDP h", b"Via:\r\nVia: SIP/2.0/UDP h"),
        (b"Call-ID: 1", b"Call-ID: 1\r\nMax-Forwards: 256"),
        (b"Call-ID: 1", b"Call-ID: 1\r\nMax-Forwards: many"),
        (b"Call-ID: 1", b"Call-ID: 1\r\nContent-Length: 1e1"),
        (b"Call-ID: 1", b"Call-ID: 1\r\nContent-Length: 99999999999999999999"),
        (b"Call-ID: 1", b"Call-ID: 1\r\nno header"),
        (b"Call-ID: 1", b"Call-ID: 1\r\nno token: 1"),
        (b"Call-ID: 1", b"Call-ID: 1\r\n: 1"),
        (b"Call-ID: 1", b"Call-ID: 1\nX: 1"),
        (b"Call-ID: 1", b"Call-ID: 1\rX: 1"),
        (b"\r\n\r\n", b"\r\n"),
    ],
)
def test_what_a_proxy_could_not_trust_is_refused(old: bytes, new: bytes) -> None:
    data = options()
    assert old in data
    parse_untrusted(data)
    with pytest.raises(BadPacket) as caught:
        parse_untrusted(data.replace(old, new))
    assert caught.value.status in (400, 505)


def test_the_limits_hold() -> None:
    """A6: of bytes, headers, Vias, values, and of the first line."""
    room = MAX_MESSAGE_BYTES - len(options())
    parse_untrusted(options(body=b"x" * room))
    with pytest.raises(BadPacket) as caught:
        parse_untrusted(options(body=b"x" * (room + 1)))
    assert caught.value.status == 413

    parse_untrusted(options(*["X: y"] * (MAX_HEADERS - len(MINIMAL))))
    with pytest.raises(BadPacket, match="headers"):
        parse_untrusted(options(*["X: y"] * (MAX_HEADERS - len(MINIMAL) + 1)))

    long = "X: " + "y" * (MAX_HEADER_BYTES - 3)
    parse_untrusted(options(long))
    for too_long in (long + "y", "X:" + "\r\n " * (MAX_HEADER_BYTES // 3 + 1) + "y"):
        with pytest.raises(BadPacket, match="bytes"):
            parse_untrusted(options(too_long))

    with pytest.raises(BadPacket, match="first line") as caught:
        parse_untrusted(options().replace(b"OPTIONS sip:", b"OPTIONS sip:" + b"a" * MAX_HEADER_BYTES))
    assert caught.value.status == 414

    routes = ["Route: " + ",".join(["<sip:a>"] * (MAX_VALUES // 2))] * 2
    assert len(parse_untrusted(options(*routes)).values("route")) == MAX_VALUES
    with pytest.raises(BadPacket, match="route values"):
        parse_untrusted(options(*routes, "Route: <sip:a>")).values("route")

    via = "SIP/2.0/UDP h"
    parse_untrusted(options("Via: " + ", ".join([via] * (MAX_VIAS - 1))))
    parse_untrusted(options('Via: SIP/2.0/UDP h;x="' + "," * 100 + '"'))
    for too_many in (["Via: " + ",".join([via] * MAX_VIAS)], ["v: " + via] * MAX_VIAS):
        with pytest.raises(BadPacket, match="Via"):
            parse_untrusted(options(*too_many))


@given(odd_messages())
def test_odd_spellings_lose_nothing(data: bytes) -> None:
    """A2, A3"""
    message = parse_untrusted(data)
    assert message.raw == data
    assert (message.from_tag, message.cseq, message.call_id) == (b"1", (7, "INVITE"), b"call 1")
    assert message.top_via.branch == b"z9hG4bK0"
    branches = [value.text.rpartition(b"z9hG4bK")[2] for value in message.values("via")]
    assert branches == [b"%d" % number for number in range(len(branches))]


def exercise(message: Message) -> None:
    """What a relay asks of a message; BadPacket is the one way to say no."""
    for name in ("via", "contact", "route", "supported", "x-odd"):
        message.lines(name)
        try:
            for value in message.values(name):
                assert message.raw[value.start : value.end].replace(b"\r\n", b"  ") == value.text
        except BadPacket:
            continue


@given(mutations([INVITE, REGISTER, *accepted.values()]), st.booleans())
def test_a_damaged_message_is_read_or_refused(data: bytes, stream: bool) -> None:
    try:
        message = parse_untrusted(data, stream=stream)
    except BadPacket:
        return
    assert data.lstrip(b"\r\n").startswith(message.raw)
    exercise(message)


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    for candidate in (
        data,
        options(b"X: " + data.replace(b"\r", b"").replace(b"\n", b"")),
        options(b"Contact: " + data),
    ):
        try:
            exercise(parse_untrusted(candidate))
        except BadPacket:
            continue


@pytest.mark.parametrize("piece", [b"\r\n ", b'"', b"<,", b";a", b"a:b\r\n", b"v:,\r\n", b'f:"\r\n'])
def test_hostile_messages_cost_little_time(piece: bytes) -> None:
    began = time.perf_counter()
    for head in (b"OPTIONS sip:c@d SIP/2.0\r\n", b"OPTIONS sip:c@d SIP/2.0\r\nVia: ", options()[:-2] + b"Contact: "):
        try:
            exercise(parse_untrusted(head + piece * (60_000 // len(piece)) + b"\r\n\r\n"))
        except BadPacket:
            continue
    assert time.perf_counter() - began < 1.0
