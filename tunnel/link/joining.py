"""The two messages of ``join``: one request, one response, each msgpack behind a 16-bit length, over TLS 1.3.

The agent verifies the server against the authority in its TOKEN before it sends the request; the request carries the
secret of the TOKEN and a certificate request, never the agent's key. ALPN tells such a connection from a session's.
"""

from __future__ import annotations

import struct

import msgspec

from tunnel.errors import BadPacket

__all__ = [
    "JOIN_DEADLINE_S",
    "LENGTH",
    "MAX_JOIN_BYTES",
    "JoinRefused",
    "JoinRequest",
    "Joined",
    "decode_request_untrusted",
    "decode_response_untrusted",
    "encode",
]

LENGTH = struct.Struct("!H")
MAX_JOIN_BYTES = 16 * 1024
JOIN_DEADLINE_S = 10.0


class JoinRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An agent asks for a certificate."""

    secret: bytes
    csr: bytes
    """Certificate request, DER."""
    agent: str
    """The name it would like; the server may append a number when the name is taken."""

    def __repr__(self) -> str:
        return f"JoinRequest(agent={self.agent!r})"


class Joined(msgspec.Struct, frozen=True, tag="joined"):
    """The TOKEN was good and is used up now."""

    certificate: bytes
    """The agent's certificate, DER."""
    tenant: str
    agent: str
    servers: tuple[str, ...]
    """Where the server listens for agents, best first; overrides what the TOKEN says."""


class JoinRefused(msgspec.Struct, frozen=True, tag="refused"):
    """No certificate; ``reason`` is one word (replayed, expired, unknown, malformed), ``explanation`` a sentence."""

    reason: str
    explanation: str


_REQUEST = msgspec.msgpack.Decoder(JoinRequest)
_RESPONSE: msgspec.msgpack.Decoder[Joined | JoinRefused] = msgspec.msgpack.Decoder(Joined | JoinRefused)


def encode(message: JoinRequest | Joined | JoinRefused) -> bytes:
    """The message as msgpack, without the length in front."""
    return msgspec.msgpack.encode(message)


def decode_request_untrusted(data: bytes) -> JoinRequest:
    """What an agent sent. Raises BadPacket."""
    try:
        return _REQUEST.decode(data)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise BadPacket(f"this is no request to join: {error}") from None


def decode_response_untrusted(data: bytes) -> Joined | JoinRefused:
    """What a server sent. Raises BadPacket."""
    try:
        return _RESPONSE.decode(data)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise BadPacket(f"this is no response to a request to join: {error}") from None
