"""Edits: what was asked for changes, every other byte stays (A2, A3, A7)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.messages import INVITE, OFFER, REGISTER, accepted, compose, odd_messages

from tunnel.address import Address
from tunnel.errors import LocalMisuse
from tunnel.sip.edit import Edit, stamp_source
from tunnel.sip.message import Message, parse_untrusted
from tunnel.sip.name_addr import NameAddr

OUR_VIA = b"SIP/2.0/UDP 203.0.113.10:5060;rport;branch=z9hG4bKours"


def message(*lines: str, body: bytes = b"") -> Message:
    head = ["Via: SIP/2.0/UDP h;branch=1", "f: <sip:a@b>;tag=1", "t: <sip:c@d>", "i: 1", "CSeq: 1 OPTIONS"]
    return parse_untrusted(compose("OPTIONS sip:c@d SIP/2.0", *head, *lines, body=body))


@pytest.mark.parametrize("name", accepted)
def test_no_edit_changes_no_byte_of_a_torture_message(name: str) -> None:
    """A3"""
    read = parse_untrusted(accepted[name])
    assert Edit(read).result() == read.raw


@given(odd_messages())
def test_no_edit_changes_no_byte(data: bytes) -> None:
    """A3"""
    assert Edit(parse_untrusted(data)).result() == data


def test_the_request_uri_changes_alone() -> None:
    edit = Edit(parse_untrusted(INVITE))
    edit.request_uri(b"sip:bob@10.1.0.9:5066;line=7")
    assert edit.result() == INVITE.replace(b"INVITE sip:bob@example.com ", b"INVITE sip:bob@10.1.0.9:5066;line=7 ")


def test_a_response_has_no_request_uri() -> None:
    with pytest.raises(LocalMisuse):
        Edit(parse_untrusted(accepted["rfc4475_noreason"])).request_uri(b"sip:a@b")


def test_our_via_goes_above_the_others() -> None:
    """A2, B1"""
    edit = Edit(parse_untrusted(REGISTER))
    edit.insert_above("via", b"v: " + OUR_VIA)
    assert edit.result() == REGISTER.replace(b"v: SIP", b"v: " + OUR_VIA + b"\r\nv: SIP")
    popped = parse_untrusted(edit.result())
    back = Edit(popped)
    back.remove_value(popped.values("via")[0])
    assert back.result() == REGISTER


def test_a_line_is_inserted_where_none_was() -> None:
    edit = Edit(message())
    edit.insert_above("record-route", b"Record-Route: <sip:us;lr>")
    edit.insert_above("www-authenticate", b"WWW-Authenticate: Digest x")
    assert b"branch=1\r\nRecord-Route: <sip:us;lr>\r\nf:" in edit.result()
    assert edit.result().endswith(b"CSeq: 1 OPTIONS\r\nWWW-Authenticate: Digest x\r\n\r\n")


def test_later_insertions_go_above_earlier_ones() -> None:
    edit = Edit(message("Record-Route: <sip:old;lr>"))
    edit.insert_above("record-route", b"Record-Route: <sip:bottom;lr>")
    edit.insert_above("record-route", b"Record-Route: <sip:top;lr>")
    edited = parse_untrusted(edit.result())
    assert [value.text for value in edited.values("record-route")] == [
        b"<sip:top;lr>",
        b"<sip:bottom;lr>",
        b"<sip:old;lr>",
    ]


def test_appended_lines_keep_their_order_below_all_others() -> None:
    edit = Edit(message("X: y", body=b"body"))
    edit.append(b"A: 1")
    edit.append(b"B: 2")
    assert edit.result().endswith(b"X: y\r\nA: 1\r\nB: 2\r\n\r\nbody")


def test_a_single_value_is_set_or_added() -> None:
    edit = Edit(parse_untrusted(INVITE))
    edit.set_value("max-forwards", b"69")
    assert edit.result() == INVITE.replace(b"Max-Forwards: 70", b"Max-Forwards: 69")
    edit = Edit(message())
    edit.set_value("max-forwards", b"70")
    assert b"\r\nMax-Forwards: 70\r\nf:" in edit.result()


@pytest.mark.parametrize(
    ("removed", "left"),
    [
        ({0}, b"k:  b ,\r\n c\r\n"),
        ({1}, b"k:  a, c\r\n"),
        ({2}, b"k:  a, b\r\n"),
        ({0, 1}, b"k:  c\r\n"),
        ({1, 2}, b"k:  a\r\n"),
        ({0, 2}, b"k:  b\r\n"),
        ({0, 1, 2}, b""),
    ],
)
def test_a_value_goes_with_its_comma_and_the_last_with_its_header(removed: set[int], left: bytes) -> None:
    came = b"k:  a, b ,\r\n c\r\n"
    read = message("k:  a, b ,\r\n c", "Supported: d")
    edit = Edit(read)
    for number in sorted(removed, reverse=True):
        edit.remove_value(read.values("supported")[number])
    assert edit.result() == read.raw.replace(came, left)


def test_headers_are_removed_with_their_folds() -> None:
    read = message("X-A: 1\r\n 2", "x-a: 3", "X-B: 4")
    edit = Edit(read)
    edit.remove_all("x-a")
    assert edit.result() == read.raw.replace(b"X-A: 1\r\n 2\r\nx-a: 3\r\n", b"")
    edit = Edit(read)
    edit.remove_header(read.all("x-a")[1])
    assert edit.result() == read.raw.replace(b"x-a: 3\r\n", b"")


def test_a_via_stack_is_stripped_and_restored_byte_for_byte() -> None:
    for data in [INVITE, REGISTER, *accepted.values()]:
        read = parse_untrusted(data)
        edit = Edit(read)
        edit.replace_all("via", [b"Via: " + OUR_VIA])
        stripped = parse_untrusted(edit.result())
        assert [value.text for value in stripped.values("via")] == [OUR_VIA]
        assert stripped.header("via").start == read.header("via").start  # type: ignore[union-attr]
        back = Edit(stripped)
        back.replace_all("via", read.lines("via"))
        restored = parse_untrusted(back.result())
        assert restored.lines("via") == read.lines("via")
        others = [read.line(header) for header in read.headers if header.name != "via"]
        assert [restored.line(header) for header in restored.headers if header.name != "via"] == others


def test_lines_that_replace_a_missing_header_keep_their_order_near_the_top() -> None:
    edit = Edit(message("X: y"))
    edit.replace_all("record-route", [b"Record-Route: <sip:1;lr>", b"Record-Route: <sip:2;lr>"])
    assert b"branch=1\r\nRecord-Route: <sip:1;lr>\r\nRecord-Route: <sip:2;lr>\r\nf:" in edit.result()


def test_all_vias_may_go_while_others_come() -> None:
    edit = Edit(message())
    edit.replace_all("via", [b"Via: " + OUR_VIA])
    edit.insert_above("record-route", b"Record-Route: <sip:us;lr>")
    edit.insert_above("via", b"Via: SIP/2.0/TCP upper")
    assert edit.result().split(b"\r\n")[1:5] == [
        b"Via: SIP/2.0/TCP upper",
        b"Via: " + OUR_VIA,
        b"Record-Route: <sip:us;lr>",
        b"f: <sip:a@b>;tag=1",
    ]


def test_a_uri_changes_within_its_folded_value() -> None:
    read = parse_untrusted(accepted["rfc4475_wsinv"])
    contact = read.values("contact")[0]
    edit = Edit(read)
    edit.replace_uri(contact, NameAddr.parse_untrusted(contact.text), b"sip:jdrosen@203.0.113.10;wp=token")
    assert edit.result() == read.raw.replace(b"sip:jdrosen@example.com> ;", b"sip:jdrosen@203.0.113.10;wp=token> ;")


def test_a_bare_uri_gets_brackets_where_they_become_due() -> None:
    read = message("m: sip:a@10.1.0.7;expires=5,sip:b@10.1.0.7")
    edit = Edit(read)
    for value in read.values("contact"):
        edit.replace_uri(value, NameAddr.parse_untrusted(value.text), b"sip:x@203.0.113.10;wp=t")
    assert b"m: <sip:x@203.0.113.10;wp=t>;expires=5,<sip:x@203.0.113.10;wp=t>\r\n" in edit.result()


def test_content_length_follows_the_body_in_bytes_and_in_its_form() -> None:
    """A7: compact stays compact, and bytes are counted."""
    body = "s=ü\r\n".encode()
    edit = Edit(parse_untrusted(INVITE))
    edit.body(body)
    assert edit.result() == INVITE.replace(OFFER, body).replace(b"Length: %d" % len(OFFER), b"Length: 6")
    edit = Edit(message("l :\r\n 0002", body=b"ab"))
    edit.body(b"abc")
    assert b"l :\r\n 3\r\n\r\nabc" in edit.result()
    edit = Edit(message("l: 0002", body=b"ab"))
    edit.body(b"cd")
    assert edit.result().endswith(b"l: 0002\r\n\r\ncd")


def test_a_stream_always_has_a_content_length() -> None:
    """A7"""
    read = message(body=b"body")
    assert Edit(read).result() == read.raw
    assert Edit(read, stream=True).result().endswith(b"CSeq: 1 OPTIONS\r\nContent-Length: 4\r\n\r\nbody")
    assert Edit(parse_untrusted(INVITE), stream=True).result() == INVITE


def test_two_edits_of_the_same_bytes_are_a_mistake_of_ours() -> None:
    read = message("X-A: y")
    header = read.all("x-a")[0]
    edit = Edit(read)
    edit.remove_header(header)
    edit.replace(header.value_start, header.value_end, b"z")
    with pytest.raises(LocalMisuse):
        edit.result()
    edit = Edit(read)
    edit.replace(read.body_offset - 2, len(read.raw) + 1, b"")
    with pytest.raises(LocalMisuse):
        edit.result()


def test_the_source_is_stamped_into_the_top_via_only() -> None:
    source = Address("198.51.100.9", 40123)
    stamped = stamp_source(parse_untrusted(INVITE), source)
    assert stamped.raw == INVITE.replace(
        b";rport;branch=z9hG4bKnashds8", b";rport=40123;branch=z9hG4bKnashds8;received=198.51.100.9"
    )
    assert stamped.top_via.return_address == source
    same = parse_untrusted(REGISTER)
    assert stamp_source(same, Address("10.1.0.7", 40123)) is same


@st.composite
def span_edits(draw: st.DrawFn) -> tuple[bytes, list[tuple[int, int, bytes]]]:
    data = draw(odd_messages())
    read = parse_untrusted(data)
    chosen = draw(st.sets(st.sampled_from(range(len(read.headers))), max_size=5))
    spans = [(read.headers[number].value_start, read.headers[number].value_end) for number in chosen]
    return data, [(start, end, draw(st.binary(max_size=20))) for start, end in draw(st.permutations(spans))]


@given(span_edits(), st.none() | st.binary(max_size=30))
def test_any_edits_touch_their_spans_and_content_length_only(
    edits: tuple[bytes, list[tuple[int, int, bytes]]], body: bytes | None
) -> None:
    """A3, A7"""
    data, spans = edits
    read = parse_untrusted(data)
    length = read.header("content-length")
    if length is not None:
        spans = [span for span in spans if span[0] != length.value_start]
    edit = Edit(read)
    for start, end, new in spans:
        edit.replace(start, end, new)
    if body is not None:
        edit.body(body)
    expected = data[: read.body_offset]
    if length is not None and body is not None and len(body) != len(read.body):
        spans = [*spans, (length.value_start, length.value_end, b"%d" % len(body))]
    for start, end, new in sorted(spans, reverse=True):
        expected = expected[:start] + new + expected[end:]
    assert edit.result() == expected + (read.body if body is None else body)


@given(odd_messages(), st.data())
def test_any_values_can_be_removed(data: bytes, choose: st.DataObject) -> None:
    read = parse_untrusted(data)
    values = read.values("contact")
    gone = choose.draw(st.sets(st.sampled_from(range(len(values)))))
    edit = Edit(read)
    for number in gone:
        edit.remove_value(values[number])
    left = parse_untrusted(edit.result())
    assert [value.text for value in left.values("contact")] == [
        value.text for number, value in enumerate(values) if number not in gone
    ]
    assert left.lines("via") == read.lines("via")
