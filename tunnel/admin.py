"""The operator's door of an end: /healthz, /metrics, /api/status over HTTP on the configured address. [io]"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from functools import partial
from typing import Protocol, cast

import hypercorn.config
import structlog
import trio
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ASGIFramework, ConnectionState
from hypercorn.utils import wrap_app
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from tunnel.address import Address
from tunnel.files import bind_error
from tunnel.metrics import EndFigures, exposition

__all__ = ["Observed", "admin_app", "bind_admin", "serve_admin"]

log = structlog.get_logger()

_METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"
# Our numbers: a scraper and a few browsers; how long, in whole seconds, a peer may take to say or to take something.
BACKLOG = 32
MOST_CONNECTIONS = 64
PATIENCE_S = 5


class Observed(Protocol):
    """An end as its operator sees it."""

    @property
    def is_healthy(self) -> bool:
        """Whether calls can be made now."""

    def status(self) -> Mapping[str, object]: ...

    def figures(self) -> EndFigures: ...


def admin_app(end: Observed) -> Starlette:
    """The ASGI application of one end."""

    async def health(request: Request) -> Response:
        return PlainTextResponse("ok\n" if end.is_healthy else "not ready\n", 200 if end.is_healthy else 503)

    async def metrics(request: Request) -> Response:
        return Response(exposition(end.figures()), media_type=_METRICS_TYPE)

    async def status(request: Request) -> Response:
        return JSONResponse(end.status())

    return Starlette(
        routes=[Route("/healthz", health), Route("/metrics", metrics), Route("/api/status", status)],
    )


def bind_admin(file: str, listen: Address) -> socket.socket:
    """The listening socket of the admin address. Raises BadConfig when it cannot be had."""
    family = socket.AF_INET6 if listen.is_ipv6 else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((listen.host, listen.port))
        sock.listen(BACKLOG)
    except OSError as error:
        sock.close()
        raise bind_error(file, "admin.listen", str(listen), error) from None
    return sock


async def serve_admin(
    end: Observed, sock: socket.socket, task_status: trio.TaskStatus[object] = trio.TASK_STATUS_IGNORED
) -> None:
    """Answer on ``sock`` until cancelled; then the socket and every connection are closed at once.

    hypercorn serves each connection, we accept them: its own server takes any number, and lets a peer that does not read
    hold up the end of the process.
    """
    config = hypercorn.config.Config()
    config.accesslog = None
    config.errorlog = None
    config.read_timeout = config.keep_alive_timeout = PATIENCE_S
    config.include_server_header = False
    context = WorkerContext(None)
    app = wrap_app(cast(ASGIFramework, admin_app(end)), config.wsgi_max_body_size, "asgi")
    streams: set[_Patient] = set()

    async def answer(stream: trio.SocketStream) -> None:
        patient = _Patient(stream)
        if len(streams) >= MOST_CONNECTIONS:
            await patient.aclose()
            return
        streams.add(patient)
        try:
            await TCPServer(app, config, context, ConnectionState({}), cast(trio.SSLStream[trio.SocketStream], patient))
        except Exception:  # of hypercorn's, and nobody else's affair
            log.exception("admin.failed")
        finally:
            streams.discard(patient)
            await patient.aclose()

    listener = trio.SocketListener(trio.socket.from_stdlib_socket(sock))
    async with listener, trio.open_nursery() as nursery:
        nursery.start_soon(partial(trio.serve_listeners, answer, [listener]))
        task_status.started()
        try:
            await trio.sleep_forever()
        finally:
            for patient in streams:
                patient.socket.close()


class _Patient:
    """The stream as hypercorn wants it, with an end to waiting for a peer that does not read."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self.socket = stream.socket

    async def send_all(self, data: bytes) -> None:
        try:
            with trio.fail_after(PATIENCE_S):
                await self._stream.send_all(data)
        except trio.TooSlowError:
            raise trio.BrokenResourceError("the peer does not read") from None

    async def receive_some(self, max_bytes: int) -> bytes | bytearray:
        return await self._stream.receive_some(max_bytes)

    async def send_eof(self) -> None:
        await self._stream.send_eof()

    async def aclose(self) -> None:
        self.socket.close()
        await trio.lowlevel.checkpoint()
