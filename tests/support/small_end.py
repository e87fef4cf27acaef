"""A program with one end that does nothing but print what the launcher tells it: ``small_end.py CONFIG [BEHAVIOUR]``.

Its configuration file holds one number, its drain seconds.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

import click
import trio

from tunnel.errors import BadConfig
from tunnel.launcher import Handle, make_group, run_end


class Config:
    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self.drain_seconds = float(path.read_text())
        except ValueError:
            raise BadConfig(path.name, "drain_seconds", path.read_text(), "a number") from None


class SmallHandle:
    def __init__(self, config: Config) -> None:
        self._drained = config.path.parent / "drained"

    @property
    def addresses(self) -> Mapping[str, str]:
        return {"sip": "udp:203.0.113.10:5060", "tunnel": "203.0.113.10:443"}

    async def drain(self, seconds: float) -> None:
        print(f"draining {seconds}")
        while not self._drained.exists():  # noqa: ASYNC110 - another process makes it
            await trio.sleep(0.01)

    def reload(self, config: Config) -> None:
        print(f"reloaded {config.drain_seconds}")


async def serve(config: Config, *, task_status: trio.TaskStatus[Handle[Config]]) -> None:
    behaviour = sys.argv[2] if len(sys.argv) > 2 else ""
    async with trio.open_nursery(), trio.open_nursery():
        if behaviour == "slow":
            print("starting")
            await trio.sleep_forever()
        if behaviour == "taken":
            raise BadConfig("end.conf", "public.sip", "udp:5060", "taken")
        task_status.started(SmallHandle(config))
        if behaviour == "crash":
            _ = 1 / 0
        if behaviour != "short":
            await trio.sleep_forever()


@click.command("end")
def end_command() -> None:
    run_end(serve, lambda: Config(Path(sys.argv[1])), lambda config, ephemeral: [])


if __name__ == "__main__":
    group = make_group([])
    group.add_command(end_command)
    group(["end"])
