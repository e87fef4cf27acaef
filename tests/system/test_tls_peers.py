"""Whom each face believes by TLS, what it shows, and how that changes while calls go on."""

from __future__ import annotations

import socket
import ssl
from pathlib import Path

import pytest
import trio
import trustme
from support.both_ends import counted
from support.dns_server import DnsServer
from support.joined_site import AUTHORITY, OUTSIDE, listener, shown, site
from support.sip_ends import call_through, open_end

import inside_agent
import outside_server.server
from tunnel.errors import BadConfig
from tunnel.sip.resolve import Resolver


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """The zone of a DNS that the server asks; the server is to be started in ``answering``."""
    zone: list[str] = []

    def new_resolver() -> Resolver:
        return Resolver(["127.0.0.1"], int(zone[0]), tmp_path / "no-hosts")

    monkeypatch.setattr(outside_server.server, "Resolver", new_resolver)
    return zone


async def test_a_trunk_by_name_proves_that_name(tmp_path: Path, names: list[str], nursery: trio.Nursery) -> None:
    """M1, M4: SRV of _sips._tcp leads to its port, SNI says who is wanted, and its certificate names the domain and not
    the host."""
    port = free_port()
    hosts = ["sip1.trunk.example. 60 IN A 127.0.0.2"]
    dns = DnsServer([*hosts, f"_sips._tcp.trunk.example. 60 IN SRV 1 0 {port} sip1.trunk.example."])
    names.append(str(await nursery.start(dns.run)))
    trunk = "sips:trunk.example"
    async with site(tmp_path, "udp", "tls", trunk=trunk, peer_name="trunk.example", peer_port=port) as at:
        seen, _ = await call_through(at.phone, at.peer, "sips:bob@trunk.example", at.agent_at)
        assert seen.request_uri == b"sips:bob@trunk.example"
        assert at.peer.names == ["trunk.example"]


async def test_a_dead_host_of_a_trunk_is_asked_last(tmp_path: Path, names: list[str], nursery: trio.Nursery) -> None:
    """M1: the first call finds out, the second one does not even try."""
    port = free_port()
    hosts = ["dead.trunk.example. 60 IN A 127.0.0.3", "live.trunk.example. 60 IN A 127.0.0.2"]
    srv = "_sips._tcp.trunk.example. 60 IN SRV"
    dns = DnsServer([*hosts, f"{srv} 1 0 {port} dead.trunk.example.", f"{srv} 2 0 {port} live.trunk.example."])
    names.append(str(await nursery.start(dns.run)))
    trunk = "sips:trunk.example"
    async with site(tmp_path, "udp", "tls", trunk=trunk, peer_name="trunk.example", peer_port=port) as at:
        failures = []
        for _ in range(2):
            await call_through(at.phone, at.peer, "sips:bob@trunk.example", at.agent_at)
            failures.append(counted(at.server, "sip.connections_failed"))
        assert failures == [1, 1]


async def test_a_phone_believes_the_certificate_of_the_operator(tmp_path: Path) -> None:
    """M5: [lan] certificate; read again on reload, while the connection of before goes on."""
    old, new = trustme.CA(), trustme.CA()
    lan = f'certificate = "{tmp_path}/lan.pem"\nprivate_key = "{tmp_path}/lan.key"\n'
    write(old, tmp_path)
    async with site(tmp_path, "udp", "udp", lan=lan) as at:
        tls = listener(at.agent, "tls", "127.0.0.1")
        async with open_end("tls", "127.0.0.1", shown=shown("127.0.0.1"), trusted=believer(old)) as alice:
            await call_through(alice, at.peer, at.peer.uri, tls)
            write(new, tmp_path)
            at.agent.reload(inside_agent.load(tmp_path / "one" / "agent.toml"))
            await call_through(alice, at.peer, at.peer.uri, tls)
            async with open_end("tls", "127.0.0.1", shown=shown("127.0.0.1"), trusted=believer(new)) as bob:
                await call_through(bob, at.peer, at.peer.uri, tls)
            (tmp_path / "lan.pem").write_text("nonsense")
            with pytest.raises(BadConfig, match=r"lan\.certificate"):
                at.agent.reload(inside_agent.load(tmp_path / "one" / "agent.toml"))
            await call_through(alice, at.peer, at.peer.uri, tls)


async def test_a_pbx_that_nobody_vouches_for_gets_no_call(tmp_path: Path) -> None:
    """M4: the LAN is verified as well, by lan.tls_ca; the trunk is told, without an address of the LAN."""
    async with site(tmp_path, "tls", "udp") as at:
        (tmp_path / "ca.pem").write_bytes(trustme.CA().cert_pem.bytes())
        at.agent.reload(inside_agent.load(tmp_path / "one" / "agent.toml"))
        await at.peer.ask("INVITE", f"sip:100@{at.server_at}", at.server_at, body=at.peer.sdp())
        refused = (await at.peer.hears(503)).message
        assert b"does not verify" in refused.raw
        assert counted(at.agent, "sip.tls.not_verified") == 1
        AUTHORITY.cert_pem.write_to_path(tmp_path / "ca.pem")
        at.agent.reload(inside_agent.load(tmp_path / "one" / "agent.toml"))
        await call_through(at.peer, at.phone, f"sip:100@{at.server_at}", at.server_at)


async def test_tenants_do_not_share_connections_that_others_vouch_for(tmp_path: Path) -> None:
    """M4: what one tenant's file says is of no use to another; a trunk of both is asked twice who it is."""
    async with site(tmp_path, "udp", "tls") as at:
        at.ends.add_tenant("globex", trunks=[f"sips:{OUTSIDE}"])
        config = await at.ends.join("globex", "two")
        other = await at.ends.start_agent(config)
        udp = listener(other, "udp", "127.0.0.1")
        await call_through(at.phone, at.peer, at.peer.uri, at.agent_at)
        await at.phone.ask("INVITE", at.peer.uri, udp, body=at.phone.sdp())
        await at.phone.hears(503)
        await call_through(at.phone, at.peer, at.peer.uri, at.agent_at)
        assert at.peer.connections == 2


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((OUTSIDE, 0))
        port: int = probe.getsockname()[1]
        return port


def believer(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority.configure_trust(context)
    return context


def write(authority: trustme.CA, directory: Path) -> None:
    leaf = authority.issue_cert("127.0.0.1")
    leaf.private_key_pem.write_to_path(directory / "lan.key")
    (directory / "lan.pem").write_bytes(b"".join(blob.bytes() for blob in leaf.cert_chain_pems))
