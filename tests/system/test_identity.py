"""Everybody who must not get in tries at once, while a call of another tenant must not lose one packet."""

from __future__ import annotations

import ssl
from collections.abc import MutableMapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import structlog
import trio
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from support.both_ends import BothEnds, agent_toml, open_ends, sip_addresses, until
from support.certificates import credentials_of, open_authority
from support.plain_call import plain_call

import inside_agent
from inside_agent.join import join, load_credentials, save_credentials
from tunnel.errors import Refused
from tunnel.link.credentials import AgentCredentials
from tunnel.link.identity import agent_uri, new_key
from tunnel.link.token import Token

Logs = list[MutableMapping[str, Any]]


def self_signed(authority: bytes, tenant: int, agent: int) -> AgentCredentials:
    """Somebody who knows the numbers of an agent that exists, and nothing else."""
    key, now = new_key(), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "self-signed")])
    uri = x509.UniformResourceIdentifier(agent_uri(tenant, agent))
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([uri]), critical=False)
        .sign(key, hashes.SHA256())
    )
    return AgentCredentials(key, certificate.public_bytes(serialization.Encoding.DER), authority, (), "acme")


async def try_to_get_in(ends: BothEnds, name: str, credentials: AgentCredentials, agents: list[str]) -> None:
    """Run an agent with those credentials, until cancelled; it never becomes ready.

    It shares a process with the good call, which it must not hold up by reading the system's list of authorities.
    """
    config = agent_toml(ends.directory / "intruders" / name, server=ends.tunnel, lan='tls_ca = "few.pem"')
    (config.parent / "few.pem").write_text(ends.authority().pem)
    data_dir = config.parent / "data"
    data_dir.mkdir(mode=0o700)
    save_credentials(data_dir, credentials)
    with structlog.contextvars.bound_contextvars(intruder=name):
        async with trio.open_nursery() as nursery:
            await nursery.start(inside_agent.serve, inside_agent.load(config))
            agents.append(name)


async def show_no_certificate(ends: BothEnds) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.load_verify_locations(cadata=ends.authority().pem)
    context.set_alpn_protocols(["wallpass/1"])
    tcp = await trio.open_tcp_stream(*ends.tunnel)
    async with trio.SSLStream(tcp, context, https_compatible=True) as stream:
        assert await stream.receive_some() == b""


async def use_bad_tokens(ends: BothEnds) -> None:
    now = datetime.now(UTC)
    used = ends.token("acme")
    await join(used, "first", now)
    with pytest.raises(Refused, match="was used before"):
        await join(used, "second", now)
    late = ends.token("acme", timedelta(seconds=-1))
    with pytest.raises(Refused, match="has expired"):
        await join(Token(late.servers, late.authority, late.tenant, late.secret, late.expires + 3600), "late", now)


async def test_a_crowd_of_intruders_costs_a_good_call_no_packet(tmp_path: Path) -> None:
    ready: list[str] = []
    with structlog.testing.capture_logs([structlog.contextvars.merge_contextvars]) as logs:
        async with open_ends(tmp_path) as ends:
            server = await ends.start_server()
            ends.add_tenant("globex")
            ends.add_tenant("acme")
            witness = await ends.start_agent(await ends.join("globex", "witness"))
            revoked = load_credentials((await ends.join("acme", "revoked")).parent / "data")
            assert revoked is not None
            with ends.store() as store:
                store.revoke("acme", "revoked")
            await trio.sleep(0.6)  # the server looks at its tenants twice a second
            own, now = ends.authority(), datetime.now(UTC)
            foreign = credentials_of(open_authority(tmp_path / "other", now), now=now)
            intruders = {
                "self-signed": self_signed(own.der, 1, 1),
                "foreign": AgentCredentials(foreign.key, foreign.certificate, own.der, (), "acme"),
                "expired": credentials_of(own, now=now - timedelta(days=91)),
                "revoked": revoked,
            }
            logs.clear()
            async with plain_call(sip_addresses(witness)["udp"]) as call, trio.open_nursery() as nursery:
                for name, credentials in intruders.items():
                    nursery.start_soon(try_to_get_in, ends, name, credentials, ready)
                nursery.start_soon(show_no_certificate, ends)
                nursery.start_soon(use_bad_tokens, ends)
                await until(lambda: len(refusals(logs, "join.refused")) == 2)
                await until(lambda: len(told(logs)) == len(intruders))
                await until(lambda: len(refusals(logs, "tunnel.refused")) == 1 + 2 * len(intruders))
                await trio.sleep(0.3)
                nursery.cancel_scope.cancel()
            assert witness.is_healthy
            print(f"{call.inside.sent} and {call.outside.sent} packets sent, all arrived")
            call.assert_nothing_lost()
            assert [agent.agent for agent in server.figures().agents] == ["witness"]
            assert {event["event"] for event in logs} & {"tunnel.up", "tunnel.down", "internal.error"} == set()
    assert ready == []
    assert refusals(logs, "join.refused") == ["replayed", "expired"]
    by_server = sorted(refusals(logs, "tunnel.refused", by_agent=False))
    assert len(by_server) == 5
    for wanted in (
        "self-signed certificate",
        "unable to get local issuer",
        "has expired",
        "was revoked",
        "no certificate",
    ):
        assert sum(wanted in reason for reason in by_server) == 1, (wanted, by_server)
    said = told(logs)
    assert "certificate expired" in said["expired"]
    assert "unknown ca" in said["foreign"]
    assert "unknown ca" in said["self-signed"]
    assert "this agent was revoked" in said["revoked"]


def refusals(logs: Logs, event: str, *, by_agent: bool | None = None) -> list[str]:
    """The reasons logged under ``event``; only an agent says when it will try again."""
    found = [entry for entry in logs if entry["event"] == event]
    return [str(e["reason"]) for e in found if by_agent is None or ("retry_s" in e) is by_agent]


def told(logs: Logs) -> dict[str, str]:
    """What each intruder's own log says."""
    return {e["intruder"]: str(e["reason"]) for e in logs if e["event"] == "tunnel.refused" and "retry_s" in e}
