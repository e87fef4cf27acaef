"""Who is not let in, is told why, and disturbs nobody (issue: identity; FIELD-NOTES S2-2, T19)."""

from __future__ import annotations

import shutil
import socket
import ssl
import struct
from collections.abc import AsyncIterator, MutableMapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import structlog
import trio
from support.both_ends import BothEnds, agent_toml, connect, counted, inside_phone, open_ends, outside_phone, until
from support.certificates import credentials_of, open_authority

import inside_agent
import outside_server
from inside_agent.join import credentials_path, join, load_credentials, save_credentials
from tunnel.errors import Refused
from tunnel.link.token import Token
from tunnel.softphone import Call, compare

Logs = list[MutableMapping[str, Any]]
LINGER_NOT = struct.pack("ii", 1, 0)


class Office:
    """Two agents of two tenants; the call of the second is what nobody may disturb."""

    def __init__(self, ends: BothEnds, server: outside_server.Server, logs: Logs, call: tuple[Call, Call]) -> None:
        self.ends = ends
        self.server = server
        self.logs = logs
        self.placed, self.taken = call

    def said(self, event: str) -> list[str]:
        """The reasons in the log under ``event``."""
        return [str(entry["reason"]) for entry in self.logs if entry["event"] == event]

    async def assert_undisturbed(self) -> None:
        """The call goes on, and what was said in it has arrived, but for the little that all ends in one process cost."""
        assert self.placed.end is None
        for mouth, ear in ((self.placed.mouth, self.taken.ear), (self.taken.mouth, self.placed.ear)):
            assert len(ear.arrivals) > 5
            await until(lambda mouth=mouth, ear=ear: compare(mouth, ear).lost_packets <= 0.05 * len(mouth.departures))
        assert counted(self.server, "internal.errors") == 0


@asynccontextmanager
async def office(directory: Path) -> AsyncIterator[Office]:
    with structlog.testing.capture_logs() as logs:
        async with open_ends(directory) as ends:
            server = await ends.start_server()
            ends.add_tenant("globex")
            ends.add_tenant("acme")
            witness = await ends.start_agent(await ends.join("globex", "witness"))
            async with inside_phone(witness) as alice, outside_phone() as bob:
                call = await connect(alice, bob)
                found = Office(ends, server, logs, call)
                yield found
                await call[0].talk(0.15)
                await found.assert_undisturbed()


def give_credentials(path: Path, credentials: Any) -> None:
    (path.parent / "data").mkdir(exist_ok=True, mode=0o700)
    save_credentials(path.parent / "data", credentials)


async def refused_with(office: Office, config: Path) -> tuple[str, str]:
    """What the server's log says, and the agent's."""
    with trio.move_on_after(5) as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(inside_agent.serve, inside_agent.load(config))
            await until(lambda: len(office.said("tunnel.refused")) == 2)
            nursery.cancel_scope.cancel()
    assert not scope.cancelled_caught
    refusals = [entry for entry in office.logs if entry["event"] == "tunnel.refused"]
    by_agent = [str(entry["reason"]) for entry in refusals if "retry_s" in entry]
    by_server = [str(entry["reason"]) for entry in refusals if "retry_s" not in entry]
    assert "agent.ready" not in [entry["event"] for entry in office.logs if entry.get("agent") == "intruder"]
    return by_server[0], by_agent[0]


async def test_an_agent_of_a_foreign_authority(tmp_path: Path) -> None:
    async with office(tmp_path) as found:
        config = agent_toml(tmp_path / "intruder", server=found.ends.tunnel)
        foreign = credentials_of(open_authority(tmp_path / "foreign", datetime.now(UTC)), now=datetime.now(UTC))
        own = found.ends.authority()
        # It trusts our server, or it would hang up before it could be refused.
        give_credentials(config, type(foreign)(foreign.key, foreign.certificate, own.der, (), "acme"))
        server, agent = await refused_with(found, config)
    assert "certificate is not accepted" in server
    assert "the other end refuses: unknown ca" in agent


async def test_an_agent_whose_certificate_has_expired(tmp_path: Path) -> None:
    async with office(tmp_path) as found:
        config = agent_toml(tmp_path / "intruder", server=found.ends.tunnel)
        give_credentials(config, credentials_of(found.ends.authority(), now=datetime.now(UTC) - timedelta(days=91)))
        server, agent = await refused_with(found, config)
    assert "certificate has expired" in server
    assert "certificate expired" in agent


async def test_an_agent_of_a_tenant_that_is_gone(tmp_path: Path) -> None:
    async with office(tmp_path) as found:
        config = await found.ends.join("acme", "intruder")
        with found.ends.store() as store:
            store.remove("acme")
        server, agent = await refused_with(found, config)
    assert server == agent
    assert "the server knows no such agent" in agent


async def test_an_agent_that_was_revoked(tmp_path: Path) -> None:
    async with office(tmp_path) as found:
        config = await found.ends.join("acme", "intruder")
        with found.ends.store() as store:
            store.revoke("acme", "intruder")
        await trio.sleep(0.6)  # the server looks at its tenants twice a second
        server, agent = await refused_with(found, config)
    assert server == agent
    assert "this agent was revoked" in agent


async def test_a_server_that_is_not_ours(tmp_path: Path) -> None:
    async with office(tmp_path) as found:
        config = agent_toml(tmp_path / "intruder", server=found.ends.tunnel)
        give_credentials(
            config, credentials_of(open_authority(tmp_path / "foreign", datetime.now(UTC)), now=datetime.now(UTC))
        )
        server, agent = await refused_with(found, config)
    assert "the other end refuses: unknown ca" in server
    assert "certificate is not accepted" in agent


