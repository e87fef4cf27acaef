"""[io] How a phone's messages get to others: datagrams, or connections that are made when first needed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeAlias

import trio

from tunnel.address import Address
from tunnel.errors import BadPacket
from tunnel.sip.framing import DatagramKind, StreamFramer, classify_datagram

__all__ = ["Deliver", "TcpWire", "UdpWire", "Wire", "open_wire"]

Deliver: TypeAlias = Callable[[bytes, Address], None]

MOST_BYTES = 65535
CONNECT_S = 5.0


class Wire(Protocol):
    """One SIP socket, bound to ``address``."""

    address: Address

    async def run(self, deliver: Deliver) -> None:
        """Hand every message that comes to ``deliver``, with its source, until cancelled."""

    async def send(self, data: bytes, destination: Address) -> None:
        """Send one message; that it cannot be sent is not told, transactions find out by themselves."""


async def open_wire(transport: str, bind: Address) -> Wire:
    """A wire of that transport ("udp" or "tcp"), bound; port 0 is any free one. Raises OSError."""
    return await (TcpWire.open(bind) if transport == "tcp" else UdpWire.open(bind))


class UdpWire:
    def __init__(self, socket: trio.socket.SocketType) -> None:
        self.address = Address(*socket.getsockname()[:2])
        self._socket = socket

    @classmethod
    async def open(cls, bind: Address) -> UdpWire:
        family = trio.socket.AF_INET6 if bind.is_ipv6 else trio.socket.AF_INET
        socket = trio.socket.socket(family, trio.socket.SOCK_DGRAM)
        try:
            await socket.bind((bind.host, bind.port))
        except BaseException:
            socket.close()
            raise
        return cls(socket)

    async def run(self, deliver: Deliver) -> None:
        with self._socket:
            while True:
                try:
                    data, source = await self._socket.recvfrom(MOST_BYTES)
                except OSError:  # an ICMP error of something sent before
                    continue
                if classify_datagram(data) is DatagramKind.SIP:
                    deliver(data, Address(*source[:2]))

    async def send(self, data: bytes, destination: Address) -> None:
        try:
            await self._socket.sendto(data, (destination.host, destination.port))
        except OSError:
            return


class TcpWire:
    def __init__(self, listener: trio.SocketListener) -> None:
        self.address = Address(*listener.socket.getsockname()[:2])
        self._listener = listener
        self._connections: dict[Address, trio.SocketStream] = {}
        self._nursery: trio.Nursery | None = None
        self._deliver: Deliver | None = None

    @classmethod
    async def open(cls, bind: Address) -> TcpWire:
        (listener,) = await trio.open_tcp_listeners(bind.port, host=bind.host)
        return cls(listener)

    async def run(self, deliver: Deliver) -> None:
        self._deliver = deliver
        async with trio.open_nursery() as self._nursery:
            await trio.serve_listeners(self._serve, [self._listener], handler_nursery=self._nursery)

    async def send(self, data: bytes, destination: Address) -> None:
        try:
            stream = self._connections.get(destination)
            if stream is None:
                with trio.fail_after(CONNECT_S):
                    stream = await trio.open_tcp_stream(destination.host, destination.port)
                self._connections[destination] = stream
                assert self._nursery is not None
                self._nursery.start_soon(self._read, stream, destination)
            await stream.send_all(data)
        except (OSError, trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError):
            self._connections.pop(destination, None)

    async def _serve(self, stream: trio.SocketStream) -> None:
        source = Address(*stream.socket.getpeername()[:2])
        self._connections[source] = stream
        await self._read(stream, source)

    async def _read(self, stream: trio.SocketStream, source: Address) -> None:
        framer = StreamFramer()
        assert self._deliver is not None
        async with stream:
            try:
                while data := await stream.receive_some():
                    for framed in framer.feed_untrusted(data, trio.current_time()):
                        if isinstance(framed, bytes):
                            self._deliver(framed, source)
                        else:
                            await stream.send_all(b"\r\n")
            except (BadPacket, trio.BrokenResourceError, trio.ClosedResourceError):
                pass
            finally:
                if self._connections.get(source) is stream:
                    del self._connections[source]
