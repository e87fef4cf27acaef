"""Both ends start inside anybody's nursery, and leave nothing behind."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
import trio
from support.both_ends import (
    agent_toml,
    connect,
    inside_phone,
    open_ends,
    outside_phone,
    server_toml,
    sip_addresses,
    until,
    uri_of,
)

import inside_agent
import outside_server
from tunnel.errors import BadConfig
from tunnel.softphone import CallFailed, Tune

ADMIN = '[admin]\nlisten = "127.0.0.1:0"'


def open_files() -> list[str]:
    """The sockets and epoll sets that this process has open, by kind."""
    links = (os.path.join("/proc/self/fd", number) for number in os.listdir("/proc/self/fd"))
    kinds = (os.readlink(link).partition(":")[0] for link in links if os.path.islink(link))
    return sorted(kind for kind in kinds if kind in ("socket", "anon_inode"))


async def run_once(directory: Path) -> None:
    """A whole life with a call in it that nobody hangs up."""
    async with open_ends(directory) as ends:
        await ends.start_server(server_toml(directory / "server", sip='["udp:0", "tcp:0", "tls:0"]', rest=ADMIN))
        ends.add_tenant("acme")
        agent = await ends.start_agent(await ends.join("acme", "one", rest=ADMIN))
        async with inside_phone(agent) as alice, outside_phone() as bob:
            placed, _ = await connect(alice, bob)
            await placed.talk(0.1)


async def test_cancelled_ends_leave_no_file_open(tmp_path: Path) -> None:
    await run_once(tmp_path / "first")  # whatever libraries keep open is open now
    before = open_files()
    await run_once(tmp_path / "second")
    assert open_files() == before


@pytest.mark.parametrize("key", ["admin.listen", "tunnel.listen", "data_dir"])
async def test_a_server_that_cannot_start_leaves_no_file_open(tmp_path: Path, key: str) -> None:
    async with open_ends(tmp_path) as ends:
        await ends.start_server()
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            listen = f"127.0.0.1:{port}" if key == "tunnel.listen" else "127.0.0.1:0"
            rest = f'[admin]\nlisten = "127.0.0.1:{port}"' if key == "admin.listen" else ADMIN
            directory = tmp_path / ("server" if key == "data_dir" else "other")
            config = outside_server.load(server_toml(directory, listen=listen, rest=rest))
            before = open_files()
            with pytest.raises(BaseExceptionGroup) as failure:
                await serve_alone(config)
            assert bad_config(failure.value).key == key
            await until(lambda: len(open_files()) == len(before))


async def serve_alone(config: outside_server.ServerConfig) -> None:
    async with trio.open_nursery() as nursery:
        await nursery.start(outside_server.serve, config)


def bad_config(error: BaseException) -> BadConfig:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, BadConfig)
    return error


async def test_an_agent_has_started_when_its_tunnel_is_up(tmp_path: Path) -> None:
    async with open_ends(tmp_path) as ends:
        server = await ends.start_server()
        ends.add_tenant("acme")
        config = await ends.join("acme", "one")
        await ends.stop(server)
        started: list[inside_agent.Agent] = []

        async def start() -> None:
            started.append(await ends.start_agent(config))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(start)
            await trio.sleep(0.4)
            assert not started
            await ends.start_server()
        assert started[0].is_healthy
        assert started[0].addresses["tunnel"] == f"direct:{ends.tunnel}"


async def test_an_agent_that_never_joined_does_not_start(tmp_path: Path) -> None:
    async with open_ends(tmp_path) as ends:
        await ends.start_server()
        config = inside_agent.load(agent_toml(tmp_path / "one", server=ends.tunnel))
        with pytest.raises(BadConfig, match="wallpass join TOKEN"):
            await inside_agent.serve(config)


async def test_calls_while_the_tunnel_is_down_are_refused_not_left_alone(tmp_path: Path) -> None:
    """S2-1: 503 to the inside, 480 to the outside, with Retry-After."""
    async with open_ends(tmp_path) as ends:
        server = await ends.start_server()
        ends.add_tenant("acme", domains=["127.0.0.1"])
        agent = await ends.start_agent(await ends.join("acme", "one", lan='pbx = "sip:127.0.0.1:9"'))
        async with inside_phone(agent) as alice, outside_phone() as bob:
            await ends.stop(agent)
            public = sip_addresses(server)["udp"]
            with pytest.raises(CallFailed) as failure:
                await bob.call(f"sip:100@{public}".encode(), Tune(1))
            assert failure.value.status in (480, 503)
            agent = await ends.start_agent(tmp_path / "one" / "agent.toml")
        async with inside_phone(agent) as alice:
            await ends.stop(server)
            with pytest.raises(CallFailed, match="503"):
                await alice.call(uri_of(bob), Tune(1))
