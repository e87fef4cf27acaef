"""[io] One connection of ``join``, after its TLS handshake: read the request, send the answer."""

from __future__ import annotations

from collections.abc import Callable

import trio

from tunnel.errors import PeerMisbehaved
from tunnel.link.join_wire import receive_message, send_message
from tunnel.link.joining import JOIN_DEADLINE_S

__all__ = ["serve_join"]


async def serve_join(stream: trio.abc.Stream, answer: Callable[[bytes], bytes]) -> None:
    """Give the one request on ``stream`` to ``answer`` and send what it returns; then close the stream, in any case.

    Raises PeerMisbehaved when the request is too long or all of it has not come within `JOIN_DEADLINE_S`, and
    CarrierLost when the connection ends before.
    """
    try:
        with trio.fail_after(JOIN_DEADLINE_S):
            await send_message(stream, answer(await receive_message(stream)))
    except trio.TooSlowError:
        raise PeerMisbehaved(f"no request to join within {JOIN_DEADLINE_S:.0f} s") from None
    finally:
        await trio.aclose_forcefully(stream)
