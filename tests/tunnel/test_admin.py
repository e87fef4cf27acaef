from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass

import h11
import pytest
import trio

import tunnel.admin
from tunnel.address import Address
from tunnel.admin import bind_admin, serve_admin
from tunnel.errors import BadConfig
from tunnel.metrics import AgentFigures, CallFigures, EndFigures


class SmallEnd:
    """An end with one tunnel that can be healthy or not."""

    is_healthy = True

    def status(self) -> dict[str, object]:
        return {"end": "agent", "tunnel": {"connected": self.is_healthy}}

    def figures(self) -> EndFigures:
        agent = AgentFigures("acme", "pbx-host", self.is_healthy, None, 0)
        return EndFigures((agent,), (CallFigures("acme", {"outbound": 2}, {"outbound": 40}),), (0, 0, 50))


@dataclass(frozen=True)
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes


async def ask(port: int, path: str, method: str = "GET") -> Reply:
    client = h11.Connection(h11.CLIENT)
    headers = [("Host", "127.0.0.1"), ("Connection", "close")]
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        request = h11.Request(method=method, target=path, headers=headers)
        await stream.send_all((client.send(request) or b"") + (client.send(h11.EndOfMessage()) or b""))
        events: list[object] = []
        while not events or not isinstance(events[-1], h11.EndOfMessage | h11.ConnectionClosed):
            event = client.next_event()
            if event is h11.NEED_DATA:
                client.receive_data(await stream.receive_some())
            else:
                events.append(event)
    (response,) = (event for event in events if isinstance(event, h11.Response))
    body = b"".join(bytes(event.data) for event in events if isinstance(event, h11.Data))
    return Reply(response.status_code, {n.decode(): v.decode() for n, v in response.headers}, body)


@dataclass
class Door:
    end: SmallEnd
    port: int


@pytest.fixture
async def door(nursery: trio.Nursery) -> AsyncIterator[Door]:
    sock = bind_admin("agent.toml", Address("127.0.0.1", 0))
    opened = Door(SmallEnd(), sock.getsockname()[1])
    with trio.fail_after(10):
        await nursery.start(serve_admin, opened.end, sock)
        yield opened


async def test_health_follows_the_end(door: Door) -> None:
    assert (await ask(door.port, "/healthz")).status == 200
    door.end.is_healthy = False
    assert (await ask(door.port, "/healthz")).status == 503


async def test_a_scrape_has_the_calls(door: Door) -> None:
    reply = await ask(door.port, "/metrics")
    assert reply.status == 200
    assert reply.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert b'wallpass_calls_active{direction="outbound",tenant="acme"} 2.0\n' in reply.body
    assert b'wallpass_calls_total{direction="outbound",tenant="acme"} 40.0\n' in reply.body


async def test_the_status_is_json(door: Door) -> None:
    reply = await ask(door.port, "/api/status")
    assert reply.headers["content-type"] == "application/json"
    assert json.loads(reply.body) == {"end": "agent", "tunnel": {"connected": True}}


async def test_no_such_page(door: Door) -> None:
    for path in ("/", "/favicon.ico", "/metrics/../etc/passwd"):
        assert (await ask(door.port, path)).status == 404


@pytest.mark.parametrize("path", ["/healthz", "/metrics", "/api/status"])
async def test_only_reading_is_possible(door: Door, path: str) -> None:
    for method in ("POST", "PUT", "DELETE"):
        assert (await ask(door.port, path, method)).status == 405


async def test_what_serves_the_pages_is_nobodys_business(door: Door) -> None:
    for path in ("/healthz", "/nowhere"):
        assert "server" not in (await ask(door.port, path)).headers


async def test_a_page_that_fails_is_a_500_and_the_door_stays_open(door: Door) -> None:
    door.end.status = lambda: {"share": 1 // 0}  # type: ignore[method-assign]
    reply = await ask(door.port, "/api/status")
    assert reply.status == 500
    assert b"Traceback" not in reply.body
    assert (await ask(door.port, "/healthz")).status == 200


async def test_silent_connections_lock_the_operator_out_only_for_a_while(
    nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tunnel.admin, "MOST_CONNECTIONS", 3)
    monkeypatch.setattr(tunnel.admin, "PATIENCE_S", 1)
    sock = bind_admin("agent.toml", Address("127.0.0.1", 0))
    port = sock.getsockname()[1]
    await nursery.start(serve_admin, SmallEnd(), sock)
    async with contextlib.AsyncExitStack() as silent:
        waiting = [await silent.enter_async_context(await trio.open_tcp_stream("127.0.0.1", port)) for _ in range(3)]
        refused = await trio.open_tcp_stream("127.0.0.1", port)
        with trio.fail_after(5):
            assert await refused.receive_some() == b""
            await refused.aclose()
            for stream in waiting:
                assert await stream.receive_some() == b""
            assert (await ask(port, "/healthz")).status == 200


async def test_an_open_connection_does_not_delay_the_shutdown() -> None:
    sock = bind_admin("agent.toml", Address("127.0.0.1", 0))
    port = sock.getsockname()[1]
    async with trio.open_nursery() as inner:
        await inner.start(serve_admin, SmallEnd(), sock)
        kept = await trio.open_tcp_stream("127.0.0.1", port)
        await kept.send_all(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        await kept.receive_some()
        half = await trio.open_tcp_stream("127.0.0.1", port)
        await half.send_all(b"GET /healthz HTT")
        began = trio.current_time()
        inner.cancel_scope.cancel()
    assert trio.current_time() - began < 0.5
    await kept.aclose()
    await half.aclose()
    with pytest.raises(OSError, match="all attempts"):
        await trio.open_tcp_stream("127.0.0.1", port)


def test_a_taken_port_names_the_setting() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = Address("127.0.0.1", other.getsockname()[1])
        with pytest.raises(BadConfig, match=r"agent\.toml: admin\.listen = .* taken by another program"):
            bind_admin("agent.toml", taken)


def test_ipv6() -> None:
    with bind_admin("agent.toml", Address("::1", 0)) as sock:
        assert sock.family == socket.AF_INET6
