"""Responses of our own: to requests that were read, and to those that could not be."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.messages import INVITE, REGISTER, accepted, compose, mutations, refused

from tunnel.address import Address
from tunnel.errors import BadPacket
from tunnel.sip.message import parse_untrusted
from tunnel.sip.response import build_refusal_untrusted, build_response

REQUEST = compose(
    "INVITE sip:bob@example.com SIP/2.0",
    "v: SIP/2.0/UDP 10.1.0.3\r\n ;branch=z9hG4bK1,SIP/2.0/TCP 10.1.0.7",
    "Record-Route: <sip:10.1.0.3;lr>",
    "Max-Forwards: 70",
    "To :  Bob <sip:bob@example.com> ",
    "f: <sip:alice@example.com>;tag=a1",
    "VIA: SIP/2.0/UDP 10.1.0.8",
    "Timestamp: 54",
    "Call-ID: call-1",
    "CSeq: 7 INVITE",
    "Content-Length: 0",
)
SOURCE = Address("198.51.100.9", 40123)


def test_a_response_copies_what_it_must_line_by_line() -> None:
    assert build_response(parse_untrusted(REQUEST), 404, "Not Found", b"ours", [b"Server: wallpass"]) == compose(
        "SIP/2.0 404 Not Found",
        "v: SIP/2.0/UDP 10.1.0.3\r\n ;branch=z9hG4bK1,SIP/2.0/TCP 10.1.0.7",
        "To :  Bob <sip:bob@example.com>;tag=ours",
        "f: <sip:alice@example.com>;tag=a1",
        "VIA: SIP/2.0/UDP 10.1.0.8",
        "Call-ID: call-1",
        "CSeq: 7 INVITE",
        "Server: wallpass",
        "Content-Length: 0",
    )


def test_100_has_no_tag_of_ours_but_the_timestamp() -> None:
    trying = parse_untrusted(build_response(parse_untrusted(REQUEST), 100, "Trying", b"ours"))
    assert trying.to_tag == b""
    assert trying.lines("timestamp") == [b"Timestamp: 54"]
    assert trying.lines("record-route") == []


def test_a_response_that_forms_a_dialog_keeps_the_record_route() -> None:
    ringing = parse_untrusted(build_response(parse_untrusted(REQUEST), 180, "Ringing", b"ours"))
    assert ringing.lines("record-route") == [b"Record-Route: <sip:10.1.0.3;lr>"]
    assert ringing.to_tag == b"ours"


@pytest.mark.parametrize(
    ("to", "expected"),
    [
        (b"<sip:c@d>;tag=theirs", b"theirs"),
        (b"sip:c@d", b"ours"),
        (b"<sip:c@d;tag=no>;", b"ours"),
        (b'"x;tag=no" <sip:c@d>;y=z', b"ours"),
    ],
)
def test_a_to_tag_is_added_only_where_none_is(to: bytes, expected: bytes) -> None:
    request = parse_untrusted(INVITE.replace(b"Bob <sip:bob@example.com>", to))
    assert parse_untrusted(build_response(request, 486, "Busy Here", b"ours")).to_tag == expected


def test_a_body_is_counted_in_bytes() -> None:
    response = build_response(parse_untrusted(INVITE), 200, "OK", b"t", [b"Content-Type: text/plain"], "ü".encode())
    assert parse_untrusted(response, stream=True).body == "ü".encode()


def test_a_request_that_could_not_be_read_is_refused_to_its_source() -> None:
    broken = INVITE.replace(b"CSeq: 314159 INVITE", b"CSeq: 314159 BYE")
    answer = build_refusal_untrusted(broken, SOURCE, 400, "Bad Request")
    assert answer is not None
    assert answer[1] == SOURCE
    assert answer[0] == compose(
        "SIP/2.0 400 Bad Request",
        "Via: SIP/2.0/UDP 10.1.0.7:5062;rport=40123;branch=z9hG4bKnashds8;received=198.51.100.9",
        "To: Bob <sip:bob@example.com>",
        'From: "Alice" <sip:alice@example.com>;tag=1928301774',
        "Call-ID: a84b4c76e66710@10.1.0.7",
        "CSeq: 314159 BYE",
        "Content-Length: 0",
    )


def test_the_vias_below_the_top_one_come_back_in_a_refusal() -> None:
    answer = build_refusal_untrusted(REQUEST.replace(b"Max-Forwards: 70", b"Max-Forwards: x"), SOURCE, 400, "Bad")
    assert answer is not None
    assert b"\r\nv: SIP/2.0/UDP 10.1.0.3   ;branch=z9hG4bK1;received=198.51.100.9,SIP/2.0/TCP 10.1.0.7\r\n" in answer[0]
    assert b"\r\nVIA: SIP/2.0/UDP 10.1.0.8\r\n" in answer[0]
    assert answer[1] == Address("198.51.100.9", 5060)


def test_a_header_that_came_twice_is_answered_once() -> None:
    answer = build_refusal_untrusted(refused["rfc4475_multi01"], SOURCE, 400, "Bad Request")
    assert answer is not None
    read = parse_untrusted(answer[0])
    assert (read.cseq, read.call_id) == ((5, "INVITE"), b"multi01.98asdh@192.0.2.1")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: h\r\n\r\n",
        INVITE.replace(b"INVITE ", b"ACK "),
        refused["rfc4475_bigcode"],
        refused["rfc4475_insuf"],
        INVITE.replace(b"Via: SIP/2.0/UDP", b"Via: what"),
    ],
)
def test_what_cannot_be_answered_is_not(data: bytes) -> None:
    assert build_refusal_untrusted(data, SOURCE, 400, "Bad Request") is None


@given(st.binary(max_size=200) | mutations([INVITE, REGISTER, *accepted.values(), *refused.values()]))
def test_any_bytes_are_answered_or_not(data: bytes) -> None:
    answer = build_refusal_untrusted(data, SOURCE, 400, "Bad Request")
    if answer is None:
        return
    assert answer[0].startswith(b"SIP/2.0 400 Bad Request\r\n")
    assert answer[1].host == SOURCE.host
    try:
        assert parse_untrusted(answer[0]).top_via.return_address == answer[1]
    except BadPacket:
        assert len(data) > 0
