"""Listeners on loopback with everything they say written down, and peers that talk to them."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import trio

from support.messages import compose
from tunnel.address import Address
from tunnel.counters import Counters
from tunnel.sip.flow import Flow
from tunnel.sip.listener import Listeners, ListenSpec, StreamLimits

__all__ = ["FaceSockets", "eventually", "face_sockets", "options"]


def options(number: int = 1, padding: int = 0) -> bytes:
    """One whole OPTIONS request, told apart by ``number``, ``padding`` bytes longer than it need be."""
    return compose(
        "OPTIONS sip:203.0.113.2 SIP/2.0",
        f"Via: SIP/2.0/TCP 10.1.0.7;branch=z9hG4bK{number}",
        "From: <sip:a@example.com>;tag=a1",
        "To: <sip:b@example.com>",
        f"Call-ID: {number}",
        "CSeq: 1 OPTIONS",
        f"Content-Length: {padding}",
        body=b"x" * padding,
    )


async def eventually(condition: Callable[[], object], within_s: float = 3.0) -> None:
    """Return as soon as ``condition`` holds; fail when it does not within the time."""
    with trio.fail_after(within_s):
        while not condition():  # noqa: ASYNC110 (what is waited for happens in the kernel)
            await trio.sleep(0.002)


@dataclass
class FaceSockets:
    """Running listeners, what they delivered and what they called failed."""

    listeners: Listeners = field(init=False)
    counters: Counters = field(default_factory=Counters)
    delivered: list[tuple[bytes, Flow]] = field(default_factory=list)
    failures: list[tuple[str, Address, int, str]] = field(default_factory=list)
    on_delivery: Callable[[Flow], None] = lambda flow: None
    refusals: list[bytes] = field(default_factory=list)

    def address(self, transport: str) -> Address:
        """The first bound address of that transport."""
        return next(address for bound, address in self.listeners.bound if bound == transport)

    def flow(self, transport: str, remote: Address, connection: int = 0) -> Flow:
        """A flow from our listener of that transport, or of any, to ``remote``."""
        local = next(
            (address for bound, address in self.listeners.bound if bound == transport), Address("127.0.0.1", 1)
        )
        return Flow(transport, local, remote, connection)

    async def connect(self, transport: str = "tcp") -> trio.SocketStream:
        """A peer's plain TCP connection to the listener of that transport."""
        return await trio.open_tcp_stream(*self.address(transport))


@asynccontextmanager
async def face_sockets(
    *transports: str,
    limits: StreamLimits | None = None,
    server_tls: ssl.SSLContext | None = None,
    client_tls: ssl.SSLContext | None = None,
    answer_stun: bool = False,
    host: str = "127.0.0.1",
    port: int = 0,
) -> AsyncIterator[FaceSockets]:
    """Listeners of those transports on loopback, running."""
    face = FaceSockets()

    def deliver(data: bytes, flow: Flow) -> None:
        face.delivered.append((data, flow))
        face.on_delivery(flow)

    face.listeners = Listeners(
        [ListenSpec(transport, host, port, Address(host, port)) for transport in transports],
        deliver=deliver,
        failed=lambda *failure: face.failures.append(failure),
        refused=face.refusals.append,
        counters=face.counters,
        server_tls=server_tls,
        client_tls=client_tls,
        answer_stun=(lambda flow: True) if answer_stun else None,
        limits=limits,
    )
    async with trio.open_nursery() as nursery:
        await nursery.start(face.listeners.run)
        yield face
        nursery.cancel_scope.cancel()
