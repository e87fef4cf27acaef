"""The agent's way to the server: dial, serve the session, dial again, for ever. [io]"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

import structlog
import trio

from tunnel.address import Address
from tunnel.carriers.direct import connect_direct
from tunnel.errors import CarrierLost, Refused, WallpassError
from tunnel.link.driver import Link
from tunnel.link.secure import SecureChannel

__all__ = ["Backoff", "keep_connected"]

log = structlog.get_logger()

# Our numbers. The first retry is nearly at once, because a cut is often a moment's; from then on the wait doubles.
FIRST_RETRY_S = 0.05
LONGEST_RETRY_S = 30.0
CONNECT_TIMEOUT_S = 5.0
# A connection that lived this long was a good one: the next failure starts from the first wait again. Short, because a line
# that is cut every few seconds must not make each silence longer than the one before.
GOOD_AFTER_S = 1.0


class Backoff:
    """Waits that double up to 30 s, each drawn from the upper half of its span so that agents do not come in step."""

    def __init__(self, draw: Callable[[float, float], float] = random.uniform) -> None:
        self._draw = draw
        self._next_s = FIRST_RETRY_S

    def wait_s(self) -> float:
        """The next wait in seconds."""
        wait, self._next_s = self._next_s, min(self._next_s * 2, LONGEST_RETRY_S)
        return self._draw(wait / 2, wait)

    def reset(self) -> None:
        self._next_s = FIRST_RETRY_S


async def keep_connected(link: Link, servers: Sequence[Address], new_channel: Callable[[], SecureChannel]) -> None:
    """Dial the servers in turn for ever and serve ``link`` by each connection. Runs until cancelled."""
    backoff = Backoff()
    turn = 0
    while True:
        server = servers[turn % len(servers)]
        started = trio.current_time()
        why = await _serve_once(link, server, new_channel)
        if trio.current_time() - started >= GOOD_AFTER_S:
            backoff.reset()
        else:
            turn += 1
        wait_s = backoff.wait_s()
        if isinstance(why, Refused):
            log.error("tunnel.refused", server=str(server), reason=str(why), retry_s=round(wait_s, 1))
        else:
            log.warning("tunnel.lost", server=str(server), reason=str(why), retry_s=round(wait_s, 2))
        await trio.sleep(wait_s)


async def _serve_once(link: Link, server: Address, new_channel: Callable[[], SecureChannel]) -> WallpassError:
    try:
        carrier = await connect_direct(server, CONNECT_TIMEOUT_S)
    except CarrierLost as error:
        return error
    return await link.run_carrier(carrier, new_channel())
