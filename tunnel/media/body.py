"""Find the session descriptions in a SIP body and put others in their place (SIP-RULES G1, G2, A8).

A body is one part, or a multipart tree of them (RFC 2046 5.1). Only the spans of the descriptions change, and the
Content-Length of parts around them; boundaries, preambles, epilogues, part headers and binary parts stay as they are.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tunnel.errors import BadPacket, LocalMisuse
from tunnel.media.plane import CannotRelay
from tunnel.sip.grammar import media_type_untrusted, params_untrusted, unfolded

__all__ = ["MAX_DEPTH", "MAX_DESCRIPTIONS", "MAX_PARTS", "FoundSdp", "SipBody", "find_sdp_untrusted", "replace_sdp"]

# Ours: deeper or richer bodies than these come from nobody who wants to make a call (SIP-RULES A6).
MAX_DEPTH = 4
MAX_DESCRIPTIONS = 8
MAX_PARTS = 50  # of one multipart body

_SDP = b"application/sdp"
_SEALED = frozenset([b"application/pkcs7-mime", b"application/x-pkcs7-mime", b"multipart/encrypted"])
_PLAIN_TRANSFER = frozenset([b"", b"7bit", b"8bit", b"binary"])
_COMPACT = {b"c": b"content-type", b"e": b"content-encoding", b"l": b"content-length"}

_DESCRIPTION_START = re.compile(rb"(?:\A|(?<=[\r\n]))[vV]=")
_LIKE_SDP = re.compile(rb"(?:\A|(?<=[\r\n]))[vocmVOCM]=")
_BLANK_LINE = re.compile(rb"(?:\A|\r?\n)\r?\n")
_HEADER = re.compile(rb"(?m:^)([^\s:]+)[ \t]*:((?:[^\r\n]|\r?\n[ \t])*)")


@dataclass(frozen=True, slots=True)
class SipBody:
    """The body of a message and the two header values that say how to read it, b"" where a header is absent."""

    content: bytes
    content_type: bytes = _SDP
    content_encoding: bytes = b""


@dataclass(frozen=True, slots=True)
class _Part:
    """A part that encloses a description: where its Content-Length digits stand and what they count."""

    digits: tuple[int, int]
    content: tuple[int, int]


@dataclass(frozen=True, slots=True)
class FoundSdp:
    """A description at ``start``..``end`` of the body; ``parts`` are those around it that state their length."""

    start: int
    end: int
    parts: tuple[_Part, ...]


@dataclass(frozen=True, slots=True)
class _Mime:
    """What the headers of a body or part say. ``kind`` is type/subtype in lower case, b"" where nothing is said."""

    kind: bytes
    boundary: bytes
    encoding: bytes
    transfer: bytes = b""

    @classmethod
    def read_untrusted(cls, content_type: bytes, encoding: bytes, transfer: bytes = b"") -> _Mime:
        """Raises BadPacket where the type cannot be read: what we take for something else may be SDP to its reader."""
        text = unfolded(content_type).strip(b" \t\r\n")
        if not text:
            return cls(b"", b"", encoding.strip().lower(), transfer.strip().lower())
        kind, end = media_type_untrusted(text)
        boundary = _boundary(text[end:]) if kind.startswith(b"multipart/") else b""
        return cls(kind, boundary, encoding.strip().lower(), transfer.strip().lower())


def _boundary(parameters: bytes) -> bytes:
    found = [param for param in params_untrusted(parameters, 0) if param.name == "boundary"]
    value = found[0].value if len(found) == 1 else None
    if value is not None and value.startswith(b'"'):
        value = re.sub(rb"\\(.)", rb"\1", value[1:-1])
    if not value:
        raise BadPacket("a multipart body has one boundary")
    return value


def find_sdp_untrusted(body: SipBody) -> tuple[FoundSdp, ...]:
    """Every description in ``body``, in order; two concatenated ones are two.

    Raises CannotRelay: 493 where one is (or may be) signed or encrypted, 415 where one is encoded. Raises BadPacket.
    """
    if not body.content:
        return ()
    whole = _Mime.read_untrusted(body.content_type, body.content_encoding)
    found = tuple(_walk(body.content, 0, len(body.content), whole, ()))
    if len(found) > MAX_DESCRIPTIONS:
        raise BadPacket(f"{len(found)} session descriptions in one body; at most {MAX_DESCRIPTIONS} are relayed", 413)
    return found


def replace_sdp(body: SipBody, found: Sequence[FoundSdp], new: Sequence[bytes]) -> bytes:
    """The content of ``body`` with each of ``found`` replaced by its counterpart in ``new``."""
    if len(found) != len(new):
        raise LocalMisuse(f"{len(new)} descriptions to put in the place of {len(found)}")
    changes = [(each.start, each.end, text) for each, text in zip(found, new, strict=True)]
    parts = {part for each in found for part in each.parts}
    for part in sorted(parts, key=lambda part: part.content, reverse=True):  # inner before outer: theirs counts in ours
        start, end = part.content
        grown = sum(len(text) - (till - since) for since, till, text in changes if start <= since and till <= end)
        changes.append((*part.digits, b"%d" % (end - start + grown)))
    pieces, position = [], 0
    for start, end, text in sorted(changes):
        pieces += [body.content[position:start], text]
        position = end
    return b"".join([*pieces, body.content[position:]])


def _walk(
    content: bytes, start: int, end: int, mime: _Mime, parts: tuple[_Part, ...], depth: int = 0, signed: bool = False
) -> Iterator[FoundSdp]:
    kind = mime.kind
    if not kind and _LIKE_SDP.search(content, start, end):
        kind = _SDP  # nothing says so, but whoever expects one will read one
    if kind in _SEALED:
        raise CannotRelay(493, "an encrypted body cannot be relayed with its media")
    if signed and kind in (_SDP, b"message/sip"):
        raise CannotRelay(493, "a signed session description cannot be relayed")
    if kind != _SDP and not kind.startswith(b"multipart/"):
        return
    if start == end:
        return
    if mime.encoding not in (b"", b"identity") or mime.transfer not in _PLAIN_TRANSFER:
        raise CannotRelay(415, "an encoded session description cannot be relayed")
    if kind == _SDP:
        yield from _split(content, start, end, parts)
        return
    if depth == MAX_DEPTH:
        raise BadPacket(f"a multipart body of more than {MAX_DEPTH} levels", 493)
    for number, (part_start, part_end) in enumerate(_parts(content, start, end, mime.boundary)):
        if number == MAX_PARTS:
            raise BadPacket(f"a multipart body of more than {MAX_PARTS} parts", 413)
        headers, body_start = _part_headers(content, part_start, part_end)
        inner = _Mime.read_untrusted(
            headers.get(b"content-type", (b"", 0))[0],
            headers.get(b"content-encoding", (b"", 0))[0],
            headers.get(b"content-transfer-encoding", (b"", 0))[0],
        )
        length, at = headers.get(b"content-length", (b"", 0))
        around = (*parts, _Part((at, at + len(length)), (body_start, part_end))) if length.isdigit() else parts
        yield from _walk(content, body_start, part_end, inner, around, depth + 1, signed or kind == b"multipart/signed")


def _split(content: bytes, start: int, end: int, parts: tuple[_Part, ...]) -> Iterator[FoundSdp]:
    """One span for each v= line; what stands before the first belongs to it."""
    heads = [match.start() + start for match in _DESCRIPTION_START.finditer(content[start:end])]
    edges = [start, *heads[1:], end]
    for since, till in itertools.pairwise(edges):
        yield FoundSdp(since, till, parts)


def _parts(content: bytes, start: int, end: int, boundary: bytes) -> Iterator[tuple[int, int]]:
    """The spans of the parts, headers included, without the line end that belongs to the next delimiter."""
    delimiter = re.compile(rb"(?:\A|\r?\n)--" + re.escape(boundary) + rb"(--)?[ \t]*(?=\r?\n|\Z)")
    since: int | None = None
    for match in delimiter.finditer(content[start:end]):
        if since is not None:
            yield _after_line_end(content, since, start + match.start()), start + match.start()
        since = None if match[1] else start + match.end()
        if match[1]:
            return
    if since is not None:  # the closing delimiter is missing
        yield _after_line_end(content, since, end), end


def _after_line_end(content: bytes, position: int, end: int) -> int:
    for line_end in (b"\r\n", b"\n"):
        if content.startswith(line_end, position, end):
            return position + len(line_end)
    return position


def _part_headers(content: bytes, start: int, end: int) -> tuple[dict[bytes, tuple[bytes, int]], int]:
    """Header values of a part by lower-case long name, each with its position, and where the part's body starts."""
    blank = _BLANK_LINE.search(content[start:end])
    body_start = start + blank.end() if blank else end
    headers: dict[bytes, tuple[bytes, int]] = {}
    for match in _HEADER.finditer(content[start:body_start]):
        name, value = match[1].lower(), match[2]
        position = start + match.start(2) + len(value) - len(value.lstrip())
        headers.setdefault(_COMPACT.get(name, name), (value.strip(), position))
    return headers, body_start
