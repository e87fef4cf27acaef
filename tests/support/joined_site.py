"""A server and an agent with every listener, and a SIP end on each side of them.

async with site(tmp_path, "tls", "udp") as at:
    await call_through(at.phone, at.peer, at.peer.uri, at.agent_at)
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import trio
import trustme

import inside_agent
import outside_server
from support.both_ends import BothEnds, counted, open_ends, server_toml
from support.sip_ends import SipEnd, open_end
from tunnel.address import Address, parse_address

__all__ = ["AUTHORITY", "INSIDE", "LISTENERS", "OUTSIDE", "Site", "listener", "shown", "site"]

LISTENERS = '["udp:0", "tcp:0", "tls:0"]'
INSIDE, OUTSIDE = "127.0.0.1", "127.0.0.2"
AUTHORITY = trustme.CA()


def shown(*names: str) -> ssl.SSLContext:
    """What a peer with a certificate for ``names`` shows."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    AUTHORITY.issue_cert(*names).configure_cert(context)
    return context


def listener(end: inside_agent.Agent | outside_server.Server, transport: str, host: str) -> Address:
    """Where an end listens for peers of the family of ``host``."""
    for bound in end.addresses["sip"].split(","):
        kind, _, text = bound.partition(":")
        address = parse_address(text)
        if kind == transport and address.is_ipv6 is (":" in host):
            return address
    raise AssertionError(f"no {transport} listener for {host}")


@dataclass
class Site:
    """``phone`` is inside, a phone and the PBX at once; ``peer`` is outside, a trunk of the tenant."""

    ends: BothEnds
    server: outside_server.Server
    agent: inside_agent.Agent
    phone: SipEnd
    peer: SipEnd

    @property
    def agent_at(self) -> Address:
        return listener(self.agent, self.phone.transport, self.phone.host)

    @property
    def server_at(self) -> Address:
        return listener(self.server, self.peer.transport, self.peer.host)


@asynccontextmanager
async def site(
    tmp_path: Path,
    inside: str,
    outside: str,
    *,
    scheme: str = "sip",
    trunk: str = "",
    trunk_ca: bool = True,
    peer_name: str = "",
    lan_address: str = INSIDE,
    public_address: str = INSIDE,
    phone_host: str = INSIDE,
    peer_host: str = OUTSIDE,
    sip: str = LISTENERS,
    lan: str = "",
    peer_port: int = 0,
) -> AsyncIterator[Site]:
    """The phone trusts the certificate that the agent made itself, the peer that of the server's authority. Both show
    certificates of AUTHORITY, which the configuration names. ``lan_address`` and ``public_address``: one or more, with
    blanks between. ``trunk``: the trunk's URI, by default any transport at its address. ``lan``: further lines of [lan]."""
    await trio.Path(tmp_path).mkdir(exist_ok=True)
    ca = tmp_path / "ca.pem"
    AUTHORITY.cert_pem.write_to_path(ca)
    async with open_ends(tmp_path) as ends:
        config = server_toml(tmp_path / "server", sip=sip)
        config.write_text(config.read_text().replace('address = "127.0.0.1"', f"address = {_listed(public_address)}"))
        await trio.Path(ends.data_dir).mkdir(mode=0o700)
        host = f"[{peer_host}]" if ":" in peer_host else peer_host
        ends.add_tenant("acme", trunks=[trunk or f"sip:{host}"], trunk_ca=ca.read_text() if trunk_ca else "")
        server = await ends.start_server(config)  # it knows its trunks when it has started
        believes_server = ssl.create_default_context(cadata=ends.authority().pem)
        config = await ends.join("acme", "one")
        believes_agent = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        shows = shown(peer_name or peer_host)
        async with (
            open_end(inside, phone_host, shown=shown(phone_host), trusted=believes_agent, scheme=scheme) as phone,
            open_end(outside, peer_host, shown=shows, trusted=believes_server, scheme=scheme, port=peer_port) as peer,
        ):
            text = config.read_text().replace('["udp:0"]', sip)
            text = text.replace('address = "127.0.0.1"', f"address = {_listed(lan_address)}")
            text = text.replace('allow = ["127.0.0.1/32"]', 'allow = ["127.0.0.1/32", "::1/128"]')
            pbx = f'pbx = "{phone.uri.replace("end@", "")}"\ntls_ca = "{ca}"\n{lan}\n'
            config.write_text(text.replace("allow =", pbx + "allow ="))
            agent = await ends.start_agent(config)
            if (own := config.parent / "data" / "lan.pem").exists():
                believes_agent.load_verify_locations(own)
            yield Site(ends, server, agent, phone, peer)
            assert counted(server, "internal.errors") == counted(agent, "internal.errors") == 0


def _listed(addresses: str) -> str:
    return "[" + ", ".join(f'"{address}"' for address in addresses.split()) + "]"
