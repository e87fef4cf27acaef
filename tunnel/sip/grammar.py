"""The few grammar rules of SIP that every file here shares (RFC 3261 section 25.1): names, lists, parameters.

All patterns use possessive quantifiers, so that a hostile value costs time in proportion to its length and no more.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

from tunnel.errors import BadPacket

__all__ = [
    "COMPACT_FORMS",
    "HOST",
    "MAX_PARAMS",
    "QUOTED",
    "TOKEN",
    "Param",
    "canonical_name_untrusted",
    "find_param",
    "host_text_untrusted",
    "media_type_untrusted",
    "number",
    "params_untrusted",
    "port_untrusted",
    "same_host",
    "split_list_untrusted",
    "unfolded",
]

# RFC 3261 section 7.3.3 and the extensions registered since; A2.
COMPACT_FORMS = {
    b"a": "accept-contact",  # RFC 3841
    b"b": "referred-by",  # RFC 3892
    b"c": "content-type",
    b"d": "request-disposition",  # RFC 3841
    b"e": "content-encoding",
    b"f": "from",
    b"i": "call-id",
    b"j": "reject-contact",  # RFC 3841
    b"k": "supported",
    b"l": "content-length",
    b"m": "contact",
    b"n": "identity-info",  # RFC 4474
    b"o": "event",  # RFC 6665
    b"r": "refer-to",  # RFC 3515
    b"s": "subject",
    b"t": "to",
    b"u": "allow-events",  # RFC 6665
    b"v": "via",
    b"x": "session-expires",  # RFC 4028
    b"y": "identity",  # RFC 8224
}

# Ours: parameters of one value or URI; nobody needs a tenth of them.
MAX_PARAMS = 100

# Groups are repeated atomically and never possessively, ``(?>(?:..)*)`` and not ``(?:..)*+``: Python before 3.11.5, and so
# Debian 12, takes the latter for a match where there is none (CPython issue 106052).
TOKEN = rb"[A-Za-z0-9\-.!%*_+`'~]++"
QUOTED = rb'"(?>(?:[^"\\]++|\\.)*)"'
# Underscores are no host characters by the RFC, but they stand in the names of many enterprise networks.
# A zone (RFC 6874, or as RFC 4007 writes it) has no meaning beyond its host: it is read, and never shown by us (C7).
HOST = rb"\[[0-9A-Fa-f:.]++(?>(?:%[A-Za-z0-9_.\-%]++)?)\]|[A-Za-z0-9_.\-]++"

_TOKEN = re.compile(TOKEN)
_ELEMENT = re.compile(rb'(?>(?:[^",<]++|' + QUOTED + rb"|<[^>]*+>)*)", re.DOTALL)
_MEDIA_TYPE = re.compile(rb"(" + TOKEN + rb")[ \t]*+/[ \t]*+(" + TOKEN + rb")[ \t]*+(?=;|\Z)")
_PARAM = re.compile(
    rb";[ \t]*+([^ \t;=,\"<>]++)(?>(?:[ \t]*+=[ \t]*+(" + QUOTED + rb"|[^ \t;,\"<>]*+))?)[ \t]*+",
    re.DOTALL,
)


class Param(NamedTuple):
    """One ``;name=value`` of a header: ``value`` as it stands (quotes kept), None without ``=``.

    ``start`` is the offset of the semicolon and ``end`` the offset behind the value, both in the text it was found in.
    """

    name: str  # lower case
    value: bytes | None
    start: int
    end: int


@lru_cache(maxsize=1024)
def canonical_name_untrusted(raw_name: bytes) -> str:
    """The long, lower-case form of a header name in any spelling. Raises BadPacket if it is no token."""
    if not _TOKEN.fullmatch(raw_name):
        raise BadPacket(f"{raw_name[:40]!r} is no header name")
    lower = raw_name.lower()
    return COMPACT_FORMS.get(lower) or lower.decode("ascii")


def unfolded(text: bytes) -> bytes:
    """The text with each line fold made into blanks of the same length, so that offsets stay true."""
    return text.replace(b"\r\n", b"  ") if b"\r\n" in text else text


def split_list_untrusted(text: bytes) -> list[tuple[int, int]]:
    """The spans of the comma-separated values in an unfolded header value, without the blanks around them.

    Commas in quotes and in angle brackets do not count; empty values are passed over. Raises BadPacket when a quote
    or a bracket stays open.
    """
    spans = []
    position, length = 0, len(text)
    while position <= length:
        match = _ELEMENT.match(text, position)
        end = match.end() if match else position
        if end < length and text[end] != 0x2C:
            raise BadPacket("a quote or an angle bracket is not closed")
        element = text[position:end]
        if stripped := element.strip(b" \t"):
            start = position + element.index(stripped[:1])
            spans.append((start, start + len(stripped)))
        position = end + 1
    return spans


def params_untrusted(text: bytes, position: int) -> tuple[Param, ...]:
    """The parameters that fill an unfolded value from ``position`` to its end. Raises BadPacket.

    A single trailing semicolon is borne with; an empty parameter elsewhere is an error (RFC 4475 section 3.1.2.1).
    """
    params: list[Param] = []
    length = len(text)
    while position < length and text[position] in b" \t":
        position += 1
    while position < length:
        match = _PARAM.match(text, position)
        if match is None:
            if text[position:].strip(b" \t") == b";":
                break
            raise BadPacket(f"{text[position : position + 40]!r} is no parameter")
        if len(params) == MAX_PARAMS:
            raise BadPacket(f"a value has more than {MAX_PARAMS} parameters")
        name, value = match.groups()
        end = match.end(2) if value is not None else match.end(1)
        params.append(Param(name.lower().decode("latin-1"), value, position, end))
        position = match.end()
    return tuple(params)


def find_param(params: Iterable[Param], name: str) -> Param | None:
    """The first parameter of that (lower-case) name."""
    for param in params:
        if param.name == name:
            return param
    return None


def host_text_untrusted(raw: bytes) -> str:
    """A host as it stands in a URI or Via: lower case, an IPv6 literal checked, without its brackets and its zone.

    Three colons are read as two: the grammar of RFC 3261 demanded them before an IPv4 part (RFC 5118 section 4.10).
    """
    text = raw.decode("latin-1").lower()
    if not text.startswith("["):
        return text
    host = text[1:-1].partition("%")[0].replace(":::", "::")
    try:
        ipaddress.IPv6Address(host)
    except ValueError:
        raise BadPacket(f"{text[:60]!r} is no IPv6 address") from None
    return host


def media_type_untrusted(value: bytes) -> tuple[bytes, int]:
    """``type/subtype`` in lower case of an unfolded Content-Type, and where its parameters start (20.15)."""
    match = _MEDIA_TYPE.match(value)
    if match is None:
        raise BadPacket(f"{value[:60]!r} is no Content-Type")
    return match[1].lower() + b"/" + match[2].lower(), match.end()


def port_untrusted(digits: bytes) -> int:
    """A port from at most five digits. Raises BadPacket above 65535."""
    port = int(digits)
    if port > 65535:
        raise BadPacket(f"{port} is no port")
    return port


def same_host(one: str, other: str) -> bool:
    """Whether two hosts without brackets name the same: by number where both are addresses, else by letters."""
    if one.lower() == other.lower():
        return True
    if ":" not in one or ":" not in other:
        return False
    try:
        return ipaddress.ip_address(one) == ipaddress.ip_address(other)
    except ValueError:
        return False


def number(text: bytes) -> int | None:
    """A delta-seconds or sequence number (RFC 3261 section 25.1), None where it is none or out of all reason."""
    return int(text) if text.isdigit() and len(text) <= 10 else None
