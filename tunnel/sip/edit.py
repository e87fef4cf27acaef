"""Changes to one message by spans: every byte that no edit covers is copied as it came (A3, A7).

Edits may be asked for in any order; nothing happens before ``result``. Offsets are always those of ``message.raw``.
"""

from __future__ import annotations

from collections.abc import Sequence

from tunnel.address import Address
from tunnel.errors import LocalMisuse
from tunnel.sip.message import Header, Message, Value, parse_untrusted
from tunnel.sip.name_addr import NameAddr

__all__ = ["Edit", "stamp_source"]

# Headers that proxies need stand at the top (RFC 3261 section 7.3.1).
_NEAR_TOP = frozenset({"route", "record-route", "path", "max-forwards", "proxy-require", "proxy-authorization"})

# How a header is spelled that we add where none of its name was.
_SPELLING = {"call-id": b"Call-ID", "cseq": b"CSeq", "www-authenticate": b"WWW-Authenticate"}


class Edit:
    """Collects the changes of one message; without any, ``result`` is ``message.raw``.

    ``stream``: the result goes over TCP or TLS, so a Content-Length is added if there is none (A7).
    """

    __slots__ = ("_body", "_cuts", "_inserts", "_removed_headers", "_removed_values", "message", "stream")

    def __init__(self, message: Message, *, stream: bool = False) -> None:
        self.message = message
        self.stream = stream
        self._cuts: list[tuple[int, int, bytes]] = []  # start, end, what comes instead
        self._inserts: dict[int, list[bytes]] = {}  # whole lines (with CRLF) by offset, in the order of the result
        self._removed_headers: dict[int, Header] = {}  # by start
        self._removed_values: dict[int, list[Value]] = {}  # by start of their header
        self._body: bytes | None = None

    def replace(self, start: int, end: int, new: bytes) -> None:
        """Put ``new`` in the place of a span of ``raw`` that lies in front of the body."""
        self._cuts.append((start, end, new))

    def request_uri(self, new: bytes) -> None:
        """Put another Request-URI."""
        if not self.message.is_request:
            raise LocalMisuse("a response has no Request-URI")
        start = len(self.message.method) + 1
        self.replace(start, start + len(self.message.request_uri), new)

    def replace_value(self, value: Value, new: bytes) -> None:
        """Put another text in the place of one value."""
        self.replace(value.start, value.end, new)

    def replace_uri(self, value: Value, address: NameAddr, new: bytes) -> None:
        """Put another URI into a value that ``address`` was read from; brackets are added where they become due."""
        self.replace(value.start + address.uri_start, value.start + address.uri_end, address.bracketing(new))

    def set_value(self, name: str, new: bytes) -> None:
        """Put another value into the first header of that name, or add the header if there is none."""
        header = self.message.header(name)
        if header is None:
            self.insert_above(name, _spelling(name) + b": " + new)
        else:
            self.replace(header.value_start, header.value_end, new)

    def remove_header(self, header: Header) -> None:
        """Take out a header with all its lines."""
        self._removed_headers[header.start] = header

    def remove_all(self, name: str) -> None:
        """Take out all headers of that name."""
        for header in self.message.all(name):
            self.remove_header(header)

    def remove_value(self, value: Value) -> None:
        """Take out one value with its comma; the header goes with its last value."""
        self._removed_values.setdefault(value.header.start, []).append(value)

    def replace_all(self, name: str, lines: Sequence[bytes]) -> None:
        """Put these whole lines (without CRLF) where the first header of that name stood, and take out all others.

        If none stood, they come where ``insert_above`` would put them, in the given order.
        """
        self.remove_all(name)
        self._inserts.setdefault(self._place_of(name), []).extend(line + b"\r\n" for line in lines)

    def insert_above(self, name: str, line: bytes) -> None:
        """Put a whole line (without CRLF) above the first header of that name and above what was inserted there before.

        If none stands: a Via goes above all headers, the other headers that proxies need below the last Via, any other
        header before the empty line.
        """
        self._inserts.setdefault(self._place_of(name), []).insert(0, line + b"\r\n")

    def append(self, line: bytes) -> None:
        """Put a whole line (without CRLF) before the empty line, below all others."""
        self._inserts.setdefault(self.message.body_offset - 2, []).append(line + b"\r\n")

    def body(self, new: bytes) -> None:
        """Put another body; Content-Length follows it."""
        self._body = new

    def result(self) -> bytes:
        """The edited message. Raises LocalMisuse if two edits touch the same bytes."""
        message = self.message
        body = message.body if self._body is None else self._body
        cuts = [*self._cuts, *self._removals()]
        inserts = dict(self._inserts)
        length = message.header("content-length")
        if length is None and self.stream:
            blank = message.body_offset - 2
            inserts[blank] = [*inserts.get(blank, ()), b"Content-Length: %d\r\n" % len(body)]
        elif length is not None and len(body) != len(message.body):
            cuts.append((length.value_start, length.value_end, b"%d" % len(body)))
        # An insertion is a cut of no width: it sorts before what begins at the same offset.
        cuts.extend((offset, offset, b"".join(lines)) for offset, lines in inserts.items())
        cuts.sort(key=lambda cut: cut[:2])
        return self._spliced(cuts) + body

    def _spliced(self, cuts: list[tuple[int, int, bytes]]) -> bytes:
        raw = self.message.raw
        pieces, position = [], 0
        for start, end, new in cuts:
            if start < position or end < start:
                raise LocalMisuse(f"two edits touch the bytes before offset {end}")
            pieces.append(raw[position:start])
            pieces.append(new)
            position = end
        if position > self.message.body_offset:
            raise LocalMisuse("an edit touches the body: give the whole new body instead")
        pieces.append(raw[position : self.message.body_offset])
        return b"".join(pieces)

    def _removals(self) -> list[tuple[int, int, bytes]]:
        removed = dict(self._removed_headers)
        cuts = []
        for start, values in self._removed_values.items():
            if start in removed:
                continue
            header = values[0].header
            gone = {value.start for value in values}
            all_values = [value for value in self.message.values(header.name) if value.header.start == start]
            if len(gone) == len(all_values):
                removed[start] = header
            else:
                cuts.extend(_cuts_of_values(all_values, gone))
        cuts.extend((header.start, header.end, b"") for header in removed.values())
        return cuts

    def _place_of(self, name: str) -> int:
        first = self.message.header(name)
        if first is not None:
            return first.start
        if name == "via":
            return self.message.headers[0].start
        if name in _NEAR_TOP:
            return self.message.all("via")[-1].end
        return self.message.body_offset - 2


def stamp_source(message: Message, source: Address) -> Message:
    """The request as a server keeps it: ``received`` and ``rport`` in the top Via say where it came from (B3).

    Raises BadPacket when that makes it longer than the limits of ``parse_untrusted`` allow.
    """
    top = message.values("via")[0]
    stamped = message.top_via.with_received_rport(source)
    if stamped == top.text:
        return message
    edit = Edit(message)
    edit.replace_value(top, stamped)
    return parse_untrusted(edit.result())


def _cuts_of_values(values: list[Value], gone: set[int]) -> list[tuple[int, int, bytes]]:
    """The spans to cut so that those values go, each run of them with the commas that are no longer due."""
    cuts = []
    for number, value in enumerate(values):
        if value.start not in gone:
            continue
        kept_before = [other for other in values[:number] if other.start not in gone]
        if any(other.start not in gone for other in values[number:]):
            cuts.append((value.start, values[number + 1].start, b""))
        else:
            cuts.append((kept_before[-1].end, values[-1].end, b""))
            break
    return cuts


def _spelling(name: str) -> bytes:
    return _SPELLING.get(name) or b"-".join(part.capitalize() for part in name.encode("ascii").split(b"-"))
