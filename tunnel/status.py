"""[io] What a running end is doing: a Unix socket in its ``data_dir``, and ``wallpass status``, which asks there.

One connection, one JSON object. The socket also tells that a ``data_dir`` is in use: a second end that would use the
same one does not start.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import click
import rich.console
import rich.table
import structlog
import trio

from tunnel.errors import BadConfig, LocalMisuse
from tunnel.toml_file import load_toml

__all__ = ["fetch_status", "is_up", "serve_status", "status_command"]

SOCKET = "control.sock"
FETCH_TIMEOUT_S = 5.0
SEND_TIMEOUT_S = 5.0
MAX_STATUS_BYTES = 16 * 1024 * 1024

Status = Mapping[str, object]
log = structlog.get_logger()


# --- the running end --------------------------------------------------------------------------------------------------


async def serve_status(
    file: str,
    data_dir: Path,
    status: Callable[[], Status],
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Answer every connection with ``status()`` until cancelled; then the socket is gone.

    Raises BadConfig (for the configuration ``file``) when another end runs with this ``data_dir``.
    """
    with _short_path(data_dir) as path:
        if _answers(path):
            mend = "another wallpass runs with it: stop that one or choose another directory"
            raise BadConfig(file, "data_dir", str(data_dir), mend)
        listening = _bind(path)

        async def answer(stream: trio.SocketStream) -> None:
            with contextlib.suppress(trio.BrokenResourceError), trio.move_on_after(SEND_TIMEOUT_S):
                await stream.send_all(_encoded(status))
            await trio.aclose_forcefully(stream)

        try:
            listener = trio.SocketListener(trio.socket.from_stdlib_socket(listening))
            await trio.serve_listeners(answer, [listener], task_status=_no_value(task_status))
        finally:
            with contextlib.suppress(OSError):
                os.unlink(path)


class _no_value(trio.TaskStatus[object]):
    """Says that the task has started without handing its listeners out."""

    def __init__(self, inner: trio.TaskStatus[None]) -> None:
        self._inner = inner

    def started(self, value: object = None) -> None:
        self._inner.started()


def _encoded(status: Callable[[], Status]) -> bytes:
    try:
        return json.dumps(status(), default=str).encode() + b"\n"
    except Exception as error:  # a wrong figure must not end anybody's call
        log.exception("status.failed")
        return json.dumps({"error": str(error)}).encode() + b"\n"


def _bind(path: str) -> socket.socket:
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)  # what an end that was killed left
    mask = os.umask(0o177)
    try:
        listening.bind(path)
    finally:
        os.umask(mask)
    listening.listen(8)
    return listening


@contextlib.contextmanager
def _short_path(data_dir: Path) -> Iterator[str]:
    """A path to the socket that fits into the 108 bytes the kernel allows, however long that of ``data_dir`` is."""
    directory = os.open(data_dir, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{directory}/{SOCKET}"
    finally:
        os.close(directory)


def _answers(path: str) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        return probe.connect_ex(path) == 0


# --- asking it --------------------------------------------------------------------------------------------------------


def fetch_status(data_dir: Path) -> dict[str, object]:
    """What the end that runs with ``data_dir`` says. Raises LocalMisuse when none runs or it does not answer."""
    try:
        with _short_path(data_dir) as path, socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
            asking.settimeout(FETCH_TIMEOUT_S)
            asking.connect(path)
            with asking.makefile("rb") as reader:
                answer = json.loads(reader.read(MAX_STATUS_BYTES))
    except (ConnectionRefusedError, FileNotFoundError):
        raise LocalMisuse(f"no wallpass runs with data_dir {data_dir}") from None
    except (OSError, ValueError) as error:
        raise LocalMisuse(f"the wallpass with data_dir {data_dir} does not answer: {error}") from None
    if not isinstance(answer, dict):
        raise LocalMisuse(f"the wallpass with data_dir {data_dir} does not answer: no object")
    return answer


def is_up(status: Status, *, is_agent: bool) -> bool:
    """Whether the end works: a server that answers does, an agent needs its tunnel."""
    if "error" in status:
        return False
    tunnel = status.get("tunnel")
    return not is_agent or (isinstance(tunnel, Mapping) and tunnel.get("connected") is True)


@click.command("status")
@click.option("--config", "config", required=True, type=click.Path(path_type=Path), help="server.toml or agent.toml")
@click.option("--json", "as_json", is_flag=True, help="print one JSON object")
@click.pass_context
def status_command(context: click.Context, config: Path, as_json: bool) -> None:
    """What the end that a configuration file configures is doing now.

    Exit code 0 if it is up and the tunnel is connected, 1 otherwise.

    \b
    wallpass status --config agent.toml
    wallpass status --config server.toml --json
    """
    data_dir, is_agent = _which_end(config)
    try:
        status = fetch_status(data_dir)
    except LocalMisuse as error:
        status = {"error": str(error)}
    up = is_up(status, is_agent=is_agent)
    if as_json:
        click.echo(json.dumps({"up": up, **status}))
    else:
        _print_table("agent" if is_agent else "server", status, up)
    context.exit(0 if up else 1)


def _which_end(config: Path) -> tuple[Path, bool]:
    """``data_dir``, and whether it is an agent's: the rest of the file need not be right to ask."""
    table = load_toml(config)
    if ("lan" in table) is ("public" in table):
        raise BadConfig(str(config), "--config", str(config), "a server.toml has [public], an agent.toml has [lan]")
    data_dir = table.get("data_dir")
    if not isinstance(data_dir, str):
        raise BadConfig(str(config), "data_dir", data_dir, "must be set: the directory of the running end")
    return config.parent / data_dir, "lan" in table


def _print_table(end: str, status: Status, up: bool) -> None:
    table = rich.table.Table("", "", title=f"wallpass {end}: {'up' if up else 'NOT UP'}", show_header=False)
    for name, value in _flattened(status):
        table.add_row(name, rich.markup.escape(value))
    rich.console.Console().print(table)


def _flattened(status: Status, prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in status.items():
        if isinstance(value, Mapping):
            yield from _flattened(value, f"{prefix}{name}.")
        elif isinstance(value, list):
            yield prefix + name, "\n".join(item if isinstance(item, str) else json.dumps(item) for item in value)
        else:
            yield prefix + name, str(value)
