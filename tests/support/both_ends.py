"""A whole installation on loopback, in one nursery and without processes: server, tenants, agents that have joined.

    async with open_ends(tmp_path) as ends:
        server = await ends.start_server()
        ends.add_tenant("acme")
        agent = await ends.start_agent(await ends.join("acme", "pbx-host"))

Every port is whatever is free. Phones are those of ``tunnel.softphone``: inside on 127.0.0.1, outside on 127.0.0.2.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import trio

import inside_agent
import outside_server
from inside_agent.join import join, save_credentials
from outside_server.authority import Authority
from outside_server.demo_pair import free_port_range
from outside_server.tenant_store import SqliteTenants
from outside_server.tenants import hash_of
from tunnel.address import Address, parse_address
from tunnel.link.token import Token
from tunnel.softphone import Account, Call, Phone, Tune, open_phone

__all__ = [
    "OUTSIDE",
    "BothEnds",
    "agent_toml",
    "connect",
    "counted",
    "inside_phone",
    "open_ends",
    "outside_phone",
    "server_toml",
    "sip_addresses",
    "until",
    "uri_of",
]

OUTSIDE = "127.0.0.2"
LIMIT_S = 20.0


def server_toml(
    directory: Path, *, listen: str = "127.0.0.1:0", sip: str = '["udp:0"]', public: str = "", rest: str = ""
) -> Path:
    """A server.toml in ``directory``; ``public`` and ``rest`` are further lines of the file."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / "server.toml"
    path.write_text(
        f'data_dir = "data"\n[tunnel]\nlisten = "{listen}"\n[public]\naddress = "127.0.0.1"\nsip = {sip}\n'
        f'media_ports = "{free_port_range()}"\n{public}\n{rest}\n'
    )
    return path


def agent_toml(directory: Path, *, server: Address, sip: str = '["udp:0"]', lan: str = "", rest: str = "") -> Path:
    """An agent.toml in ``directory``."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / "agent.toml"
    path.write_text(
        f'data_dir = "data"\n[tunnel]\nserver = "{server}"\n[lan]\naddress = "127.0.0.1"\nsip = {sip}\n'
        f'allow = ["127.0.0.1/32"]\nmedia_ports = "{free_port_range()}"\n{lan}\n{rest}\n'
    )
    return path


@asynccontextmanager
async def open_ends(directory: Path, limit_s: float = LIMIT_S) -> AsyncIterator[BothEnds]:
    """Everything started in it ends with the block, which takes no longer than ``limit_s``."""
    with trio.fail_after(limit_s):
        async with trio.open_nursery() as nursery:
            ends = BothEnds(nursery, directory)
            yield ends
            nursery.cancel_scope.cancel()


class BothEnds:
    """The server's files are in ``directory/server``, those of an agent in ``directory/NAME``."""

    def __init__(self, nursery: trio.Nursery, directory: Path) -> None:
        self.nursery = nursery
        self.directory = directory
        self._running: dict[object, tuple[trio.CancelScope, trio.Event]] = {}
        self.tunnel = Address("127.0.0.1", 0)

    @property
    def data_dir(self) -> Path:
        """The server's."""
        return self.directory / "server" / "data"

    async def start_server(self, config: Path | None = None) -> outside_server.Server:
        path = config or server_toml(self.directory / "server", listen=str(self.tunnel))
        server = await self._start(outside_server.serve, outside_server.load(path))
        self.tunnel = parse_address(server.addresses["tunnel"])
        return server

    async def start_agent(self, config: Path) -> inside_agent.Agent:
        return await self._start(inside_agent.serve, inside_agent.load(config))

    async def stop(self, end: object) -> None:
        """Cancel an end and wait until it is gone."""
        scope, gone = self._running.pop(end)
        scope.cancel()
        await gone.wait()

    def add_tenant(self, name: str, **more: Any) -> None:
        """``more``: domains, trunks, max_calls, calls_per_second."""
        with self.store() as store:
            store.add(name, **more)

    def token(self, tenant: str, lasts: timedelta = timedelta(minutes=5)) -> Token:
        """What ``wallpass tenant invite`` prints."""
        secret, now = os.urandom(16), datetime.now(UTC)
        with self.store() as store:
            store.invite(tenant, hash_of(secret), now + lasts)
        return Token((self.tunnel,), self.authority().der, tenant, secret, int((now + lasts).timestamp()))

    async def join(self, tenant: str, name: str, *, via: Address | None = None, lan: str = "", rest: str = "") -> Path:
        """An agent that has joined and connects to the server, or to ``via`` on the way to it: its agent.toml."""
        path = agent_toml(self.directory / name, server=via or self.tunnel, lan=lan, rest=rest)
        credentials = await join(self.token(tenant), name, datetime.now(UTC))
        data_dir = path.parent / "data"
        data_dir.mkdir(mode=0o700, exist_ok=True)
        save_credentials(data_dir, credentials)
        return path

    def store(self) -> contextlib.closing[SqliteTenants]:
        """The tenants as a ``wallpass tenant`` command has them, beside the running server."""
        return contextlib.closing(SqliteTenants(self.data_dir / "tenants.db"))

    def authority(self) -> Authority:
        return Authority.open(self.data_dir, datetime.now(UTC), os.urandom)

    async def _start(self, serve: Callable[..., Awaitable[None]], config: object) -> Any:
        scope, gone = trio.CancelScope(), trio.Event()

        async def live(task_status: trio.TaskStatus[object] = trio.TASK_STATUS_IGNORED) -> None:
            try:
                with scope:
                    await serve(config, task_status=task_status)
            finally:
                gone.set()

        handle = await self.nursery.start(live)
        self._running[handle] = scope, gone
        return handle


