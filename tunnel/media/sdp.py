"""A session description read without losing a byte (RFC 8866): what a media relay must know, and where it stands.

    text -> lines with their spans -> the session's own lines and one ``Medium`` per m= line

Nothing is printed from this model; ``sdp_edit.py`` changes spans of ``raw``. Any of CRLF, LF and CR ends a line, blank
lines, trailing spaces, a missing final line end and unknown lines are kept as they are.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from tunnel.address import Address, IPAddress
from tunnel.errors import BadPacket

__all__ = ["MAX_LINES", "MAX_MEDIA", "OPAQUE_PROTOS", "RTP_PROTOS", "Connection", "Line", "Medium", "RtcpLine", "Sdp"]

# SIP-RULES J: what the relay carries. Everything else (MSRP, TCP, unknown) is refused by port 0.
RTP_PROTOS = frozenset(
    ["RTP/AVP", "RTP/AVPF", "RTP/SAVP", "RTP/SAVPF", "UDP/TLS/RTP/SAVP", "UDP/TLS/RTP/SAVPF"],
)
OPAQUE_PROTOS = frozenset(["UDPTL", "UDP/TLS/UDPTL", "UDP/BFCP", "UDP/TLS/BFCP", "UDP/DTLS/SCTP"])

_DISCARD = 9  # the port of a stream whose candidates are still to come (RFC 8840 section 4.1.1)

# Ours: more m-lines than any conference phone offers; bounds the ports that one message can ask for.
MAX_MEDIA = 32
# Ours: five times what a browser with video writes; bounds what one message can make us do.
MAX_LINES = 2000

_LINE = re.compile(rb"([^\r\n]*)(\r\n|\n|\r|\Z)")
_LONE_CR = re.compile(rb"\r(?!\n)")
_ALMOST_A_FIELD = re.compile(rb"[ \t]*[A-Za-z][ \t]*=")
_TOKEN = re.compile(rb"\S+")
_PORT = re.compile(rb"(\d{1,5})(?:/(\d{1,5}))?")
_TELEPHONE_EVENT = re.compile(rb"[ \t]*(\d{1,3})[ \t]+telephone-event/", re.IGNORECASE)
_COMFORT_NOISE = re.compile(rb"[ \t]*(\d{1,3})[ \t]+CN/", re.IGNORECASE)
_STATIC_COMFORT_NOISE = "13"  # RFC 3551 section 6: needs no rtpmap
_DIRECTIONS = frozenset([b"sendrecv", b"sendonly", b"recvonly", b"inactive"])


@dataclass(frozen=True, slots=True)
class Line:
    """One line ``kind=value``; kind is b"" for a line of another form. ``start``..``end`` excludes the line end,
    ``next`` is where the following line starts."""

    kind: bytes
    value: bytes
    start: int
    end: int
    next: int

    @property
    def attribute(self) -> bytes:
        """The lower-case name of an a= line, ended by a colon or a blank; b"" for every other line."""
        if self.kind != b"a":
            return b""
        words = self.value.partition(b":")[0].split(None, 1)
        return words[0].lower() if words else b""

    @property
    def argument(self) -> bytes:
        """What follows the colon of an a= line."""
        return self.value.partition(b":")[2]


@dataclass(frozen=True, slots=True)
class Connection:
    """The address of a c=, o= or a=rtcp line; the spans point into the description's bytes.

    ``host`` is without brackets, multicast suffix and zone; ``type_span`` covers ``IP4`` or ``IP6``.
    ``is_placeholder``: the address is to come with ICE candidates (RFC 8840 section 4.1.1), and 0.0.0.0 is no hold.
    """

    host: str
    type_span: tuple[int, int]
    host_span: tuple[int, int]
    is_placeholder: bool = False

    @property
    def ip(self) -> IPAddress | None:
        """The IP address, or None for a name."""
        try:
            return ipaddress.ip_address(self.host)
        except ValueError:
            return None

    @property
    def is_hold(self) -> bool:
        """Whether it says "send me nothing" or "not known yet": 0.0.0.0, ::, a name under .invalid (RFC 6157)."""
        ip = self.ip
        if self.is_placeholder:
            return False
        return ip.is_unspecified if ip is not None else self.host.lower().rstrip(".").endswith(".invalid")

    @property
    def is_multicast(self) -> bool:
        ip = self.ip
        return ip is not None and ip.is_multicast


@dataclass(frozen=True, slots=True)
class RtcpLine:
    """``a=rtcp:port [IN IP4 address]`` (RFC 3605); ``connection`` None when it has no address."""

    port: int
    port_span: tuple[int, int]
    connection: Connection | None


@dataclass(frozen=True, slots=True)
class Medium:
    """One m= line with the lines below it, and what follows for it from the session's lines."""

    index: int
    kind: str
    port: int
    port_count: int
    proto: str
    formats: tuple[str, ...]
    lines: tuple[Line, ...]
    port_span: tuple[int, int]
    connections: tuple[Connection, ...]
    connection: Connection | None
    rtcp_lines: tuple[RtcpLine, ...]
    direction: str
    dtmf: frozenset[int]
    noise: frozenset[int]
    mid: str
    mux: bool
    is_bundled: bool
    bundle_only: bool

    @property
    def is_relayed(self) -> bool:
        """Whether the relay carries this transport at all."""
        return self.is_rtp or self.proto.upper() in OPAQUE_PROTOS

    @property
    def is_rtp(self) -> bool:
        return self.proto.upper() in RTP_PROTOS

    @property
    def is_secure(self) -> bool:
        """Whether its packets are encrypted or authenticated end to end (SRTP, DTLS)."""
        proto = self.proto.upper()
        return "SAVP" in proto or "TLS" in proto

    @property
    def is_active(self) -> bool:
        """Whether the party wants the stream: a port, or port 0 that only means "in the bundle" (RFC 9143 6)."""
        return self.port != 0 or self.bundle_only

    @property
    def is_held(self) -> bool:
        """Whether the party sends no media or wants none: a hold address, sendonly, recvonly or inactive."""
        return self.direction != "sendrecv" or (self.connection is not None and self.connection.is_hold)

    @property
    def rtp(self) -> Address | None:
        """Where the party wants RTP, as it says so; the host may be a name or a hold address."""
        return Address(self.connection.host, self.port) if self.connection is not None and self.port else None

    @property
    def rtcp(self) -> Address | None:
        """Where the party wants RTCP unless it is multiplexed (RFC 3605); None for a transport without RTCP."""
        rtp = self.rtp
        if rtp is None or not self.is_rtp:
            return None
        if not self.rtcp_lines:
            return Address(rtp.host, rtp.port + 1) if rtp.port < 65535 else None
        said = self.rtcp_lines[0]
        return Address(said.connection.host if said.connection else rtp.host, said.port) if said.port else None


