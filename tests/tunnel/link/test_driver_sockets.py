"""The driver over real sockets with real TLS: resets, ends and black holes (T19, 3-#2)."""

from __future__ import annotations

import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
from support.stations import Stations

from tunnel.address import Address
from tunnel.carriers.direct import DirectCarrier, connect_direct
from tunnel.errors import CarrierLost
from tunnel.link.events import SessionDown, SessionUp, SignalReceived
from tunnel.link.frames import frame

PACKET = bytes((0x80, 0)).ljust(172, b"x")


class Relay:
    """A TCP connection in two halves with a relay between them, that can stop relaying."""

    def __init__(self) -> None:
        self.is_black_hole = False
        self.sockets: list[trio.SocketStream] = []

    async def relay(self, source: trio.SocketStream, target: trio.SocketStream) -> None:
        try:
            async for data in source:
                if not self.is_black_hole:
                    await target.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        await trio.aclose_forcefully(target)


@asynccontextmanager
async def loopback(stations: Stations) -> AsyncIterator[Relay]:
    """Connect both stations through a Relay over real sockets."""
    path = Relay()
    (front,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    (back,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with front, back, trio.open_nursery() as nursery:
        agent = await connect_direct(Address("127.0.0.1", front.socket.getsockname()[1]), 5)
        near = await front.accept()
        far = await trio.open_tcp_stream("127.0.0.1", back.socket.getsockname()[1])
        path.sockets += [near, far]
        nursery.start_soon(path.relay, near, far)
        nursery.start_soon(path.relay, far, near)
        server = DirectCarrier.adopt(await back.accept())
        seen = stations.ups()
        stations.start(agent, server)
        with trio.fail_after(5):
            await stations.until_up(seen)
        yield path
        nursery.cancel_scope.cancel()
    for stream in path.sockets:
        await trio.aclose_forcefully(stream)


async def test_much_crosses_real_sockets(stations: Stations) -> None:
    async with loopback(stations):
        heard = [0]

        def hear(packet: bytes) -> None:
            heard[0] += 1

        stations.server.link.sinks[16] = hear
        batch = [frame(16, PACKET)] * 80
        with trio.fail_after(10):
            for number in range(300):
                stations.agent.link.session.send_media(batch, 80, trio.current_time())
                stations.agent.link.send_signal(b"%d" % number * 400)
                if number % 10 == 0:
                    stations.server.link.send_signal(bytes(30_000))
                await trio.sleep(0.001)
            await stations.server.until(SignalReceived(b"299" * 400))
        assert stations.server.signals == [b"%d" % number * 400 for number in range(300)]
        assert heard[0] > 0.99 * 300 * 80


@pytest.mark.parametrize("how", ["reset", "end"])
async def test_calls_go_on_after_the_connection_is_reset_or_ended(stations: Stations, how: str) -> None:
    async with loopback(stations) as path:
        if how == "reset":
            for stream in path.sockets:
                stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        for stream in path.sockets:
            await trio.aclose_forcefully(stream)
        with trio.fail_after(2):
            for end in stations.both:
                assert isinstance(await end.until_ended(), CarrierLost)
    stations.agent.link.send_signal(b"re-INVITE")
    async with loopback(stations):
        with trio.fail_after(2):
            await stations.server.until(SignalReceived(b"re-INVITE"))
    assert SessionUp(True, b"hello") in stations.server.events


async def test_a_black_hole_in_a_call_is_noticed_within_2_s_and_nothing_sent_into_it_is_lost(
    stations: Stations,
) -> None:
    async with loopback(stations) as path:
        for end in stations.both:
            end.link.session.set_busy(1, trio.current_time())
            end.link.flush()
        path.is_black_hole = True
        stations.agent.link.send_signal(b"BYE")
        with trio.fail_after(2.3):
            for end in stations.both:
                await end.until(SessionDown("the other end fell silent"))
    async with loopback(stations):
        with trio.fail_after(2):
            await stations.server.until(SignalReceived(b"BYE"))
    assert stations.server.signals == [b"BYE"]
