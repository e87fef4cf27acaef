"""name-addr and addr-spec values: Contact, From, To, Route, Record-Route, Path, Refer-To (RFC 3261 section 20.10)."""

from __future__ import annotations

import re
from dataclasses import dataclass

from tunnel.errors import BadPacket
from tunnel.sip.grammar import QUOTED, Param, find_param, params_untrusted
from tunnel.sip.uri import SipUri

__all__ = ["NameAddr", "tag_untrusted", "uri_untrusted"]

_BEFORE_BRACKET = re.compile(rb'(?>(?:[^"<]++|' + QUOTED + rb")*)", re.DOTALL)
_ONLY_TAG = re.compile(rb"[ \t]*+;[ \t]*+tag[ \t]*+=[ \t]*+([^ \t;,\"<>=]++)[ \t]*+", re.IGNORECASE)
_SCHEME = re.compile(rb"[A-Za-z][A-Za-z0-9+.\-]*+:")
_NEEDS_BRACKETS = re.compile(rb"[;?,]")


@dataclass(frozen=True, slots=True)
class NameAddr:
    """One address value of a header; all spans count from the start of the value.

    ``display`` is raw (quotes kept). ``uri`` is a SipUri, or raw bytes for another scheme and for ``*``.
    ``params`` are the header's parameters; without brackets all parameters are the header's (RFC 3261 20.10).
    """

    text: bytes
    display: bytes
    uri: SipUri | bytes
    uri_start: int
    uri_end: int
    bracketed: bool
    params: tuple[Param, ...]

    @classmethod
    def parse_untrusted(cls, value: bytes) -> NameAddr:
        """Read one unfolded value, as ``Message.values`` gives it. Raises BadPacket."""
        if value == b"*":
            return cls(value, b"", value, 0, 1, False, ())
        bracket, start, end, after = _locate_uri(value)
        uri_text = value[start:end]
        if bracket < 0 and _NEEDS_BRACKETS.search(uri_text):
            raise BadPacket("a URI with a comma or with headers stands without angle brackets")
        return cls(
            text=value,
            display=value[: max(bracket, 0)].strip(b" \t"),
            uri=uri_untrusted(uri_text),
            uri_start=start,
            uri_end=end,
            bracketed=bracket >= 0,
            params=params_untrusted(value, after),
        )

    @property
    def uri_text(self) -> bytes:
        """The URI as it stands, whatever its scheme."""
        return self.text[self.uri_start : self.uri_end]

    @property
    def is_wildcard(self) -> bool:
        """Whether this is the ``*`` of a Contact that removes all bindings."""
        return self.uri == b"*"

    def has_param(self, name: str) -> bool:
        """Whether the header has that (lower-case) parameter, with or without a value."""
        return find_param(self.params, name) is not None

    def param(self, name: str) -> bytes | None:
        """The raw value (quotes kept) of a header parameter; None if it is absent or has no value."""
        param = find_param(self.params, name)
        return None if param is None else param.value

    def bracketing(self, uri: bytes) -> bytes:
        """What to put in the place of this value's URI so that it reads as ``uri``: in brackets where they are due."""
        return b"<" + uri + b">" if not self.bracketed and _NEEDS_BRACKETS.search(uri) else uri


def tag_untrusted(value: bytes) -> bytes:
    """The ``tag`` of an unfolded From or To value, empty if it has none; quicker than the whole. Raises BadPacket."""
    after = _locate_uri(value)[3]
    if after == len(value):
        return b""
    if only := _ONLY_TAG.fullmatch(value, after):
        return only[1]
    tag = find_param(params_untrusted(value, after), "tag")
    if tag is None:
        return b""
    if not tag.value:
        raise BadPacket("the tag is empty")
    return tag.value


def uri_untrusted(text: bytes) -> SipUri | bytes:
    """A SIP URI read, one of another scheme as it is. Raises BadPacket for what is no URI at all."""
    scheme = _SCHEME.match(text)
    if scheme is None:
        raise BadPacket(f"{text[:60]!r} is no URI")
    return SipUri.parse_untrusted(text) if scheme[0].lower() in (b"sip:", b"sips:") else text


def _locate_uri(value: bytes) -> tuple[int, int, int, int]:
    """Where the opening bracket is (-1: none), start and end of the URI, and where the header's parameters begin."""
    match = _BEFORE_BRACKET.match(value)
    bracket = match.end() if match else 0
    if bracket == len(value):
        semicolon = value.find(b";")
        end = len(value) if semicolon < 0 else semicolon
        if b'"' in value[:end]:
            raise BadPacket("a display name stands without a URI in angle brackets")
        uri = value[:end].rstrip(b" \t")
        return -1, 0, len(uri), end
    close = value.find(b">", bracket)
    if value[bracket] != 0x3C or close < 0:
        raise BadPacket("a quote or an angle bracket is not closed")
    inside = value[bracket + 1 : close]
    start = bracket + 1 + len(inside) - len(inside.lstrip(b" \t"))
    return bracket, start, start + len(inside.strip(b" \t")), close + 1
