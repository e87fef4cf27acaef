"""A TCP relay between agent and server that can cut what goes through it: by RST, by FIN, or by silence."""

from __future__ import annotations

import socket
import struct

import trio

from tunnel.address import Address

__all__ = ["Cutter"]

LINGER_NOT = struct.pack("ii", 1, 0)  # close then sends RST
CHUNK_BYTES = 65536


class Cutter:
    """Relays every connection to ``target``; what is done to the present ones does not concern those that come later.

    To the target it is a router with a NAT: connections come from ``leaves_from`` and a port of its choice.
    """

    def __init__(self, target: Address) -> None:
        self.target = target
        self.address = Address("127.0.0.1", 0)
        self.accepted = 0
        self.leaves_from = "127.0.0.1"
        self.sources: list[Address] = []  # what the target saw
        self._pairs: list[_Pair] = []

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        self.address = Address("127.0.0.1", listeners[0].socket.getsockname()[1])
        task_status.started()
        await trio.serve_listeners(self._relay, listeners)

    def reset(self) -> None:
        """RST to both ends."""
        for pair in self._taken():
            for stream in pair.streams:
                stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_NOT)
            pair.close()

    def finish(self) -> None:
        """FIN to both ends."""
        for pair in self._taken():
            for stream in pair.streams:
                stream.socket.shutdown(trio.socket.SHUT_WR)

    def swallow(self) -> None:
        """From now on nothing gets through, and nobody is told."""
        for pair in self._taken():
            pair.is_silent = True

    def _taken(self) -> list[_Pair]:
        taken, self._pairs = self._pairs, []
        return taken

    async def _relay(self, near: trio.SocketStream) -> None:
        self.accepted += 1
        try:
            far = await trio.open_tcp_stream(self.target.host, self.target.port, local_address=self.leaves_from)
        except OSError:
            near.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_NOT)
            near.socket.close()
            return
        self.sources.append(Address(*far.socket.getsockname()[:2]))
        pair = _Pair(near, far)
        self._pairs.append(pair)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(pair.carry, near, far)
                nursery.start_soon(pair.carry, far, near)
        finally:
            pair.close()
            if pair in self._pairs:
                self._pairs.remove(pair)


class _Pair:
    def __init__(self, near: trio.SocketStream, far: trio.SocketStream) -> None:
        self.streams = near, far
        self.is_silent = False
        for stream in self.streams:
            stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    async def carry(self, source: trio.SocketStream, target: trio.SocketStream) -> None:
        try:
            while data := await source.receive_some(CHUNK_BYTES):
                if not self.is_silent:
                    await target.send_all(data)
            if not self.is_silent:
                await target.send_eof()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass

    def close(self) -> None:
        for stream in self.streams:
            stream.socket.close()
