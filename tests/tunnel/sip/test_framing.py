"""Where messages begin and end, on streams and in datagrams (A4 to A6)."""

from __future__ import annotations

import itertools
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.messages import INVITE, REGISTER, accepted

from tunnel.errors import BadPacket
from tunnel.sip.framing import PATIENCE_S, DatagramKind, Framed, KeepAlive, StreamFramer, classify_datagram
from tunnel.sip.message import MAX_MESSAGE_BYTES, parse_untrusted

ENDED = [data for name, data in accepted.items() if name not in ("rfc4475_dblreq", "rfc4475_inv2543")]


def feed(*pieces: bytes) -> list[Framed]:
    framer = StreamFramer()
    return [framed for piece in pieces for framed in framer.feed_untrusted(piece, 0.0)]


def test_messages_are_cut_by_content_length() -> None:
    """A4: RFC 3261 section 18.3."""
    assert feed(INVITE + REGISTER + INVITE) == [INVITE, REGISTER, INVITE]


@pytest.mark.parametrize("spelled", [b"Content-Length:4", b"l : 4", b"CONTENT-LENGTH:\r\n 4 ", b"L: 0004\r\n\t"])
def test_content_length_is_found_in_any_spelling(spelled: bytes) -> None:
    """A2, A4: compact, folded, in any case."""
    head = b"OPTIONS sip:a SIP/2.0\r\nX: y\r\n" + spelled + b"\r\nl-x: 9\r\n\r\n"
    assert feed(head + b"body" + REGISTER) == [head + b"body", REGISTER]


def test_without_content_length_there_is_no_body() -> None:
    """A4: on a stream it is 0."""
    head = b"OPTIONS sip:a SIP/2.0\r\nX: y\r\n\r\n"
    assert feed(head + REGISTER) == [head, REGISTER]


def test_two_messages_in_one_piece_of_a_torture_file() -> None:
    """A4: they are two messages on a stream; what the second one's Content-Length leaves over is no part of it."""
    register, invite, left_over = feed(accepted["rfc4475_dblreq"])
    assert left_over == b"C\r\n\r\n"
    assert isinstance(register, bytes)
    assert isinstance(invite, bytes)
    assert parse_untrusted(register, stream=True).method == "REGISTER"
    assert parse_untrusted(invite, stream=True).method == "INVITE"


def test_a_double_line_end_between_messages_is_a_sign_of_life() -> None:
    """A4: RFC 5626 section 4.4.1."""
    assert feed(b"\r\n\r\n") == [KeepAlive()]
    assert feed(INVITE, b"\r\n\r\n", REGISTER) == [INVITE, KeepAlive(), REGISTER]
    assert feed(b"\r", b"\n\r", b"\n") == [KeepAlive()]
    assert feed(b"\r\n\r\n", b"\r\n\r\n") == [KeepAlive(), KeepAlive()]


def test_a_single_line_end_is_passed_over() -> None:
    """A4: leading CRLFs."""
    assert feed(b"\r\n" + INVITE + b"\r\n" + REGISTER) == [INVITE, REGISTER]


@given(st.lists(st.sampled_from([*ENDED, b"\r\n"]), max_size=5), st.lists(st.integers(0, 4000), max_size=8))
def test_messages_come_out_the_same_however_they_are_cut(parts: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(parts)
    edges = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    pieces = [stream[start:end] for start, end in itertools.pairwise(edges)]
    messages = [framed for framed in feed(*pieces) if isinstance(framed, bytes)]
    assert messages == [part for part in parts if part != b"\r\n"]


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00",
        b"\x00\x01",
        b"\rX",
        b" INVITE",
        b"A sip:b SIP/2.0\r\nContent-Length: -1\r\n\r\n",
        b"A sip:b SIP/2.0\r\nContent-Length:\r\n\r\n",
        b"A sip:b SIP/2.0\r\nContent-Length: 1 2\r\n\r\n",
        b"A sip:b SIP/2.0\r\nContent-Length: 1\r\n 2\r\n\r\n",
        b"A sip:b SIP/2.0\r\nContent-Length: 1\r\nl: 1\r\n\r\n",
    ],
)
def test_a_stream_that_cannot_be_cut_is_given_up(data: bytes) -> None:
    """A4, A5: also a TLS hello on a plain port."""
    with pytest.raises(BadPacket):
        feed(data)


