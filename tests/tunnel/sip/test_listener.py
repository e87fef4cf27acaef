"""The listeners of a face together: binding, connections of our own, TLS."""

from __future__ import annotations

import errno
import socket
import ssl

import pytest
import trio
import trustme
from support.face_sockets import FaceSockets, eventually, face_sockets, options

from tunnel.address import Address
from tunnel.counters import Counters
from tunnel.errors import LocalMisuse
from tunnel.sip.flow import NOT_VERIFIED, Flow
from tunnel.sip.listener import Listeners, ListenSpec, StreamLimits
from tunnel.sip.sockets import bound_socket

AUTHORITY = trustme.CA()


def server_tls(name: str = "sip.example.com") -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    AUTHORITY.issue_cert(name).configure_cert(context)
    return context


def client_tls() -> ssl.SSLContext:
    context = ssl.create_default_context()
    AUTHORITY.configure_trust(context)
    return context


def unbound(*specs: ListenSpec) -> Listeners:
    return Listeners(specs, deliver=lambda *_: None, failed=lambda *_: None, counters=Counters())


class TestBinding:
    async def test_port_zero_advertises_the_bound_port_and_others_the_given_address(self) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        listeners = unbound(
            ListenSpec("udp", "0.0.0.0", 0, Address("203.0.113.2", 0)),
            ListenSpec("tcp", "127.0.0.1", port, Address("203.0.113.2", 5060)),
        )
        (udp, udp_address), tcp = listeners.bind()
        assert (udp, udp_address.host, udp_address.port > 0) == ("udp", "203.0.113.2", True)
        assert tcp == ("tcp", Address("203.0.113.2", 5060))
        listeners.close()

    @pytest.mark.parametrize(("transport", "kind"), [("udp", socket.SOCK_DGRAM), ("tcp", socket.SOCK_STREAM)])
    def test_a_taken_port_is_named_and_nothing_stays_open(self, transport: str, kind: socket.SocketKind) -> None:
        with socket.socket(socket.AF_INET, kind) as taken:
            taken.bind(("127.0.0.1", 0))
            if kind == socket.SOCK_STREAM:
                taken.listen()
            port = taken.getsockname()[1]
            listeners = unbound(
                ListenSpec("udp", "127.0.0.1", 0, Address("127.0.0.1", 0)),
                ListenSpec(transport, "127.0.0.1", port, Address("127.0.0.1", port)),
            )
            with pytest.raises(OSError, match="in use") as refused:
                listeners.bind()
            assert (refused.value.errno, refused.value.filename) == (
                errno.EADDRINUSE,
                f"{transport}:127.0.0.1:{port}",
            )
            assert listeners.bound == []

    def test_an_address_of_another_host_is_named(self) -> None:
        with pytest.raises(OSError, match="assign") as refused:
            unbound(ListenSpec("udp", "203.0.113.77", 0, Address("203.0.113.77", 0))).bind()
        assert refused.value.errno == errno.EADDRNOTAVAIL

    def test_tls_needs_a_certificate(self) -> None:
        with pytest.raises(LocalMisuse):
            unbound(ListenSpec("tls", "127.0.0.1", 0, Address("127.0.0.1", 0)))

    def test_nothing_is_sent_before_it_runs(self) -> None:
        with pytest.raises(LocalMisuse):
            unbound().send(b"x", Flow("udp", Address("127.0.0.1", 1), Address("127.0.0.1", 1)))

    async def test_after_the_end_the_ports_are_free(self) -> None:
        async with face_sockets("udp", "tcp") as face, await face.connect() as phone:
            await phone.send_all(options())
            await eventually(lambda: face.delivered)
            specs = [ListenSpec(transport, *address, address) for transport, address in face.listeners.bound]
        again = unbound(*specs)
        assert len(again.bind()) == 2
        again.close()

    def test_signalling_is_marked_cs3(self) -> None:
        with bound_socket("udp", "127.0.0.1", 0) as v4, bound_socket("tcp", "::1", 0) as v6:
            assert v4.getsockopt(socket.IPPROTO_IP, socket.IP_TOS) == 0x60
            assert v6.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_TCLASS) == 0x60


