"""The public face answers nobody it does not know: a scanner gets nothing, and nothing of it comes inside."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from field.rig.baresip import Phone
from field.rig.conversation import assert_both_heard, converse
from field.rig.kamailio import Kamailio
from field.rig.network import Network
from field.rig.verdicts import watched
from field.rig.wallpass import wallpass_pair

pytestmark = pytest.mark.field

SERVER, SCANNER = "203.0.113.10", "203.0.113.66"
REQUESTS = 200
_REQUEST = (
    "{method} {uri} SIP/2.0\r\n"
    "Via: SIP/2.0/UDP 203.0.113.66:5060;branch=z9hG4bK-scan-{n};rport\r\n"
    "Max-Forwards: 70\r\n"
    "From: <sip:{n}@{host}>;tag=scan{n}\r\n"
    "To: <sip:{n}@{host}>\r\n"
    "Call-ID: scan-{n}\r\n"
    "CSeq: 1 {method}\r\n"
    "Contact: <sip:{n}@203.0.113.66:5060>\r\n"
    "User-Agent: friendly-scanner\r\n"
    "Content-Length: 0\r\n\r\n"
)


@pytest.fixture(scope="module")
def phones(network: Network, folder: Path) -> Iterator[tuple[Phone, Phone]]:
    """A trunk and a PBX are configured, so there is something to find: Alice inside, Bob a remote worker."""
    with ExitStack() as running:
        start = running.enter_context
        tenant = ["--domain", "acme.example", "--trunk", "sip:203.0.113.30"]
        start(wallpass_pair(network, folder, tenant=tenant, lan='pbx = "sip:10.1.0.5:5060"'))
        start(Kamailio(network.pbx, folder, "pbx"))
        alice = start(Phone(network.alice, folder, "alice", "acme.example", outbound="10.1.0.5"))
        bob = start(Phone(network.bob, folder, "bob", "acme.example", outbound=SERVER))
        alice.registered()
        bob.registered()
        yield alice, bob


def scan(n: int) -> bytes:
    """OPTIONS, REGISTER and INVITE in turn: for users of the server's address, of another domain, for a made-up token."""
    method = ("OPTIONS", "REGISTER", "INVITE")[n % 3]
    host = (SERVER, "other.example")[n // 3 % 2]
    user = (f"{n}@", "A" * 80 + f"{n}@")[n // 6 % 2]
    uri = f"sip:{host}" if method == "REGISTER" else f"sip:{user}{host}"
    return _REQUEST.format(method=method, uri=uri, host=host, n=n).encode()


def test_scanner_gets_no_answer_and_no_way_in(network: Network, folder: Path, phones: tuple[Phone, Phone]) -> None:
    """3-#8: 200 requests, 0 bytes answered, 0 seen inside; and a call made meanwhile is not disturbed."""
    alice, bob = phones
    with (
        watched(network, folder) as watch,
        closing(network.scanner.open_socket(socket.SOCK_DGRAM)) as scanner,
    ):
        scanner.bind((SCANNER, 5060))
        for n in range(REQUESTS):
            scanner.sendto(scan(n), (SERVER, 5060))
            time.sleep(0.002)
        converse(alice, bob, "sip:bob@acme.example", "alice")
    sent = [packet for packet in watch.internet.packets if packet.source == SCANNER and packet.sip]
    assert len(sent) == REQUESTS
    answered = [packet for packet in watch.internet.packets if packet.target == SCANNER and packet.protocol]
    assert answered == []
    assert [packet for packet in watch.lan.packets if b"scan" in packet.payload] == []
    assert_both_heard(alice, bob)