def test_too_big_a_message_is_refused_before_it_is_kept() -> None:
    """A6: 64 KiB."""
    with pytest.raises(BadPacket) as caught:
        feed(b"A sip:b SIP/2.0\r\nContent-Length: %d\r\n\r\n" % MAX_MESSAGE_BYTES)
    assert caught.value.status == 413
    with pytest.raises(BadPacket) as caught:
        feed(b"A sip:b SIP/2.0\r\n", *[b"X: " + b"y" * 1000 + b"\r\n"] * 70)
    assert caught.value.status == 413


def test_no_sender_holds_much_memory() -> None:
    """A6: never more than 128 KiB of one sender."""
    framer = StreamFramer()
    framer.feed_untrusted(b"A sip:b SIP/2.0\r\nContent-Length: 60000\r\n\r\n", 0.0)
    for _ in range(59):
        assert framer.feed_untrusted(b"x" * 1000, 0.0) == []
        assert framer.buffered_bytes <= MAX_MESSAGE_BYTES
    assert len(framer.feed_untrusted(b"x" * 1000 + INVITE, 0.0)) == 2
    assert framer.buffered_bytes == 0


def test_a_message_that_never_ends_has_a_deadline() -> None:
    framer = StreamFramer()
    assert framer.deadline() is None
    framer.feed_untrusted(INVITE[:100], 5.0)
    framer.feed_untrusted(INVITE[100:200], 20.0)
    assert framer.deadline() == 5.0 + PATIENCE_S
    framer.feed_untrusted(INVITE[200:] + REGISTER[:9], 30.0)
    assert framer.deadline() == 30.0 + PATIENCE_S
    framer.feed_untrusted(REGISTER[9:], 31.0)
    assert framer.deadline() is None


@pytest.mark.parametrize(
    "stream",
    [
        b"A sip:b SIP/2.0\r\nX: " + b"\r\n " * 20_000,
        b"A sip:b SIP/2.0\r\nContent-Length: 60000\r\n\r\n" + b"x" * 59_999,
        b"\r\n" * 30_000,
        b"A b\r\n\r\n" * 9_000,
    ],
)
def test_byte_by_byte_costs_linear_time(stream: bytes) -> None:
    began = time.perf_counter()
    framer = StreamFramer()
    for start in range(len(stream)):
        framer.feed_untrusted(stream[start : start + 1], 0.0)
    feed(stream)
    assert time.perf_counter() - began < 2.0


@given(st.lists(st.binary(max_size=40) | st.sampled_from([b"\r\n", b"l:", b"A b\r\n", b"\r\n\r\n", b"5"]), max_size=12))
def test_any_bytes_are_cut_or_given_up(pieces: list[bytes]) -> None:
    try:
        framed = feed(*pieces)
    except BadPacket:
        return
    kept = b"".join(message for message in framed if isinstance(message, bytes))
    assert len(kept) <= sum(map(len, pieces))


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (INVITE, DatagramKind.SIP),
        (b"\r\n" + INVITE, DatagramKind.SIP),
        (accepted["rfc4475_intmeth"], DatagramKind.SIP),
        (b"", DatagramKind.KEEPALIVE),
        (b"\x00", DatagramKind.KEEPALIVE),
        (b"hi", DatagramKind.KEEPALIVE),
        (b"\r\n\r\n", DatagramKind.KEEPALIVE),
        (bytes(40), DatagramKind.KEEPALIVE),
        (b"\r\n\r\n\r\n", DatagramKind.KEEPALIVE),
        (b"\x00\x01\x00\x00\x21\x12\xa4\x42" + b"t" * 12, DatagramKind.STUN),
        (b"\x00\x01\x00\x00\x21\x12\xa4\x42" + b"t" * 11, DatagramKind.JUNK),
        (b"\x00\x01\x00\x00" + b"t" * 16, DatagramKind.JUNK),
        (b"\x80\x00" + bytes(170), DatagramKind.JUNK),
        (b"\x16\x03\x01\x02\x00\x01", DatagramKind.JUNK),
        (b"<xml/>", DatagramKind.JUNK),
    ],
)
def test_datagrams_are_told_apart_by_their_first_bytes(data: bytes, kind: DatagramKind) -> None:
    """A5: SIP, STUN, keep-alives, junk."""
    assert classify_datagram(data) is kind


@given(st.binary(max_size=60))
def test_any_datagram_is_something(data: bytes) -> None:
    assert classify_datagram(data) in DatagramKind
