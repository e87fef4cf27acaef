"""Which bytes of a message the pair may change, and a check that it changed no others.

    assert_only_allowed(came, sent)

``skeleton`` is a message without those spans; what came in and what goes out must have the same. So order, spelling, folds
and bytes of every header, and of every body, are compared all at once (SIP-RULES A3).
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Iterator

from tunnel.errors import BadPacket
from tunnel.media.body import find_sdp_untrusted
from tunnel.media.sdp import Connection, Sdp
from tunnel.sip.bodies import bears_media, body_of
from tunnel.sip.message import Message
from tunnel.sip.name_addr import NameAddr
from tunnel.sip.uri import SipUri

__all__ = ["assert_only_allowed", "cut", "skeleton"]

Span = tuple[int, int, bytes]  # start, end, what stands for it in the skeleton
MARK = b"\0~\0"

# Lines that are ours altogether: each face puts its own in the place of the other side's (B1, B2, D1 to D3).
OUR_LINES = frozenset({"via", "route", "record-route"})
# Values that are counted anew (A7, A9); where there was no such line, one may be added.
OUR_VALUES = frozenset({"max-forwards", "content-length"})
# Values whose URI may become a mask, or what a mask stood for (C1, E).
OUR_URIS = frozenset({"contact", "refer-to", "referred-by"})
# Lines of SDP that are taken out (J).
OUR_ATTRIBUTES = frozenset(
    b"candidate remote-candidates end-of-candidates ice-ufrag ice-pwd ice-options ice-lite ice-mismatch ice-pacing "
    b"source-filter".split()
)


def assert_only_allowed(came: Message, sent: Message) -> None:
    """Every byte of ``sent`` outside the allow-listed spans is as it came, and none is missing."""
    added = {name for name in OUR_VALUES if came.header(name) is None and sent.header(name) is not None}
    before, after = skeleton(came), skeleton(sent, added)
    assert before == after, "\n".join(
        difflib.unified_diff(*(_readable(each) for each in (before, after)), lineterm="", n=0)
    )


def _readable(data: bytes) -> list[str]:
    return [repr(line) for line in data.split(b"\r\n")]


def skeleton(message: Message, without: Collection[str] = ()) -> bytes:
    """The message with a mark for each value that may change, without the lines that are ours and those in ``without``."""
    spans = [*_head_spans(message, without)]
    if bears_media(message) or message.cseq_method == "OPTIONS":
        offset = message.body_offset
        spans += [(start + offset, end + offset, mark) for start, end, mark in _body_spans(message)]
    return cut(message.raw, spans)


def cut(data: bytes, spans: Iterable[Span]) -> bytes:
    """``data`` with each span replaced by its mark."""
    pieces, position = [], 0
    for start, end, mark in sorted(spans):
        assert start >= position, "two spans overlap"
        pieces += [data[position:start], mark]
        position = end
    return b"".join([*pieces, data[position:]])


def _head_spans(message: Message, without: Collection[str]) -> Iterator[Span]:
    if message.is_request:
        start = len(message.method) + 1
        yield start, start + len(message.request_uri), MARK
    registers = message.cseq_method == "REGISTER"
    for header in message.headers:
        if header.name in OUR_LINES or header.name in without or (registers and header.name == "path"):
            yield header.start, header.end, b""
        elif header.name in OUR_VALUES:
            yield header.value_start, header.value_end, MARK
        elif header.name in OUR_URIS:
            for value in message.values(header.name):
                if value.header is header:
                    yield from _uri_spans(value.text, value.start)


def _uri_spans(text: bytes, offset: int) -> Iterator[Span]:
    try:
        address = NameAddr.parse_untrusted(text)
    except BadPacket:
        return
    if not isinstance(address.uri, SipUri):
        return
    start, end = address.uri_start, address.uri_end
    if address.bracketed:  # brackets come where a mask needs them
        start, end = text.rindex(b"<", 0, start), text.index(b">", end) + 1
    yield start + offset, end + offset, MARK


def _body_spans(message: Message) -> Iterator[Span]:
    body = body_of(message)
    for found in find_sdp_untrusted(body):
        for part in found.parts:
            yield *part.digits, MARK
        for start, end, mark in _sdp_spans(Sdp.parse_untrusted(body.content[found.start : found.end])):
            yield start + found.start, end + found.start, mark


def _sdp_spans(sdp: Sdp) -> Iterator[Span]:
    removed = [line for line in sdp.lines if _is_removed(line.attribute, line.argument)]
    for medium in sdp.media:
        removed += [line for line in medium.lines if _is_removed(line.attribute, line.argument)]
    yield from ((line.start, line.next, b"") for line in removed)
    rtcp_lines = [*sdp.rtcp_lines, *(line for medium in sdp.media for line in medium.rtcp_lines)]
    connections = [*sdp.origins, *sdp.connections, *(each for medium in sdp.media for each in medium.connections)]
    for connection in (*connections, *(line.connection for line in rtcp_lines if line.connection is not None)):
        yield from _connection_spans(connection)
    yield from ((*line.port_span, MARK) for line in rtcp_lines)
    yield from ((*medium.port_span, MARK) for medium in sdp.media)


def _connection_spans(connection: Connection) -> Iterator[Span]:
    yield *connection.type_span, MARK
    yield *connection.host_span, MARK


def _is_removed(attribute: bytes, argument: bytes) -> bool:
    if attribute == b"acap":
        attribute = argument.split(None, 1)[-1].partition(b":")[0]
    return attribute in OUR_ATTRIBUTES
