"""One process on one host, with its log: started, awaited by what it says, ended by its own process id."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Self

from field.rig.host import Host

__all__ = ["Program", "ProgramFailed", "environment", "eventually", "forget_ended", "tails"]

_TAIL_LINES = 40
_PROXY_SETTINGS = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")  # this machine's way out is not the rig's
_running: list[Program] = []
_ended: list[tuple[str, str]] = []


class ProgramFailed(AssertionError):
    """A program of the rig ended, or did not say what it should in time. The message holds the end of its log."""


def eventually(condition: Callable[[], bool], within_s: float, what: str) -> float:
    """Wait until `condition()` holds; returns the seconds it took. Fails with `what` after `within_s`."""
    began = time.monotonic()
    while not condition():
        if time.monotonic() - began > within_s:
            raise AssertionError(f"not within {within_s} s: {what}")
        time.sleep(0.02)
    return time.monotonic() - began


def tails() -> list[tuple[str, str]]:
    """Name and last log lines of every program that runs now or ended in this test: for the report when it fails."""
    return [*_ended, *((program.name, program.tail()) for program in _running)]


def forget_ended() -> None:
    """A new test begins: what ended before it does not belong into its report."""
    _ended.clear()


def environment() -> dict[str, str]:
    """Ours, without what would lead a program past the rig's network."""
    return {name: value for name, value in os.environ.items() if name.upper() not in _PROXY_SETTINGS}


class Program:
    """A context manager: the process runs inside `with`, and is gone after it.

    Its stdout goes to `folder/name.out`, its stderr to `folder/name.err`. `stdout` and `stderr` are what has been
    written so far. `settings` are added to our environment.
    """

    def __init__(
        self, host: Host, name: str, argv: list[str], folder: Path, settings: Mapping[str, str] | None = None
    ) -> None:
        self.host = host
        self.name = name
        self._out = folder / f"{name}.out"
        self._err = folder / f"{name}.err"
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self.process = subprocess.Popen(
                host.argv(*argv),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                cwd=folder,
                env={**environment(), **(settings or {})},
                start_new_session=True,
            )
        _running.append(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    @property
    def stdout(self) -> str:
        return self._out.read_text(errors="replace")

    @property
    def stderr(self) -> str:
        return self._err.read_text(errors="replace")

    def tail(self) -> str:
        lines = [f"out| {line}" for line in self.stdout.splitlines()[-_TAIL_LINES:]]
        lines += [f"err| {line}" for line in self.stderr.splitlines()[-_TAIL_LINES:]]
        return "\n".join(lines)

    def await_output(self, pattern: str, within_s: float = 10.0) -> str:
        """The first line (of either stream) that matches. Raises `ProgramFailed` if it ends or says nothing of it."""
        wanted = re.compile(pattern)
        deadline = time.monotonic() + within_s
        while True:
            ended = self.process.poll() is not None
            for line in [*self.stdout.splitlines(), *self.stderr.splitlines()]:
                if wanted.search(line):
                    return line
            if ended or time.monotonic() > deadline:
                how = f"ended with {self.process.returncode}" if ended else f"silent for {within_s} s"
                raise ProgramFailed(f"{self.name}: {how}, no line like {pattern!r}\n{self.tail()}")
            time.sleep(0.02)

    def await_exit(self, within_s: float) -> int:
        try:
            return self.process.wait(within_s)
        except subprocess.TimeoutExpired:
            raise ProgramFailed(f"{self.name}: still running after {within_s} s\n{self.tail()}") from None

    def stop(self, number: signal.Signals = signal.SIGTERM, within_s: float = 3.0) -> None:
        """End it and whatever it started: politely, then by force. Harmless if it has ended."""
        if self.process.poll() is None:
            self.process.send_signal(number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(within_s)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        if self in _running:
            _running.remove(self)
            _ended.append((self.name, self.tail()))
