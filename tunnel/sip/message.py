"""A SIP message as it came: every byte kept, every header and value with its span in ``raw`` (RFC 3261 section 7).

``parse_untrusted`` checks what a proxy must be able to trust (start line, the five mandatory headers, Content-Length,
the top Via, the tags) and leaves the rest unread; ``values`` splits lists when somebody asks. Changes are made with
``tunnel.sip.edit.Edit``.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from tunnel.errors import BadPacket
from tunnel.sip.grammar import (
    TOKEN,
    canonical_name_untrusted,
    media_type_untrusted,
    split_list_untrusted,
    unfolded,
)
from tunnel.sip.name_addr import tag_untrusted, uri_untrusted
from tunnel.sip.uri import SipUri
from tunnel.sip.via import Via

__all__ = [
    "MAX_HEADERS",
    "MAX_HEADER_BYTES",
    "MAX_MESSAGE_BYTES",
    "MAX_VALUES",
    "MAX_VIAS",
    "Header",
    "Message",
    "Value",
    "parse_untrusted",
]

# Numbers from RFC 3261.
MAX_CSEQ = 2**32 - 1  # 8.1.1.5 says 2**31 - 1; user agents that count as unsigned are borne with
MAX_HOPS = 255  # 20.22

# Our own limits (A6): far above what real calls need, small enough that nobody can hold much of our memory.
MAX_MESSAGE_BYTES = 64 * 1024
MAX_HEADER_BYTES = 8 * 1024  # one header with its folded lines
MAX_HEADERS = 200
MAX_VIAS = 70
MAX_VALUES = 100  # of one list; each Contact costs a sealed mask

_REQUEST_LINE = re.compile(rb"(" + TOKEN + rb") ([!-;=?-~\x80-\xff]++) (SIP/[0-9]++\.[0-9]++)", re.IGNORECASE)
_STATUS_LINE = re.compile(rb"(SIP/[0-9]++\.[0-9]++) ([0-9]++)(?>(?: (.*+))?)", re.IGNORECASE | re.DOTALL)
_CSEQ = re.compile(rb"([0-9]{1,10}+)[ \t]++(" + TOKEN + rb")")
_NUMBER = re.compile(rb"[0-9]{1,10}+")

_MANDATORY = ("via", "from", "to", "call-id", "cseq")
_SINGLE = frozenset({"from", "to", "call-id", "cseq", "max-forwards", "content-length", "content-type"})


class Header(NamedTuple):
    """One header, with all its folded lines; the spans count in ``Message.raw``."""

    name: str  # canonical: long form, lower case
    raw_name: bytes  # as it came
    start: int
    end: int  # behind the CRLF
    value: bytes  # without blanks around it; a fold has become blanks of the same length
    value_start: int
    value_end: int


class Value(NamedTuple):
    """One of the comma-separated values of a header; the span counts in ``Message.raw``."""

    text: bytes  # unfolded like Header.value: offsets in it, added to start, are true in raw
    start: int
    end: int
    header: Header


class Message:
    """A request or a response; never changes. Made by ``parse_untrusted``."""

    __slots__ = (
        "_index",
        "_values",
        "body",
        "body_offset",
        "call_id",
        "cseq",
        "from_tag",
        "headers",
        "is_request",
        "max_forwards",
        "method",
        "raw",
        "reason",
        "request_uri",
        "status",
        "to_tag",
        "top_via",
        "uri",
    )

    raw: bytes  # the whole message, without CRLFs before it and bytes behind its body
    is_request: bool
    method: str  # "" for a response
    request_uri: bytes  # b"" for a response
    uri: SipUri | None  # the Request-URI, None for a response and for another scheme
    status: int  # 0 for a request
    reason: bytes
    headers: tuple[Header, ...]
    body: bytes
    body_offset: int
    call_id: bytes
    cseq: tuple[int, str]
    from_tag: bytes  # b"" if there is none
    to_tag: bytes
    top_via: Via
    max_forwards: int | None
    _index: dict[str, list[Header]]
    _values: dict[str, list[Value]]

    def __repr__(self) -> str:
        what = self.method if self.is_request else str(self.status)
        return f"<Message {what} cseq={self.cseq[0]} {self.cseq[1]} bytes={len(self.raw)}>"

    @property
    def cseq_method(self) -> str:
        """The method of the transaction, in requests and responses alike."""
        return self.cseq[1]

    def header(self, name: str) -> Header | None:
        """The first header of that canonical (long, lower-case) name, whatever form it came in."""
        found = self._index.get(name)
        return found[0] if found else None

    def all(self, name: str) -> list[Header]:
        """All headers of that canonical name, from top to bottom."""
        return list(self._index.get(name, ()))

    def values(self, name: str) -> list[Value]:
        """The comma-separated values of all headers of that name, from top to bottom.

        For headers that are lists by their grammar; for others (Date, Authorization, Subject) use ``all``. Raises
        BadPacket when a quote or an angle bracket is not closed or the list is too long, but never for Via, which was
        read at once.
        """
        values = self._values.get(name)
        if values is None:
            values = [value for header in self._index.get(name, ()) for value in _split_header(header)]
            if len(values) > MAX_VALUES:
                raise BadPacket(f"there are {len(values)} {name} values; {MAX_VALUES} are allowed")
            self._values[name] = values
        return list(values)

    def line(self, header: Header) -> bytes:
        """The header as it came, folds included, without the final CRLF."""
        return self.raw[header.start : header.end - 2]

    def lines(self, name: str) -> list[bytes]:
        """All headers of that canonical name as they came, without their final CRLFs."""
        return [self.line(header) for header in self._index.get(name, ())]


def parse_untrusted(data: bytes, *, stream: bool = False) -> Message:
    """Read one message: a datagram, or with ``stream`` what the framer cut out of a byte stream.

    Without Content-Length the body is the rest of a datagram, and empty on a stream (RFC 3261 section 18.3, A4).
    Bytes behind the body are cut off ``raw``. Raises BadPacket, with 413 when it is too big and 505 for another
    version of SIP.
    """
    if data[:1] in (b"\r", b"\n"):
        data = data.lstrip(b"\r\n")
    if len(data) > MAX_MESSAGE_BYTES:
        raise BadPacket(f"the message has {len(data)} bytes; {MAX_MESSAGE_BYTES} are allowed", status=413)
    blank = data.find(b"\r\n\r\n")
    if blank < 0:
        raise BadPacket("no empty line ends the headers")
    lines = data[:blank].split(b"\r\n")
    # A lone CR or LF is a line end to some and none to others: whoever smuggles one wants us to see other headers.
    if data.count(b"\n", 0, blank) != len(lines) - 1 or data.count(b"\r", 0, blank) != len(lines) - 1:
        raise BadPacket("a CR or LF stands alone in the headers")

    message = Message()
    _read_start_line(message, lines[0])
    message.headers, message._index = _read_headers(lines)
    message._values = {}
    _read_mandatory(message)
    body_offset = blank + 4
    message.raw = data = data[: _end_of_body(message, body_offset, len(data), stream)]
    message.body_offset = body_offset
    message.body = data[body_offset:]
    if message.is_request and message.body and "content-type" in message._index:
        media_type_untrusted(
            message._index["content-type"][0].value
        )  # whoever can read it must not see more than we do
    return message


def _read_start_line(message: Message, line: bytes) -> None:
    if len(line) > MAX_HEADER_BYTES:
        raise BadPacket(f"the first line has more than {MAX_HEADER_BYTES} bytes", status=414)
    match = _REQUEST_LINE.fullmatch(line)
    if match:
        message.is_request = True
        message.method = match[1].decode("ascii")
        message.request_uri, version = match[2], match[3]
        uri = uri_untrusted(match[2])
        message.uri = uri if isinstance(uri, SipUri) else None
        message.status, message.reason = 0, b""
    else:
        match = _STATUS_LINE.fullmatch(line)
        if not match:
            raise BadPacket(f"{line[:60]!r} is no start line")
        message.is_request = False
        message.method, message.request_uri, message.uri = "", b"", None
        version, code = match[1], match[2]
        message.reason = match[3] or b""
        if len(code) != 3 or not b"100" <= code <= b"699":
            raise BadPacket(f"{code[:20]!r} is no status code")
        message.status = int(code)
    if version.upper() != b"SIP/2.0":
        raise BadPacket(f"{version[:20]!r} is no version we know", status=505)


def _read_headers(lines: list[bytes]) -> tuple[tuple[Header, ...], dict[str, list[Header]]]:
    headers: list[Header] = []
    index: dict[str, list[Header]] = {}
    count = len(lines)
    start = len(lines[0]) + 2
    number = 1
    while number < count:
        line = lines[number]
        number += 1
        while number < count and lines[number][0] in b" \t":
            line += b"\r\n" + lines[number]
            number += 1
            if len(line) > MAX_HEADER_BYTES:
                break
        size = len(line)
        if size > MAX_HEADER_BYTES:
            raise BadPacket(f"a header has more than {MAX_HEADER_BYTES} bytes")
        raw_name, colon, rest = line.partition(b":")
        if not colon:
            raise BadPacket(f"{line[:40]!r} is no header")
        value = rest.lstrip(b" \t\r\n")
        value_start = start + size - len(value)
        value = value.rstrip(b" \t\r\n")
        value_end = value_start + len(value)
        if b"\r\n" in value:
            value = unfolded(value)
        raw_name = raw_name.rstrip(b" \t")
        name = canonical_name_untrusted(raw_name)
        header = Header(name, raw_name, start, start + size + 2, value, value_start, value_end)
        headers.append(header)
        same = index.get(name)
        if same is None:
            index[name] = [header]
        else:
            if name in _SINGLE:
                raise BadPacket(f"there is more than one {name} header")
            same.append(header)
        start += size + 2
    if len(headers) > MAX_HEADERS:
        raise BadPacket(f"there are {len(headers)} headers; {MAX_HEADERS} are allowed")
    return tuple(headers), index


def _read_mandatory(message: Message) -> None:
    """Read what every message needs, and refuse one that lacks it."""
    index = message._index
    for name in _MANDATORY:
        if name not in index:
            raise BadPacket(f"the {name} header is missing")
    message.call_id = index["call-id"][0].value
    if not message.call_id:
        raise BadPacket("the call-id header is empty")
    cseq = _CSEQ.fullmatch(index["cseq"][0].value)
    if not cseq or int(cseq[1]) > MAX_CSEQ:
        raise BadPacket(f"{index['cseq'][0].value[:40]!r} is no CSeq")
    message.cseq = int(cseq[1]), cseq[2].decode("ascii")
    if message.is_request and message.cseq[1] != message.method:
        raise BadPacket("the CSeq names another method than the request line")
    message.from_tag = tag_untrusted(index["from"][0].value)
    message.to_tag = tag_untrusted(index["to"][0].value)
    message.max_forwards = _max_forwards(message)
    message.top_via = _top_via(message)


def _max_forwards(message: Message) -> int | None:
    header = message.header("max-forwards")
    if header is None:
        return None
    if not _NUMBER.fullmatch(header.value) or int(header.value) > MAX_HOPS:
        raise BadPacket(f"{header.value[:20]!r} is no Max-Forwards")
    return int(header.value)


def _top_via(message: Message) -> Via:
    """The top Via; the list of all is read here, so that ``values("via")`` can be trusted later."""
    values = message.values("via")
    if len(values) > MAX_VIAS:
        raise BadPacket(f"there are more than {MAX_VIAS} Via values")
    if not values or values[0].header is not message._index["via"][0]:
        raise BadPacket("the top Via is empty")
    return Via.parse_untrusted(values[0].text)


def _end_of_body(message: Message, body_offset: int, available: int, stream: bool) -> int:
    header = message.header("content-length")
    if header is None:
        return body_offset if stream else available
    if not _NUMBER.fullmatch(header.value):
        raise BadPacket(f"{header.value[:20]!r} is no Content-Length")
    end = body_offset + int(header.value)
    if end > available:
        raise BadPacket(f"Content-Length says {int(header.value)}, but {available - body_offset} bytes came")
    return end


def _split_header(header: Header) -> list[Value]:
    value, offset = header.value, header.value_start
    if not value:
        return []
    if b"," not in value:
        return [Value(value, offset, header.value_end, header)]
    return [Value(value[start:end], offset + start, offset + end, header) for start, end in split_list_untrusted(value)]
