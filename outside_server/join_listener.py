"""One connection of ``join``, after its TLS handshake: read the request, send the answer. [io]"""

from __future__ import annotations

from collections.abc import Callable

import trio

from tunnel.errors import CarrierLost, PeerMisbehaved
from tunnel.link.joining import JOIN_DEADLINE_S, LENGTH, MAX_JOIN_BYTES

__all__ = ["serve_join"]


async def serve_join(stream: trio.abc.Stream, answer: Callable[[bytes], bytes]) -> None:
    """Give the one request on ``stream`` to ``answer`` and send what it returns; then close the stream, in any case.

    Raises PeerMisbehaved when the request is too long or does not come within `JOIN_DEADLINE_S`, and CarrierLost when
    the connection ends before it is complete.
    """
    try:
        with trio.fail_after(JOIN_DEADLINE_S):
            (length,) = LENGTH.unpack(await _read(stream, LENGTH.size))
            if length > MAX_JOIN_BYTES:
                raise PeerMisbehaved(f"a request to join of {length} bytes")
            response = answer(await _read(stream, length))
            await stream.send_all(LENGTH.pack(len(response)) + response)
    except trio.TooSlowError:
        raise PeerMisbehaved(f"no request to join within {JOIN_DEADLINE_S:.0f} s") from None
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        raise CarrierLost("the connection of a join was lost") from None
    finally:
        await trio.aclose_forcefully(stream)


async def _read(stream: trio.abc.ReceiveStream, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = await stream.receive_some(size - len(data))
        if not more:
            raise CarrierLost("the connection of a join ended early")
        data += more
    return data
