"""The real programs as processes on loopback, each pair on loopback addresses of its own."""

from __future__ import annotations

import itertools
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Self

from tunnel.errors import LocalMisuse
from tunnel.status import fetch_status, is_up

__all__ = ["AGENT_TOML", "SERVER_TOML", "Pair", "Program", "Site", "eventually", "run_wallpass", "running_pair"]

PATIENCE_S = 10.0
SCRIPT = Path(sys.executable).with_name("wallpass")
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
_numbers = itertools.count(1)

SERVER_TOML = """
data_dir = "server-data"
drain_seconds = 20
[tunnel]
listen = "{server}:4443"
[public]
address = "{server}"
media_ports = "20000-20099"
[admin]
listen = "{server}:9080"
"""
AGENT_TOML = """
data_dir = "agent-data"
drain_seconds = 20
[lan]
address = "{agent}"
media_ports = "30000-30099"
allow = ["{phone}/32", "{pbx}/32"]
[admin]
listen = "{agent}:9081"
"""


class Site:
    """Loopback addresses that no other test uses, by the name of who has them."""

    def __init__(self) -> None:
        prefix = f"127.{os.getpid() % 200 + 20}.{next(_numbers)}"
        names = ("server", "agent", "phone", "pbx", "other_pbx", "stranger", "peer", "trunk")
        self.hosts = {name: f"{prefix}.{number}" for number, name in enumerate(names, 10)}

    def __getitem__(self, name: str) -> str:
        return self.hosts[name]

    def fill(self, text: str) -> str:
        """``text`` with each {name} replaced by the address."""
        return text.format_map(self.hosts)


class Program:
    """``wallpass`` with those arguments: runs inside ``with``, and is gone after it."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.name = " ".join(arguments[:1])
        number = next(_numbers)
        self._out, self._err = (folder / f"{self.name}-{number}.{stream}" for stream in ("out", "err"))
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self.process = subprocess.Popen(
                [str(SCRIPT), *arguments], stdin=subprocess.DEVNULL, stdout=out, stderr=err, cwd=folder, env=_environ()
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()

    @property
    def stdout(self) -> str:
        return self._out.read_text()

    @property
    def stderr(self) -> str:
        return self._err.read_text()

    def ready(self) -> str:
        """Wait for the ``ready`` line."""
        return self.says(r"^ready\b.*\n", lambda: self.stdout)

    def logs(self, pattern: str) -> str:
        """Wait for a log line that has ``pattern``."""
        return self.says(pattern, lambda: self.stderr)

    def says(self, pattern: str, read: Callable[[], str]) -> str:
        def found() -> bool:
            assert re.search(pattern, read(), re.M) or self.process.poll() is None, self.report()
            return re.search(pattern, read(), re.M) is not None

        eventually(found, f"{pattern!r} of {self.report}")
        match = re.search(pattern, read(), re.M)
        assert match is not None
        return match[0].rstrip("\n")

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def exit_code(self, within_s: float = PATIENCE_S) -> int:
        try:
            return self.process.wait(within_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running after {within_s} s\n{self.report()}") from None

    def report(self) -> str:
        return f"wallpass {self.name}: exit code {self.process.poll()}\n{self.stdout}{self.stderr[-4000:]}"


def eventually(condition: Callable[[], bool], what: str, within_s: float = PATIENCE_S) -> None:
    """Look again and again until ``condition`` holds."""
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {within_s} s: {what}"
        time.sleep(0.02)


def run_wallpass(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """One command to its end."""
    return subprocess.run(
        [str(SCRIPT), *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
        cwd=folder,
        env=_environ(),
    )


class Pair:
    """Both ends; ``folder`` holds server.toml and agent.toml. What a test ends or changes, ``restore`` mends."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.site = Site()
        self.folder = folder
        self.programs: dict[str, Program] = {}
        self._stack = stack
        self._good = {"server": self.site.fill(SERVER_TOML), "agent": self.site.fill(AGENT_TOML)}
        for end in self._good:
            self.file(end).write_text(self._good[end])

    @property
    def server(self) -> Program:
        return self.programs["server"]

    @property
    def agent(self) -> Program:
        return self.programs["agent"]

    def file(self, end: str) -> Path:
        return self.folder / f"{end}.toml"

    def start(self, end: str) -> Program:
        """The program without waiting for it."""
        self.programs[end] = self._stack.enter_context(Program(self.folder, end, "--config", f"{end}.toml"))
        return self.programs[end]

    def configure(self, end: str, text: str) -> str:
        """Write the configuration of ``end`` anew and have it read; returns what it logs of that."""
        self.file(end).write_text(self.site.fill(text))
        program = self.programs[end]
        known = len(program.stderr)
        program.send(signal.SIGHUP)
        return program.says(r".*event=config\.(kept|reloaded).*\n", lambda: program.stderr[known:])

    def restore(self) -> None:
        """Both ends run and are connected, by the configuration of the beginning."""
        for end, text in self._good.items():
            if self.programs[end].process.poll() is not None:
                self.file(end).write_text(text)
                self.start(end).ready()
            elif self.file(end).read_text() != text:
                self.configure(end, text)
        eventually(lambda: is_up(self.asked("agent"), is_agent=True), f"a tunnel of {self.agent.report()}")

    def asked(self, end: str) -> Mapping[str, object]:
        """What ``end`` says of itself, empty if it says nothing; quicker than a command."""
        try:
            return fetch_status(self.folder / f"{end}-data")
        except LocalMisuse:
            return {}

    def status(self, end: str) -> subprocess.CompletedProcess[str]:
        """``wallpass status --json``."""
        return run_wallpass(self.folder, "status", "--json", "--config", f"{end}.toml")


@contextmanager
def running_pair(folder: Path) -> Iterator[Pair]:
    """Both ends from nothing, by the commands that a user types; the tenant acme has the trunk of the site."""
    with ExitStack() as stack:
        pair = Pair(folder, stack)
        pair.start("server").ready()
        _succeeds(folder, "tenant", "add", "acme", "--trunk", f"sip:{pair.site['trunk']}", "--config", "server.toml")
        token = _succeeds(folder, "tenant", "invite", "acme", "--config", "server.toml").strip()
        _succeeds(folder, "join", token, "--config", "agent.toml", "--name", "gate")
        pair.start("agent").ready()
        yield pair


def _succeeds(folder: Path, *arguments: str) -> str:
    done = run_wallpass(folder, *arguments)
    assert done.returncode == 0, f"wallpass {arguments[0]}: {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout


def _environ() -> dict[str, str]:
    """Ours, without what would lead a connection past loopback or change the form of logs."""
    return {name: value for name, value in os.environ.items() if name.upper() not in (*_PROXIES, "WALLPASS_LOG")}
