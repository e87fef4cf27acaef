"""A tenant is revoked while its agent is connected."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from field.rig.network import Network
from field.rig.program import eventually
from field.rig.wallpass import wallpass, wallpass_pair

pytestmark = pytest.mark.field

CUT_WITHIN_S = 2.0


def test_revocation_cuts_the_session_and_keeps_the_agent_out(network: Network, folder: Path) -> None:
    """Within 2 s of the command; the agent says why in its log, keeps running, and is not let in again."""
    network.firewall.reset_counters()
    with wallpass_pair(network, folder) as pair:
        assert pair.status("agent") == 0
        assert pair.status("server") == 0
        live = pair.tunnel_port()
        revoked = wallpass(network.server, "tenant", "revoke", "acme", "--config", str(pair.server_toml))
        assert revoked.returncode == 0, revoked.stderr
        eventually(lambda: live not in pair.tunnel_ports(), CUT_WITHIN_S, "the revoked agent's connection was cut")
        eventually(lambda: "revoked" in pair.agent.stderr, 10.0, "the agent's log says why")
        assert pair.status("agent") == 1
        time.sleep(1.0)
        assert pair.agent.process.poll() is None
        assert pair.server.process.poll() is None
    assert network.firewall.packets("crossings") == 0
