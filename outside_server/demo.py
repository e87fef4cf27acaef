"""[io] ``wallpass demo``: both ends and two phones on this host, a call in each direction, and what was heard.

The inside phone has the agent as its outbound proxy and registers, through the pair, with the outside phone, which plays
the hosted provider: it asks for the password, answers calls, and calls the contact that it was given. In each call the
callee hangs up: the caller's ACK and the callee's BYE have then followed the route through the pair from each side.
"""

from __future__ import annotations

import json
import secrets
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import click
import structlog
import trio
from rich.console import Console
from rich.text import Text

from outside_server.demo_ladder import Ladder, Rung, Side
from outside_server.demo_pair import DemoPair, open_pair
from outside_server.demo_report import CallReport, DemoReport, render_table
from tunnel.errors import WallpassError
from tunnel.softphone import Account, Call, CallFailed, Passage, Phone, Registrar, Tune, compare, open_phone

__all__ = ["demo_command"]

INSIDE_USER, OUTSIDE_USER = "1001", "1002"
# Ours: far more than any step needs on a slow host, so that a demo that hangs says where.
STEP_S = 5.0
START_S = 15.0
# Ours: what was said last is heard before somebody hangs up; longer than any delay on one host.
LAST_WORDS_S = 0.15
# A tune of its own for each phone in each call: an ear that hears the wrong one is told apart from one that hears nothing.
TUNES = {"out": (Tune(311), Tune(1822)), "in": (Tune(2077), Tune(644))}


@click.command("demo")
@click.option(
    "--seconds", type=click.FloatRange(1, 600), default=3.0, show_default=True, help="how long each call talks"
)
@click.option("--json", "as_json", is_flag=True, help="print one JSON object and nothing else")
@click.pass_context
def demo_command(context: click.Context, seconds: float, as_json: bool) -> None:
    """Both ends and two phones on this host: calls in both directions, and what was heard.

    Needs no root and no configuration, and leaves nothing behind. Exit code 0 only if each phone heard the other in both
    calls, by content.

    \b
    wallpass demo
    wallpass demo --seconds 10 --json
    """
    quieten(context)
    stage = Stage(Console(quiet=as_json, highlight=False, soft_wrap=True))
    report = trio.run(run_demo, stage, seconds)
    failures = report.failures()
    if as_json:
        click.echo(json.dumps(report.as_json(), indent=2))
    else:
        stage.conclude(report, failures)
    context.exit(1 if failures else 0)


def quieten(context: click.Context) -> None:
    """Leave the stage to the demo: of the ends' logs only warnings, unless somebody asked for a level."""
    asked = context.parent is not None and context.parent.get_parameter_source("log_level")
    if asked in (None, False, click.core.ParameterSource.DEFAULT):
        structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(WARNING))


class Stage:
    """Says what happens as it happens, and draws the ladder of the story that is being told."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._ladder = Ladder()
        self._begun_at = 0.0

    def begin(self) -> None:
        self._begun_at = trio.current_time()
        self._console.print(Text("wallpass: both ends and two phones on this host\n", style="bold"))

    def tell(self, text: str) -> None:
        self._console.print(f"{trio.current_time() - self._begun_at:7.2f} s  {text}", markup=False)

    def open_ladder(self, title: str) -> None:
        """A new story; what the phones see from now on belongs to it."""
        self._ladder = Ladder()
        self._console.print(Text(f"\n{title}", style="bold"))
        self._console.print(Text(self._ladder.heading(), style="dim"))

    def watch(self, side: Side, passage: Passage) -> None:
        rung = self._ladder.draw(side, passage)
        self._console.print(Text(rung.text, style=style_of(rung)))

    def conclude(self, report: DemoReport, failures: list[str]) -> None:
        if report.calls:
            self._console.print()
            self._console.print(render_table(report))
        if failures:
            self._console.print(Text("\n".join(["FAILED", *failures]), style="bold red"))
        else:
            self._console.print(Text("Audio went both ways in both calls, verified by content.", style="bold green"))


def style_of(rung: Rung) -> str:
    if not rung.status:
        return "cyan"
    return "yellow" if rung.status < 200 or rung.status >= 300 else "green"


async def run_demo(stage: Stage, seconds: float) -> DemoReport:
    """The whole demo; whatever goes wrong is in the report."""
    report = DemoReport()
    stage.begin()
    with tempfile.TemporaryDirectory(prefix="wallpass-demo-") as directory:
        try:
            await perform(stage, seconds, report, Path(directory))
        except* (WallpassError, OSError) as group:
            report.failure = "; ".join(str(error) for error in leaves(group))
    return report
