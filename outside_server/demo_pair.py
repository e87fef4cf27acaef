"""[io] A whole installation on loopback for the demo: both ends from their files, a tenant, an agent that joins.

Everything lives in one directory, takes whatever ports are free, and is what an operator would do by hand with
``wallpass server``, ``tenant add``, ``tenant invite``, ``join`` and ``agent``.
"""

from __future__ import annotations

import contextlib
import os
import random
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import trio

import inside_agent
import outside_server
from inside_agent.join import join, save_credentials
from outside_server.authority import Authority
from outside_server.demo_step import step
from outside_server.tenant_store import SqliteTenants
from outside_server.tenants import hash_of
from tunnel.address import Address, parse_address
from tunnel.errors import LocalMisuse
from tunnel.link.token import Token

__all__ = ["DemoPair", "open_pair"]

TENANT = "demo"
START_S = 15.0  # far more than it takes on a slow host
# Ours: two calls need four ports an end at a time; the rest leaves room for ports that are still resting.
MEDIA_PORTS = 40
LOWEST_PORT, HIGHEST_PORT = 10_000, 30_000
INVITATION_LIFE = timedelta(minutes=5)

SERVER_TOML = """\
data_dir = "{data_dir}"
[tunnel]
listen = "127.0.0.1:0"
[public]
address = "127.0.0.1"
sip = ["udp:0"]
media_ports = "{media_ports}"
"""

AGENT_TOML = """\
data_dir = "{data_dir}"
[tunnel]
server = "{server}"
transport = "tls"
[lan]
address = "127.0.0.1"
allow = ["127.0.0.0/8"]
sip = ["udp:0"]
media_ports = "{media_ports}"
"""


@dataclass(frozen=True, slots=True)
class DemoPair:
    """Both ends, up; ``link_s`` is how long the agent took from its start to a tunnel that is up."""

    agent: Address
    server: Address
    tunnel: str
    link_s: float


@asynccontextmanager
async def open_pair(directory: Path, tell: Callable[[str], None]) -> AsyncIterator[DemoPair]:
    """Set both ends up in ``directory`` and run them until the block is left; ``tell`` hears each step.

    Raises what the ends raise when they cannot start, in a group.
    """
    async with trio.open_nursery() as nursery:
        with step("the start of both ends", START_S):
            server = await nursery.start(outside_server.serve, write_server(directory))
            tunnel, public = parse_address(server.addresses["tunnel"]), sip_address(server.addresses["sip"])
            tell(f"server is ready: agents at {tunnel}, SIP at {public}")
            token = invite(directory / "server", tunnel)
            tell(f"tenant {TENANT} is added and has an invitation")
            config = write_agent(directory, tunnel)
            credentials = await join(token, "demo-agent", datetime.now(UTC))
            save_credentials(config.data_dir, credentials)
            tell(f"agent {credentials.identity.name} has joined: its key stays here, its certificate is the server's")
            begun_at = trio.current_time()
            agent = await nursery.start(inside_agent.serve, config)
            link_s = trio.current_time() - begun_at
            lan, carrier = sip_address(agent.addresses["sip"]), agent.addresses["tunnel"]
            tell(f"link is up after {link_s * 1000:.0f} ms over {carrier}; agent has SIP at {lan}")
        yield DemoPair(lan, public, carrier, link_s)
        nursery.cancel_scope.cancel()


def write_server(directory: Path) -> outside_server.ServerConfig:
    path = directory / "server.toml"
    path.write_text(SERVER_TOML.format(data_dir=directory / "server", media_ports=free_port_range()))
    return outside_server.load(path)


def write_agent(directory: Path, server: Address) -> inside_agent.AgentConfig:
    path = directory / "agent.toml"
    path.write_text(AGENT_TOML.format(data_dir=directory / "agent", server=server, media_ports=free_port_range()))
    (directory / "agent").mkdir(mode=0o700)
    return inside_agent.load(path)


def invite(data_dir: Path, tunnel: Address) -> Token:
    """What ``tenant add`` and ``tenant invite`` do."""
    now = datetime.now(UTC)
    secret = os.urandom(16)
    expires = now + INVITATION_LIFE
    with contextlib.closing(SqliteTenants(data_dir / "tenants.db")) as store:
        store.add(TENANT)
        store.invite(TENANT, hash_of(secret), expires)
    authority = Authority.open(data_dir, now, os.urandom)
    return Token((tunnel,), authority.der, TENANT, secret, int(expires.timestamp()))


def sip_address(listeners: str) -> Address:
    """The address of the only listener in ``udp:127.0.0.1:5060``."""
    return parse_address(listeners.partition(":")[2])


def free_port_range() -> str:
    """A range of UDP ports that nobody holds now. Raises LocalMisuse when there is none to be found."""
    for _ in range(100):
        low = random.randrange(LOWEST_PORT, HIGHEST_PORT, 2)
        with contextlib.ExitStack() as stack:
            try:
                for port in range(low, low + MEDIA_PORTS):
                    stack.enter_context(socket.socket(type=socket.SOCK_DGRAM)).bind(("127.0.0.1", port))
            except OSError:
                continue
            return f"{low}-{low + MEDIA_PORTS - 1}"
    raise LocalMisuse(f"there are no {MEDIA_PORTS} free UDP ports in a row on 127.0.0.1")
