"""No input costs more than in proportion to its size: four times as much of the same takes about four times as long.

A quadratic reader would take sixteen times. Ratios of CPU time on one machine, generous; no absolute time is asserted.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from support.calls import new_world, sdp
from support.messages import compose

from tunnel.address import Address
from tunnel.errors import BadPacket
from tunnel.sip.framing import StreamFramer
from tunnel.sip.response import build_refusal_untrusted
from tunnel.sip.stun import answer_binding_untrusted

PHONE = Address("10.1.0.50", 5060)
BUNDLED = b"m=audio 4 RTP/AVP 0\r\na=mid:a\r\n" * 30
# Less than this is noise.
FLOOR_S = 0.002


def invite(
    *lines: bytes, uri: bytes = b"sip:b@203.0.113.40", body: bytes = b"", kind: bytes = b"application/sdp"
) -> bytes:
    head: list[str | bytes] = [
        b"INVITE " + uri + b" SIP/2.0",
        "Via: SIP/2.0/UDP 10.1.0.50:5060;branch=z9hG4bKs",
        "From: <sip:a@x>;tag=1",
        "To: <sip:b@y>",
        "Call-ID: s",
        "CSeq: 1 INVITE",
        *lines,
        *([b"Content-Type: " + kind] if body else []),
        f"Content-Length: {len(body)}",
    ]
    return compose(*head, body=body)


def described(above: bytes = b"", below: bytes = b"") -> bytes:
    return invite(body=sdp("10.1.0.50").replace(b"t=0 0", b"t=0 0\r\n" + above) + below)


def multipart(body: bytes) -> bytes:
    return invite(body=body, kind=b"multipart/mixed;boundary=b")


def nested(depth: int, inner: bytes) -> bytes:
    """``inner`` below ``depth`` levels of multipart."""
    for level in range(depth):
        mark = b"b%d" % level
        inner = b'Content-Type: multipart/mixed;boundary="%s"\r\n\r\n--%s\r\n%s\r\n--%s--' % (mark, mark, inner, mark)
    return inner


# A header line may have 8 KiB, a message 64 KiB: each shape takes a number up to 7,600 and is then as large as it may be.
IN_A_LINE: dict[str, Callable[[int], bytes]] = {
    "commas": lambda n: invite(b"Contact: <sip:a@10.1.0.50>" + b"," * n),
    "contacts": lambda n: invite(b"Contact: " + b",".join([b"<sip:a@10.1.0.50>"] * (n // 20))),
    "escaped quotes": lambda n: invite(b'Contact: "' + b'\\"' * (n // 2) + b'" <sip:a@10.1.0.50>'),
    "open quotes": lambda n: invite(b"Contact: " + b'"' * n + b" <sip:a@10.1.0.50>"),
    "brackets": lambda n: invite(b"Contact: " + b"<" * n),
    "header parameters": lambda n: invite(b"Contact: <sip:a@10.1.0.50>" + b";a" * (n // 2)),
    "URI parameters": lambda n: invite(b"Contact: <sip:a@10.1.0.50" + b";a" * (n // 2) + b">"),
    "addresses in parameters": lambda n: invite(b"Contact: <sip:a@10.1.0.50" + b";10.1.0.5" * (n // 9) + b">"),
    "folds": lambda n: invite(b"Contact:" + b"\r\n " * (n // 3) + b"<sip:a@10.1.0.50>"),
    "Via parameters": lambda n: invite(b"Via: SIP/2.0/UDP 1.2.3.4" + b";a=b" * (n // 4)),
    "Via blanks": lambda n: invite(b"Via: SIP/2.0/UDP 1.2.3.4" + b" " * n + b";a"),
    "routes": lambda n: invite(b"Route: " + b"<sip:203.0.113.40;lr>," * (n // 25)),
    "headers": lambda n: invite(*[b"X: y" + b"z" * (n // 200)] * 180),
    "options": lambda n: invite(b"Supported: " + b"a," * (n // 2)),
    "realms": lambda n: invite(b"Authorization: Digest " + b"realm " * (n // 6)),
    "type parameters": lambda n: invite(body=b"x", kind=b"multipart/mixed" + b";a=b" * (n // 4)),
    "Request-URI": lambda n: invite(uri=b"sip:b@203.0.113.40" + b";a" * (n // 2)),
    "user": lambda n: invite(uri=b"sip:" + b"a:" * (n // 2) + b"@203.0.113.40"),
    "colons": lambda n: invite(uri=b"sip:[" + b":" * n + b"]"),
}
IN_A_BODY: dict[str, Callable[[int], bytes]] = {
    "attributes": lambda n: described(below=b"a=x\r\n" * n),
    "media": lambda n: described(below=b"m=audio 4 RTP/AVP 0\r\n" * (n // 4)),
    "attributes of many media": lambda n: described(below=BUNDLED + b"a=x\r\n" * n),
    "formats": lambda n: described(below=b"m=audio 4 RTP/AVP" + b" 0" * (3 * n)),
    "groups": lambda n: described(b"a=group:BUNDLE a b c\r\n" * (n // 4), BUNDLED),
    "a long group": lambda n: described(b"a=group:BUNDLE" + b" a" * (3 * n) + b"\r\n", BUNDLED),
    "blank lines": lambda n: described(below=b"\n" * (6 * n)),
    "connections": lambda n: described(below=b"c=IN IP4 10.1.0.50\r\n" * (n // 4)),
    "descriptions": lambda n: invite(body=b"v=0\r\n" * n),
    "no type": lambda n: invite(body=b"x\r\n" * (2 * n), kind=b""),
    "empty parts": lambda n: multipart(b"--b\r\n" * n),
    "parts": lambda n: multipart(b"--b\r\nA: b\r\n\r\nx\r\n" * (n // 3)),
    "part headers": lambda n: multipart(b"--b\r\n" + b"A: b\r\n" * n + b"\r\nx\r\n--b--"),
    "folds of a part": lambda n: multipart(b"--b\r\nA: b" + b"\r\n " * (2 * n) + b"\r\n\r\nx\r\n--b--"),
    "line ends": lambda n: multipart(b"--b" + b"\r\n" * (3 * n) + b"--b--"),
    "almost delimiters": lambda n: multipart(b"\r\n--b " * n + b"x"),
    "levels": lambda n: multipart(b"--b\r\n" + nested(3, b"A: b\r\n" * n) + b"\r\n--b--"),
    "line ends in front": lambda n: b"\r\n" * (4 * n) + invite(),
}


def cost_s(run: Callable[[], object]) -> float:
    """CPU time of the quickest of three runs."""
    best = float("inf")
    for _ in range(3):
        start = time.thread_time()
        run()
        best = min(best, time.thread_time() - start)
    return best


def relayed(data: bytes) -> float:
    """What the message costs both ends of the pair."""
    worlds = [new_world() for _ in range(3)]

    def run() -> None:
        try:
            worlds.pop().lan(str(PHONE), data)
        except BadPacket:
            build_refusal_untrusted(data, PHONE, 400, "Bad Request")

    return cost_s(run)


@pytest.mark.parametrize("shape", [*IN_A_LINE, *IN_A_BODY])
def test_four_times_the_size_takes_about_four_times_as_long(shape: str) -> None:
    """A1, A6: commas, quotes, folds, parameters, lines, parts: at the largest size that is allowed."""
    make = {**IN_A_LINE, **IN_A_BODY}[shape]
    small, large = relayed(make(1900)), relayed(make(7600))
    assert large < 9 * max(small, FLOOR_S), f"{small * 1000:.1f} and {large * 1000:.1f} ms"


@pytest.mark.parametrize("piece", [1, 7, 1000])
def test_a_stream_in_small_pieces_is_searched_once(piece: int) -> None:
    """A4, A6: the end of the headers is not looked for again from the beginning."""

    def run(size: int) -> None:
        framer, data = StreamFramer(), b"OPTIONS sip:a SIP/2.0\r\nX: " + b"y" * size
        for at in range(0, len(data), piece):
            framer.feed_untrusted(data[at : at + piece], 0.0)

    small, large = cost_s(lambda: run(15_000)), cost_s(lambda: run(60_000))
    assert large < 9 * max(small, FLOOR_S)


def test_a_stun_request_costs_little_at_any_size() -> None:
    """A5: many attributes that must be understood, each of another kind."""

    def run(count: int) -> None:
        attributes = b"".join(kind.to_bytes(2, "big") + b"\0\0" for kind in range(1, count))
        data = b"\0\1" + len(attributes).to_bytes(2, "big") + b"\x21\x12\xa4\x42" + bytes(12) + attributes
        try:
            answer_binding_untrusted(data, PHONE)
        except BadPacket:
            return

    assert cost_s(lambda: run(16_000)) < 9 * max(cost_s(lambda: run(4_000)), FLOOR_S)
