"""A server's real authority in a temporary directory, and agents that have joined it."""

from __future__ import annotations

import os
import ssl
from datetime import UTC, datetime
from pathlib import Path

from outside_server.authority import Authority
from tunnel.address import Address
from tunnel.link.credentials import AgentCredentials
from tunnel.link.identity import make_csr, new_key
from tunnel.link.secure import agent_context, server_context
from tunnel.link.token import Token

__all__ = [
    "NOW",
    "SECRET",
    "SERVER",
    "connecting_context",
    "credentials_of",
    "listening_context",
    "open_authority",
    "token_of",
]

NOW = datetime(2030, 1, 1, 12, 0, tzinfo=UTC)
SERVER = Address("203.0.113.10", 443)
SECRET = bytes(range(16))


def open_authority(data_dir: Path, now: datetime = NOW) -> Authority:
    """The authority in ``data_dir``; for a TLS handshake ``now`` must be the real time."""
    data_dir.mkdir(mode=0o700, exist_ok=True)
    return Authority.open(data_dir, now, os.urandom)


def credentials_of(
    authority: Authority, tenant_id: int = 1, agent_id: int = 1, name: str = "pbx-host", now: datetime = NOW
) -> AgentCredentials:
    """An agent's credentials as ``join`` leaves them."""
    key = new_key()
    certificate = authority.issue_agent_untrusted(make_csr(key, name), tenant_id, agent_id, name, now)
    return AgentCredentials(key, certificate, authority.der, (SERVER,), "acme")


def token_of(authority: Authority, server: Address = SERVER, expires: datetime | None = None) -> Token:
    """A TOKEN of ``authority`` with `SECRET` in it; by default good for a day from the real now."""
    unix = (expires or datetime.now(UTC)).timestamp() + (0 if expires else 86400)
    return Token((server,), authority.der, "acme", SECRET, int(unix))


def listening_context(authority: Authority, now: datetime) -> ssl.SSLContext:
    """What the server's end of the tunnel port uses."""
    path = authority.server_certificate(now).path
    return server_context(path, path, authority.pem)


def connecting_context(credentials: AgentCredentials, path: Path) -> ssl.SSLContext:
    """What an agent that has joined uses; ``path`` is where its credentials are kept."""
    path.write_bytes(bytes(credentials))
    return agent_context(credentials.authority_pem, path)
