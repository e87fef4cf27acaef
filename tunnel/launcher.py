"""[io] The ``wallpass`` command: finds the commands of the installed ends, and runs an end from start to exit code.

| exit code | meaning |
| --- | --- |
| 0 | done; an end was told to stop and did |
| 1 | it did not work, and stderr says why |
| 2 | a bad configuration or a bad command line, one message on stderr |
"""

from __future__ import annotations

import gc
import importlib.metadata
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from typing import Generic, Protocol, TypeVar

import click
import structlog
import trio

from tunnel.errors import BadConfig, WallpassError
from tunnel.files import ephemeral_ports
from tunnel.logs import LEVELS, setup_logs
from tunnel.status import status_command

__all__ = ["CommandGroup", "EndConfig", "Handle", "Serve", "main", "make_group", "run_end"]

ENTRY_POINTS = "wallpass.commands"
EXIT_FAILED = 1
EXIT_BAD_CONFIG = 2
# Our numbers: the young generation is collected after this many net allocations; a full walk is then a matter of minutes.
GC_THRESHOLDS = 20_000, 20, 50

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


class EndConfig(Protocol):
    """What the launcher needs to know of an end's configuration."""

    @property
    def drain_seconds(self) -> float: ...


ConfigT = TypeVar("ConfigT", bound=EndConfig)
ConfigT_contra = TypeVar("ConfigT_contra", bound=EndConfig, contravariant=True)


class Handle(Protocol[ConfigT_contra]):
    """What ``serve`` of an end hands out once it serves."""

    @property
    def addresses(self) -> Mapping[str, str]:
        """What it listens on or is connected to, by a short name: the fields of the ``ready`` line."""

    async def drain(self, seconds: float) -> None:
        """Take no new calls, return when the live ones have ended, at the latest after ``seconds``."""

    def reload(self, config: ConfigT_contra) -> None:
        """Work by another configuration from now on, live calls untouched. Raises BadConfig and changes nothing."""


class Serve(Protocol[ConfigT_contra]):
    """``serve`` of an end: runs until cancelled, its handle is the value of ``task_status.started``."""

    def __call__(
        self, config: ConfigT_contra, *, task_status: trio.TaskStatus[Handle[ConfigT_contra]]
    ) -> Awaitable[None]: ...


def run_end(
    serve: Serve[ConfigT],
    load: Callable[[], ConfigT],
    warnings_of: Callable[[ConfigT, tuple[int, int] | None], list[str]],
) -> None:
    """Run an end until it is told to stop: prints the ``ready`` line, obeys SIGTERM, SIGINT and SIGHUP.

    Raises BadConfig when it cannot start for that reason, through however many nurseries it came up.
    """
    try:
        trio.run(_Run(serve, load, warnings_of).live)
    except BaseExceptionGroup as group:
        raise _most_telling(group) from None


class _Run(Generic[ConfigT]):
    """The life of one end: SIGTERM (or SIGINT) drains, a second one cancels, SIGHUP reads the configuration again."""

    def __init__(
        self,
        serve: Serve[ConfigT],
        load: Callable[[], ConfigT],
        warnings_of: Callable[[ConfigT, tuple[int, int] | None], list[str]],
    ) -> None:
        self._serve = serve
        self._load = load
        self._warnings_of = warnings_of
        self._config = self._load_and_warn()
        self._handle: Handle[ConfigT] | None = None
        self._draining = False
        self._life = trio.CancelScope()

    async def live(self) -> None:
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals, self._life:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._obey, signals, nursery)
                self._handle = await nursery.start(self._serve_to_the_end)
                addresses = " ".join(f"{name}={address}" for name, address in self._handle.addresses.items())
                click.echo(f"ready {addresses}".rstrip())
                _settle_memory()

    async def _serve_to_the_end(self, task_status: trio.TaskStatus[Handle[ConfigT]]) -> None:
        await self._serve(self._config, task_status=task_status)
        self._life.cancel()

    async def _obey(self, signals: AsyncIterator[int], nursery: trio.Nursery) -> None:
        async for number in signals:
            if number == signal.SIGHUP:
                self._reload()
            elif self._handle is None or self._draining:
                self._life.cancel()
            else:
                self._draining = True
                nursery.start_soon(self._drain, self._handle)

    async def _drain(self, handle: Handle[ConfigT]) -> None:
        log.info("drain.begun", seconds=self._config.drain_seconds)
        await handle.drain(self._config.drain_seconds)
        self._life.cancel()

    def _reload(self) -> None:
        """A configuration that is wrong, or one that comes before the end serves, changes nothing."""
        if self._handle is None:
            log.warning("config.kept", reason="still starting")
            return
        try:
            config = self._load_and_warn()
            self._handle.reload(config)
        except BadConfig as error:
            log.error("config.kept", reason=str(error))
        else:
            self._config = config
            log.info("config.reloaded")

    def _load_and_warn(self) -> ConfigT:
        config = self._load()
        for warning in self._warnings_of(config, ephemeral_ports()):
            log.warning("config.questionable", reason=warning)
        return config


def _settle_memory() -> None:
    """What is there now stays: the cyclic collector need not walk it again and again while packets wait."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)


def _most_telling(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The one error of a group to tell an operator: a wrong setting before anything else, then what we can name."""
    leaves = list(_leaves(group))
    for kind in (BadConfig, WallpassError):
        for leaf in leaves:
            if isinstance(leaf, kind):
                return leaf
    return leaves[0] if len(leaves) == 1 else group


def _leaves(group: BaseExceptionGroup[BaseException]) -> Iterator[BaseException]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error
