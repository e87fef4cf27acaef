from __future__ import annotations

import pytest
from support.certificates import NOW

from outside_server.tenants import Agent, Snapshot, Tenant
from tunnel.link.identity import AgentIdentity

ACME = Tenant(1, "acme", domains=("acme.example", "acme.test"))
GLOBEX = Tenant(2, "globex")
SNAPSHOT = Snapshot(
    {1: ACME, 2: GLOBEX},
    {7: Agent(7, 1, "pbx-host", "abc", revoked=False), 8: Agent(8, 1, "old-host", "abd", revoked=True)},
)


@pytest.mark.parametrize(
    ("tenant", "agent", "reason"),
    [(1, 7, None), (1, 8, "revoked"), (1, 9, "unknown"), (2, 7, "unknown"), (3, 7, "unknown")],
)
def test_who_may_connect(tenant: int, agent: int, reason: str | None) -> None:
    assert SNAPSHOT.refusal(AgentIdentity(tenant, agent, "pbx-host", 1, NOW)) == reason
