"""[io] All media sockets in one epoll set, and the loop that empties them. The hottest code of the product.

A packet's way, for each socket that is ready:

1. the table has, by file descriptor: how to receive, the first half of the frame header, and whom to count it for;
2. receive once, without waiting;
3. append header, length and packet to the batch; count it.

Whatever needs thought (a door, a path not yet confirmed) has a slow function in the place of ``socket.recv``: it deals
with the packet, and raises BlockingIOError. What it passes on joins the same batch.
"""

from __future__ import annotations

import select
import socket
from collections.abc import Callable
from typing import TypeAlias

from tunnel.counters import Counters
from tunnel.link.frames import LENGTHS
from tunnel.media.sockets import RECEIVE_BYTES

__all__ = ["MAX_BATCH", "ONE_PACKET", "Drain", "Receive", "Tally"]

MAX_BATCH = 90
"""Packets drained at a time: with G.711 in frames of 20 ms they fit into one TLS record."""

Receive: TypeAlias = Callable[[int], bytes]


ONE_PACKET = 1 << 44
"""What a packet adds to ``Tally.count`` besides its bytes: those have 16 TiB of room below."""


class Tally:
    """Packets of one direction of one stream, and the latest of them.

    Both are in one number, ``count``, because the hot loops pay for each attribute they touch.
    """

    __slots__ = ("count", "last")

    def __init__(self) -> None:
        self.count = 0
        self.last = b""

    def add(self, packet: bytes) -> None:
        self.count += ONE_PACKET + len(packet)
        self.last = packet

    @property
    def packets(self) -> int:
        return self.count // ONE_PACKET

    @property
    def bytes(self) -> int:
        return self.count % ONE_PACKET


class Drain:
    """The epoll set with its table. ``now`` is the time of the batch in hand, for the slow functions."""

    def __init__(self, counters: Counters) -> None:
        self.now = 0.0
        self._counters = counters
        self._epoll = select.epoll()
        self._table: dict[int, tuple[Receive, bytes, Tally]] = {}
        self._parts: list[bytes] = []

    def fileno(self) -> int:
        return self._epoll.fileno()

    def close(self) -> None:
        self._epoll.close()

    @property
    def sockets(self) -> int:
        """How many sockets are watched."""
        return len(self._table)

    def watch(self, sock: socket.socket, receive: Receive, header: bytes, tally: Tally) -> None:
        """Drain ``sock`` by ``receive`` from now on; again to change how."""
        descriptor = sock.fileno()
        if descriptor not in self._table:
            self._epoll.register(descriptor, select.EPOLLIN)
        self._table[descriptor] = receive, header, tally

    def forget(self, sock: socket.socket) -> None:
        """To be called before ``sock`` is closed."""
        descriptor = sock.fileno()
        if self._table.pop(descriptor, None) is not None:
            self._epoll.unregister(descriptor)

    def pass_on(self, header: bytes, packet: bytes) -> None:
        """Add a packet, at most RECEIVE_BYTES long, to the batch."""
        if len(packet) >= RECEIVE_BYTES:
            self._counters.bump("media.dropped.oversize")
            return
        self._parts += (header, LENGTHS[len(packet)], packet)

    @property
    def has_parts(self) -> bool:
        """Whether something was passed on outside ``drain``."""
        return bool(self._parts)

    def take(self) -> list[bytes]:
        """What was passed on outside ``drain``: three parts for each packet, as ``drain`` gives them."""
        parts, self._parts = self._parts, []
        return parts

    def drain(self) -> tuple[list[bytes], bool]:
        """Receive once from each ready socket, MAX_BATCH at most: the parts, and whether there may be more."""
        table, parts, lengths = self._table, self._parts, LENGTHS
        ready = self._epoll.poll(0, MAX_BATCH)
        for descriptor, _ in ready:
            try:
                receive, header, tally = table[descriptor]
                packet = receive(RECEIVE_BYTES)
                size = len(packet)
                parts += (header, lengths[size], packet)
            except BlockingIOError:
                continue
            except OSError:  # an ICMP error of something sent before
                self._counters.bump("media.socket_errors")
                continue
            except KeyError:  # closed by what an earlier packet of this batch brought about
                continue
            except IndexError:
                self._counters.bump("media.dropped.oversize")
                continue
            tally.count += ONE_PACKET + size
            tally.last = packet
        if parts:
            self._parts = []
        return parts, len(ready) == MAX_BATCH
