"""What two half proxies say to each other across the wall: a message as it came, with a few facts.

The face that receives a message sends it on unchanged; the face that emits it does the rewriting. Every record below is
one reliable payload of the session, packed as a msgpack array with the record's name first.
"""

from __future__ import annotations

from typing import Annotated, TypeAlias

import msgpack
import msgspec

from tunnel.errors import BadPacket

__all__ = [
    "CancelCrossed",
    "Failed",
    "PeerFacts",
    "RequestCrossed",
    "ResponseCrossed",
    "WallMessage",
    "decode_untrusted",
    "encode",
]

# What stands in one line of a message.
_Text: TypeAlias = Annotated[str, msgspec.Meta(pattern=r"^[^\x00-\x1f\x7f]*\Z")]


class RequestCrossed(msgspec.Struct, frozen=True, array_like=True, tag="request"):
    """A request that arrived on one face and is to leave by the other.

    ``transaction`` names it for the answers (0: an ACK, which gets none); ``call`` is the handle both ends know its call
    by (0: no call); ``raw`` are the bytes as they came; ``channels`` has the media channel of each m-line of its SDP;
    ``routes`` are the Route values left when our own were popped; ``target`` is the URI a request addressed to the
    arriving end itself goes to (empty: its Request-URI says); ``purpose`` says why it was let in (``Purpose``);
    ``binding`` names the user agent that sent it, for masks; ``natted`` says that it sits behind a NAT of its own;
    ``trusted`` that what it asserts about identities may be passed on (RFC 3325).
    """

    transaction: int
    call: int
    raw: bytes
    source: str
    channels: tuple[int, ...] = ()
    routes: tuple[bytes, ...] = ()
    target: bytes = b""
    purpose: str = ""
    binding: bytes = b""
    natted: bool = False
    trusted: bool = False


class ResponseCrossed(msgspec.Struct, frozen=True, array_like=True, tag="response"):
    """A response on its way back to the face that holds the server transaction ``transaction``; see RequestCrossed."""

    transaction: int
    raw: bytes
    source: str
    channels: tuple[int, ...] = ()
    natted: bool = False
    binding: bytes = b""
    trusted: bool = False


class CancelCrossed(msgspec.Struct, frozen=True, array_like=True, tag="cancel"):
    """The caller gave up on ``transaction``; ``reasons`` are its Reason header lines (RFC 3326), passed on."""

    transaction: int
    reasons: tuple[bytes, ...] = ()


class Failed(msgspec.Struct, frozen=True, array_like=True, tag="failed"):
    """The far end could not send ``transaction`` on: the answer that its sender is to get from us."""

    transaction: int
    status: Annotated[int, msgspec.Meta(ge=300, le=699)]
    reason: _Text
    warning: _Text
    retry_after_s: int = 0


class PeerFacts(msgspec.Struct, frozen=True, array_like=True, tag="facts"):
    """What an agent tells the server of itself at the start of each session: whether a PBX takes calls there."""

    has_pbx: bool


WallMessage: TypeAlias = RequestCrossed | ResponseCrossed | CancelCrossed | Failed | PeerFacts


def encode(message: WallMessage) -> bytes:
    """The payload that ``decode_untrusted`` turns back into ``message``."""
    packed: bytes = msgpack.packb(msgspec.to_builtins(message, builtin_types=(bytes,)))
    return packed


def decode_untrusted(payload: bytes) -> WallMessage:
    """One wall message. Raises BadPacket when the payload is none of them."""
    try:
        fields = msgpack.unpackb(payload, strict_map_key=True)
    except (ValueError, msgpack.exceptions.UnpackException) as error:
        raise BadPacket(f"no msgpack: {error}") from None
    try:
        message: WallMessage = msgspec.convert(fields, type=WallMessage)
    except msgspec.ValidationError as error:
        raise BadPacket(f"no wall message: {error}") from None
    return message
