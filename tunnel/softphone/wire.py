"""[io] How a phone's messages get to others: datagrams, or connections that are made when first needed."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol, TypeAlias

import trio

from tunnel.address import Address
from tunnel.errors import BadPacket
from tunnel.sip.framing import DatagramKind, StreamFramer, classify_datagram

__all__ = ["Deliver", "TcpWire", "UdpWire", "Wire", "open_wire"]

Deliver: TypeAlias = Callable[[bytes, Address], None]

MOST_BYTES = 65535
CONNECT_S = 5.0
MOST_QUEUED = 256  # messages that wait for a connection; what is beyond is dropped, as a busy network would


class Wire(Protocol):
    """One SIP socket, bound to ``address``."""

    address: Address

    async def run(self, deliver: Deliver) -> None:
        """Hand every message that comes to ``deliver``, with its source, until cancelled."""

    def send(self, data: bytes, destination: Address) -> None:
        """Send one message, while ``run`` runs; that it cannot be sent is not told, transactions find that out."""


async def open_wire(transport: str, bind: Address) -> Wire:
    """A wire of that transport ("udp" or "tcp"), bound; port 0 is any free one. Raises OSError."""
    return await TcpWire.open(bind) if transport == "tcp" else UdpWire.open(bind)


class UdpWire:
    """One datagram socket."""

    def __init__(self, socket: socket.socket) -> None:
        self.address = Address(*socket.getsockname()[:2])
        self._socket = socket
        self._nursery: trio.Nursery | None = None

    @classmethod
    def open(cls, bind: Address) -> UdpWire:
        family = socket.AF_INET6 if bind.is_ipv6 else socket.AF_INET
        opened = socket.socket(family, socket.SOCK_DGRAM)
        opened.setblocking(False)
        try:
            opened.bind((bind.host, bind.port))
        except BaseException:
            opened.close()
            raise
        return cls(opened)

    async def run(self, deliver: Deliver) -> None:
        with self._socket:
            async with trio.open_nursery() as self._nursery:
                while True:
                    await trio.lowlevel.wait_readable(self._socket)
                    with suppress(OSError):  # an ICMP error of something sent before
                        data, source = self._socket.recvfrom(MOST_BYTES)
                        if classify_datagram(data) is DatagramKind.SIP:
                            deliver(data, Address(*source[:2]))

    def send(self, data: bytes, destination: Address) -> None:
        try:
            ipaddress.ip_address(destination.host)
        except ValueError:
            assert self._nursery is not None
            self._nursery.start_soon(self._send_to_name, data, destination)
            return
        with suppress(OSError):
            self._socket.sendto(data, (destination.host, destination.port))

    async def _send_to_name(self, data: bytes, destination: Address) -> None:
        with suppress(OSError):
            found = await trio.socket.getaddrinfo(
                destination.host, destination.port, self._socket.family, socket.SOCK_DGRAM
            )
            self._socket.sendto(data, found[0][4])


class TcpWire:
    """A listener and its connections, by the address of the peer; a response finds the one its request came on."""

    def __init__(self, listener: trio.SocketListener) -> None:
        self.address = Address(*listener.socket.getsockname()[:2])
        self._listener = listener
        self._connections: dict[Address, trio.SocketStream] = {}
        self._nursery: trio.Nursery | None = None
        self._deliver: Deliver | None = None
        self._queue, self._to_send = trio.open_memory_channel[tuple[bytes, Address]](MOST_QUEUED)

    @classmethod
    async def open(cls, bind: Address) -> TcpWire:
        (listener,) = await trio.open_tcp_listeners(bind.port, host=bind.host)
        return cls(listener)

    async def run(self, deliver: Deliver) -> None:
        self._deliver = deliver
        async with trio.open_nursery() as self._nursery:
            self._nursery.start_soon(self._write)
            await trio.serve_listeners(self._serve, [self._listener], handler_nursery=self._nursery)

    def send(self, data: bytes, destination: Address) -> None:
        with suppress(trio.WouldBlock):
            self._queue.send_nowait((data, destination))

    async def _write(self) -> None:
        async for data, destination in self._to_send:
            await self._send(data, destination)

    async def _send(self, data: bytes, destination: Address) -> None:
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
