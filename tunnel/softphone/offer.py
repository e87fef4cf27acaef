"""The SDP of a phone that speaks PCMU and nothing else (RFC 4566, RFC 3264)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from tunnel.address import Address
from tunnel.errors import BadPacket

__all__ = ["AudioDescription", "Direction", "build_sdp", "read_sdp_untrusted"]

CONNECTION = re.compile(rb"^c=IN IP[46] ([0-9A-Za-z.:-]+)", re.MULTILINE)
AUDIO = re.compile(rb"^m=audio ([0-9]{1,5}) RTP/AVP((?: [0-9]{1,3})+)\s*$", re.MULTILINE)
DIRECTION = re.compile(rb"^a=(sendrecv|sendonly|recvonly|inactive)\s*$", re.MULTILINE)
PCMU = b"0"


class Direction(StrEnum):
    """Who speaks, from the writer's point of view (RFC 3264 section 5.1)."""

    BOTH = "sendrecv"
    SEND = "sendonly"
    RECEIVE = "recvonly"
    NONE = "inactive"

    @classmethod
    def of(cls, *, sends: bool, receives: bool) -> Direction:
        if sends:
            return cls.BOTH if receives else cls.SEND
        return cls.RECEIVE if receives else cls.NONE

    @property
    def sends(self) -> bool:
        return self in (Direction.BOTH, Direction.SEND)

    @property
    def receives(self) -> bool:
        return self in (Direction.BOTH, Direction.RECEIVE)


@dataclass(frozen=True, slots=True)
class AudioDescription:
    """The first audio stream of a description: where its writer wants RTP, and which ways he wants it to flow."""

    audio: Address
    direction: Direction

    @property
    def hears(self) -> bool:
        """Whether its writer wants to be spoken to (RFC 2543 held by an address of zeros)."""
        return self.direction.receives and self.audio.port != 0 and self.audio.host not in ("0.0.0.0", "::")


def build_sdp(session: int, version: int, audio: Address, direction: Direction) -> bytes:
    """An offer or an answer; ``version`` goes up with every change (RFC 3264 section 8)."""
    family = b"IP6" if audio.is_ipv6 else b"IP4"
    host = audio.host.encode()
    return b"".join(
        line + b"\r\n"
        for line in (
            b"v=0",
            b"o=- %d %d IN %b %b" % (session, version, family, host),
            b"s=-",
            b"c=IN %b %b" % (family, host),
            b"t=0 0",
            b"m=audio %d RTP/AVP 0" % audio.port,
            b"a=rtpmap:0 PCMU/8000",
            b"a=ptime:20",
            b"a=" + direction.encode(),
        )
    )


def read_sdp_untrusted(body: bytes) -> AudioDescription:
    """What the other phone wants. Raises BadPacket (488) when it offers no PCMU."""
    media = AUDIO.search(body)
    if media is None or PCMU not in media[2].split():
        raise BadPacket("the description offers no PCMU", status=488)
    section = body[media.start() :].split(b"\nm=", 1)[0]
    before = body[: media.start()].split(b"\nm=", 1)[0]
    connection = CONNECTION.search(section) or CONNECTION.search(before)
    if connection is None or int(media[1]) > 65535:
        raise BadPacket("the description says not where audio goes", status=488)
    direction = DIRECTION.search(section) or DIRECTION.search(before)
    return AudioDescription(
        Address(connection[1].decode("ascii"), int(media[1])),
        Direction(direction[1].decode()) if direction else Direction.BOTH,
    )
