from __future__ import annotations

import importlib.metadata
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from tunnel.errors import BadConfig, Refused
from tunnel.launcher import make_group

END = Path(__file__).parents[1] / "support" / "small_end.py"


@click.command("bad")
def bad_command() -> None:
    raise BadConfig("server.toml", "public.sip", "udp:5060", "taken by another program")


@click.command("refused")
def refused_command() -> None:
    raise Refused("this TOKEN was used before")


def commands() -> list[click.Command]:
    return [bad_command]


more = [refused_command]


@pytest.fixture
def group() -> click.Group:
    sys.modules["launched"] = sys.modules[__name__]
    found = [
        importlib.metadata.EntryPoint(name, f"launched:{name}", "wallpass.commands") for name in ("commands", "more")
    ]
    return make_group(found)


def test_commands_come_from_entry_points(group: click.Group) -> None:
    assert sorted(group.commands) == ["bad", "refused", "status"]


def test_help_teaches_by_example(group: click.Group) -> None:
    result = CliRunner().invoke(group, ["--help"])
    assert result.exit_code == 0
    assert "wallpass join TOKEN --config agent.toml" in result.output


def test_a_bad_configuration_is_one_message_and_exit_2(group: click.Group) -> None:
    result = CliRunner().invoke(group, ["bad"])
    assert result.exit_code == 2
    assert result.stderr == "wallpass: server.toml: public.sip = 'udp:5060': taken by another program\n"
    assert result.stdout == ""


def test_everything_else_is_exit_1(group: click.Group) -> None:
    result = CliRunner().invoke(group, ["refused"])
    assert (result.exit_code, result.stderr) == (1, "wallpass: this TOKEN was used before\n")


# --- an end as a process: support/small_end.py prints what it is told to do ---


class End:
    def __init__(self, directory: Path, *arguments: str) -> None:
        self.config = directory / "end.conf"
        self.config.write_text("30")
        paths = [str(Path(__file__).parents[2]), str(END.parents[1])]
        self.process = subprocess.Popen(
            [sys.executable, str(END), str(self.config), *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": ":".join(paths), "PYTHONUNBUFFERED": "1"},
        )

    def line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().rstrip()

    def error_line(self) -> str:
        assert self.process.stderr is not None
        return self.process.stderr.readline().rstrip()

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def end(self) -> tuple[int, str]:
        _, err = self.process.communicate(timeout=20)
        return self.process.returncode, err


@pytest.fixture
def ends() -> Iterator[list[End]]:
    running: list[End] = []
    yield running
    for end in running:
        if end.process.poll() is None:
            end.process.kill()
        end.process.communicate()


@pytest.fixture
def end(tmp_path: Path, ends: list[End]) -> End:
    ends.append(End(tmp_path))
    assert ends[0].line() == "ready sip=udp:203.0.113.10:5060 tunnel=203.0.113.10:443"
    return ends[0]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_drains_and_exits_0(end: End, number: int) -> None:
    end.signal(number)
    assert end.line() == "draining 30.0"
    assert end.process.stdin is None
    (end.config.parent / "drained").touch()
    assert end.end()[0] == 0


def test_a_second_signal_ends_at_once(end: End) -> None:
    end.signal(signal.SIGTERM)
    assert end.line() == "draining 30.0"
    end.signal(signal.SIGTERM)
    assert end.end()[0] == 0


def test_hangup_reads_the_configuration_again(end: End) -> None:
    end.config.write_text("5")
    end.signal(signal.SIGHUP)
    assert end.line() == "reloaded 5.0"
    end.signal(signal.SIGTERM)
    assert end.line() == "draining 5.0"


def test_a_bad_new_configuration_changes_nothing(end: End) -> None:
    end.config.write_text("soon")
    end.signal(signal.SIGHUP)
    assert "event=config.kept" in end.error_line()
    end.signal(signal.SIGTERM)
    assert end.line() == "draining 30.0"


def test_an_end_that_is_still_starting_can_be_told_to_stop(tmp_path: Path, ends: list[End]) -> None:
    ends.append(End(tmp_path, "slow"))
    assert ends[0].line() == "starting"
    ends[0].signal(signal.SIGTERM)
    assert ends[0].end()[0] == 0


def test_a_bad_setting_found_deep_inside_is_one_message_and_exit_2(tmp_path: Path, ends: list[End]) -> None:
    ends.append(End(tmp_path, "taken"))
    code, err = ends[0].end()
    assert code == 2
    assert err == "wallpass: end.conf: public.sip = 'udp:5060': taken\n"


def test_a_failure_while_it_runs_is_exit_1(tmp_path: Path, ends: list[End]) -> None:
    ends.append(End(tmp_path, "crash"))
    code, err = ends[0].end()
    assert code == 1
    assert err.rstrip().endswith("ZeroDivisionError: division by zero")


def test_an_end_that_ends_by_itself_exits_0(tmp_path: Path, ends: list[End]) -> None:
    ends.append(End(tmp_path, "short"))
    assert ends[0].end()[0] == 0
