"""Two sessions and the connection between them, in virtual time: delay, rate, a send queue, freezes and cuts."""

from __future__ import annotations

import itertools
from collections import deque

from support.clock import VirtualClock
from tunnel.carriers.base import MAX_ROOM_BYTES, MIN_ROOM_BYTES
from tunnel.counters import Counters
from tunnel.link.events import SessionEvent, SignalReceived
from tunnel.link.session import Role, Session

__all__ = ["End", "SessionPair", "Wire"]


class Wire:
    """One direction of a connection: records wait in a send queue, cross at a rate, and arrive after a delay."""

    def __init__(self, delay_s: float = 0.0, rate_bytes_s: float = 1e9) -> None:
        self.delay_s = delay_s
        self.rate_bytes_s = rate_bytes_s
        self.frozen = False
        self.black_hole = False
        self.clear()

    def clear(self) -> None:
        """A new connection: nothing is under way."""
        self._queue: deque[bytes] = deque()
        self._crossing: deque[tuple[float, bytes]] = deque()
        self._credit = 0.0

    @property
    def room(self) -> int:
        """As the direct carrier has it: what goes out in 20 ms."""
        waiting = sum(map(len, self._queue))
        limit = max(MIN_ROOM_BYTES, min(MAX_ROOM_BYTES, int(self.rate_bytes_s * 0.02)))
        return 0 if waiting > limit // 2 else max(MIN_ROOM_BYTES, limit - waiting)

    def send(self, record: bytes) -> None:
        self._queue.append(record)

    def step(self, now: float, passed_s: float) -> list[bytes]:
        """Let ``passed_s`` pass: returns what arrives."""
        if not self.frozen:
            self._credit = min(self._credit + passed_s * self.rate_bytes_s, max(passed_s * self.rate_bytes_s, 65536))
            while self._queue and len(self._queue[0]) <= self._credit:
                record = self._queue.popleft()
                self._credit -= len(record)
                self._crossing.append((now + self.delay_s, record))
        arrived = []
        while self._crossing and self._crossing[0][0] <= now and not self.frozen:
            record = self._crossing.popleft()[1]
            if not self.black_hole:
                arrived.append(record)
        return arrived


class End:
    """A session, what it was told, and what it heard."""

    def __init__(self, session: Session, counters: Counters, wire: Wire) -> None:
        self.session = session
        self.counters = counters
        self.wire = wire  # what this end sends goes here
        self.events: list[SessionEvent] = []

    @property
    def signals(self) -> list[bytes]:
        return [event.payload for event in self.events if isinstance(event, SignalReceived)]

    def collect(self) -> None:
        self.events += self.session.events()


class SessionPair:
    """An agent and a server that keep to the contract of the core: change, then drain."""

    def __init__(self, clock: VirtualClock | None = None, greeting: bytes = b"hello", **path: float) -> None:
        self.clock = clock or VirtualClock()
        serial = itertools.count(1)
        self.agent = self._end(Role.AGENT, serial, b"", path)
        self.server = self._end(Role.SERVER, serial, greeting, path)
        self.ends = (self.agent, self.server)
        self.is_connected = False

    def _end(self, role: Role, serial: itertools.count[int], greeting: bytes, path: dict[str, float]) -> End:
        counters = Counters()
        session = Session(role, counters, lambda size: next(serial).to_bytes(size, "big"), greeting)
        return End(session, counters, Wire(**path))

    def connect(self) -> None:
        """A new authenticated connection."""
        self.is_connected = True
        for end in self.ends:
            end.wire.clear()
            end.session.attach(self.clock.now)
            end.collect()

    def cut(self) -> None:
        """The connection is lost, with everything under way."""
        self.is_connected = False
        for end in self.ends:
            end.session.detach(self.clock.now, "cut")
            end.collect()

    def step(self, seconds: float = 0.001) -> None:
        """Let a little time pass: send, carry, receive, tick."""
        now = self.clock.advance(seconds)
        for end, other in ((self.agent, self.server), (self.server, self.agent)):
            if self.is_connected:
                while (room := end.wire.room) and (record := end.session.outgoing(now, room)):
                    end.wire.send(record)
                for record in end.wire.step(now, seconds):
                    more = other.session.receive_untrusted(record, now)
                    other.collect()
                    while more:
                        more = other.session.receive_untrusted(b"", now)
                        other.collect()
            if end.session.deadline() <= now:
                end.session.tick(now)
                end.collect()

    def run(self, seconds: float, step: float = 0.001) -> None:
        """Let time pass in small steps."""
        end = self.clock.now + seconds
        while self.clock.now < end:
            self.step(step)

    def up(self) -> SessionPair:
        """Connected and greeted."""
        self.connect()
        self.run(max(0.01, 6 * self.agent.wire.delay_s))
        assert self.agent.session.is_up
        assert self.server.session.is_up
        return self
