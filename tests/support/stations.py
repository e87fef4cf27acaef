"""Two links with real TLS between them, over whatever carriers a test gives them."""

from __future__ import annotations

import ssl

import trio

from support.tls import Authority
from tunnel.carriers.base import Carrier
from tunnel.carriers.memory import MemoryCarrier, memory_pair
from tunnel.counters import Counters
from tunnel.errors import WallpassError
from tunnel.link.driver import Link
from tunnel.link.events import SessionEvent, SessionUp, SignalReceived
from tunnel.link.secure import SecureChannel
from tunnel.link.session import Role, Session

__all__ = ["Station", "Stations"]


class Station:
    """A link, what it was told, and how its carriers ended."""

    def __init__(self, role: Role, context: ssl.SSLContext) -> None:
        self.counters = Counters()
        self.role = role
        self.context = context
        self.events: list[SessionEvent] = []
        self.link = Link(Session(role, self.counters, lambda size: b"t" * size, b"hello"), self._deliver)
        self.ends: list[WallpassError] = []
        self._changed = trio.Event()

    def _deliver(self, event: SessionEvent) -> None:
        self.events.append(event)
        self._signal()

    def _signal(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    async def change(self) -> None:
        """Wait for the next event, or the end of a carrier."""
        await self._changed.wait()

    async def serve(self, carrier: Carrier) -> None:
        secure = SecureChannel(self.context, server_side=self.role is Role.SERVER)
        self.ends.append(await self.link.run_carrier(carrier, secure))
        self._signal()

    async def until(self, event: SessionEvent, times: int = 1) -> None:
        while self.events.count(event) < times:
            await self.change()

    async def until_ended(self, times: int = 1) -> WallpassError:
        while len(self.ends) < times:
            await self.change()
        return self.ends[-1]

    @property
    def signals(self) -> list[bytes]:
        return [event.payload for event in self.events if isinstance(event, SignalReceived)]


class Stations:
    """Both ends in one nursery."""

    def __init__(self, nursery: trio.Nursery, authority: Authority) -> None:
        self.nursery = nursery
        self.agent = Station(Role.AGENT, authority.agent())
        self.server = Station(Role.SERVER, authority.server())
        self.both = (self.agent, self.server)

    def start(self, agent: Carrier, server: Carrier) -> None:
        self.nursery.start_soon(self.agent.serve, agent)
        self.nursery.start_soon(self.server.serve, server)

    async def connect(self, capacity_bytes: int = 65536) -> tuple[MemoryCarrier, MemoryCarrier]:
        carriers = memory_pair(capacity_bytes)
        seen = self.ups()
        self.start(*carriers)
        await self.until_up(seen)
        return carriers

    def ups(self) -> list[int]:
        """How often each end has come up."""
        return [sum(isinstance(event, SessionUp) for event in end.events) for end in self.both]

    async def until_up(self, seen: list[int]) -> None:
        """Wait until both ends have come up once more than ``seen``."""
        for number, end in enumerate(self.both):
            while self.ups()[number] == seen[number]:
                await end.change()