@dataclass(frozen=True, slots=True)
class Sdp:
    """One session description. ``raw`` is all of it; ``lines`` are those above the first m= line."""

    raw: bytes
    lines: tuple[Line, ...]
    origins: tuple[Connection, ...]  # one in every honest description
    connections: tuple[Connection, ...]
    rtcp_lines: tuple[RtcpLine, ...]
    media: tuple[Medium, ...]
    bundles: tuple[tuple[str, ...], ...]

    @classmethod
    def parse_untrusted(cls, raw: bytes) -> Sdp:
        """Read one description (two concatenated ones are split by ``body.find_sdp_untrusted``). Raises BadPacket."""
        if b"\n" in raw and _LONE_CR.search(raw):
            raise BadPacket("a CR stands alone among other line ends: it ends a line to some and none to others")
        if max(raw.count(b"\n"), raw.count(b"\r")) > MAX_LINES:
            raise BadPacket(f"a session description of more than {MAX_LINES} lines", 413)
        lines = list(_lines(raw))
        written = [line for line in lines if line.kind or line.value.strip()]
        if not written or written[0].kind != b"v":
            raise BadPacket("a session description begins with v=")
        if any(line.kind == b"v" for line in written[1:]):
            raise BadPacket("a second v= line in one session description")
        if any(not line.kind and _ALMOST_A_FIELD.match(line.value) for line in written):
            raise BadPacket("a line that some would read as a field, and some would not")
        starts = [number for number, line in enumerate(lines) if line.kind == b"m"]
        if len(starts) > MAX_MEDIA:
            raise BadPacket(f"{len(starts)} m= lines; at most {MAX_MEDIA} are relayed")
        top = tuple(lines[: starts[0]]) if starts else tuple(lines)
        connections = _connections(top)
        media = tuple(
            _parse_medium(index, tuple(lines[start:end]), top, connections)
            for index, (start, end) in enumerate(pairwise([*starts, len(lines)]))
        )
        inherited = any(each.connection and each.connection.is_placeholder and not each.connections for each in media)
        return cls(
            raw=raw,
            lines=top,
            origins=tuple(_parse_origin(line) for line in lines if line.kind == b"o"),
            connections=tuple(replace(each, is_placeholder=True) for each in connections) if inherited else connections,
            rtcp_lines=tuple(_rtcp_lines(top)),
            media=media,
            bundles=tuple(_bundles(top)),
        )

    def leader(self, index: int) -> int | None:
        """The m-line whose ports this one uses (RFC 9143 7.2), None if it uses its own.

        That is the first m-line named by the BUNDLE group that has a port, if this one has the same address and port,
        or port 0 with ``a=bundle-only``.
        """
        medium = self.media[index]
        for mids in self.bundles:
            if medium.mid not in mids:
                continue
            by_mid = {each.mid: each for each in self.media if each.port}
            first = next((by_mid[mid] for mid in mids if mid in by_mid), None)
            if first is None or first.index == index:
                return None
            return first.index if medium.rtp == first.rtp or (not medium.port and medium.bundle_only) else None
        return None


def _lines(raw: bytes) -> Iterator[Line]:
    position = 0
    while position < len(raw):
        match = _LINE.match(raw, position)
        assert match is not None
        start, end = match.span(1)
        text = match[1]
        is_field = text[1:2] == b"=" and text[:1].isalpha()
        yield Line(text[:1].lower() if is_field else b"", text[2:] if is_field else text, start, end, match.end())
        position = match.end()


