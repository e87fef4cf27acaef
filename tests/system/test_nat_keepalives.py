"""Both faces keep the NATs of registered phones open: real sockets, and time made short."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
from support.both_ends import counted, open_ends, sip_addresses, until
from support.ends import request

import inside_agent
import outside_server
from tunnel.address import Address
from tunnel.sip.edit import stamp_source
from tunnel.sip.message import Message, parse_untrusted
from tunnel.sip.response import build_response

INSIDE, OUTSIDE = "127.0.0.1", "127.0.0.2"
HIDDEN = "192.168.77.10:5060"  # what a phone behind a NAT writes into Via and Contact
STEP_S = 0.02


class Peer:
    """A SIP user agent or registrar with one UDP socket; ``asked`` are the OPTIONS that came, and where from."""

    def __init__(self, sock: trio.socket.SocketType) -> None:
        self.sock = sock
        self.address = Address(*sock.getsockname()[:2])
        self.asked: list[tuple[Message, Address]] = []
        self.accepted = 0

    async def run(self) -> None:
        with self.sock:
            while True:
                data, source = await self.sock.recvfrom(65535)
                answer = self._heard(parse_untrusted(data), Address(*source[:2]))
                if answer is not None:
                    await self.sock.sendto(answer, source)

    def _heard(self, message: Message, source: Address) -> bytes | None:
        self.accepted += message.status == 200
        if message.method == "OPTIONS":
            self.asked.append((message, source))
            return build_response(stamp_source(message, source), 200, "OK")
        if message.method == "REGISTER":
            contacts = [b"Contact: " + value.text + b";expires=600" for value in message.values("contact")]
            return build_response(message, 200, "OK", b"r", contacts)
        return None

    async def register(self, uri: str, claims: str, via: Address) -> None:
        """Register at ``via`` with that address in Via and Contact."""
        aor = f"<sip:u{self.address.port}@{uri.partition(':')[2]}>"
        data = request(
            "REGISTER",
            uri,
            claims,
            call=f"c{self.address.port}",
            caller=f"{aor};tag=1",
            callee=aor,
            contact=f"<sip:u@{claims}>",
        )
        await self.sock.sendto(data, tuple(via))


async def open_peer(nursery: trio.Nursery, host: str) -> Peer:
    sock = trio.socket.socket(type=trio.socket.SOCK_DGRAM)
    await sock.bind((host, 0))
    peer = Peer(sock)
    nursery.start_soon(peer.run)
    return peer


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """25 s become 0.1 s."""
    monkeypatch.setattr("inside_agent.agent.STEP_S", STEP_S)
    monkeypatch.setattr("outside_server.server.STEP_S", STEP_S)


@pytest.mark.parametrize("way", ["A", "C"])
async def test_a_registered_phone_behind_a_nat_is_asked_for_a_sign_of_life(tmp_path: Path, way: str) -> None:
    """S3-5, S3-6: the agent asks phones inside, the server those outside; its answer is what the NAT counts. Who is
    behind none gets nothing."""
    async with open_ends(tmp_path) as ends:
        server = await ends.start_server()
        ends.add_tenant("acme", domains=["acme.example"])
        registrar = await open_peer(ends.nursery, OUTSIDE if way == "A" else INSIDE)
        lan = f'pbx = "sip:{registrar.address}"' if way == "C" else ""
        agent = await ends.start_agent(await ends.join("acme", "one", lan=lan))
        face: inside_agent.Agent | outside_server.Server = agent if way == "A" else server
        at = sip_addresses(face)["udp"]
        uri = f"sip:{registrar.address}" if way == "A" else "sip:acme.example"
        phones = [await open_peer(ends.nursery, INSIDE if way == "A" else OUTSIDE) for _ in range(2)]
        hidden, plain = phones
        await hidden.register(uri, HIDDEN, at)
        await plain.register(uri, str(plain.address), at)
        await until(lambda: hidden.accepted == plain.accepted == 1)
        await until(lambda: len(hidden.asked) == 5)
        await until(lambda: counted(face, "sip.keepalives_answered") >= 5)
        options, source = hidden.asked[0]
        assert (options.request_uri, source) == (f"sip:u@{HIDDEN}".encode(), at)
        assert plain.asked == []
        assert counted(face, "sip.dropped.stray_response") == 0
