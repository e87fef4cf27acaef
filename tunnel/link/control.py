"""Control messages of the link: msgpack maps on the wire, structs that cannot be wrong in the program.

``LinkMessage`` travels in LINK frames, belongs to one connection and is never replayed. ``ReliableMessage`` travels in
SIGNAL frames marked as control and survives reconnects. The ``type`` key says which message it is.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Annotated, TypeAlias

import msgpack
import msgspec

from tunnel.errors import BadPacket

__all__ = [
    "VERSION",
    "Ack",
    "Bye",
    "Drain",
    "Hello",
    "LinkMessage",
    "Ping",
    "Pong",
    "Refusal",
    "ReliableMessage",
    "Renew",
    "Renewed",
    "Welcome",
    "encode",
    "parse_link_untrusted",
    "parse_reliable_untrusted",
]

VERSION = 1  # 1: the first; an incompatible change takes the next number and the next ALPN name

Sequence: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=0xFFFFFFFF)]
Stamp: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=0x7FFFFFFFFFFFFFFF)]
Ticket: TypeAlias = Annotated[bytes, msgspec.Meta(max_length=64)]
Greeting: TypeAlias = Annotated[bytes, msgspec.Meta(max_length=4096)]
Text: TypeAlias = Annotated[str, msgspec.Meta(max_length=500)]
Pem: TypeAlias = Annotated[bytes, msgspec.Meta(max_length=65536)]
Seconds: TypeAlias = Annotated[float, msgspec.Meta(ge=0, le=3600)]


class Hello(msgspec.Struct, frozen=True, tag="hello"):
    """The agent's first message. Unknown keys are let through, so that a later version can be told what we speak."""

    version: int
    ticket: Ticket  # empty: a new session is wanted
    received: Sequence  # the last SIGNAL sequence that this end has


class Welcome(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="welcome"):
    """The server's answer to Hello. ``resumed`` False: what the agent had is over, ``ticket`` is a new session's."""

    ticket: Ticket
    resumed: bool
    received: Sequence
    greeting: Greeting


class Ping(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="ping"):
    """Are you there? ``stamp_us`` is the sender's clock in microseconds; acknowledges SIGNAL frames on the way."""

    stamp_us: Stamp
    received: Sequence


class Pong(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="pong"):
    """The answer to a Ping, with its stamp."""

    stamp_us: Stamp
    received: Sequence


class Ack(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="ack"):
    """All SIGNAL frames up to and including ``received`` have arrived."""

    received: Sequence


class Refusal(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="refused"):
    """No, and trying again without a change is of no use. ``reason`` is for an operator."""

    reason: Text


class Bye(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="bye"):
    """The sender goes away for good; the session need not be kept."""


class Drain(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="drain"):
    """The sender takes no new calls; come back after ``retry_after_s``."""

    retry_after_s: Seconds


class Renew(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="renew"):
    """The agent asks for a new certificate."""

    csr: Pem


class Renewed(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="renewed"):
    """The certificate chain that was asked for."""

    chain: Pem


LinkMessage: TypeAlias = Hello | Welcome | Ping | Pong | Ack | Refusal | Bye
ReliableMessage: TypeAlias = Drain | Renew | Renewed


def encode(message: LinkMessage | ReliableMessage) -> bytes:
    """The bytes of ``message``; ValueError (msgspec.ValidationError) when a field is beyond its bounds."""
    fields = msgspec.to_builtins(message, builtin_types=(bytes,))
    msgspec.convert(fields, type(message), builtin_types=(bytes,))
    return bytes(msgpack.packb(fields))


def parse_link_untrusted(payload: bytes) -> LinkMessage:
    """The message of a LINK frame. Raises BadPacket."""
    with _bad_packets():
        message: LinkMessage = msgspec.convert(msgpack.unpackb(payload), LinkMessage, builtin_types=(bytes,))
    return message


def parse_reliable_untrusted(payload: bytes) -> ReliableMessage:
    """The message of a SIGNAL frame marked as control. Raises BadPacket."""
    with _bad_packets():
        message: ReliableMessage = msgspec.convert(msgpack.unpackb(payload), ReliableMessage, builtin_types=(bytes,))
    return message


@contextlib.contextmanager
def _bad_packets() -> Iterator[None]:
    try:
        yield
    except ValueError as error:  # msgpack's errors and msgspec.ValidationError are ValueErrors
        raise BadPacket(f"a control message of the link is not valid: {error}") from None
