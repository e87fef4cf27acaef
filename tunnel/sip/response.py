"""Responses that a face makes itself (RFC 3261 section 8.2.6)."""

from __future__ import annotations

import re
from collections.abc import Sequence

from tunnel.address import Address
from tunnel.errors import BadPacket
from tunnel.sip.grammar import canonical_name_untrusted
from tunnel.sip.message import MAX_HEADER_BYTES, MAX_HEADERS, MAX_MESSAGE_BYTES, Message
from tunnel.sip.via import Via, reply_address

__all__ = ["build_refusal_untrusted", "build_response"]

_COPIED = frozenset({"via", "from", "to", "call-id", "cseq"})
_REQUEST_START = re.compile(rb"(?!SIP/|ACK )[A-Za-z0-9\-.!%*_+`'~]++ [^\r\n]*+\r\n", re.IGNORECASE)
_VERSION = re.compile(rb"[ \t]*+SIP[ \t]*+/[ \t]*+[0-9]++\.[0-9]++", re.IGNORECASE)  # 505 goes to those of another one
_LINE = re.compile(rb"[^\r\n]*+(?>(?:\r\n[ \t][^\r\n]*+)*)")


def build_response(
    request: Message,
    status: int,
    reason: str,
    to_tag: bytes = b"",
    extra: Sequence[bytes] = (),
    body: bytes = b"",
) -> bytes:
    """A response to ``request``, whose top Via already says where it came from (``stamp_source``).

    Via, From, To, Call-ID and CSeq are copied line by line, so are Record-Route into 101 to 299 and Timestamp into 100.
    ``to_tag`` is added where the request's To has no tag, but never to a 100. ``extra`` are whole header lines without
    CRLF, among them the Content-Type of ``body``.
    """
    copied = set(_COPIED)
    if 101 <= status <= 299:
        copied.add("record-route")
    if status == 100:
        copied.add("timestamp")
    lines = [b"SIP/2.0 %d %s" % (status, reason.encode("utf-8"))]
    for header in request.headers:
        if header.name not in copied:
            continue
        line = request.line(header)
        if header.name == "to" and to_tag and status > 100 and not request.to_tag:
            line = _tagged(line, to_tag)
        lines.append(line)
    lines += extra
    lines.append(b"Content-Length: %d" % len(body))
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def build_refusal_untrusted(
    data: bytes, source: Address, status: int, reason: str, extra: Sequence[bytes] = ()
) -> tuple[bytes, Address] | None:
    """The answer to a request that ``parse_untrusted`` refused, and where it goes; None where none can be given.

    Only what a response must have is read, line by line. There is no answer to an ACK, to a response, and to what lacks
    Via, From, To, Call-ID or CSeq. ``extra`` are whole header lines without CRLF. The address is for datagrams; a
    stream is answered on itself.
    """
    data = data[:MAX_MESSAGE_BYTES].lstrip(b"\r\n")
    head = data.partition(b"\r\n\r\n")[0] + b"\r\n"
    start = _REQUEST_START.match(head)
    if start is None:
        return None
    lines: list[bytes] = []
    top: Via | None = None
    missing = set(_COPIED)
    for line in _header_lines(head, start.end()):
        name = _name_of(line)
        if name not in _COPIED or (name != "via" and name not in missing):
            continue
        if name == "via" and top is None:
            raw_name, _, value = line.partition(b":")
            first, comma, below = value.replace(b"\r\n", b"  ").partition(b",")
            version = _VERSION.match(first)
            if version is None:
                return None
            try:
                top = Via.parse_untrusted(b"SIP/2.0" + first[version.end() :].rstrip(b" \t;"))
            except BadPacket:
                return None
            stamped = first[: version.end()].strip(b" \t") + top.with_received_rport(source)[len(b"SIP/2.0") :]
            line = raw_name + b": " + stamped + comma + below
        missing.discard(name)
        lines.append(line)
    if top is None or missing:
        return None
    answer = [b"SIP/2.0 %d %s" % (status, reason.encode("utf-8")), *lines, *extra, b"Content-Length: 0"]
    return b"\r\n".join(answer) + b"\r\n\r\n", reply_address(top, source)


def _header_lines(head: bytes, position: int) -> list[bytes]:
    lines: list[bytes] = []
    while position < len(head) and len(lines) < MAX_HEADERS:
        match = _LINE.match(head, position)
        if match is None or match.end() == position:
            break
        lines.append(match[0])
        position = match.end() + 2
    return lines


def _name_of(line: bytes) -> str:
    raw_name, colon, _ = line.partition(b":")
    if not colon or len(line) > MAX_HEADER_BYTES:
        return ""
    try:
        return canonical_name_untrusted(raw_name.rstrip(b" \t"))
    except BadPacket:
        return ""


def _tagged(to_line: bytes, to_tag: bytes) -> bytes:
    stripped = to_line.rstrip(b" \t\r\n;")
    return stripped + b";tag=" + to_tag