def _parse_medium(index: int, lines: tuple[Line, ...], top: Sequence[Line], session: Sequence[Connection]) -> Medium:
    head, below = lines[0], lines[1:]
    tokens = list(_TOKEN.finditer(head.value))
    ports = _PORT.fullmatch(tokens[1][0]) if len(tokens) >= 3 else None
    if ports is None:
        raise BadPacket(f"m= line {index + 1} is not 'media port proto formats'")
    own = _connections(below)
    attributes = [line for line in below if line.kind == b"a"]
    names = {line.attribute for line in attributes}
    mid = next((_text(line.argument).strip() for line in attributes if line.attribute == b"mid"), "")
    port = _port(ports[1])
    effective = own[0] if own else session[0] if session else None
    if port and effective is None:
        raise BadPacket(f"m= line {index + 1} has a port but no c= line applies to it")
    if port == _DISCARD and effective is not None and effective.is_hold and _has_ice([*top, *attributes]):
        own = tuple(replace(each, is_placeholder=True) for each in own)
        effective = replace(effective, is_placeholder=True)
    return Medium(
        index=index,
        kind=_text(tokens[0][0]),
        port=port,
        port_count=int(ports[2] or 1),
        proto=_text(tokens[2][0]),
        formats=tuple(_text(token[0]) for token in tokens[3:]),
        lines=lines,
        port_span=(head.start + 2 + tokens[1].start(), head.start + 2 + tokens[1].end()),
        connections=own,
        connection=effective,
        rtcp_lines=tuple(_rtcp_lines(attributes)),
        direction=_direction([*top, *attributes]),
        dtmf=_payload_types(attributes, _TELEPHONE_EVENT),
        noise=_payload_types(attributes, _COMFORT_NOISE)
        | {int(token[0]) for token in tokens[3:] if _text(token[0]) == _STATIC_COMFORT_NOISE},
        mid=mid,
        mux=bool(names & {b"rtcp-mux", b"rtcp-mux-only"}),
        is_bundled=any(mid in mids for mids in _bundles(top)),
        bundle_only=b"bundle-only" in names,
    )


def _has_ice(lines: Sequence[Line]) -> bool:
    return any(line.attribute == b"ice-ufrag" for line in lines)


def _connections(lines: Sequence[Line]) -> tuple[Connection, ...]:
    return tuple(
        _connection("c=", line.start + 2, list(_TOKEN.finditer(line.value))) for line in lines if line.kind == b"c"
    )


def _parse_origin(line: Line) -> Connection:
    """The last three words: user names with spaces in them are out there."""
    return _connection("o=", line.start + 2, list(_TOKEN.finditer(line.value))[-3:])


def _rtcp_lines(lines: Sequence[Line]) -> Iterator[RtcpLine]:
    for line in lines:
        if line.attribute == b"rtcp":
            words = list(_TOKEN.finditer(line.argument))
            if not words or not words[0][0].isdigit() or len(words[0][0]) > 5:
                raise BadPacket("a=rtcp is not 'port' or 'port IN IP4 address'")
            offset = line.end - len(line.argument)
            yield RtcpLine(
                port=_port(words[0][0]),
                port_span=(offset + words[0].start(), offset + words[0].end()),
                connection=_connection("a=rtcp", offset, words[1:]) if words[1:] else None,
            )


def _connection(where: str, offset: int, words: Sequence[re.Match[bytes]]) -> Connection:
    """``words`` are network type, address type and address; ``offset`` is where their text starts."""
    if len(words) != 3:
        raise BadPacket(f"{where} is not 'IN IP4 address'")
    network, kind, host = words
    if network[0].upper() != b"IN" or kind[0].upper() not in (b"IP4", b"IP6"):
        raise BadPacket(f"{where} is of network type {_text(network[0])} {_text(kind[0])}, not IN IP4 or IN IP6", 488)
    bare = _text(host[0]).partition("/")[0].partition("%")[0].strip("[]")
    return Connection(bare, (offset + kind.start(), offset + kind.end()), (offset + host.start(), offset + host.end()))


def _direction(lines: Sequence[Line]) -> str:
    said = [line.attribute for line in lines if line.attribute in _DIRECTIONS]
    return _text(said[-1]) if said else "sendrecv"


def _payload_types(attributes: Sequence[Line], encoding: re.Pattern[bytes]) -> frozenset[int]:
    """Those that rtpmap lines give to the encoding."""
    maps = (encoding.match(line.argument) for line in attributes if line.attribute == b"rtpmap")
    return frozenset(int(match[1]) for match in maps if match is not None and int(match[1]) < 128)


def _bundles(lines: Sequence[Line]) -> Iterator[tuple[str, ...]]:
    for line in lines:
        if line.attribute == b"group":
            semantics, *mids = _text(line.argument).split() or [""]
            if semantics.upper() == "BUNDLE":
                yield tuple(mids)


def _port(digits: bytes) -> int:
    port = int(digits)
    if port > 65535:
        raise BadPacket(f"{port} is no port")
    return port


def _text(raw: bytes) -> str:
    return raw.decode("ascii", "backslashreplace")
