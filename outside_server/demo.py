"""[io] ``wallpass demo``: both ends and two phones on this host, a call in each direction, and what was heard.

The inside phone has the agent as its outbound proxy and registers, through the pair, with the outside phone, which plays
the hosted provider: it asks for the password, answers calls, and calls the contact that it was given. In each call the
callee hangs up: the caller's ACK and the callee's BYE have then followed the route through the pair from each side.
"""

from __future__ import annotations

import json
import secrets
import tempfile
from functools import partial
from pathlib import Path

import click
import trio
from click.core import ParameterSource
from rich.console import Console
from rich.text import Text

from outside_server.demo_ladder import Ladder, Rung, Side
from outside_server.demo_pair import open_pair
from outside_server.demo_report import CallReport, DemoReport, render_table
from outside_server.demo_step import StepFailed, step
from tunnel.errors import WallpassError
from tunnel.logs import setup_logs
from tunnel.softphone import Account, Call, Passage, Phone, Registrar, Tune, compare, open_phone

__all__ = ["demo_command"]

INSIDE_USER, OUTSIDE_USER = "1001", "1002"
# Ours: far more than any step needs on a slow host, so that a demo that hangs says where.
STEP_S = 5.0
# Ours: what was said last is heard before somebody hangs up; longer than any delay on one host.
LAST_WORDS_S = 0.15
# A tune of its own for each phone in each call: an ear that hears the wrong one is told apart from one that hears nothing.
TUNES = {Side.INSIDE: (Tune(311), Tune(1822)), Side.OUTSIDE: (Tune(2077), Tune(644))}


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
    """Leave the stage to the demo: of the ends' logs only errors, unless somebody asked for a level."""
    asked = context.parent is not None and context.parent.get_parameter_source("log_level")
    if asked in (None, False, ParameterSource.DEFAULT):
        setup_logs("error")


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
        except* KeyboardInterrupt:
            report.failure = "interrupted"
    return report


async def perform(stage: Stage, seconds: float, report: DemoReport, directory: Path) -> None:
    """From nothing to the last hang-up. Raises what goes wrong before the calls, in a group."""
    password = secrets.token_hex(8)
    registrar = Registrar("provider.example", {INSIDE_USER: password}, secrets.token_bytes)
    provider = Account(OUTSIDE_USER, "provider.example")
    async with (
        open_pair(directory, stage.tell) as pair,
        open_phone(provider, registrar=registrar, watch=partial(stage.watch, Side.OUTSIDE)) as outside,
    ):
        report.link_ms = pair.link_s * 1000
        account = Account(INSIDE_USER, str(outside.address), password, outbound=pair.agent)
        async with open_phone(account, watch=partial(stage.watch, Side.INSIDE)) as inside:
            stage.open_ladder("The inside phone registers with the provider outside")
            begun_at = trio.current_time()
            with step("the registration of the inside phone", STEP_S):
                await inside.register()
            report.register_ms = (trio.current_time() - begun_at) * 1000
            uri = f"sip:{OUTSIDE_USER}@{outside.address}".encode()
            report.calls.append(await make_call(stage, inside, outside, uri, Side.INSIDE, seconds))
            contact = registrar.contact(INSIDE_USER, trio.current_time())
            if contact is None:
                raise StepFailed("the provider does not know the inside phone")
            report.calls.append(await make_call(stage, outside, inside, contact, Side.OUTSIDE, seconds))


async def make_call(stage: Stage, caller: Phone, callee: Phone, uri: bytes, side: Side, seconds: float) -> CallReport:
    """One call by the phone on ``side``, from its INVITE to the BYE; what goes wrong is in the report."""
    other = Side.OUTSIDE if side is Side.INSIDE else Side.INSIDE
    title = f"{side.value} calls {other.value}"
    stage.open_ladder(f"{title}, {other.value} hangs up")
    report = CallReport(title)
    try:
        await hold_conversation(caller, callee, uri, side, seconds, report)
    except* (WallpassError, OSError) as group:
        report.failure = "; ".join(str(error) for error in leaves(group))
    return report


async def hold_conversation(
    caller: Phone, callee: Phone, uri: bytes, side: Side, seconds: float, report: CallReport
) -> None:
    """Fills ``report`` as far as the call comes. Raises CallFailed and StepFailed, in a group or alone."""
    with step("call set-up", STEP_S):
        placed, taken = await connect(caller, callee, uri, *TUNES[side])
    if placed.leg.answered_at is not None:
        report.setup_ms = (placed.leg.answered_at - placed.leg.begun_at) * 1000
    await placed.talk(seconds)
    placed.fall_silent()
    taken.fall_silent()
    await trio.sleep(LAST_WORDS_S)
    forth, back = compare(placed.mouth, taken.ear), compare(taken.mouth, placed.ear)
    report.to_outside, report.to_inside = (forth, back) if side is Side.INSIDE else (back, forth)
    if placed.end is not None or taken.end is not None:
        raise StepFailed("the call ended before anybody hung up")
    with step("hang-up", STEP_S):
        await taken.hang_up()
        await placed.ended()


async def connect(
    caller: Phone, callee: Phone, uri: bytes, callers_tune: Tune, callees_tune: Tune
) -> tuple[Call, Call]:
    """Call and answer; both sides of the call, the caller's first."""
    taken: list[Call] = []

    async def answer() -> None:
        taken.append(await callee.answer_next(callees_tune))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(answer)
        placed = await caller.call(uri, callers_tune)
    return placed, taken[0]


def leaves(group: BaseExceptionGroup[Exception]) -> list[BaseException]:
    found: list[BaseException] = []
    for error in group.exceptions:
        found += leaves(error) if isinstance(error, BaseExceptionGroup) else [error]
    return found
