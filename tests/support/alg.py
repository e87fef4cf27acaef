"""A router's "SIP helper" on the way of a TCP connection: it rewrites whatever looks like SIP, and ruins it."""

from __future__ import annotations

import re

import trio

from tunnel.address import Address

__all__ = ["MeddlingRouter"]

# What such helpers look for, and what a capture of an open connection would show (S4-12).
_READABLE = re.compile(rb"SIP/2\.0|INVITE |REGISTER |Content-Length:|a=rtpmap|m=audio|<sip:", re.IGNORECASE)
_PRIVATE = re.compile(rb"10\.\d+\.\d+\.\d+|127\.0\.0\.\d+")
CHUNK_BYTES = 65536


class MeddlingRouter:
    """``carried``: bytes that passed; ``found``: how often something of SIP, SDP or ``marker`` stood among them."""

    def __init__(self, target: Address, marker: bytes = b"") -> None:
        self.target = target
        self.address = Address("127.0.0.1", 0)
        self.carried = 0
        self.found = 0
        self._marker = marker

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        self.address = Address("127.0.0.1", listeners[0].socket.getsockname()[1])
        task_status.started()
        await trio.serve_listeners(self._relay, listeners)

    def meddle(self, data: bytes) -> bytes:
        """What the helper makes of a chunk."""
        self.carried += len(data)
        self.found += len(_READABLE.findall(data)) + (data.count(self._marker) if self._marker else 0)
        if not _READABLE.search(data):
            return data
        return _PRIVATE.sub(b"203.0.113.1", data).replace(b"Content-Length: ", b"Content-Length: 9")

    async def _relay(self, near: trio.SocketStream) -> None:
        far = await trio.open_tcp_stream(self.target.host, self.target.port)
        async with near, far, trio.open_nursery() as nursery:
            for source, target in ((near, far), (far, near)):
                nursery.start_soon(self._carry, source, target)

    async def _carry(self, source: trio.SocketStream, target: trio.SocketStream) -> None:
        try:
            while data := await source.receive_some(CHUNK_BYTES):
                await target.send_all(self.meddle(data))
            await target.send_eof()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
