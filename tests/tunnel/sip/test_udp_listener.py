"""UDP sockets of a face, on loopback."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
from support.face_sockets import eventually, face_sockets, options

from tunnel.address import Address
from tunnel.counters import Counters
from tunnel.sip.flow import Flow
from tunnel.sip.sockets import bound_socket
from tunnel.sip.udp_listener import DRAIN_DATAGRAMS, UdpListener

STUN = bytes.fromhex("000100002112a442") + b"transaction."


@asynccontextmanager
async def peer(host: str = "127.0.0.1") -> AsyncIterator[tuple[trio.socket.SocketType, Address]]:
    family = trio.socket.AF_INET6 if ":" in host else trio.socket.AF_INET
    with trio.socket.socket(family, trio.socket.SOCK_DGRAM) as sock:
        await sock.bind((host, 0))
        yield sock, Address(host, sock.getsockname()[1])


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_a_message_comes_with_its_flow_and_its_answer_goes_back_on_it(host: str) -> None:
    async with face_sockets("udp", host=host) as face, peer(host) as (phone, address):
        local = face.address("udp")
        await phone.sendto(options(), local)
        await eventually(lambda: face.delivered)
        data, flow = face.delivered[0]
        assert (data, flow) == (options(), Flow("udp", local, address))
        face.listeners.send(b"SIP/2.0 200 OK\r\n\r\n", flow)
        assert await phone.recvfrom(4096) == (b"SIP/2.0 200 OK\r\n\r\n", local if ":" not in host else (*local, 0, 0))


async def test_a_burst_is_taken_whole() -> None:
    async with face_sockets("udp") as face, peer() as (phone, _):
        count = DRAIN_DATAGRAMS * 3 + 1
        for number in range(count):
            await phone.sendto(options(number), face.address("udp"))
        await eventually(lambda: len(face.delivered) == count)
        assert [data for data, _ in face.delivered] == [options(number) for number in range(count)]


async def test_keepalives_and_junk_are_counted_and_swallowed() -> None:
    """A5"""
    async with face_sockets("udp") as face, peer() as (phone, _):
        for data in (b"\r\n\r\n", b"\0\0\0\0\0\0", b"", b"\x80junk and more", STUN, options()):
            await phone.sendto(data, face.address("udp"))
        await eventually(lambda: face.delivered)
        assert [data for data, _ in face.delivered] == [options()]
        seen = (face.counters["sip.udp.keepalive"], face.counters["sip.udp.junk"], face.counters["sip.udp.stun"])
        assert seen == (3, 1, 1)
        with trio.move_on_after(0.05) as silence:
            await phone.recvfrom(4096)
        assert silence.cancelled_caught, "nothing tells a stranger that somebody listens here"


async def test_stun_is_answered_where_that_is_wanted() -> None:
    """A5: RFC 5626 section 4.4.2."""
    async with face_sockets("udp", answer_stun=True) as face, peer() as (phone, _):
        await phone.sendto(STUN + b"\0\0\0\0", face.address("udp"))
        await phone.sendto(STUN, face.address("udp"))
        answer, _ = await phone.recvfrom(4096)
        assert answer[:4] == b"\x01\x01\x00\x0c"
        assert (face.counters["sip.udp.stun_answered"], face.counters["sip.udp.junk"]) == (1, 1)


@pytest.mark.parametrize(
    ("remote", "data"),
    [(Address("127.0.0.1", 9), bytes(70_000)), (Address("255.255.255.255", 9), options())],
    ids=["too large", "broadcast"],
)
async def test_what_cannot_be_sent_at_all_is_told(remote: Address, data: bytes) -> None:
    async with face_sockets("udp") as face:
        face.listeners.send(data, face.flow("udp", remote))
        assert face.failures == [], "not from within the caller's own call"
        await eventually(lambda: face.failures)
        assert face.failures[0][:3] == ("udp", remote, 0)
        assert face.counters["sip.udp.send_errors"] == 1


async def test_a_flow_of_no_listener_is_told() -> None:
    async with face_sockets("udp") as face, peer() as (_, address):
        face.listeners.send(options(), Flow("udp", Address("203.0.113.9", 5060), address))
        await eventually(lambda: face.failures)


async def test_icmp_errors_disturb_nobody() -> None:
    sock = bound_socket("udp", "127.0.0.1", 0)
    local = Address(*sock.getsockname())
    counters, heard, refused = Counters(), list[bytes](), list[bytes]()
    listener = UdpListener(sock, local, None, counters, refused.append)
    async with trio.open_nursery() as nursery, peer() as (phone, address), peer() as (gone, nowhere):
        nursery.start_soon(listener.run, lambda data, flow: heard.append(data))
        gone.close()
        for number in range(20):
            assert listener.send(b"x", nowhere) is None
            listener.send(options(number), address)
            await phone.sendto(options(number), local)
            await trio.lowlevel.checkpoint()
            assert (await phone.recvfrom(4096))[0] == options(number), "the error of another datagram costs none"
        await eventually(lambda: len(heard) == 20)
        await eventually(lambda: refused == [b"x"] * 20)
        assert counters["sip.udp.send_errors"] == 0
        nursery.cancel_scope.cancel()
    listener.close()


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_a_port_where_nobody_listens_is_told_once(host: str) -> None:
    """M1: RFC 3261 section 18.4."""
    async with face_sockets("udp", host=host) as face, peer(host) as (gone, nowhere):
        gone.close()
        face.listeners.send(options(), Flow("udp", face.address("udp"), nowhere))
        await eventually(lambda: face.refusals == [options()])
        with trio.move_on_after(0.05):
            await eventually(lambda: len(face.refusals) > 1)
        assert face.refusals == [options()]
        assert face.failures == []