class TestOwnConnections:
    async def test_one_is_made_used_again_and_answered_on(self) -> None:
        async with face_sockets("tcp") as near, face_sockets("tcp") as far:
            way = near.flow("tcp", far.address("tcp"))
            near.listeners.send(options(1), way)
            near.listeners.send(options(2), way)
            await eventually(lambda: len(far.delivered) == 2)
            near.listeners.send(options(3), way)
            await eventually(lambda: len(far.delivered) == 3)
            assert [data for data, _ in far.delivered] == [options(1), options(2), options(3)]
            assert near.listeners.open_connections == far.listeners.open_connections == 1
            far.listeners.send(options(4), far.delivered[0][1])
            await eventually(lambda: near.delivered)
            data, flow = near.delivered[0]
            assert (data, flow.remote, flow.local) == (options(4), far.address("tcp"), near.address("tcp"))
            near.listeners.send(options(5), flow)
            await eventually(lambda: len(far.delivered) == 4)
            assert far.listeners.open_connections == 1

    async def test_it_leaves_from_the_address_of_its_listener(self) -> None:
        async with face_sockets("tcp", host="127.0.0.2") as near, face_sockets("tcp") as far:
            near.listeners.send(options(), near.flow("tcp", far.address("tcp")))
            await eventually(lambda: far.delivered)
            assert far.delivered[0][1].remote.host == "127.0.0.2"

    async def test_a_refused_connection_is_told(self) -> None:
        async with face_sockets("udp") as face:
            remote = Address("127.0.0.1", 1)
            face.listeners.send(options(), face.flow("tcp", remote))
            await eventually(lambda: face.failures)
            transport, where, connection, reason = face.failures[0]
            assert (transport, where) == ("tcp", remote)
            assert connection > 0
            assert "refused" in reason

    async def test_a_connection_that_does_not_come_up_is_told_in_time(self) -> None:
        with socket.socket() as full:
            full.bind(("127.0.0.1", 0))
            full.listen(0)
            remote = Address(*full.getsockname())
            async with face_sockets("tcp", limits=StreamLimits(connect_s=0.2)) as face:
                async with await trio.open_tcp_stream(*remote):
                    for _ in range(2):
                        face.listeners.send(options(), face.flow("tcp", remote))
                    await eventually(lambda: face.failures, 1.0)
                assert face.failures[0][3] == "not open after 0.2 s"

    async def test_a_connection_that_is_gone_is_not_replaced(self) -> None:
        async with face_sockets("tcp") as face:
            async with await face.connect() as phone:
                await phone.send_all(options())
                await eventually(lambda: face.delivered)
            await eventually(lambda: face.failures)
            flow = face.delivered[0][1]
            face.listeners.send(options(), flow)
            await eventually(lambda: len(face.failures) == 2)
            assert face.failures[1] == ("tcp", flow.remote, flow.connection, "the connection is gone")

    async def test_after_a_loss_the_next_message_makes_a_new_one(self) -> None:
        async with face_sockets("tcp") as near:
            async with face_sockets("tcp") as far:
                way = near.flow("tcp", far.address("tcp"))
                near.listeners.send(options(1), way)
                await eventually(lambda: far.delivered)
            await eventually(lambda: near.failures)
            assert near.failures[0][:2] == ("tcp", way.remote)
            async with face_sockets("tcp", port=way.remote.port) as far_again:
                near.listeners.send(options(2), way)
                await eventually(lambda: far_again.delivered)


class TestTls:
    async def test_messages_pass_both_ways(self) -> None:
        async with (
            face_sockets("tls", server_tls=server_tls(), client_tls=client_tls()) as near,
            face_sockets("tls", server_tls=server_tls()) as far,
        ):
            way = near.flow("tls", far.address("tls"))
            near.listeners.send(options(1), way, "sip.example.com")
            near.listeners.send(options(2), way, "sip.example.com")
            near.listeners.send(options(3), way)
            await eventually(lambda: len(far.delivered) == 3)
            assert far.listeners.open_connections == 1, "a later message without the name takes the same connection"
            far.listeners.send(options(4), far.delivered[0][1])
            await eventually(lambda: near.delivered)
            assert near.delivered[0][1].transport == "tls"

    async def test_a_certificate_of_another_name_is_not_believed(self) -> None:
        async with (
            face_sockets("udp", client_tls=client_tls()) as near,
            face_sockets("tls", server_tls=server_tls("other.example.com")) as far,
        ):
            near.listeners.send(options(), near.flow("tls", far.address("tls")), "sip.example.com")
            await eventually(lambda: near.failures)
            assert near.failures[0][3] == NOT_VERIFIED, "and no address in it"
            assert near.counters["sip.tls.not_verified"] == 1
            await eventually(lambda: far.counters["sip.stream.handshake_failed"])
            assert not far.delivered
            assert not far.failures

    async def test_without_a_client_context_tls_fails_at_once(self) -> None:
        async with face_sockets("udp") as face:
            face.listeners.send(options(), face.flow("tls", Address("127.0.0.1", 1)))
            await eventually(lambda: face.failures)
            assert face.failures[0][3] == "TLS is not set up"

    @pytest.mark.parametrize("hello", [b"", options()], ids=["silent", "plain SIP"])
    async def test_a_peer_that_does_not_shake_hands_is_closed_and_hinders_nobody(self, hello: bytes) -> None:
        limits = StreamLimits(handshake_s=0.3)
        async with (
            face_sockets("tls", server_tls=server_tls(), limits=limits) as face,
            await face.connect("tls") as bad,
            face_sockets("udp", client_tls=client_tls()) as good,
        ):
            if hello:
                await bad.send_all(hello)
            good.listeners.send(options(), good.flow("tls", face.address("tls")), "sip.example.com")
            await eventually(lambda: face.delivered)
            await eventually(lambda: face.counters["sip.stream.handshake_failed"] == 1)
            assert face.listeners.open_connections == 1
            assert face.failures == []


async def test_a_storm_on_one_connection_leaves_udp_prompt() -> None:
    async with face_sockets("udp", "tcp") as face, await face.connect() as storm, trio.open_nursery() as nursery:

        async def rage() -> None:
            while True:
                await storm.send_all(options(1) * 100)

        nursery.start_soon(rage)
        await eventually(lambda: len(face.delivered) > 1000)
        with trio.socket.socket(trio.socket.AF_INET, trio.socket.SOCK_DGRAM) as phone:
            await phone.sendto(options(2), face.address("udp"))
            await eventually(lambda: _heard_udp(face), 0.5)
        nursery.cancel_scope.cancel()


def _heard_udp(face: FaceSockets) -> bool:
    return any(flow.transport == "udp" for _, flow in face.delivered)