async def test_a_stranger_without_a_certificate(tmp_path: Path) -> None:
    async with office(tmp_path) as found:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.load_verify_locations(cadata=found.ends.authority().pem)
        context.set_alpn_protocols(["wallpass/1"])
        tcp = await trio.open_tcp_stream(*found.ends.tunnel)
        async with trio.SSLStream(tcp, context, https_compatible=True) as stream:
            await stream.do_handshake()
            assert await stream.receive_some() == b"", "the server hangs up"
        await until(lambda: counted(found.server, "tunnel.refused.handshake") == 1)
        assert found.said("tunnel.refused") == ["the other end shows no certificate; it has to join first"]


async def test_a_token_that_was_used(tmp_path: Path) -> None:
    async with office(tmp_path) as found:
        token = found.ends.token("acme")
        await join(token, "first", datetime.now(UTC))
        with pytest.raises(Refused, match="this TOKEN was used before"):
            await join(token, "second", datetime.now(UTC))
        assert found.said("join.refused") == ["replayed"]


async def test_a_token_that_has_expired(tmp_path: Path) -> None:
    async with office(tmp_path) as found:
        token = found.ends.token("acme", timedelta(seconds=-1))
        with pytest.raises(Refused, match="this TOKEN has expired"):
            await join(token, "late", datetime.now(UTC))
        forged = Token(token.servers, token.authority, token.tenant, token.secret, token.expires + 3600)
        with pytest.raises(Refused, match="this TOKEN has expired"):
            await join(forged, "late", datetime.now(UTC))
        assert found.said("join.refused") == ["expired"]


async def test_revocation_cuts_a_call(tmp_path: Path) -> None:
    """S2-2: that one within 2 s, and no other."""
    async with office(tmp_path) as found:
        agent = await found.ends.start_agent(await found.ends.join("acme", "one"))
        async with inside_phone(agent) as alice, outside_phone() as bob:
            placed, taken = await connect(alice, bob)
            await placed.talk(0.2)
            begun_at = trio.current_time()
            with found.ends.store() as store:
                store.revoke("acme", "one")
            await until(lambda: not agent.is_healthy)
            cut_s = trio.current_time() - begun_at
            heard = len(taken.ear.arrivals), len(placed.ear.arrivals)
            await placed.talk(0.2)
            assert (len(taken.ear.arrivals), len(placed.ear.arrivals)) == heard
        print(f"revocation cut the live session after {cut_s:.2f} s")
        assert cut_s < 2.0
        assert len(found.said("tunnel.cut")) == 1
        await until(lambda: bool(found.said("tunnel.refused")))
        assert "this agent was revoked" in found.said("tunnel.refused")[0]
        await until(lambda: found.server.figures().ports[0] == 1, 8)  # what is left is the witness's
        acme = next(calls for calls in found.server.figures().calls if calls.tenant == "acme")
        assert (acme.active.get("outbound", 0), acme.total["outbound"]) == (0, 1)


async def test_a_second_connection_of_an_agent_replaces_the_first_at_once(tmp_path: Path) -> None:
    """T19: a server that still holds a dead connection lets the agent back in."""
    async with office(tmp_path) as found:
        config = await found.ends.join("acme", "one")
        first = await found.ends.start_agent(config)
        twin = agent_toml(tmp_path / "twin", server=found.ends.tunnel)
        shutil.copytree(config.parent / "data", twin.parent / "data", ignore=shutil.ignore_patterns("*.sock"))
        begun_at = trio.current_time()
        second = await found.ends.start_agent(twin)
        assert trio.current_time() - begun_at < 1.0
        assert second.is_healthy
        await until(lambda: not first.is_healthy)
        assert len([a for a in found.server.figures().agents if a.tenant == "acme"]) == 1
        await found.ends.stop(first)


async def test_connections_that_come_to_nothing(tmp_path: Path) -> None:
    """A port scanner, a browser, somebody who says nothing: none of them ends the server."""
    async with office(tmp_path) as found:
        for first in (b"", b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x00\x05hello", b"\x00" * 4096):
            with socket.create_connection(found.ends.tunnel) as peer:
                peer.sendall(first)
                peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_NOT)
        await trio.sleep(0.05)
        agent = await found.ends.start_agent(await found.ends.join("acme", "one"))
        assert agent.is_healthy


async def test_a_certificate_that_ends_soon_is_renewed_by_the_connection(tmp_path: Path) -> None:
    async with office(tmp_path) as found:
        config = await found.ends.join("acme", "one")
        data_dir = config.parent / "data"
        joined = load_credentials(data_dir)
        assert joined is not None
        identity = joined.identity
        authority = found.ends.authority()
        old = credentials_of(
            authority, identity.tenant_id, identity.agent_id, "one", datetime.now(UTC) - timedelta(days=80)
        )
        give_credentials(config, old)
        agent = await found.ends.start_agent(config)
        await until(lambda: "certificate.renewed" in [entry["event"] for entry in found.logs if "expires" in entry])
        new = load_credentials(data_dir)
        assert new is not None
        assert new.identity.not_after > old.identity.not_after + timedelta(days=60)
        assert new.key.private_numbers() == old.key.private_numbers()
        assert credentials_path(data_dir).stat().st_mode & 0o777 == 0o600
        await found.ends.stop(agent)
        assert (await found.ends.start_agent(config)).is_healthy
