"""The agent's way to the server: dial, serve the session, dial again, for ever. [io]"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

import structlog
import trio

from tunnel.address import Address
from tunnel.carriers.direct import connect_direct
from tunnel.errors import CarrierLost, PeerMisbehaved, Refused, WallpassError
from tunnel.link.driver import Link
from tunnel.link.secure import SecureChannel

__all__ = ["Backoff", "Dialer"]

log = structlog.get_logger()

# Our numbers. The first retry is nearly at once, because a cut is often a moment's. Then the waits double, to stay short
# for about a minute: a server that restarts finds its agents back within 3 s. An outage that lasts longer is not over
# sooner for being asked often.
FIRST_RETRY_S = 0.05
RESTART_RETRY_S = 2.0
RESTART_RETRIES = 30
LONGEST_RETRY_S = 30.0
# Whoever said no will hardly say yes a moment later.
REFUSED_RETRY_S = 5.0
CONNECT_TIMEOUT_S = 5.0
# A session that was up for so long was a good one: after it the waits begin anew.
GOOD_AFTER_S = 5.0


class Backoff:
    """Waits that grow to 30 s, each drawn from the upper half of its span so that agents do not come in step."""

    def __init__(self, draw: Callable[[float, float], float] = random.uniform) -> None:
        self._draw = draw
        self._next_s = FIRST_RETRY_S
        self._patience = RESTART_RETRIES

    def wait_s(self, least_s: float = 0.0) -> float:
        """The next wait in seconds, drawn from a span of at least ``least_s``."""
        wait = max(self._next_s, least_s)
        if self._next_s == RESTART_RETRY_S and self._patience:
            self._patience -= 1
        else:
            longest = RESTART_RETRY_S if self._next_s < RESTART_RETRY_S else LONGEST_RETRY_S
            self._next_s = min(self._next_s * 2, longest)
        return self._draw(wait / 2, wait)

    def reset(self) -> None:
        """The next failure is the first again."""
        self._next_s = FIRST_RETRY_S
        self._patience = RESTART_RETRIES


class Dialer:
    """Keeps ``link`` connected to one of ``servers``; its owner tells when the session ``came_up``."""

    def __init__(self, link: Link, servers: Sequence[Address], new_channel: Callable[[], SecureChannel]) -> None:
        self._link = link
        self._servers = servers
        self._new_channel = new_channel
        self._backoff = Backoff()
        self._up_at: float | None = None

    def came_up(self) -> None:
        """The connection of the moment serves the session."""
        self._up_at = trio.current_time()

    async def run(self) -> None:
        """Dial the servers in turn for ever; a server that served well is the first to be asked again."""
        turn = 0
        while True:
            server = self._servers[turn % len(self._servers)]
            self._up_at = None
            why = await self._serve_once(server)
            up_s = self._up_s()
            if up_s >= GOOD_AFTER_S:
                self._backoff.reset()
            else:
                turn += 1
            is_refused = isinstance(why, Refused) or (not up_s and isinstance(why, PeerMisbehaved))
            wait_s = self._backoff.wait_s(REFUSED_RETRY_S if is_refused else 0.0)
            level = "error" if is_refused else "warning"
            event = "tunnel.refused" if is_refused else "tunnel.lost"
            getattr(log, level)(event, server=str(server), reason=str(why), retry_s=round(wait_s, 2))
            await trio.sleep(wait_s)

    def _up_s(self) -> float:
        """For how long the connection of the moment has served; 0 if not at all."""
        return 0.0 if self._up_at is None else trio.current_time() - self._up_at

    async def _serve_once(self, server: Address) -> WallpassError:
        try:
            carrier = await connect_direct(server, CONNECT_TIMEOUT_S)
        except CarrierLost as error:
            return error
        return await self._link.run_carrier(carrier, self._new_channel())
