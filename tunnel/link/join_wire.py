"""[io] The two messages of ``join`` on a trio stream: each behind its 16-bit length, each bounded."""

from __future__ import annotations

import trio

from tunnel.errors import CarrierLost, PeerMisbehaved
from tunnel.link.joining import LENGTH, MAX_JOIN_BYTES

__all__ = ["receive_message", "send_message"]


async def send_message(stream: trio.abc.SendStream, data: bytes) -> None:
    """Send one message. Raises CarrierLost."""
    try:
        await stream.send_all(LENGTH.pack(len(data)) + data)
    except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
        raise CarrierLost(f"the connection was lost: {error.__cause__ or error}") from None


async def receive_message(stream: trio.abc.ReceiveStream) -> bytes:
    """Receive one message. Raises CarrierLost, and PeerMisbehaved when it would be too long."""
    (length,) = LENGTH.unpack(await _receive_exactly(stream, LENGTH.size))
    if length > MAX_JOIN_BYTES:
        raise PeerMisbehaved(f"a message of {length} bytes, where {MAX_JOIN_BYTES} are the most")
    return await _receive_exactly(stream, length)


async def _receive_exactly(stream: trio.abc.ReceiveStream, size: int) -> bytes:
    data = b""
    while len(data) < size:
        try:
            more = await stream.receive_some(size - len(data))
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise CarrierLost(f"the connection was lost: {error.__cause__ or error}") from None
        if not more:
            raise CarrierLost("the connection ended early")
        data += more
    return data
