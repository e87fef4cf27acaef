"""A SIP peer that speaks in single requests over one UDP socket, for answers that a phone would swallow."""

from __future__ import annotations

import itertools
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from tunnel.address import Address
from tunnel.sip.message import Message, parse_untrusted

__all__ = ["SipPeer", "sdp"]

T1_S = 0.5  # RFC 3261 section 17.1.1.1


def sdp(host: str, port: int) -> bytes:
    """An offer of one PCMU stream to ``host:port``."""
    return b"v=0\r\no=- 1 1 IN IP4 %b\r\ns=-\r\nc=IN IP4 %b\r\nt=0 0\r\nm=audio %d RTP/AVP 0\r\n" % (
        host.encode(),
        host.encode(),
        port,
    )


class SipPeer:
    """Each request is the first of its own dialog."""

    def __init__(self, socket: trio.socket.SocketType) -> None:
        self._socket = socket
        self.address = Address(*socket.getsockname()[:2])
        self._numbers = itertools.count(1)

    @classmethod
    @asynccontextmanager
    async def open(cls, host: str) -> AsyncIterator[SipPeer]:
        with trio.socket.socket(type=trio.socket.SOCK_DGRAM) as socket:
            await socket.bind((host, 0))
            yield cls(socket)

    async def ask(self, method: str, uri: str, to: Address, body: bytes = b"") -> bytes:
        """Send a request; returns it."""
        number = f"{self.address.port}-{next(self._numbers)}"
        lines = [
            f"{method} {uri} SIP/2.0",
            f"Via: SIP/2.0/UDP {self.address};branch=z9hG4bK{number};rport",
            "Max-Forwards: 70",
            f"From: <sip:peer@{self.address}>;tag={number}",
            f"To: <{uri}>",
            f"Call-ID: {number}",
            f"CSeq: 1 {method}",
            f"Contact: <sip:peer@{self.address}>",
            *(["Content-Type: application/sdp"] if body else []),
            f"Content-Length: {len(body)}",
        ]
        request = "\r\n".join([*lines, "", ""]).encode() + body
        await self._socket.sendto(request, tuple(to))
        return request

    async def response(self) -> Message:
        """The next response."""
        while True:
            data, _ = await self._socket.recvfrom(65535)
            message = parse_untrusted(data)
            if not message.is_request:
                return message

    async def call(self, uri: str, to: Address, until_status: int = 200) -> Message:
        """Send an INVITE, and again until something is said: the first response from ``until_status`` on.

        It is left without an ACK, and repeated by whoever sent it; what belongs to earlier requests is passed over.
        """
        request = parse_untrusted(await self.ask("INVITE", uri, to, sdp(self.address.host, 40000)))
        status = 0
        while status < until_status:
            with trio.move_on_after(T1_S if not status else math.inf):
                response = await self.response()
                if response.call_id == request.call_id:
                    status = response.status
                continue
            await self._socket.sendto(request.raw, tuple(to))
        return response

    async def silence(self, seconds: float) -> bool:
        """Whether nothing comes for so long."""
        with trio.move_on_after(seconds) as scope:
            await self.response()
        return scope.cancelled_caught

    async def status_of(self, method: str, uri: str, to: Address, patience_s: float) -> int:
        """The status of the answer, 0 when there is none in time."""
        await self.ask(method, uri, to)
        with trio.move_on_after(patience_s):
            return (await self.response()).status
        return 0
