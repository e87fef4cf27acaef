from __future__ import annotations

import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
from structlog.testing import capture_logs
from support.tls import Authority

from outside_server.acceptor import Acceptor
from tunnel.address import Address
from tunnel.counters import Counters
from tunnel.errors import Refused
from tunnel.link.driver import Link
from tunnel.link.identity import AgentIdentity
from tunnel.link.secure import SecureChannel

LINGER_NOT = struct.pack("ii", 1, 0)


class Door:
    """An acceptor that refuses every agent, on a port of its own."""

    def __init__(self, authority: Authority, most_strangers: int) -> None:
        self.counters = Counters()
        context = authority.server()
        self.acceptor = Acceptor(
            lambda: SecureChannel(context, server_side=True), self.admit, self.answer, self.counters, most_strangers
        )
        self.address = Address("127.0.0.1", 0)

    def admit(self, identity: AgentIdentity) -> Link:
        raise Refused("closed today")

    def answer(self, request: bytes) -> bytes:
        raise ZeroDivisionError

    async def until(self, counter: str, times: int = 1) -> None:
        with trio.fail_after(3):
            while self.counters[counter] < times:  # noqa: ASYNC110
                await trio.sleep(0.005)


@asynccontextmanager
async def open_door(authority: Authority, most_strangers: int = 8) -> AsyncIterator[Door]:
    door = Door(authority, most_strangers)
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    door.address = Address("127.0.0.1", listener.socket.getsockname()[1])
    with trio.fail_after(10), capture_logs():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.serve_listeners, door.acceptor.serve, [listener])
            yield door
            nursery.cancel_scope.cancel()


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


async def test_a_peer_that_is_gone_before_its_turn_hurts_nobody(authority: Authority) -> None:
    async with open_door(authority) as door:
        for _ in range(5):
            with socket.create_connection(door.address) as peer:
                peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_NOT)
        await door.until("tunnel.refused.gone", 5)
        with socket.create_connection(door.address) as peer:
            peer.sendall(b"hello, this is no TLS at all")
            await door.until("tunnel.refused.handshake")


async def test_when_the_hall_is_full_the_oldest_stranger_goes(authority: Authority) -> None:
    """Whoever says nothing cannot keep an agent out."""
    async with open_door(authority, most_strangers=3) as door:
        silent = [await trio.open_tcp_stream(*door.address) for _ in range(4)]
        await door.until("tunnel.refused.too_many_strangers")
        assert await silent[0].receive_some() == b"", "the first has been shown out"
        silent[-1].socket.close()
        fifth = await trio.open_tcp_stream(*door.address)
        await fifth.send_all(b"no TLS")
        await door.until("tunnel.refused.handshake")
        for stream in (*silent, fifth):
            stream.socket.close()


async def test_a_fault_of_ours_costs_one_connection(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_door(authority) as door:
        monkeypatch.setattr(door.acceptor, "_new_channel", lambda: 1 // 0)
        stream = await trio.open_tcp_stream(*door.address)
        assert await stream.receive_some() == b""
        assert door.counters["internal.errors"] == 1
        monkeypatch.undo()
        await stream.aclose()
        again = await trio.open_tcp_stream(*door.address)
        await again.send_all(b"no TLS")
        await door.until("tunnel.refused.handshake")
        await again.aclose()
