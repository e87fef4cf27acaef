from __future__ import annotations

import json
import os
import socket
import stat
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
import trio
from click.testing import CliRunner

from tunnel.errors import BadConfig, LocalMisuse
from tunnel.launcher import make_group
from tunnel.status import fetch_status, is_up, serve_status

Status = Mapping[str, object]
GOOD: Status = {"tunnel": {"connected": True}, "calls": 2, "agents": ["pbx-host"]}


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """Longer than a socket's path may be."""
    path = tmp_path / ("long" * 40)
    path.mkdir()
    return path


async def fetched(data_dir: Path) -> dict[str, object]:
    return await trio.to_thread.run_sync(fetch_status, data_dir)


async def started(nursery: trio.Nursery, data_dir: Path, status: Callable[[], Status]) -> None:
    await nursery.start(serve_status, "agent.toml", data_dir, status)


async def test_each_question_is_answered_with_what_is_so_now(data_dir: Path, nursery: trio.Nursery) -> None:
    calls = iter([1, 2])
    await started(nursery, data_dir, lambda: {"calls": next(calls), "path": Path("x")})
    assert await fetched(data_dir) == {"calls": 1, "path": "x"}
    assert await fetched(data_dir) == {"calls": 2, "path": "x"}


async def test_only_the_owner_may_ask(data_dir: Path, nursery: trio.Nursery) -> None:
    await started(nursery, data_dir, dict)
    assert stat.S_IMODE((data_dir / "control.sock").stat().st_mode) == 0o600


async def test_the_socket_is_gone_afterwards(data_dir: Path) -> None:
    async with trio.open_nursery() as inner:
        await started(inner, data_dir, dict)
        inner.cancel_scope.cancel()
    assert os.listdir(data_dir) == []
    with pytest.raises(LocalMisuse, match="no wallpass runs with"):
        fetch_status(data_dir)


async def test_a_second_end_with_the_same_data_dir_does_not_start(data_dir: Path, nursery: trio.Nursery) -> None:
    await started(nursery, data_dir, lambda: GOOD)
    with pytest.raises(BadConfig, match="another wallpass runs with it"):
        await serve_status("agent.toml", data_dir, dict)
    assert await fetched(data_dir) == GOOD


async def test_what_a_killed_end_left_is_replaced(data_dir: Path, nursery: trio.Nursery, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(tmp_path / "control.sock"))
    (tmp_path / "control.sock").rename(data_dir / "control.sock")
    await started(nursery, data_dir, lambda: GOOD)
    assert await fetched(data_dir) == GOOD


async def test_a_figure_that_fails_is_reported_and_the_end_lives(data_dir: Path, nursery: trio.Nursery) -> None:
    answers: Iterator[Status] = iter([{"calls": 1}])
    await started(nursery, data_dir, lambda: {"share": 1 // (len(list(answers)) - 1)})
    assert await fetched(data_dir) == {"error": "integer division or modulo by zero"}
    assert await fetched(data_dir) == {"share": -1}


async def test_somebody_who_asks_and_never_reads_holds_nobody_up(tmp_path: Path, nursery: trio.Nursery) -> None:
    await started(nursery, tmp_path, lambda: {"much": "x" * 4_000_000})
    with socket.socket(socket.AF_UNIX) as silent:
        silent.connect(str(tmp_path / "control.sock"))
        assert len(str((await fetched(tmp_path))["much"])) == 4_000_000


def test_an_answer_that_is_none(data_dir: Path) -> None:
    with pytest.raises(LocalMisuse, match="no wallpass runs with"):
        fetch_status(data_dir)


@pytest.mark.parametrize(
    ("status", "agent", "server"),
    [
        (GOOD, True, True),
        ({"tunnel": {"connected": False}}, False, True),
        ({}, False, True),
        ({"error": "x"}, False, False),
    ],
)
def test_when_an_end_counts_as_up(status: Status, agent: bool, server: bool) -> None:
    assert is_up(status, is_agent=True) is agent
    assert is_up(status, is_agent=False) is server


# --- wallpass status ---


async def run(*arguments: str) -> tuple[int, str, str]:
    command = make_group([])
    result = await trio.to_thread.run_sync(CliRunner().invoke, command, ["status", *arguments])
    return result.exit_code, result.stdout, result.stderr


def config(data_dir: Path, table: str) -> str:
    path = data_dir.parent / "end.toml"
    path.write_text(f"data_dir = '{data_dir.name}'\n[{table}]\nwhatever = 'else'\n")
    return str(path)


@pytest.mark.parametrize(("connected", "exit_code"), [(True, 0), (False, 1)])
async def test_an_agents_exit_code_tells_of_its_tunnel(
    data_dir: Path, nursery: trio.Nursery, connected: bool, exit_code: int
) -> None:
    await started(nursery, data_dir, lambda: {"tunnel": {"connected": connected}})
    code, out, _ = await run("--config", config(data_dir, "lan"), "--json")
    assert code == exit_code
    assert json.loads(out) == {"up": connected, "tunnel": {"connected": connected}}


async def test_a_server_that_answers_is_up(data_dir: Path, nursery: trio.Nursery) -> None:
    await started(nursery, data_dir, lambda: GOOD)
    code, out, _ = await run("--config", config(data_dir, "public"))
    assert code == 0
    assert "wallpass server: up" in out
    assert "tunnel.connected" in out
    assert "pbx-host" in out


async def test_nothing_runs(data_dir: Path) -> None:
    code, out, _ = await run("--config", config(data_dir, "lan"), "--json")
    assert code == 1
    assert json.loads(out)["up"] is False
    assert "no wallpass runs with" in json.loads(out)["error"]


async def test_a_file_of_neither_end(data_dir: Path) -> None:
    code, _, err = await run("--config", config(data_dir, "proxy"))
    assert code == 2
    assert "a server.toml has [public], an agent.toml has [lan]" in err
