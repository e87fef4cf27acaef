"""The product in the rig: both ends, set up by the commands that a user types, each on its host."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from field.rig.host import Host
from field.rig.network import Network
from field.rig.program import Program, ProgramFailed, environment, eventually

__all__ = ["Pair", "wallpass", "wallpass_pair"]

READY_S = 15.0
_SERVER_TOML = """
data_dir = "{folder}/server-data"

[tunnel]
listen = "203.0.113.10:443"

[public]
address = "203.0.113.10"
sip = ["udp:5060", "tcp:5060"]
media_ports = "20000-29999"

[admin]
listen = "127.0.0.1:9080"
"""
_AGENT_TOML = """
data_dir = "{folder}/agent-data"

[lan]
address = "10.1.0.2"
sip = ["udp:5060", "tcp:5060", "tls:5061"]
media_ports = "30000-39999"
allow = ["10.1.0.0/24"]
{lan}

[admin]
listen = "127.0.0.1:9081"
"""


@dataclass(frozen=True, slots=True)
class Pair:
    """Both ends, running, and the agent's one connection through the firewall."""

    network: Network
    server: Program
    agent: Program
    server_toml: Path
    agent_toml: Path

    def tunnel_ports(self) -> set[int]:
        """The agent's local ports of its live connections to the server."""
        return self.network.agent.established_ports("203.0.113.10", 443)

    def tunnel_port(self) -> int:
        ports = self.tunnel_ports()
        assert len(ports) == 1, f"the agent has {len(ports)} connections to the server"
        return ports.pop()

    def await_new_tunnel(self, old_port: int, within_s: float = 10.0) -> float:
        """Wait until the agent is connected by another connection; returns the seconds it took."""
        return eventually(lambda: bool(self.tunnel_ports() - {old_port}), within_s, "a new tunnel connection")

    def reset_tunnel(self) -> None:
        """The agent's own kernel ends the connection with RST to the server, and an error to the agent."""
        port = self.tunnel_port()
        self.network.agent.run("ss", "-tK", "dst", "203.0.113.10", "dport", "=", "443", "sport", "=", str(port))

    def status(self, end: str) -> int:
        """Exit code of `wallpass status` for "server" or "agent"."""
        host = self.network.server if end == "server" else self.network.agent
        config = self.server_toml if end == "server" else self.agent_toml
        return wallpass(host, "status", "--config", str(config)).returncode


@contextmanager
def wallpass_pair(
    network: Network, folder: Path, tenant: Sequence[str] = (), lan: str = "", name: str = "acme"
) -> Iterator[Pair]:
    """Both ends, from nothing: server, tenant, invitation, join, agent; `tenant`: more options of `tenant add`."""
    server_toml, agent_toml = folder / "server.toml", folder / "agent.toml"
    server_toml.write_text(_SERVER_TOML.format(folder=folder))
    agent_toml.write_text(_AGENT_TOML.format(folder=folder, lan=lan))
    with Program(network.server, "wallpass-server", _argv("server", "--config", str(server_toml)), folder) as server:
        _await_ready(server)
        _succeeds(network.server, "tenant", "add", name, "--config", str(server_toml), *tenant)
        token = _succeeds(network.server, "tenant", "invite", name, "--config", str(server_toml)).strip()
        _succeeds(network.agent, "join", token, "--config", str(agent_toml))
        with Program(network.agent, "wallpass-agent", _argv("agent", "--config", str(agent_toml)), folder) as agent:
            _await_ready(agent)
            yield Pair(network, server, agent, server_toml, agent_toml)


def wallpass(host: Host, *arguments: str) -> subprocess.CompletedProcess[str]:
    """One command to its end, on that host."""
    argv = host.argv(*_argv(*arguments))
    where = tempfile.gettempdir()
    return subprocess.run(argv, capture_output=True, text=True, check=False, timeout=30, cwd=where, env=environment())


def _await_ready(end: Program) -> None:
    end.await_output("^ready", READY_S)
    if not any(line.startswith("ready") for line in end.stdout.splitlines()):
        raise ProgramFailed(f"{end.name}: its ready line is not on stdout\n{end.tail()}")


def _succeeds(host: Host, *arguments: str) -> str:
    done = wallpass(host, *arguments)
    if done.returncode != 0:
        shown = " ".join(argument if len(argument) < 60 else "..." for argument in arguments)
        raise ProgramFailed(f"wallpass {shown} -> {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def _argv(*arguments: str) -> list[str]:
    """The `wallpass` script of the environment in which the tests run."""
    script = Path(sys.executable).with_name("wallpass")
    if not os.access(script, os.X_OK):
        raise ProgramFailed(f"{script} is not there: install the project into this environment (pip install -e .)")
    return [str(script), *arguments]
