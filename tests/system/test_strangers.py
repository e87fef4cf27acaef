"""Who connects to a SIP listener and has no business there is hung up on (SIP-RULES K)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import trio
from support.both_ends import counted, open_ends, server_toml, sip_addresses

from tunnel.address import Address

STRANGER = "127.0.0.9"


def options(uri: str, source: str) -> bytes:
    lines = [
        f"OPTIONS {uri} SIP/2.0",
        f"Via: SIP/2.0/TCP {source};branch=z9hG4bKscan;rport",
        "Max-Forwards: 70",
        f"From: <sip:scan@{source}>;tag=s",
        f"To: <{uri}>",
        "Call-ID: scan",
        "CSeq: 1 OPTIONS",
        "Content-Length: 0",
    ]
    return "\r\n".join([*lines, "", ""]).encode()


@asynccontextmanager
async def stranger(to: Address) -> AsyncIterator[trio.SocketStream]:
    async with await trio.open_tcp_stream(to.host, to.port, local_address=STRANGER) as stream:
        yield stream


async def answer_to(to: Address, data: bytes) -> bytes:
    """All that is said to ``data`` before the other side hangs up."""
    async with stranger(to) as stream:
        await stream.send_all(data)
        with trio.fail_after(2):
            return b"".join([bytes(chunk) async for chunk in stream])


async def test_a_scanner_is_hung_up_on_without_a_word(tmp_path: Path) -> None:
    async with open_ends(tmp_path) as ends:
        server = await ends.start_server(server_toml(tmp_path / "server", sip='["udp:0", "tcp:0"]'))
        ends.add_tenant("acme")
        config = await ends.join("acme", "one")
        config.write_text(config.read_text().replace('sip = ["udp:0"]', 'sip = ["udp:0", "tcp:0"]'))
        agent = await ends.start_agent(config)
        public, lan = sip_addresses(server)["tcp"], sip_addresses(agent)["tcp"]
        assert await answer_to(public, options("sip:100@203.0.113.10", STRANGER)) == b""
        assert await answer_to(public, options("http://203.0.113.10", STRANGER)) == b""
        assert await answer_to(lan, options("sip:100@203.0.113.10", STRANGER)) == b""
        assert counted(server, "sip.dropped.unknown_source") == 1
        assert counted(agent, "sip.dropped.source_not_allowed") == 1
