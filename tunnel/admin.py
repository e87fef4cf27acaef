"""The operator's door of an end: /healthz, /metrics, /api/status over HTTP on the configured address. [io]"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from typing import Protocol, cast

import hypercorn.config
import hypercorn.trio
import trio
from hypercorn.typing import ASGIFramework
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from tunnel.address import Address
from tunnel.files import bind_error
from tunnel.metrics import EndFigures, exposition

__all__ = ["Observed", "admin_app", "bind_admin", "serve_admin"]

_METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"
# Our number: a scraper and a few browsers; more wait.
BACKLOG = 32


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
    """Answer on ``sock`` until cancelled; the socket is closed at the end."""
    config = hypercorn.config.Config()
    config.bind = [f"fd://{sock.detach()}"]
    config.accesslog = None
    config.errorlog = None
    config.graceful_timeout = 1.0
    await hypercorn.trio.serve(
        cast(ASGIFramework, admin_app(end)),
        config,
        shutdown_trigger=trio.sleep_forever,
        mode="asgi",
        task_status=task_status,
    )
