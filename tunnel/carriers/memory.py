"""[io] A carrier inside one process: two ends that can be cut, closed, frozen or made to swallow all.

Tests of everything that stands on a carrier use it.
"""

from __future__ import annotations

import trio

from tunnel.carriers.base import MAX_ROOM_BYTES, MIN_ROOM_BYTES
from tunnel.errors import CarrierLost

__all__ = ["MemoryCarrier", "memory_pair"]


class _Pipe:
    """One direction."""

    def __init__(self, capacity_bytes: int) -> None:
        self.capacity_bytes = capacity_bytes
        self.data = bytearray()
        self.is_frozen = False  # keeps what it has, and takes more until it is full
        self.is_swallowing = False  # takes everything, delivers nothing
        self.is_finished = False
        self.lost = ""
        self.waiting = trio.lowlevel.ParkingLot()

    @property
    def is_readable(self) -> bool:
        return bool(self.lost) or (not self.is_frozen and (bool(self.data) or self.is_finished))

    @property
    def room(self) -> int:
        left = self.capacity_bytes - len(self.data)
        return MAX_ROOM_BYTES if not self.data else min(left, MAX_ROOM_BYTES) if left >= MIN_ROOM_BYTES else 0


class MemoryCarrier:
    """One of two ends. What is done to an end (``freeze`` ...) is done to what it sends, ``cut`` to both directions."""

    def __init__(self, name: str, outgoing: _Pipe, incoming: _Pipe) -> None:
        self._name = name
        self._outgoing = outgoing
        self._incoming = incoming

    @property
    def name(self) -> str:
        return self._name

    def room(self) -> int:
        self._check(self._outgoing)
        return self._outgoing.room

    def try_send(self, data: bytes | memoryview) -> int:
        pipe = self._outgoing
        self._check(pipe)
        if pipe.is_swallowing:
            return len(data)
        taken = data[: max(0, pipe.capacity_bytes - len(pipe.data))]
        pipe.data += taken
        pipe.waiting.unpark_all()
        return len(taken)

    def try_receive(self, max_bytes: int) -> bytes | None:
        pipe = self._incoming
        self._check(pipe)
        if not pipe.is_readable:
            return None
        data = bytes(pipe.data[:max_bytes])
        del pipe.data[:max_bytes]
        pipe.waiting.unpark_all()
        return data

    async def wait_readable(self) -> None:
        await trio.lowlevel.checkpoint()
        while not self._incoming.is_readable:
            await self._incoming.waiting.park()
        self._check(self._incoming)

    async def wait_writable(self) -> None:
        await trio.lowlevel.checkpoint()
        while not self._outgoing.lost and not self._outgoing.room:
            await self._outgoing.waiting.park()
        self._check(self._outgoing)

    def close(self) -> None:
        """The other end reads what is left, then the end; this end can do nothing more."""
        self._outgoing.is_finished = True
        self._lose(self._incoming, "closed")

    def cut(self, reason: str = "connection reset by peer") -> None:
        """As a reset: both ends lose the connection and what was under way."""
        for pipe in (self._outgoing, self._incoming):
            self._lose(pipe, reason)

    def freeze(self) -> None:
        """What this end sends stays where it is."""
        self._outgoing.is_frozen = True

    def thaw(self) -> None:
        """Undo ``freeze``."""
        self._outgoing.is_frozen = False
        self._outgoing.waiting.unpark_all()

    def swallow(self) -> None:
        """A black hole: what this end sends vanishes, and nobody is told."""
        self._outgoing.is_swallowing = True
        self._outgoing.data.clear()

    def _check(self, pipe: _Pipe) -> None:
        if pipe.lost:
            raise CarrierLost(f"{self._name}: {pipe.lost}")

    @staticmethod
    def _lose(pipe: _Pipe, reason: str) -> None:
        pipe.lost = pipe.lost or reason
        pipe.data.clear()
        pipe.waiting.unpark_all()


def memory_pair(capacity_bytes: int = 65536) -> tuple[MemoryCarrier, MemoryCarrier]:
    """Two connected ends; each direction holds up to ``capacity_bytes`` that nobody has read."""
    there, back = _Pipe(capacity_bytes), _Pipe(capacity_bytes)
    return MemoryCarrier("memory", there, back), MemoryCarrier("memory", back, there)
