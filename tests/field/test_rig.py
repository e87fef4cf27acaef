"""The rig proves itself, without the product: real programs hear each other, the firewall blocks and counts, faults work."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest
from field.rig.baresip import Phone
from field.rig.capture import Capture, leaks
from field.rig.host import Host
from field.rig.kamailio import Kamailio
from field.rig.middlebox import middlebox
from field.rig.network import Network
from field.rig.program import eventually
from field.rig.sipp import Gateway
from field.rig.voices import assert_heard, only_stream

pytestmark = pytest.mark.field

TALK_S = 2.0


def test_two_phones_of_one_pbx_hear_each_other(network: Network, folder: Path) -> None:
    with (
        Kamailio(network.pbx, folder, "pbx"),
        Phone(network.alice, folder, "alice", "acme.example", outbound="10.1.0.5") as alice,
        Phone(network.dave, folder, "dave", "acme.example", outbound="10.1.0.5") as dave,
        Capture(network.lan, folder) as lan,
    ):
        alice.registered()
        dave.registered()
        alice.dial("sip:dave@acme.example")
        alice.await_event("CALL_ESTABLISHED")
        time.sleep(TALK_S)
        dave.hang_up()
        alice.await_event("CALL_CLOSED")
        lan.await_sip("BYE")
    assert_heard(alice.heard(), "dave", TALK_S - 0.3)
    assert_heard(dave.heard(), "alice", TALK_S - 0.3)
    assert_heard(only_stream(lan.packets, "10.1.0.50"), "dave", TALK_S - 0.3)
    assert leaks(lan.packets, "203.0.113.0/24") == []


@pytest.mark.parametrize("who_hangs_up", ["gateway", "carol"])
def test_gateway_and_registered_phone_hear_each_other(network: Network, folder: Path, who_hangs_up: str) -> None:
    with ExitStack() as running:
        start = running.enter_context
        start(Kamailio(network.registrar, folder, "registrar"))
        carol = start(Phone(network.carol, folder, "carol", "itsp.example", outbound="203.0.113.20"))
        carol.registered()
        internet = start(Capture(network.internet, folder))
        talk_s = TALK_S if who_hangs_up == "gateway" else None
        gateway = start(Gateway(network.trunk, folder, number="carol", peer="203.0.113.20", talk_s=talk_s))
        carol.await_event("CALL_ESTABLISHED")
        if who_hangs_up == "carol":
            time.sleep(TALK_S)
            carol.hang_up()
        carol.await_event("CALL_CLOSED")
        gateway.finished()
    assert_heard(carol.heard(), "gateway", TALK_S - 0.3)
    assert_heard(only_stream(internet.packets, "203.0.113.30"), "carol", TALK_S - 0.3)


def test_gateway_answers_a_phone(network: Network, folder: Path) -> None:
    with ExitStack() as running:
        start = running.enter_context
        gateway = start(Gateway(network.trunk, folder, talk_s=TALK_S))
        carol = start(Phone(network.carol, folder, "carol", "itsp.example", registers=False))
        internet = start(Capture(network.internet, folder))
        carol.dial("sip:+498912@203.0.113.30")
        carol.await_event("CALL_ESTABLISHED")
        carol.await_event("CALL_CLOSED")
        gateway.finished()
    assert_heard(carol.heard(), "gateway", TALK_S - 0.3)
    assert_heard(only_stream(internet.packets, "203.0.113.30"), "carol", TALK_S - 0.3)


@pytest.mark.parametrize(
    ("from_host", "kind", "target"),
    [
        ("alice", socket.SOCK_DGRAM, ("203.0.113.40", 5060)),
        ("agent", socket.SOCK_DGRAM, ("203.0.113.10", 443)),
        ("agent", socket.SOCK_STREAM, ("203.0.113.10", 5060)),
        ("agent", socket.SOCK_STREAM, ("203.0.113.20", 443)),
        ("server", socket.SOCK_DGRAM, ("10.1.0.2", 5060)),
        ("server", socket.SOCK_STREAM, ("10.1.0.2", 443)),
        ("carol", socket.SOCK_DGRAM, ("203.0.113.1", 5060)),
    ],
)
def test_firewall_blocks_and_counts_everything_else(
    network: Network, from_host: str, kind: socket.SocketKind, target: tuple[str, int]
) -> None:
    host: Host = getattr(network, from_host)
    network.firewall.reset_counters()
    with closing(host.open_socket(kind)) as attempt:
        attempt.setblocking(False)
        attempt.connect_ex(target)
        if kind is socket.SOCK_DGRAM:
            attempt.send(b"knock")
        eventually(lambda: network.firewall.packets("crossings") > 0, 2.0, "the attempt was counted")
    assert network.firewall.packets("tunnel") == 0


def test_home_router_hides_address_and_port_and_lets_answers_in(network: Network) -> None:
    with (
        closing(network.carol.open_socket(socket.SOCK_DGRAM)) as outside,
        closing(network.bob.open_socket(socket.SOCK_DGRAM)) as home,
    ):
        outside.bind(("203.0.113.40", 7000))
        outside.settimeout(2)
        home.bind(("192.168.77.10", 5060))
        home.settimeout(2)
        home.sendto(b"hello", ("203.0.113.40", 7000))
        _, (address, port) = outside.recvfrom(100)
        assert address == "198.51.100.7"
        assert port != 5060
        outside.sendto(b"answer", (address, port))
        assert home.recv(100) == b"answer"
        outside.sendto(b"unasked", ("198.51.100.7", 5060))
        home.settimeout(0.3)
        with pytest.raises(TimeoutError):
            home.recv(100)


@contextmanager
def connection(network: Network) -> Iterator[tuple[socket.socket, socket.socket]]:
    """A TCP connection through the firewall as the tunnel makes one: (the agent's end, the server's end)."""
    with closing(network.server.open_socket(socket.SOCK_STREAM)) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("203.0.113.10", 443))
        listener.listen()
        listener.settimeout(2)
        with closing(network.agent.open_socket(socket.SOCK_STREAM)) as near:
            near.settimeout(2)
            near.connect(("203.0.113.10", 443))
            far, _ = listener.accept()
            with closing(far):
                far.settimeout(2)
                near.sendall(b"through")
                assert far.recv(100) == b"through"
                yield near, far


def test_tunnel_passes_and_is_the_only_thing_counted_as_such(network: Network, folder: Path) -> None:
    network.firewall.reset_counters()
    with Capture(network.internet, folder) as internet, connection(network) as (near, _):
        assert network.agent.established_ports("203.0.113.10", 443) == {near.getsockname()[1]}
    assert network.firewall.packets("crossings") == 0
    assert network.firewall.packets("tunnel") > 3
    assert leaks(internet.packets, "10.1.0.0/16") == []


def test_swallowed_connection_is_silent_both_ways_and_a_new_one_is_not(network: Network) -> None:
    with connection(network) as (near, far):
        near.settimeout(0.3)
        far.settimeout(0.3)
        with network.firewall.swallowing(near.getsockname()[1]):
            near.sendall(b"lost")
            far.sendall(b"lost")
            for end in (near, far):
                with pytest.raises(TimeoutError):
                    end.recv(100)
            with closing(network.agent.open_socket(socket.SOCK_STREAM)) as second:
                second.settimeout(1)
                second.connect(("203.0.113.10", 443))
        far.settimeout(3)
        assert far.recv(100) == b"lost"  # TCP repairs it once the path is back


def test_reset_by_the_firewall_reaches_the_agent_only(network: Network) -> None:
    with connection(network) as (near, far), network.firewall.resetting(near.getsockname()[1]):
        near.sendall(b"?")
        with pytest.raises(ConnectionResetError):
            near.recv(100)
        far.settimeout(0.3)
        with pytest.raises(TimeoutError):
            far.recv(100)


def test_reset_by_the_kernel_reaches_both_ends(network: Network) -> None:
    with connection(network) as (near, far):
        port = str(near.getsockname()[1])
        network.agent.run("ss", "-tK", "dst", "203.0.113.10", "dport", "=", "443", "sport", "=", port)
        with pytest.raises(ConnectionAbortedError):
            near.recv(100)
        with pytest.raises(ConnectionResetError):
            far.recv(100)


def test_middlebox_ends_politely(network: Network, folder: Path) -> None:
    network.firewall.reset_counters()
    with middlebox(network, folder) as box, connection(network) as (near, far):
        box.end_politely()
        assert near.recv(100) == b""
        assert far.recv(100) == b""
        assert far.getpeername()[0] == "203.0.113.1"
    assert network.firewall.packets("crossings") == 0


def test_leak_on_the_wire_is_found(network: Network, folder: Path) -> None:
    with Capture(network.internet, folder) as internet, closing(network.carol.open_socket(socket.SOCK_DGRAM)) as sender:
        sender.sendto(b"OPTIONS sip:x SIP/2.0\r\nVia: SIP/2.0/UDP 10.1.0.50\r\n\r\n", ("203.0.113.30", 5060))
        internet.await_sip("OPTIONS")
    assert "Via: SIP/2.0/UDP 10.1.0.50" in leaks(internet.packets, "10.1.0.0/16")[0]
