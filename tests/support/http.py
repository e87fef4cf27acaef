"""One HTTP request, by hand."""

from __future__ import annotations

import trio

from tunnel.address import Address

__all__ = ["get"]


async def get(to: Address, path: str) -> tuple[int, str]:
    """Status and body."""
    stream = await trio.open_tcp_stream(to.host, to.port)
    async with stream:
        await stream.send_all(f"GET {path} HTTP/1.1\r\nHost: {to}\r\nConnection: close\r\n\r\n".encode())
        answer = b"".join([chunk async for chunk in stream])
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), body.decode()
