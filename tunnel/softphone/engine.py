"""[io] Runs a user agent on a wire: reads, hands over, carries out what it says, keeps its clock."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import trio

from tunnel.address import Address
from tunnel.errors import BadPacket
from tunnel.softphone.leg import Leg
from tunnel.softphone.passage import Passage, read_passage_untrusted
from tunnel.softphone.user_agent import UserAgent
from tunnel.softphone.user_agent_events import CallOffered
from tunnel.softphone.wire import Wire

__all__ = ["Engine"]

# Ours: more calls than any script waits for; one that comes beyond them rings for nobody.
MOST_WAITING = 64


class Engine:
    """``watch`` is told every message that is sent or received."""

    def __init__(self, agent: UserAgent, wire: Wire, watch: Callable[[Passage], None]) -> None:
        self.agent = agent
        self._wire = wire
        self._watch = watch
        self._changed = trio.Event()
        self._offers, self._offered = trio.open_memory_channel[Leg](MOST_WAITING)

    async def run(self) -> None:
        """Serve until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._wire.run, self._receive)
            nursery.start_soon(self._keep_time)

    def carry_out(self) -> None:
        """Do what the agent says after a change to it, and wake whoever waits for one."""
        for event in self.agent.events():
            if isinstance(event, CallOffered):
                with suppress(trio.WouldBlock):
                    self._offers.send_nowait(event.leg)
        for data, destination in self.agent.outgoing():
            self._watch(read_passage_untrusted(data, sent=True, at=trio.current_time()))
            self._wire.send(data, destination)
        self._changed.set()
        self._changed = trio.Event()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until ``condition`` is true, which is looked at after each change."""
        while not condition():
            await self._changed.wait()

    async def next_offer(self) -> Leg:
        """The next call that comes."""
        return await self._offered.receive()

    def _receive(self, data: bytes, source: Address) -> None:
        now = trio.current_time()
        try:
            self._watch(read_passage_untrusted(data, sent=False, at=now))
            self.agent.receive_untrusted(data, source, now)
        except BadPacket:
            return
        self.carry_out()

    async def _keep_time(self) -> None:
        while True:
            changed = self._changed
            with trio.move_on_at(self.agent.deadline() or float("inf")):
                await changed.wait()
                continue
            self.agent.tick(trio.current_time())
            self.carry_out()
