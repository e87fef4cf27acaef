"""The TOKEN: what ``tenant invite`` prints and ``join`` takes, one line of text.

``wp1.`` and base64url, without padding, of the msgpack array
``[[server, ...], authority certificate DER, tenant, secret, expires]``.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass

import msgspec

from tunnel.address import Address, parse_address
from tunnel.errors import BadPacket
from tunnel.link.identity import load_certificate_untrusted

__all__ = ["Token"]

TOKEN_PREFIX = "wp1."
MAX_TOKEN_CHARACTERS = 4096
MAX_NAME_CHARACTERS = 63
SECRET_BYTES = 16, 64  # fewest (128 bits: guessing is hopeless), most


class _TokenBody(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    servers: list[str]
    authority: bytes
    tenant: str
    secret: bytes
    expires: int


@dataclass(frozen=True, slots=True)
class Token:
    """What ``tenant invite`` prints and ``join`` takes: where the server is, who it must be, and the right to enter.

    ``authority`` is the DER of the server's own CA certificate, so that the agent can verify the server before it sends
    the secret; ``expires`` is Unix time in seconds.
    """

    servers: tuple[Address, ...]
    authority: bytes
    tenant: str
    secret: bytes
    expires: int

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the authority's certificate, as hexadecimal digits: what people compare."""
        return hashlib.sha256(self.authority).hexdigest()

    def __str__(self) -> str:
        servers = [str(server) for server in self.servers]
        body = _TokenBody(servers, self.authority, self.tenant, self.secret, self.expires)
        return TOKEN_PREFIX + base64.urlsafe_b64encode(msgspec.msgpack.encode(body)).rstrip(b"=").decode()

    def __repr__(self) -> str:
        return f"<Token for tenant {self.tenant!r} at {', '.join(map(str, self.servers))}>"

    @classmethod
    def parse_untrusted(cls, line: str) -> Token:
        """The TOKEN in ``line``, white space around and line breaks within forgiven. Raises BadPacket."""
        line = "".join(line.split())
        if not line.startswith(TOKEN_PREFIX) or len(line) > MAX_TOKEN_CHARACTERS or not line.isascii():
            raise BadPacket(f"this is no TOKEN: one begins with {TOKEN_PREFIX}")
        try:
            text = line[len(TOKEN_PREFIX) :]
            packed = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
            body = msgspec.msgpack.decode(packed, type=_TokenBody)
        except (binascii.Error, msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
            raise BadPacket("this TOKEN is damaged: copy the whole line") from None
        if not body.servers or not SECRET_BYTES[0] <= len(body.secret) <= SECRET_BYTES[1]:
            raise BadPacket("this TOKEN is damaged: copy the whole line")
        if not 0 < len(body.tenant) <= MAX_NAME_CHARACTERS or not body.tenant.isprintable():
            raise BadPacket("this TOKEN is damaged: copy the whole line")
        load_certificate_untrusted(body.authority)
        return cls(tuple(map(parse_address, body.servers)), body.authority, body.tenant, body.secret, body.expires)
