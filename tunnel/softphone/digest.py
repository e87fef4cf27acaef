"""HTTP digest as SIP uses it (RFC 7616, RFC 8760, RFC 3261 section 22), both sides: MD5 and SHA-256, qop=auth or none."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from tunnel.errors import BadPacket

__all__ = [
    "Challenge",
    "Credentials",
    "answer_challenge",
    "is_answer_right",
    "parse_digest_untrusted",
    "pick_challenge",
]

HASHES = {b"MD5": "md5", b"SHA-256": "sha256"}

PARAMETER = re.compile(rb'\s*([A-Za-z0-9_-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s",]+))\s*(?:,|$)')
ESCAPE = re.compile(rb"\\(.)")


@dataclass(frozen=True, slots=True)
class Credentials:
    """Who somebody says they are, and what proves it."""

    user: str
    password: str


@dataclass(frozen=True, slots=True)
class Challenge:
    """What a server wants proved: one WWW-Authenticate or Proxy-Authenticate header value."""

    realm: bytes
    nonce: bytes
    algorithm: bytes = b"MD5"
    qop: bytes = b"auth"
    opaque: bytes = b""
    stale: bool = False

    def __bytes__(self) -> bytes:
        """The header value that puts the question."""
        parts = [
            b'Digest realm="%b", nonce="%b", algorithm=%b' % (quote(self.realm), quote(self.nonce), self.algorithm)
        ]
        if self.qop:
            parts.append(b'qop="%b"' % self.qop)
        if self.opaque:
            parts.append(b'opaque="%b"' % quote(self.opaque))
        if self.stale:
            parts.append(b"stale=true")
        return b", ".join(parts)


def pick_challenge(values: Iterable[bytes]) -> Challenge | None:
    """The first of these header values that can be answered: servers name what they prefer first (RFC 8760 2.4)."""
    for value in values:
        try:
            said = parse_digest_untrusted(value)
        except BadPacket:
            continue
        algorithm = said.get(b"algorithm", b"MD5").upper()
        offered = {choice.strip().lower() for choice in said.get(b"qop", b"").split(b",")} - {b""}
        if algorithm not in HASHES or (offered and b"auth" not in offered):
            continue
        return Challenge(
            realm=said.get(b"realm", b""),
            nonce=said.get(b"nonce", b""),
            algorithm=algorithm,
            qop=b"auth" if offered else b"",
            opaque=said.get(b"opaque", b""),
            stale=said.get(b"stale", b"").lower() == b"true",
        )
    return None


def answer_challenge(
    challenge: Challenge, credentials: Credentials, method: str, uri: bytes, client_nonce: bytes, count: int = 1
) -> bytes:
    """The value of the Authorization or Proxy-Authorization header that answers ``challenge``.

    ``uri`` is the Request-URI as it is sent, ``count`` how often this nonce has been answered, this time included.
    """
    user = credentials.user.encode()
    secret = digest_secret(challenge.algorithm, credentials, challenge.realm)
    counted = b"%08x" % count
    response = digest_response(challenge, secret, method, uri, client_nonce, counted)
    parts = [
        b'Digest username="%b", realm="%b"' % (quote(user), quote(challenge.realm)),
        b'nonce="%b", uri="%b"' % (quote(challenge.nonce), uri),
        b'response="%b", algorithm=%b' % (response, challenge.algorithm),
    ]
    if challenge.qop:
        parts.append(b'qop=%b, nc=%b, cnonce="%b"' % (challenge.qop, counted, quote(client_nonce)))
    if challenge.opaque:
        parts.append(b'opaque="%b"' % quote(challenge.opaque))
    return b", ".join(parts)


def is_answer_right(answer: Mapping[bytes, bytes], challenge: Challenge, credentials: Credentials, method: str) -> bool:
    """Whether a parsed Authorization value proves ``credentials`` for ``challenge``.

    The uri is taken as the answer states it: a relay on the way may have changed the Request-URI (RFC 3261 22.4).
    """
    if answer.get(b"nonce") != challenge.nonce or answer.get(b"username") != credentials.user.encode():
        return False
    secret = digest_secret(challenge.algorithm, credentials, challenge.realm)
    expected = digest_response(
        challenge, secret, method, answer.get(b"uri", b""), answer.get(b"cnonce", b""), answer.get(b"nc", b"")
    )
    return hmac.compare_digest(expected, answer.get(b"response", b"").lower())


def parse_digest_untrusted(value: bytes) -> dict[bytes, bytes]:
    """The parameters of a challenge or of an answer, names in lower case, quotes removed. Raises BadPacket."""
    scheme, _, rest = value.strip().partition(b" ")
    if scheme.lower() != b"digest":
        raise BadPacket("not digest authentication")
    parameters: dict[bytes, bytes] = {}
    position = 0
    while position < len(rest):
        match = PARAMETER.match(rest, position)
        if match is None:
            raise BadPacket("digest parameters cannot be read")
        name, quoted, bare = match.groups()
        parameters[name.lower()] = bare if quoted is None else ESCAPE.sub(rb"\1", quoted)
        position = match.end()
    return parameters


def digest_secret(algorithm: bytes, credentials: Credentials, realm: bytes) -> bytes:
    """A1 of RFC 7616 section 3.4.2."""
    return digest(algorithm, b"%b:%b:%b" % (credentials.user.encode(), realm, credentials.password.encode()))


def digest_response(
    challenge: Challenge, secret: bytes, method: str, uri: bytes, client_nonce: bytes, count: bytes
) -> bytes:
    """RFC 7616 section 3.4.1; without qop the older form of RFC 2069 that RFC 3261 still allows."""
    action = digest(challenge.algorithm, b"%b:%b" % (method.encode(), uri))
    if not challenge.qop:
        return digest(challenge.algorithm, b"%b:%b:%b" % (secret, challenge.nonce, action))
    middle = b"%b:%b:%b:%b" % (challenge.nonce, count, client_nonce, challenge.qop)
    return digest(challenge.algorithm, b"%b:%b:%b" % (secret, middle, action))


def digest(algorithm: bytes, text: bytes) -> bytes:
    return hashlib.new(HASHES[algorithm], text, usedforsecurity=False).hexdigest().encode()


def quote(text: bytes) -> bytes:
    """The inside of a quoted string (RFC 3261 section 25.1)."""
    return text.replace(b"\\", b"\\\\").replace(b'"', b'\\"')
