"""Tenants, their agents and their invitations: what the server knows of its customers.

`TenantStore` is all that the rest of the server knows of where they are kept, so that several servers may share a store
one day; `outside_server.tenant_store` keeps them in SQLite.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from tunnel.link.identity import AgentIdentity

__all__ = ["Agent", "Grant", "Snapshot", "Tenant", "TenantStore", "hash_of"]


@dataclass(frozen=True, slots=True)
class Tenant:
    """One enterprise; a limit of None is no limit.

    ``trunk_ca``: PEM text of the only ones who may vouch for its trunks by TLS; empty for the system's store.
    """

    id: int
    name: str
    domains: tuple[str, ...] = ()
    trunks: tuple[str, ...] = ()
    max_calls: int | None = None
    calls_per_second: float | None = None
    trunk_ca: str = ""


@dataclass(frozen=True, slots=True)
class Agent:
    """One inside end of a tenant; ``serial`` is that of its newest certificate, hexadecimal."""

    id: int
    tenant_id: int
    name: str
    serial: str
    revoked: bool


@dataclass(frozen=True, slots=True)
class Grant:
    """What a good TOKEN gives: the tenant to belong to, and an agent's number and name."""

    tenant: Tenant
    agent_id: int
    agent_name: str


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything at one moment, for look-ups on the way of a call."""

    tenants: Mapping[int, Tenant]
    agents: Mapping[int, Agent]

    def refusal(self, identity: AgentIdentity) -> str | None:
        """Why an agent with that (verified) certificate may not connect, None if it may."""
        agent = self.agents.get(identity.agent_id)
        if identity.tenant_id not in self.tenants or agent is None or agent.tenant_id != identity.tenant_id:
            return "unknown"
        return "revoked" if agent.revoked else None


class TenantStore(Protocol):
    """Names are compared without regard to case. All methods raise LocalMisuse when the store cannot be used."""

    def change_mark(self) -> object:
        """Equal to the last one as long as nothing changed, by whomever; costs microseconds."""

    def snapshot(self) -> Snapshot: ...

    def add(
        self,
        name: str,
        *,
        domains: Sequence[str] = (),
        trunks: Sequence[str] = (),
        max_calls: int | None = None,
        calls_per_second: float | None = None,
        trunk_ca: str = "",
    ) -> Tenant:
        """Raises LocalMisuse for a name or a domain that is taken or no name."""

    def remove(self, name: str) -> None:
        """The tenant, its agents and invitations are gone. Raises LocalMisuse when there is none."""

    def invite(self, name: str, secret_hash: bytes, expires: datetime) -> Tenant:
        """Whoever brings the secret before ``expires`` may join once. Raises LocalMisuse for an unknown tenant."""

    def redeem(self, secret: bytes, agent: str, now: datetime) -> Grant:
        """Use an invitation up, in one step. Raises Refused: replayed, expired, unknown."""

    def note_serial(self, agent_id: int, serial: int) -> None:
        """Remember the newest certificate of an agent."""

    def revoke(self, name: str, agent: str | None) -> list[Agent]:
        """Revoke one agent of a tenant, or all of them; says which. Raises LocalMisuse when there is none."""


def hash_of(secret: bytes) -> bytes:
    """What the store keeps of a TOKEN's secret, which is random and long: a plain hash is enough."""
    return hashlib.sha256(secret).digest()
