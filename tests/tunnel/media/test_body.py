"""Descriptions inside SIP bodies: found wherever they are, replaced in place, refused where they cannot be."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.media_pair import sdp

from tunnel.errors import BadPacket
from tunnel.media.body import MAX_DEPTH, MAX_DESCRIPTIONS, MAX_PARTS, SipBody, find_sdp_untrusted, replace_sdp
from tunnel.media.plane import CannotRelay

DATA = Path(__file__).parents[2] / "data" / "sdp"
SDP = sdp("10.1.0.20", "40000")


def multipart(kind: str, *parts: tuple[str, bytes], boundary: str = "b") -> SipBody:
    lines = [f"--{boundary}\r\n{headers}\r\n\r\n".encode() + content + b"\r\n" for headers, content in parts]
    return SipBody(b"".join(lines) + f"--{boundary}--\r\n".encode(), f"multipart/{kind};boundary={boundary}".encode())


def texts(body: SipBody) -> list[bytes]:
    return [body.content[each.start : each.end] for each in find_sdp_untrusted(body)]


def swap(body: SipBody, *new: bytes) -> bytes:
    return replace_sdp(body, find_sdp_untrusted(body), new)


@pytest.mark.parametrize(
    "kind",
    [
        b"application/sdp",
        b"Application/SDP ; charset=utf-8",
        b"application / sdp",
        b"application/\r\n sdp",
        b"application/sdp;",
        b"",
        b" ",
    ],
)
def test_a_plain_description_is_the_whole_body(kind: bytes) -> None:
    assert texts(SipBody(SDP, kind)) == [SDP]
    assert swap(SipBody(SDP, kind), b"v=new") == b"v=new"


@pytest.mark.parametrize("kind", [b"message/sipfrag", b"application/dialog-info+xml", b"text/plain", b""])
def test_other_bodies_have_none(kind: bytes) -> None:
    assert texts(SipBody(b"SIP/2.0 100 Trying\r\n", kind)) == []
    assert swap(SipBody(b"SIP/2.0 100 Trying\r\n", kind)) == b"SIP/2.0 100 Trying\r\n"


def test_an_empty_body_has_none() -> None:
    assert texts(SipBody(b"")) == []
    assert texts(SipBody(b"", b"\x80")) == []


@pytest.mark.parametrize("before", [b"", b"\r\n", b"\n \n"])
def test_what_nobody_gave_a_type_is_sdp_if_it_looks_like_it(before: bytes) -> None:
    assert texts(SipBody(before + SDP, b"")) == [before + SDP]
    body = multipart("mixed", ("Content-Length: 5", before + SDP))
    assert texts(body) == [before + SDP]


@pytest.mark.parametrize(
    "kind",
    [
        b"\x80 application/sdp",
        b"application",
        b"application/sdp, text/plain",
        b"application/sdp (a comment)",
        b'"application/sdp"',
        b"application//sdp",
        b"/sdp",
    ],
)
def test_a_type_that_cannot_be_read_is_bad(kind: bytes) -> None:
    with pytest.raises(BadPacket):
        find_sdp_untrusted(SipBody(SDP, kind))
    with pytest.raises(BadPacket):
        find_sdp_untrusted(multipart("mixed", ("Content-Type: " + kind.decode("latin-1"), SDP)))


def test_concatenated_descriptions_are_found_one_by_one() -> None:
    content = (DATA / "two_copies_lf.sdp").read_bytes()
    first, second = texts(SipBody(content))
    assert first + second == content
    assert first.startswith(b"v=0\n")
    assert second.startswith(b"v=0\n")


def test_binary_isup_and_nested_parts_stay_byte_exact_around_the_description() -> None:
    body = SipBody((DATA / "multipart_isup.body").read_bytes(), b'multipart/mixed ; Boundary="bound ary"')
    (text,) = texts(body)
    assert text == sdp("10.1.0.20", "audio 40000 RTP/AVP 0")
    longer = text + b"a=some more of it\r\n"
    expected = body.content.replace(text, longer)
    expected = expected.replace(b"Content-Length: %d" % len(text), b"Content-Length: %d" % len(longer))
    inner = re.search(rb"(?s)Content-Length: 999\r\n\r\n(.*?--inner--\r\n)", expected)
    assert inner is not None
    assert swap(body, longer) == expected.replace(b"999", b"%d" % len(inner[1]))


@pytest.mark.parametrize("kind", ["mixed", "alternative", "related"])
@pytest.mark.parametrize("place", [0, 1, 2])
def test_the_description_may_be_any_part(kind: str, place: int) -> None:
    parts = [("Content-Type: text/plain", b"one"), ("Content-Type: application/pidf+xml", b"<two/>")]
    parts.insert(place, ("Content-Type: application/sdp\r\nContent-ID: <a@b>", SDP))
    body = multipart(kind, *parts)
    assert texts(body) == [SDP]
    assert swap(body, b"v=new\r\n") == body.content.replace(SDP, b"v=new\r\n")


def test_several_descriptions_are_all_replaced() -> None:
    body = multipart("alternative", ("content-type:application/sdp", SDP), ("c: application/sdp", SDP))
    assert swap(body, b"v=1", b"v=2") == body.content.replace(SDP, b"v=1", 1).replace(SDP, b"v=2")


def test_a_boundary_that_begins_another_is_not_mistaken_for_it() -> None:
    inner = multipart("mixed", ("Content-Type: application/sdp", SDP), boundary="bb")
    body = multipart("mixed", ("Content-Type: multipart/mixed;boundary=bb", inner.content), ("X-Y: z", b"--bb"))
    assert texts(body) == [SDP]


def test_a_missing_end_and_bare_line_feeds_are_tolerated() -> None:
    body = SipBody(b"--b\nContent-Type: application/sdp\n\nv=0\ns=-", b"multipart/mixed;boundary=b")
    assert texts(body) == [b"v=0\ns=-"]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (SipBody(b"MIIB", b"application/pkcs7-mime; smime-type=enveloped-data"), 493),
        (multipart("mixed", ("Content-Type: application/pkcs7-mime", b"MIIB")), 493),
        (multipart("encrypted", ("Content-Type: text/plain", b"x")), 493),
        (multipart("signed", ("Content-Type: application/sdp", SDP)), 493),
        (multipart("signed", ("Content-Type: message/sip", b"INVITE sip:a SIP/2.0\r\n\r\n")), 493),
        (SipBody(SDP, b"application/sdp", b"gzip"), 415),
        (SipBody(b"\x1f\x8b", b"multipart/mixed;boundary=b", b"GZIP"), 415),
        (multipart("mixed", ("Content-Type: application/sdp\r\nContent-Encoding: gzip", b"\x1f\x8b")), 415),
        (multipart("mixed", ("Content-Type: application/sdp\r\nContent-Transfer-Encoding: base64", b"dj0w")), 415),
    ],
)
def test_what_cannot_be_edited_is_refused(body: SipBody, status: int) -> None:
    with pytest.raises(CannotRelay) as refusal:
        find_sdp_untrusted(body)
    assert refusal.value.status == status


def test_a_signed_body_without_a_description_passes() -> None:
    assert texts(multipart("signed", ("Content-Type: message/sipfrag", b"From: <sip:a@b>\r\n"))) == []


def test_identity_is_no_encoding() -> None:
    assert texts(SipBody(SDP, b"application/sdp", b" Identity ")) == [SDP]


def test_depth_and_number_are_bounded() -> None:
    body = multipart("mixed", ("Content-Type: application/sdp", SDP))
    for level in range(MAX_DEPTH - 1):
        kind = "Content-Type: " + body.content_type.decode()
        body = multipart("mixed", (kind, body.content), boundary=f"level{level}")
    assert texts(body) == [SDP]
    deeper = multipart("mixed", ("Content-Type: " + body.content_type.decode(), body.content), boundary="deeper")
    with pytest.raises(BadPacket, match="levels"):
        find_sdp_untrusted(deeper)
    with pytest.raises(BadPacket, match="parts"):
        find_sdp_untrusted(multipart("mixed", *[("A: b", b"x")] * (MAX_PARTS + 1)))
    with pytest.raises(BadPacket, match="at most"):
        find_sdp_untrusted(SipBody(SDP * (MAX_DESCRIPTIONS + 1)))


@pytest.mark.parametrize(
    "parameters", [b"", b";boundary=", b';boundary=""', b";boundary=a;boundary=b", b';boundary="b']
)
def test_a_multipart_without_one_boundary_is_bad(parameters: bytes) -> None:
    with pytest.raises(BadPacket):
        find_sdp_untrusted(SipBody(b"--b\r\n\r\n" + SDP + b"\r\n--b--", b"multipart/mixed" + parameters))


WORDS = st.sampled_from(
    [
        b"--b",
        b"--b--",
        b"--c",
        b"\r\n",
        b"\n",
        b" ",
        b"\x00",
        b"v=0",
        b"Content-Type: application/sdp",
        b"Content-Type: multipart/mixed;boundary=b",
        b"Content-Type: multipart/signed;boundary=c",
        b"Content-Length: 5",
        SDP,
    ]
)
TYPES = st.sampled_from([b"multipart/mixed;boundary=b", b'multipart/mixed;boundary="b', b"application/sdp", b""])


@given(st.lists(WORDS | st.binary(max_size=3)).map(b"".join), TYPES | st.binary(max_size=30))
def test_any_body_is_understood_or_refused_and_swapping_nothing_changes_nothing(content: bytes, kind: bytes) -> None:
    body = SipBody(content, kind)
    try:
        found = find_sdp_untrusted(body)
    except (BadPacket, CannotRelay):
        return
    same = [content[each.start : each.end] for each in found]
    restored = replace_sdp(body, found, same)
    assert re.sub(rb"Content-Length: \d+", b"", restored) == re.sub(rb"Content-Length: \d+", b"", content)
