"""SIP and SIPS URIs (RFC 3261 section 19.1): read once, edited by spans, never printed anew."""

from __future__ import annotations

import re
from dataclasses import dataclass

from tunnel.errors import BadPacket
from tunnel.sip.grammar import HOST, MAX_PARAMS, host_text_untrusted, port_untrusted

__all__ = ["SipUri", "number_of"]

# A user may hold ";", "?" and "/", and no other part may hold "@" unescaped: so the first "@" ends the user.
_SIP_URI = re.compile(
    rb"(?P<scheme>sips?):(?>(?:(?P<userinfo>[^@]*+)@)?)(?P<hostport>(?P<host>"
    + HOST
    + rb")(?>(?::(?P<port>[0-9]{1,5}+))?))"
    rb"(?P<params>(?>(?:;[^?]*+)?))(?P<headers>(?>(?:\?.*+)?))",
    re.IGNORECASE,
)
_TEL_URI = re.compile(rb"tel:(\+?[0-9A-Fa-f*#().\-]++(?>(?:;[A-Za-z0-9\-._~%=+()*]++)*))", re.IGNORECASE)
# Blanks, controls, quotes and brackets end a URI wherever it stands; other odd bytes are the sender's affair.
_NEVER = re.compile(rb'[\x00-\x20"<>\x7f]')


@dataclass(frozen=True, slots=True)
class SipUri:
    """A ``sip:`` or ``sips:`` URI; ``text`` is what was received and every edit returns new bytes.

    ``host`` is lower case and without brackets; ``user`` is the raw user part without password, None if there is no
    "@". ``params`` keep order and spelling. ``headers`` is raw, without the "?".
    """

    text: bytes
    scheme: str
    user: bytes | None
    host: str
    port: int | None
    params: tuple[tuple[bytes, bytes | None], ...]
    headers: bytes
    userinfo_span: tuple[int, int]  # without the "@"; empty where one would stand
    hostport_span: tuple[int, int]
    params_span: tuple[int, int]  # from the first ";" on; empty where one would stand

    @classmethod
    def parse_untrusted(cls, text: bytes) -> SipUri:
        """Read one URI without brackets around it. Raises BadPacket, with 416 for another scheme."""
        match = _SIP_URI.fullmatch(text)
        if match is None or _NEVER.search(text):
            known = text[:5].lower().startswith((b"sip:", b"sips:"))
            raise BadPacket(f"{text[:60]!r} is no SIP URI", status=400 if known else 416)
        userinfo, port = match["userinfo"], match["port"]
        scheme_end = match.end("scheme") + 1
        return cls(
            text=text,
            scheme=match["scheme"].decode("ascii").lower(),
            user=None if userinfo is None else userinfo.partition(b":")[0],
            host=host_text_untrusted(match["host"]),
            port=None if port is None else port_untrusted(port),
            params=_split_params(match["params"]),
            headers=match["headers"][1:],
            userinfo_span=(scheme_end, scheme_end) if userinfo is None else match.span("userinfo"),
            hostport_span=match.span("hostport"),
            params_span=match.span("params"),
        )

    @property
    def hostport(self) -> bytes:
        """Host and port as they stand in the text."""
        return self.text[slice(*self.hostport_span)]

    @property
    def transport(self) -> str:
        """The ``transport`` parameter in lower case, empty if there is none."""
        return (self.param("transport") or b"").decode("latin-1").lower()

    def has_param(self, name: str) -> bool:
        """Whether there is a parameter of that (lower-case) name, with or without a value."""
        return any(_is_named(raw, name) for raw, _ in self.params)

    def param(self, name: str) -> bytes | None:
        """The raw value of a parameter (``name`` in lower case); None if it is absent or has no value."""
        for raw, value in self.params:
            if _is_named(raw, name):
                return value
        return None

    def with_hostport(self, hostport: bytes) -> bytes:
        """The text with another ``host[:port]``."""
        return self._spliced(self.hostport_span, hostport)

    def with_user(self, user: bytes | None) -> bytes:
        """The text with another user part, or without one (None); a password goes with the old user."""
        start, end = self.userinfo_span
        if self.user is not None:
            end += 1
        return self._spliced((start, end), b"" if user is None else user + b"@")

    def with_param(self, name: str, value: bytes | None) -> bytes:
        """The text with that parameter's value set where the parameter stands, or with it added behind the others."""
        added = name.encode("ascii") if value is None else name.encode("ascii") + b"=" + value
        for raw, start, end in self._param_spans():
            if _is_named(raw, name):
                return self._spliced((start, end), b";" + (raw if value is None else raw + b"=" + value))
        return self._spliced((self.params_span[1],) * 2, b";" + added)

    def without_param(self, name: str) -> bytes:
        """The text without any parameter of that name."""
        kept = bytearray(self.text[: self.params_span[0]])
        for raw, start, end in self._param_spans():
            if not _is_named(raw, name):
                kept += self.text[start:end]
        return bytes(kept) + self.text[self.params_span[1] :]

    def _spliced(self, span: tuple[int, int], new: bytes) -> bytes:
        return self.text[: span[0]] + new + self.text[span[1] :]

    def _param_spans(self) -> list[tuple[bytes, int, int]]:
        """Raw name, offset of the semicolon and end of each parameter."""
        spans = []
        start = self.params_span[0]
        for name, value in self.params:
            end = start + 1 + len(name) + (0 if value is None else 1 + len(value))
            spans.append((name, start, end))
            start = end
        return spans


def number_of(uri: bytes) -> bytes | None:
    """The user part that stands for a ``tel:`` URI in a SIP one, its parameters included (RFC 3261 section 19.1.6)."""
    match = _TEL_URI.fullmatch(uri)
    return match[1] if match else None


def _split_params(text: bytes) -> tuple[tuple[bytes, bytes | None], ...]:
    if not text:
        return ()
    pairs = []
    if text.count(b";") > MAX_PARAMS:
        raise BadPacket(f"a URI has more than {MAX_PARAMS} parameters")
    for part in text[1:].split(b";"):
        name, equals, value = part.partition(b"=")
        pairs.append((name, value if equals else None))
    return tuple(pairs)


def _is_named(raw: bytes, name: str) -> bool:
    return raw.lower() == name.encode("latin-1")