def counted(end: outside_server.Server | inside_agent.Agent, name: str) -> int:
    """What an end has counted under ``name``."""
    return end.figures().events.get(name, 0)


def sip_addresses(end: outside_server.Server | inside_agent.Agent) -> dict[str, Address]:
    """Where an end listens for SIP, by transport."""
    listeners = (listener.partition(":") for listener in end.addresses["sip"].split(","))
    return {transport: parse_address(address) for transport, _, address in listeners}


def inside_phone(agent: inside_agent.Agent, **more: Any) -> AbstractAsyncContextManager[Phone]:
    """A phone on the LAN that has the agent as its outbound proxy; ``more`` goes to ``open_phone``."""
    transport = more.get("transport", "udp")
    account = Account("alice", "provider.example", outbound=sip_addresses(agent)[transport])
    return open_phone(account, **more)


def outside_phone(**more: Any) -> AbstractAsyncContextManager[Phone]:
    """A phone that anybody may call."""
    return open_phone(Account("bob", "provider.example"), bind=Address(OUTSIDE, 0), **more)


def uri_of(phone: Phone, transport: str = "udp") -> bytes:
    suffix = "" if transport == "udp" else f";transport={transport}"
    return f"sip:{phone.account.user}@{phone.address}{suffix}".encode()


async def connect(caller: Phone, callee: Phone, uri: bytes | None = None) -> tuple[Call, Call]:
    """A call that talks, the caller's side first; the caller speaks tune 7, the callee tune 2000."""
    answered: list[Call] = []

    async def answer() -> None:
        answered.append(await callee.answer_next(Tune(2000)))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(answer)
        call = await caller.call(uri or uri_of(callee), Tune(7))
    return call, answered[0]


async def until(condition: Callable[[], bool], limit_s: float = 5.0) -> float:
    """Wait for something that nobody announces; returns for how long, in seconds."""
    begun_at = trio.current_time()
    with trio.fail_after(limit_s):
        while not condition():  # noqa: ASYNC110 - what is waited for is the state of another end
            await trio.sleep(0.005)
    return trio.current_time() - begun_at
