"""Random changes to real messages: bytes, tokens, lines, numbers, and pieces of other messages put in.

mutator = Mutator(random.Random(7), seeds)
data = mutator.one()
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence

__all__ = ["SDP_WORDS", "SIP_WORDS", "Mutator"]

MOST_BYTES = 70_000  # a little more than a message may have

_NUMBER = re.compile(rb"[0-9]+")
_COMMON = b"\r\n~\n~\r~\r\n\r\n~\r\n ~\x00~\xff~\x80~\t~ ~=~-1~0~%00~\xc3\x28".split(b"~")
_IN_SIP = (
    b'"~<~>~;~,~:~@~[~]~\\~*~?~%~sip:~sips:~tel:~SIP/2.0~;tag=~;branch=z9hG4bK~;rport~;received=~;lr~;maddr=~;transport=tcp~;wp='
    b"~;expires=~;gr~[::1]~127.0.0.1~0.0.0.0~255.255.255.255~application/sdp~multipart/mixed;boundary=b~--b~--b--"
    b"~Via: ~Contact: ~Route: ~Record-Route: ~To: ~From: ~CSeq: ~Call-ID: ~Content-Length: ~Content-Type: ~Content-Encoding: "
    b"~Require: ~Proxy-Require: ~RSeq: ~RAck: ~Max-Forwards: 0~Refer-To: ~Replaces: ~Expires: ~Path: ~Supported: ~Event: "
    b"~Subscription-State: ~Authorization: ~l: ~v: ~m: ~c: ~INVITE~ACK~BYE~CANCEL~PRACK~UPDATE~REGISTER~SUBSCRIBE~NOTIFY"
)
_IN_SDP = (
    b"v=0~o=- 1 1 IN IP4 10.1.0.9~s=-~c=IN IP4 10.1.0.9~c=IN IP6 ::1~t=0 0~m=audio 4000 RTP/AVP 0~m=~a=~c=~o=~b=AS:64~/127~/2"
    b"~RTP/SAVP~udptl~UDP/TLS/RTP/SAVPF~TCP/MSRP~65535~a=rtcp:~a=rtcp-mux~a=group:BUNDLE a b~a=mid:a~a=bundle-only"
    b"~a=candidate:1 1 udp 1 10.1.0.9 9 typ host~a=sendonly~a=inactive~0.0.0.0~224.2.1.1~IN IP6~IN IP4~host.invalid"
    b"~a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:x~a=rtpmap:101 telephone-event/8000~a=source-filter: incl IN IP4 * 10.1.0.9"
    b"~a=acap:1 candidate:1"
)
SIP_WORDS = [*_COMMON, *_IN_SIP.split(b"~")]
SDP_WORDS = [*_COMMON, *_IN_SDP.split(b"~")]


class Mutator:
    """Makes inputs out of ``seeds``; the same ``rng`` state gives the same inputs."""

    def __init__(self, rng: random.Random, seeds: Sequence[bytes], words: Sequence[bytes] = SIP_WORDS) -> None:
        self._rng = rng
        self.seeds = list(seeds)
        self._words = list(words)
        self._changes = (
            self._flip,
            self._cut,
            self._repeat,
            self._word,
            self._word,
            self._swap_lines,
            self._drop_line,
            self._double_line,
            self._number,
            self._splice,
            self._bytes,
            self._truncate,
        )

    def one(self) -> bytes:
        """A seed with one to six changes; now and then as it is."""
        rng = self._rng
        data = bytearray(rng.choice(self.seeds))
        for _ in range(min(int(rng.expovariate(0.7)), 6)):
            rng.choice(self._changes)(data)
        return bytes(data[:MOST_BYTES])

    def _at(self, data: bytearray) -> int:
        return self._rng.randrange(len(data) + 1)

    def _flip(self, data: bytearray) -> None:
        if data:
            data[self._rng.randrange(len(data))] ^= 1 << self._rng.randrange(8)

    def _cut(self, data: bytearray) -> None:
        at = self._at(data)
        del data[at : at + self._rng.randint(1, 20)]

    def _repeat(self, data: bytearray) -> None:
        at = self._at(data)
        piece = data[at : at + self._rng.randint(1, 40)]
        data[at:at] = piece * self._rng.choice((1, 1, 2, 10, 300))

    def _word(self, data: bytearray) -> None:
        at = self._at(data)
        data[at : at + self._rng.choice((0, 0, 1, 8))] = self._rng.choice(self._words)

    def _bytes(self, data: bytearray) -> None:
        at = self._at(data)
        data[at:at] = self._rng.randbytes(self._rng.randint(1, 8))

    def _number(self, data: bytearray) -> None:
        numbers = list(_NUMBER.finditer(data))
        if numbers:
            start, end = self._rng.choice(numbers).span()
            data[start:end] = self._rng.choice(
                (b"0", b"1", b"65535", b"65536", b"4294967296", b"9" * 40, b"00005", b"")
            )

    def _swap_lines(self, data: bytearray) -> None:
        lines = data.split(b"\r\n")
        one, other = self._rng.randrange(len(lines)), self._rng.randrange(len(lines))
        lines[one], lines[other] = lines[other], lines[one]
        data[:] = b"\r\n".join(lines)

    def _drop_line(self, data: bytearray) -> None:
        lines = data.split(b"\r\n")
        del lines[self._rng.randrange(len(lines))]
        data[:] = b"\r\n".join(lines)

    def _double_line(self, data: bytearray) -> None:
        lines = data.split(b"\r\n")
        line = self._rng.choice(lines)
        at = self._rng.randrange(len(lines))
        lines[at:at] = [line] * self._rng.choice((1, 1, 3, 80))
        data[:] = b"\r\n".join(lines)

    def _splice(self, data: bytearray) -> None:
        other = self._rng.choice(self.seeds)
        if self._rng.random() < 0.5:
            lines = data.split(b"\r\n")
            lines.insert(self._rng.randrange(len(lines)), self._rng.choice(other.split(b"\r\n")))
            data[:] = b"\r\n".join(lines)
        else:
            data[self._at(data) :] = other[self._rng.randrange(len(other) + 1) :]

    def _truncate(self, data: bytearray) -> None:
        if self._rng.random() < 0.3:
            del data[self._at(data) :]
