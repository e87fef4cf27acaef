"""The ``wallpass`` command: finds the commands of the installed ends, and runs an end from start to exit code. [io]

| exit code | meaning |
| --- | --- |
| 0 | done; an end was told to stop and did |
| 1 | it did not work, and stderr says why |
| 2 | a bad configuration or a bad command line, one message on stderr |
"""

from __future__ import annotations

import importlib.metadata
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from typing import Protocol, TypeVar

import click
import structlog
import trio

from tunnel.errors import BadConfig, WallpassError
from tunnel.files import ephemeral_ports
from tunnel.logs import LEVELS, setup_logs
from tunnel.status import status_command

__all__ = ["CommandGroup", "EndConfig", "Handle", "main", "make_group", "run_end"]

ENTRY_POINTS = "wallpass.commands"
EXIT_FAILED = 1
EXIT_BAD_CONFIG = 2

log = structlog.get_logger()

# --- the command ------------------------------------------------------------------------------------------------------

HELP = """Calls through a firewall that nobody may change.

\b
Try it on this host, both ends and two phones:
    wallpass demo
\b
Outside, on a public host:
    wallpass server --config server.toml
    wallpass tenant add acme --config server.toml
    wallpass tenant invite acme --config server.toml     # prints a TOKEN
\b
Inside, on a host that may connect to it:
    wallpass join TOKEN --config agent.toml
    wallpass agent --config agent.toml
    wallpass status --config agent.toml
"""


class CommandGroup(click.Group):
    """A group that turns the errors of `tunnel.errors` into one message and an exit code."""

    def invoke(self, context: click.Context) -> object:
        try:
            return super().invoke(context)
        except BadConfig as error:
            click.echo(f"wallpass: {error}", err=True)
            context.exit(EXIT_BAD_CONFIG)
        except WallpassError as error:
            click.echo(f"wallpass: {error}", err=True)
            context.exit(EXIT_FAILED)


def main() -> None:
    """The console script: commands come from the entry points ``wallpass.commands`` of whatever is installed."""
    make_group(importlib.metadata.entry_points(group=ENTRY_POINTS))()


def make_group(entry_points: Iterable[importlib.metadata.EntryPoint]) -> CommandGroup:
    """The ``wallpass`` group; each entry point is a list of click commands or a function that returns one."""
    group = CommandGroup(
        "wallpass",
        help=HELP,
        no_args_is_help=True,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
        params=[
            click.Option(
                ["--log-level"],
                type=click.Choice(list(LEVELS)),
                default="info",
                show_default=True,
                help="how much to log to stderr; WALLPASS_LOG=json makes JSON lines",
            )
        ],
        callback=_set_up,
    )
    group.add_command(status_command)
    for entry in sorted(entry_points, key=lambda entry: entry.name):
        found = entry.load()
        for command in found() if callable(found) else found:
            group.add_command(command)
    return group


def _set_up(log_level: str) -> None:
    setup_logs(log_level, "json" if os.environ.get("WALLPASS_LOG") == "json" else "text")


# --- an end from start to finish --------------------------------------------------------------------------------------


class Handle(Protocol):
    """What ``serve`` of an end hands out once it serves."""

    @property
    def addresses(self) -> Mapping[str, str]:
        """What it listens on or is connected to, by a short name: the fields of the ``ready`` line."""

    async def drain(self, seconds: float) -> None:
        """Take no new calls, return when the live ones have ended, at the latest after ``seconds``."""


class EndConfig(Protocol):
    @property
    def drain_seconds(self) -> float: ...


Config = TypeVar("Config", bound=EndConfig)
Config_contra = TypeVar("Config_contra", bound=EndConfig, contravariant=True)


class Reloadable(Handle, Protocol[Config_contra]):
    def reload(self, config: Config_contra) -> None:
        """Work by another configuration from now on, live calls untouched. Raises BadConfig and changes nothing."""


class Serve(Protocol[Config_contra]):
    def __call__(
        self, config: Config_contra, *, task_status: trio.TaskStatus[Reloadable[Config_contra]]
    ) -> Awaitable[None]: ...


def run_end(
    serve: Serve[Config],
    load: Callable[[], Config],
    warnings_of: Callable[[Config, tuple[int, int] | None], list[str]],
) -> None:
    """Run an end until it is told to stop: prints the ``ready`` line, obeys SIGTERM, SIGINT and SIGHUP.

    Raises BadConfig when it cannot start for that reason, whichever nursery it came up through.
    """
    config = load()
    _warn(warnings_of(config, ephemeral_ports()))
    try:
        trio.run(_live, serve, config, load, warnings_of, strict_exception_groups=True)
    except BaseExceptionGroup as group:
        raise _plain(group) from None
"""
