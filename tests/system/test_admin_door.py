"""The operator's door of both ends: what it shows of a call, and that it can hurt nobody."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest
import trio
from support.both_ends import connect, inside_phone, open_ends, outside_phone, server_toml
from support.http import get

from tunnel.address import Address

ADMIN = '[admin]\nlisten = "127.0.0.1:{port}"'


@pytest.fixture
def ports() -> tuple[int, int]:
    """Two TCP ports that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as two:
        return one.getsockname()[1], two.getsockname()[1]


async def test_what_a_call_looks_like(tmp_path: Path, ports: tuple[int, int]) -> None:
    doors = [Address("127.0.0.1", port) for port in ports]
    async with open_ends(tmp_path) as ends:
        server = await ends.start_server(server_toml(tmp_path / "server", rest=ADMIN.format(port=ports[0])))
        ends.add_tenant("acme")
        ends.add_tenant("quiet")
        assert await get(doors[0], "/healthz") == (200, "ok\n")
        agent = await ends.start_agent(await ends.join("acme", "one", rest=ADMIN.format(port=ports[1])))
        assert await get(doors[1], "/healthz") == (200, "ok\n")
        async with inside_phone(agent) as alice, outside_phone() as bob:
            placed, taken = await connect(alice, bob)
            for door in doors:
                _, metrics = await get(door, "/metrics")
                lines = metrics.splitlines()
                assert 'wallpass_calls_active{direction="outbound",tenant="acme"} 1.0' in lines
                assert 'wallpass_calls_active{direction="inbound",tenant="acme"} 0.0' in lines
                assert 'wallpass_calls_total{direction="outbound",tenant="acme"} 1.0' in lines
                _, status = await get(door, "/api/status")
                assert json.loads(status)["media_ports"]["held"] == 1
            assert (
                'wallpass_calls_total{direction="inbound",tenant="quiet"} 0.0' in (await get(doors[0], "/metrics"))[1]
            )
            await placed.hang_up()
            await taken.ended()
        await ends.stop(agent)
        await trio.sleep(0.05)
        _, metrics = await get(doors[0], "/metrics")
        assert 'wallpass_calls_active{direction="outbound",tenant="acme"} 0.0' in metrics
        assert 'wallpass_calls_total{direction="outbound",tenant="acme"} 1.0' in metrics, "a counter never goes back"
        await server.drain(0.1)
        assert (await get(doors[0], "/healthz"))[0] == 503


async def test_a_reader_that_does_not_read_does_not_hold_up_the_end(tmp_path: Path, ports: tuple[int, int]) -> None:
    async with open_ends(tmp_path) as ends:
        server = await ends.start_server(server_toml(tmp_path / "server", rest=ADMIN.format(port=ports[0])))
        stream = await trio.open_tcp_stream("127.0.0.1", ports[0])
        async with stream:
            with trio.move_on_after(1.0):
                while True:
                    await stream.send_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n" * 100)
            begun_at = trio.current_time()
            await ends.stop(server)
            assert trio.current_time() - begun_at < 1.0
