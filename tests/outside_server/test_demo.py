"""The demo as a stranger runs it: the whole pair on loopback, judged by its exit code and by what it prints."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import structlog
import trio
from click.testing import CliRunner

from outside_server import demo
from outside_server.demo_pair import DemoPair, free_port_range
from outside_server.demo_step import StepFailed, step
from tunnel.address import Address

SECONDS = "1"


@pytest.fixture(autouse=True)
def _logs_as_before() -> Iterator[None]:
    """The command sets the logs up for its own stderr, which ends with the runner."""
    yield
    structlog.reset_defaults()


def test_demo_verifies_audio_both_ways_and_tells_the_story() -> None:
    result = CliRunner().invoke(demo.demo_command, ["--seconds", SECONDS])
    assert result.exit_code == 0, result.output
    story = result.stdout
    for said in ("link is up", "registers", "INVITE", "180 Ringing", "BYE", "Audio went both ways in both calls"):
        assert said in story
    assert "\x1b" not in story, "no colours where there is no terminal"


def test_json_is_one_object_with_every_figure() -> None:
    result = CliRunner().invoke(demo.demo_command, ["--seconds", SECONDS, "--json"])
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert report["ok"] is True
    assert [call["title"] for call in report["calls"]] == ["inside calls outside", "outside calls inside"]
    ways = [call[way] for call in report["calls"] for way in ("to_outside", "to_inside")]
    assert all(way["verified"] for way in ways)
    assert len({way["heard_tune"] for way in ways}) == 4, "each ear heard a tune of its own"
    assert all(way["mos"] > 4 and way["added_delay_p99_ms"] < 100 for way in ways)


def test_pair_that_answers_nothing_fails_the_demo_and_says_where(monkeypatch: pytest.MonkeyPatch) -> None:
    @asynccontextmanager
    async def silent_pair(directory: Path, tell: Callable[[str], None]) -> AsyncIterator[DemoPair]:
        socket = trio.socket.socket(type=trio.socket.SOCK_DGRAM)
        with socket:
            await socket.bind(("127.0.0.1", 0))
            nowhere = Address(*socket.getsockname())
            yield DemoPair(agent=nowhere, server=nowhere, tunnel="none", link_s=0.0)

    monkeypatch.setattr(demo, "open_pair", silent_pair)
    monkeypatch.setattr(demo, "STEP_S", 0.2)
    result = CliRunner().invoke(demo.demo_command, [])
    assert result.exit_code == 1
    assert "FAILED" in result.stdout
    assert "the registration of the inside phone: not done within 0.2 s" in result.stdout


def test_help_needs_no_network() -> None:
    result = CliRunner().invoke(demo.demo_command, ["--help"])
    assert result.exit_code == 0
    assert "--seconds" in result.output


def test_port_range_is_even_and_free() -> None:
    low, _, high = free_port_range().partition("-")
    assert int(low) % 2 == 0
    assert int(high) - int(low) == 39


async def test_step_names_what_took_too_long(autojump_clock: trio.testing.MockClock) -> None:
    with pytest.raises(StepFailed, match="the wait: not done within 3 s"), step("the wait", 3):
        await trio.sleep(4)
