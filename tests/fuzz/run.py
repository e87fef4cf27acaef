"""Fuzzing by hand or by night:

    python tests/fuzz/run.py                          each target for 10 s, guided by coverage
    python tests/fuzz/run.py --seconds 300 Sdp via    those whose name contains one of the words
    python tests/fuzz/run.py --mutations 1000000      both sieges: mutated messages, mutated descriptions
    python tests/fuzz/run.py --mutations 1000000 --only sdp --jobs 2 --seed 7

Coverage guidance needs ``pip install wallpass[fuzz]`` (atheris, Linux). Each target runs in a process of its own, forked
after all code was prepared once, since libFuzzer ends it; an input that breaks one is left in the working directory.
Exit 0 only if nothing broke.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import re
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from pathlib import Path
from types import FunctionType
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import click  # noqa: E402
from fuzz.seeds import sdp_bodies  # noqa: E402
from fuzz.siege import Outcome, besiege_media, besiege_sip  # noqa: E402
from fuzz.targets import TARGETS  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn  # noqa: E402
from rich.table import Table  # noqa: E402

PACKAGES = ("tunnel", "inside_agent", "outside_server")
CHUNK = 5_000  # inputs between two looks at the progress
console = Console(stderr=True)


@click.command(help=__doc__)
@click.argument("words", nargs=-1)
@click.option("--seconds", default=10, show_default=True, help="How long each target runs.")
@click.option("--mutations", default=0, help="Run the sieges with that many inputs each instead.")
@click.option("--only", type=click.Choice(["sip", "sdp"]), help="One of the sieges.")
@click.option("--seed", default=1, show_default=True, help="The same seed gives the same inputs.")
@click.option("--jobs", default=1, show_default=True, help="Processes of a siege.")
def main(words: tuple[str, ...], seconds: int, mutations: int, only: str | None, seed: int, jobs: int) -> None:
    started = time.monotonic()
    if mutations:
        fine = all([_siege(kind, mutations, seed, jobs) for kind in ("sip", "sdp") if only in (None, kind)])
    else:
        chosen = [name for name in TARGETS if not words or any(word in name for word in words)]
        _instrument_all()
        fine = all([_guided(name, seconds) for name in chosen])
    console.print(f"{'nothing broke' if fine else 'BROKEN'} in {time.monotonic() - started:.0f} s")
    sys.exit(not fine)


# --- sieges ---


def _siege(kind: str, count: int, seed: int, jobs: int) -> bool:
    total, failures = Outcome(), 0
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as progress, ProcessPoolExecutor(jobs) as pool:
        bar = progress.add_task(f"{kind}", total=count)
        todo = [(min(CHUNK, count - at), seed * 1_000_000 + at) for at in range(0, count, CHUNK)]
        running: set[Future[Outcome]] = set()
        while todo or running:
            while todo and len(running) < 2 * jobs:
                running.add(pool.submit(_chunk, kind, *todo.pop(0)))
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                error = future.exception()
                if error is not None:
                    failures += 1
                    console.print(
                        f"[red]{type(error).__name__}[/] {error}", *getattr(error, "__notes__", ()), markup=True
                    )
                else:
                    total.add(future.result())
                    progress.update(bar, completed=total.inputs)
    table = Table("what became of them", "times", title=f"{kind}: {total.inputs} inputs, {failures} failed chunks")
    for name, times in total.counts.most_common():
        table.add_row(name, str(times))
    console.print(table)
    console.print(f"slowest: {total.slowest_s * 1000:.1f} ms of CPU for {len(total.slowest)} bytes")
    return not failures


def _chunk(kind: str, count: int, seed: int) -> Outcome:
    return besiege_sip(count, seed) if kind == "sip" else besiege_media(count, seed, sdp_bodies())


# --- guided by coverage ---


def _instrument_all() -> None:
    import atheris

    for name, module in list(sys.modules.items()):
        if name.split(".")[0] in PACKAGES:
            _instrument(module, atheris.instrument_func)


def _guided(name: str, seconds: int) -> bool:
    with tempfile.NamedTemporaryFile(prefix="wallpass-fuzz-", suffix=".log", delete=False) as log:
        process = multiprocessing.get_context("fork").Process(target=_fuzz, args=(name, seconds, log.name))
        process.start()
        process.join()
        said = Path(log.name).read_text(errors="replace")
    Path(log.name).unlink()
    fine = process.exitcode == 0
    runs = re.findall(r"Done (\d+) runs", said)
    console.print(f"{'ok' if fine else 'BROKEN'} {name}: {runs[-1] if runs else '?'} runs")
    if not fine:
        console.print(said, markup=False)
    return fine


def _fuzz(name: str, seconds: int, log: str) -> None:
    import atheris

    with open(log, "wb") as file:  # libFuzzer writes to the descriptors themselves
        for stream in (1, 2):
            os.dup2(file.fileno(), stream)

    target = TARGETS[name]
    corpus = Path(tempfile.mkdtemp(prefix="wallpass-corpus-"))
    for number, data in enumerate(target.seeds()):
        (corpus / f"seed{number}").write_bytes(data)
    options = [f"-max_total_time={seconds}", "-max_len=70000", "-timeout=5", "-rss_limit_mb=4096"]
    atheris.Setup([sys.argv[0], str(corpus), *options], target)
    atheris.Fuzz()


def _instrument(place: Any, instrument: Callable[[Any], Any]) -> None:
    """Have every function of a module or class counted by coverage."""
    for each in list(vars(place).values()):
        inner = each.__func__ if isinstance(each, classmethod | staticmethod) else each
        if isinstance(each, type) and each.__module__ == getattr(place, "__name__", None):
            _instrument(each, instrument)
        elif isinstance(inner, FunctionType) and inner.__module__.split(".")[0] in PACKAGES:
            with contextlib.suppress(Exception):  # what it cannot read is run as it is
                instrument(inner)


if __name__ == "__main__":
    main()
