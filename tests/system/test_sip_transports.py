"""Calls over the TCP and TLS listeners of the public face, and over TCP on the LAN."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
import trustme
from support.both_ends import (
    BothEnds,
    connect,
    counted,
    inside_phone,
    open_ends,
    outside_phone,
    server_toml,
    sip_addresses,
    uri_of,
)
from support.rtp import rtp_packet
from support.sip_peer import sdp

import outside_server
from tunnel.address import Address
from tunnel.sip.framing import StreamFramer
from tunnel.sip.message import Message, parse_untrusted
from tunnel.softphone import Account, Tune, open_phone

LISTENERS = '["udp:0", "tcp:0", "tls:0"]'
PEER = "127.0.0.2"


async def test_a_call_over_tcp_on_both_faces(tmp_path: Path) -> None:
    async with open_ends(tmp_path) as ends:
        server = await ends.start_server(server_toml(tmp_path / "server", sip=LISTENERS))
        ends.add_tenant("acme")
        config = await ends.join("acme", "one")
        config.write_text(config.read_text().replace('"udp:0"', '"udp:0", "tcp:0"'))
        agent = await ends.start_agent(config)
        async with inside_phone(agent, transport="tcp") as alice, outside_phone(transport="tcp") as bob:
            placed, taken = await connect(alice, bob, uri_of(bob, "tcp"))
            await placed.talk(0.2)
            assert min(len(placed.ear.arrivals), len(taken.ear.arrivals)) > 5
            await taken.hang_up()
            await placed.ended()
        assert counted(server, "internal.errors") == counted(agent, "internal.errors") == 0


class TlsPeer:
    """A trunk that calls over TLS; ``context`` is what it trusts."""

    def __init__(self, stream: trio.SSLStream[trio.SocketStream], local: Address) -> None:
        self._stream = stream
        self._local = local
        self._framer = StreamFramer()
        self._heard: list[Message] = []

    @classmethod
    @asynccontextmanager
    async def open(cls, to: Address, context: ssl.SSLContext, name: str) -> AsyncIterator[TlsPeer]:
        tcp = await trio.open_tcp_stream(to.host, to.port, local_address=PEER)
        local = Address(*tcp.socket.getsockname()[:2])
        async with trio.SSLStream(tcp, context, server_hostname=name, https_compatible=True) as stream:
            yield cls(stream, local)

    async def say(self, method: str, uri: str, *lines: str, body: bytes = b"", cseq: int = 1, to: str = "") -> None:
        head = [
            f"{method} {uri} SIP/2.0",
            f"Via: SIP/2.0/TLS {self._local};branch=z9hG4bK{method}{cseq};rport",
            "Max-Forwards: 70",
            f"From: <sip:trunk@{PEER}>;tag=t1",
            f"To: {to or f'<{uri}>'}",
            f"Call-ID: over-tls-{self._local.port}",
            f"CSeq: {cseq} {method}",
            f"Contact: <sip:trunk@{self._local};transport=tls>",
            *lines,
            f"Content-Length: {len(body)}",
        ]
        await self._stream.send_all("\r\n".join([*head, "", ""]).encode() + body)

    async def hears(self, status: int) -> Message:
        while True:
            while self._heard:
                message = self._heard.pop(0)
                if message.status >= status:
                    return message
            data = await self._stream.receive_some()
            for framed in self._framer.feed_untrusted(bytes(data), trio.current_time()):
                assert isinstance(framed, bytes)
                self._heard.append(parse_untrusted(framed, stream=True))


async def call_over_tls(ends: BothEnds, server: outside_server.Server, context: ssl.SSLContext, name: str) -> None:
    """The trunk calls the PBX and says something; the PBX hangs up."""
    async with open_phone(Account("100", "acme.example")) as pbx:
        ends.add_tenant("acme", trunks=[f"sip:{PEER}"])
        await ends.start_agent(await ends.join("acme", "one", lan=f'pbx = "sip:{pbx.address}"'))
        tls = sip_addresses(server)["tls"]
        uri = f"sip:100@{tls};transport=tls"
        rtp = trio.socket.socket(type=trio.socket.SOCK_DGRAM)
        with rtp:
            await rtp.bind((PEER, 0))
            async with TlsPeer.open(tls, context, name) as trunk:
                body = sdp(PEER, rtp.getsockname()[1])
                await trunk.say("INVITE", uri, "Content-Type: application/sdp", body=body)
                call = await pbx.next_call()
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(call.answer, Tune(7))
                    ok = await trunk.hears(200)
                    assert ok.status == 200
                    to = ok.header("to")
                    contact = ok.header("contact")
                    assert to is not None
                    assert contact is not None
                    target = contact.value.partition(b"<")[2].partition(b">")[0].decode()
                    assert "transport=tls" in target
                    await trunk.say("ACK", target, to=to.value.decode())
                port = int(ok.body.partition(b"m=audio ")[2].split()[0])
                await rtp.sendto(rtp_packet(1, payload_type=0), ("127.0.0.1", port))
                while len(await rtp.recv(2048)) != 172:  # an opening packet may come first (L7)
                    pass
                await trio.sleep(0.05)
                assert len(call.ear.arrivals) == 1
                await trunk.say("BYE", target, cseq=2, to=to.value.decode())
                assert (await trunk.hears(200)).status == 200
                await call.ended()
    assert counted(server, "internal.errors") == 0


async def test_a_call_over_tls_with_a_certificate_of_our_own_authority(tmp_path: Path) -> None:
    async with open_ends(tmp_path) as ends:
        server = await ends.start_server(server_toml(tmp_path / "server", sip=LISTENERS))
        context = ssl.create_default_context(cadata=ends.authority().pem)
        await call_over_tls(ends, server, context, "127.0.0.1")


async def test_a_call_over_tls_with_the_operators_certificate(tmp_path: Path) -> None:
    authority = trustme.CA()
    files = tmp_path / "server"
    files.mkdir()
    write_certificate(authority, files)
    async with open_ends(tmp_path) as ends:
        named = 'certificate = "sip.pem"\nprivate_key = "sip.key"'
        config = server_toml(files, sip=LISTENERS, public=named)
        server = await ends.start_server(config)
        context = ssl.create_default_context()
        authority.configure_trust(context)
        await call_over_tls(ends, server, context, "sip.example")


async def test_the_operators_certificate_is_read_again_on_reload(tmp_path: Path) -> None:
    old, new = trustme.CA(), trustme.CA()
    files = tmp_path / "server"
    files.mkdir()
    write_certificate(old, files)
    async with open_ends(tmp_path) as ends:
        named = 'certificate = "sip.pem"\nprivate_key = "sip.key"'
        config = server_toml(files, sip=LISTENERS, public=named)
        server = await ends.start_server(config)
        write_certificate(new, files)
        server.reload(outside_server.load(config))
        context = ssl.create_default_context()
        new.configure_trust(context)
        async with TlsPeer.open(sip_addresses(server)["tls"], context, "sip.example") as peer:
            await peer.say("OPTIONS", "sip:nobody@127.0.0.1")  # the handshake is what is tried


async def test_nobody_gets_in_over_a_broken_tls_handshake(tmp_path: Path) -> None:
    async with open_ends(tmp_path) as ends:
        server = await ends.start_server(server_toml(tmp_path / "server", sip=LISTENERS))
        with pytest.raises(trio.BrokenResourceError):
            async with TlsPeer.open(sip_addresses(server)["tls"], ssl.create_default_context(), "127.0.0.1") as peer:
                await peer.say("OPTIONS", "sip:nobody@127.0.0.1")
        assert server.is_healthy


def write_certificate(authority: trustme.CA, directory: Path) -> None:
    certificate = authority.issue_cert("sip.example")
    certificate.private_key_pem.write_to_path(directory / "sip.key")
    (directory / "sip.pem").write_bytes(b"".join(blob.bytes() for blob in certificate.cert_chain_pems))
