"""The direct carrier over loopback: options, back-pressure, and every way to lose a connection."""

from __future__ import annotations

import fcntl
import socket
import struct
from collections.abc import AsyncIterator
from typing import Any

import pytest
import structlog
import trio
import trio.testing

from tunnel.address import Address
from tunnel.carriers import direct
from tunnel.carriers.base import MAX_ROOM_BYTES, MIN_ROOM_BYTES
from tunnel.carriers.direct import DirectCarrier, connect_direct
from tunnel.errors import CarrierLost

SIOCOUTQNSD = 0x894B


class Ends:
    """A carrier and the plain stream at its other end."""

    def __init__(self, carrier: DirectCarrier, peer: trio.SocketStream) -> None:
        self.carrier = carrier
        self.peer = peer


@pytest.fixture
async def ends() -> AsyncIterator[Ends]:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener:
        carrier = await connect_direct(Address("127.0.0.1", listener.socket.getsockname()[1]), 5)
        async with await listener.accept() as peer:
            yield Ends(carrier, peer)
        carrier.close()


def option(carrier: DirectCarrier, name: int, size: int = 0) -> Any:
    return carrier._socket.getsockopt(socket.IPPROTO_TCP, name, *([size] if size else []))


async def test_the_socket_is_tuned_for_sound(ends: Ends) -> None:
    """N3: no Nagle, little unsent, a bound on what is not acknowledged."""
    assert option(ends.carrier, socket.TCP_NODELAY)
    assert option(ends.carrier, socket.TCP_NOTSENT_LOWAT) == MIN_ROOM_BYTES
    assert option(ends.carrier, socket.TCP_USER_TIMEOUT) == 5000
    assert ends.carrier._socket.getsockopt(socket.IPPROTO_IP, socket.IP_TOS) == 0x60


async def test_an_accepted_connection_is_tuned_too_and_knows_its_peer() -> None:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener, await trio.open_tcp_stream("127.0.0.1", listener.socket.getsockname()[1]) as peer:
        carrier = DirectCarrier.adopt(await listener.accept())
        assert option(carrier, socket.TCP_USER_TIMEOUT) == 5000
        assert carrier.name == f"direct 127.0.0.1:{peer.socket.getsockname()[1]}"
        carrier.close()


async def test_ipv6_is_named_in_brackets() -> None:
    (listener,) = await trio.open_tcp_listeners(0, host="::1")
    async with listener:
        port = listener.socket.getsockname()[1]
        carrier = await connect_direct(Address("::1", port), 5)
        assert carrier.name == f"direct [::1]:{port}"
        carrier.close()


async def test_a_host_without_bbr_says_so_once(monkeypatch: pytest.MonkeyPatch, ends: Ends) -> None:
    direct._say_bbr_refused.cache_clear()
    plain = socket.socket.setsockopt

    def refuse(sock: socket.socket, level: int, name: int, value: Any) -> None:
        if name == socket.TCP_CONGESTION and level == socket.IPPROTO_TCP:
            raise PermissionError(1, "Operation not permitted")
        plain(sock, level, name, value)

    monkeypatch.setattr(socket.socket, "setsockopt", refuse)
    with structlog.testing.capture_logs() as lines:
        direct._tune(ends.carrier._socket)
        direct._tune(ends.carrier._socket)
    assert [line["event"] for line in lines] == ["link.bbr_refused"]
    direct._say_bbr_refused.cache_clear()


async def test_bytes_cross_without_waiting(ends: Ends) -> None:
    assert ends.carrier.try_receive(100) is None
    assert ends.carrier.try_send(b"there") == 5
    assert await ends.peer.receive_some() == b"there"
    await ends.peer.send_all(b"back")
    await ends.carrier.wait_readable()
    assert ends.carrier.try_receive(100) == b"back"


async def test_the_kernel_never_holds_more_than_16_kib_unsent(ends: Ends) -> None:
    """3-#3: a peer that does not read must not make the kernel collect old sound."""
    worst = 0
    sent = 0
    while room := ends.carrier.room():
        assert MIN_ROOM_BYTES <= room <= MAX_ROOM_BYTES
        sent += ends.carrier.try_send(bytes(room))
        unsent = bytearray(4)
        fcntl.ioctl(ends.carrier._socket, SIOCOUTQNSD, unsent)
        worst = max(worst, int.from_bytes(unsent, "little"))
        await trio.lowlevel.checkpoint()
    assert 0 < worst <= 16384
    with trio.move_on_after(0.05) as waited:
        await ends.carrier.wait_writable()
    assert waited.cancelled_caught
    received = 0
    while received < sent:
        received += len(await ends.peer.receive_some())
    with trio.fail_after(2):
        await ends.carrier.wait_writable()
    assert ends.carrier.room()


async def test_writable_means_that_there_is_room(ends: Ends, nursery: trio.Nursery) -> None:
    """Else the task that waits for room would spin."""
    rounds = 0

    async def drink() -> None:
        async for _ in ends.peer:
            await trio.sleep(0.0005)

    nursery.start_soon(drink)
    with trio.move_on_after(0.5):
        while True:
            await ends.carrier.wait_writable()
            assert ends.carrier.room()
            while room := ends.carrier.room():
                ends.carrier.try_send(bytes(room))
            rounds += 1
    assert rounds > 3
    nursery.cancel_scope.cancel()


async def test_an_end_is_read_as_empty(ends: Ends) -> None:
    await ends.peer.send_eof()
    await ends.carrier.wait_readable()
    assert ends.carrier.try_receive(100) == b""


async def test_a_reset_is_a_lost_carrier(ends: Ends) -> None:
    ends.peer.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    await ends.peer.aclose()
    await ends.carrier.wait_readable()
    with pytest.raises(CarrierLost, match=r"direct 127\.0\.0\.1:\d+: Connection reset by peer"):
        ends.carrier.try_receive(100)


async def test_closing_wakes_who_waits_and_may_be_done_twice(ends: Ends) -> None:
    async def wait() -> None:
        with pytest.raises(CarrierLost, match="closed"):
            await ends.carrier.wait_readable()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        ends.carrier.close()
        ends.carrier.close()
    for use in (ends.carrier.room, lambda: ends.carrier.try_send(b"x"), lambda: ends.carrier.try_receive(1)):
        with pytest.raises(CarrierLost):
            use()


async def test_nobody_there_is_a_lost_carrier() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = Address("127.0.0.1", unused.getsockname()[1])
        with pytest.raises(CarrierLost, match=f"cannot connect to {address}: Connection refused"):
            await connect_direct(address, 5)


async def test_no_answer_is_a_lost_carrier_in_time() -> None:
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        address = Address("127.0.0.1", full.getsockname()[1])
        with socket.create_connection(address), pytest.raises(CarrierLost, match=r"no answer within 0\.2 s"):
            await connect_direct(address, 0.2)
