"""Where a message begins and ends: on byte streams by Content-Length, in datagrams by their first bytes (A4 to A6)."""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass
from typing import TypeAlias

from tunnel.errors import BadPacket
from tunnel.sip.message import MAX_MESSAGE_BYTES

__all__ = ["PATIENCE_S", "DatagramKind", "Framed", "KeepAlive", "StreamFramer", "classify_datagram"]

# Our number: how long a sender may take over one message; 64 * T1, the life of the transaction it would belong to.
PATIENCE_S = 32.0

_STUN_COOKIE = b"\x21\x12\xa4\x42"  # RFC 8489 section 5
_STUN_HEADER_BYTES = 20

_CRLFS = re.compile(rb"(?>(?:\r\n)*)")
_MESSAGE_STARTS = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-.!%*_+`'~")
_LENGTH_NAME = re.compile(rb"\r\n(?:content-length|l)[ \t]*+:", re.IGNORECASE)
_LENGTH_VALUE = re.compile(rb"(?>(?:[ \t]|\r\n[ \t])*)([0-9]{1,10}+)(?>(?:[ \t]|\r\n[ \t])*)\r\n(?![ \t])")


@dataclass(frozen=True, slots=True)
class KeepAlive:
    """The peer sent a double CRLF between messages and waits for a single one (RFC 5626 section 4.4.1)."""


Framed: TypeAlias = bytes | KeepAlive


class StreamFramer:
    """Cuts the byte stream of one connection into messages.

    After BadPacket the stream can no longer be told apart: close the connection. At most one message's worth of bytes
    is kept between calls, and each byte is searched once.
    """

    __slots__ = ("_buffer", "_crlfs", "_needed", "_searched", "_started_at")

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._crlfs = 0  # how many came since the last message
        self._needed = 0  # size of the message at the head of the buffer, 0 while its headers are incomplete
        self._searched = 0  # up to here the buffer holds no end of headers
        self._started_at: float | None = None

    @property
    def buffered_bytes(self) -> int:
        """How much of an incomplete message is kept."""
        return len(self._buffer)

    def deadline(self) -> float | None:
        """When the message that has begun must be complete, else the connection is to be closed; None between two."""
        return None if self._started_at is None else self._started_at + PATIENCE_S

    def feed_untrusted(self, data: bytes, now: float) -> list[Framed]:
        """Take what was read and return what became complete, in order. Raises BadPacket."""
        buffer = self._buffer
        buffer += data
        framed: list[Framed] = []
        position = 0
        while position < len(buffer):
            if not self._needed:
                position = self._skip_crlfs(position, framed)
                if position == len(buffer) or not self._find_end(position):
                    break
            end = position + self._needed
            if end > len(buffer):
                break
            framed.append(bytes(memoryview(buffer)[position:end]))
            position = end
            self._needed = self._searched = 0
            self._started_at = None
        del buffer[:position]
        self._searched = max(self._searched - position, 0)
        if buffer and self._started_at is None:
            self._started_at = now
        elif not buffer:
            self._started_at = None
        return framed

    def _skip_crlfs(self, position: int, framed: list[Framed]) -> int:
        """Pass over CRLFs in front of a message; a run of two or more is one sign of life."""
        match = _CRLFS.match(self._buffer, position)
        end = match.end() if match else position
        self._crlfs += (end - position) // 2
        if self._crlfs >= 2:
            framed.append(KeepAlive())
            self._crlfs = 0
        return end

    def _find_end(self, position: int) -> bool:
        """Learn the size of the message at ``position``, if its headers are complete."""
        buffer = self._buffer
        first = buffer[position]
        if first not in _MESSAGE_STARTS and not (first == 0x0D and position + 1 == len(buffer)):
            raise BadPacket(f"no SIP message begins with byte {first:#04x}")
        self._crlfs = 0 if first != 0x0D else self._crlfs
        # The four bytes we look for may have begun to arrive before.
        blank = buffer.find(b"\r\n\r\n", max(position, self._searched - 3))
        available = len(buffer) - position
        if blank < 0:
            self._searched = len(buffer)
            if available > MAX_MESSAGE_BYTES:
                raise BadPacket(f"headers of more than {MAX_MESSAGE_BYTES} bytes", status=413)
            return False
        body_offset = blank + 4 - position
        size = body_offset + _content_length_untrusted(bytes(memoryview(buffer)[position : blank + 2]))
        if size > MAX_MESSAGE_BYTES:
            raise BadPacket(f"a message of {size} bytes; {MAX_MESSAGE_BYTES} are allowed", status=413)
        self._needed = size
        return True


class DatagramKind(enum.Enum):
    """What a datagram on a SIP port is (A5)."""

    SIP = "sip"
    STUN = "stun"
    KEEPALIVE = "keepalive"
    JUNK = "junk"


def classify_datagram(data: bytes) -> DatagramKind:
    """Tell apart, by its first bytes, what may arrive on a SIP port over UDP. Takes any bytes, raises nothing."""
    if len(data) <= 4 or not data.strip(b"\x00") or not data.strip(b"\r\n"):
        return DatagramKind.KEEPALIVE
    if data[0] <= 3:
        is_stun = len(data) >= _STUN_HEADER_BYTES and data[4:8] == _STUN_COOKIE and len(data) % 4 == 0
        return DatagramKind.STUN if is_stun else DatagramKind.JUNK
    text = data.lstrip(b"\r\n")
    return DatagramKind.SIP if text[0] in _MESSAGE_STARTS else DatagramKind.JUNK


def _content_length_untrusted(head: bytes) -> int:
    names = list(_LENGTH_NAME.finditer(head))
    if not names:
        return 0
    value = _LENGTH_VALUE.match(head, names[0].end())
    if value is None or len(names) > 1:
        raise BadPacket("Content-Length is no number, or there are two")
    return int(value[1])
