"""One call through a running pair by plain UDP sockets: SIP as bytes in a script's order, and numbered RTP, counted.

async with plain_call(agent_sip) as call:
    ...
call.lost
"""

from __future__ import annotations

import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import trio

from support.rtp import rtp_packet
from support.sip_peer import sdp
from tunnel.address import Address
from tunnel.sip.message import Message, parse_untrusted
from tunnel.sip.name_addr import NameAddr
from tunnel.sip.response import build_response

__all__ = ["PlainCall", "Talker", "plain_call"]

INSIDE, OUTSIDE = "127.0.0.1", "127.0.0.2"
PACKET_S = 0.02
LAST_WORDS_S = 0.15  # how long the last packet may be under way


@dataclass
class Talker:
    """A socket that sends a packet every 20 ms and notes the numbers of those that it gets, in their order."""

    socket: trio.socket.SocketType
    sent: int = 0
    heard: list[int] = field(default_factory=list)
    sources: set[Address] = field(default_factory=set)
    beyond: Address | None = None

    @property
    def port(self) -> int:
        return int(self.socket.getsockname()[1])

    def learn(self, answer: Message) -> None:
        """Where the other side wants to hear us, as the SDP says."""
        host = answer.body.partition(b"c=IN IP4 ")[2].split()[0].decode()
        self.beyond = Address(host, int(answer.body.partition(b"m=audio ")[2].split()[0]))

    async def speak(self, until: trio.Event) -> None:
        due = trio.current_time()
        while not until.is_set():
            assert self.beyond is not None
            await self.socket.sendto(rtp_packet(self.sent, payload_type=0), tuple(self.beyond))
            self.sent += 1
            due += PACKET_S
            await trio.sleep_until(due)

    async def listen(self) -> None:
        while True:
            data, source = await self.socket.recvfrom(2048)
            self.heard.append(struct.unpack_from("!H", data, 2)[0])
            self.sources.add(Address(*source[:2]))


@dataclass
class PlainCall:
    """``inside`` called ``outside``; ``said`` has the methods that came to either by SIP since the call stands."""

    inside: Talker
    outside: Talker
    said: list[str] = field(default_factory=list)

    def assert_nothing_lost(self) -> None:
        """Every packet came once, in order, from one address."""
        for mouth, ear in ((self.inside, self.outside), (self.outside, self.inside)):
            assert ear.heard == list(range(mouth.sent))
            assert len(ear.sources) == 1
            assert mouth.sent > 5
        assert self.said == []


@asynccontextmanager
async def plain_call(agent: Address) -> AsyncIterator[PlainCall]:
    """A call out by the agent's SIP address; RTP flows both ways within the block, and its tail has arrived after it."""
    sockets = [trio.socket.socket(type=trio.socket.SOCK_DGRAM) for _ in range(4)]
    alice, bob, inside, outside = sockets
    try:
        for socket, host in zip(sockets, (INSIDE, OUTSIDE) * 2, strict=True):
            await socket.bind((host, 0))
        call = PlainCall(Talker(inside), Talker(outside))
        await _set_up(alice, bob, agent, call)
        async with trio.open_nursery() as nursery:
            silence = trio.Event()
            for sip in (alice, bob):
                nursery.start_soon(_overhear, sip, call.said)
            for talker in (call.inside, call.outside):
                nursery.start_soon(talker.listen)
                nursery.start_soon(talker.speak, silence)
            yield call
            silence.set()
            await trio.sleep(LAST_WORDS_S)
            nursery.cancel_scope.cancel()
    finally:
        for socket in sockets:
            socket.close()


async def _set_up(alice: trio.socket.SocketType, bob: trio.socket.SocketType, agent: Address, call: PlainCall) -> None:
    caller, callee = (Address(*socket.getsockname()[:2]) for socket in (alice, bob))
    body = sdp(INSIDE, call.inside.port)
    invite = _request("INVITE", f"sip:bob@{callee}", caller, body=body)
    await alice.sendto(invite, tuple(agent))
    arrived, source = await _next(bob)
    call.outside.learn(arrived)
    lines = [b"Contact: <sip:bob@%s>" % str(callee).encode(), b"Content-Type: application/sdp"]
    answer = build_response(arrived, 200, "OK", b"b1", lines, sdp(OUTSIDE, call.outside.port))
    await bob.sendto(answer, source)
    accepted, _ = await _next(alice)
    while accepted.status < 200:
        accepted, _ = await _next(alice)
    assert accepted.status == 200
    call.inside.learn(accepted)
    target = NameAddr.parse_untrusted(accepted.values("contact")[0].text).uri_text.decode()
    routes = [f"Route: {value.text.decode()}" for value in reversed(accepted.values("record-route"))]
    await alice.sendto(_request("ACK", target, caller, *routes, to_tag=";tag=b1"), tuple(agent))
    acknowledged, _ = await _next(bob)
    assert acknowledged.method == "ACK"


async def _next(socket: trio.socket.SocketType) -> tuple[Message, tuple[str, int]]:
    data, source = await socket.recvfrom(65535)
    return parse_untrusted(data), source


async def _overhear(socket: trio.socket.SocketType, said: list[str]) -> None:
    while True:
        message, _ = await _next(socket)
        if message.is_request or message.status >= 300:
            said.append(message.method or str(message.status))


def _request(method: str, uri: str, source: Address, *lines: str, body: bytes = b"", to_tag: str = "") -> bytes:
    head = [
        f"{method} {uri} SIP/2.0",
        f"Via: SIP/2.0/UDP {source};branch=z9hG4bK{method}{source.port};rport",
        "Max-Forwards: 70",
        f"From: <sip:alice@{source}>;tag=a1",
        f"To: <sip:bob@provider.example>{to_tag}",
        f"Call-ID: plain-{source.port}",
        f"CSeq: 1 {method}",
        f"Contact: <sip:alice@{source}>",
        *lines,
        *(["Content-Type: application/sdp"] if body else []),
        f"Content-Length: {len(body)}",
    ]
    return "\r\n".join([*head, "", ""]).encode() + body
