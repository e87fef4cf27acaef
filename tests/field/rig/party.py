"""A party that follows a script: sipp with one scenario, for one call."""

from __future__ import annotations

import time
from collections.abc import Mapping
from itertools import count
from pathlib import Path

from field.rig.audio import to_ulaw, tone
from field.rig.host import Host
from field.rig.program import Program, ProgramFailed, eventually
from field.rig.script import Script
from field.rig.voices import LEVEL_DBFS, VOICES_HZ

__all__ = ["Party", "finished"]

_numbers = count(1)


def finished(*parties: Party, within_s: float = 20.0) -> None:
    """Wait for the end of their scripts; fails as soon as one saw anything else than what stands there."""
    deadline = time.monotonic() + within_s
    running = list(parties)
    while running:
        for party in list(running):
            ended = party.process.poll()
            if ended:
                raise ProgramFailed(f"{party.name}: exit {ended}\n{party.tail()}")
            if ended == 0:
                running.remove(party)
        if running and time.monotonic() > deadline:
            raise ProgramFailed(f"still running: {[party.name for party in running]}")
        time.sleep(0.02)


class Party(Program):
    """sipp for one call. It sends to the address `peer`, or waits to be called if that is ""; `voice` is what it plays.

    `values`: what `[name]` in the script stands for. `call_id`: of all parties whose dialogs are one call to them.
    """

    def __init__(
        self,
        host: Host,
        folder: Path,
        script: Script,
        peer: str = "",
        voice: str = "alice",
        port: int = 5060,
        call_id: str = "",
        values: Mapping[str, str] | None = None,
    ) -> None:
        name = f"{script.user}-{next(_numbers)}"
        self._port = port
        self._errors = folder / f"{name}.errors"
        sound = folder / f"{voice}.ulaw"
        if not sound.exists():
            sound.write_bytes(to_ulaw(tone(VOICES_HZ[voice], 2.0, LEVEL_DBFS)))
        scenario = folder / f"{name}.xml"
        scenario.write_text(script.xml().replace("VOICE", str(sound)))
        argv = ["sipp", "-sf", str(scenario), "-m", "1", "-nostdin", "-i", host.address, "-p", str(port)]
        argv += ["-mi", host.address, "-mp", str(16000 + 10 * (port - 5060)), "-timeout", "60s"]
        argv += ["-cid_str", call_id or f"{name}-%p@carrier.example"]
        argv += ["-trace_err", "-error_file", str(self._errors)]
        for key, value in (values or {}).items():
            argv += ["-key", key, value]
        argv += [f"{peer}:5060"] if peer else []
        super().__init__(host, f"sipp-{name}", argv, folder, {"TERM": "dumb"})

    def __enter__(self) -> Party:
        try:
            eventually(self._is_bound, 10.0, f"{self.name} bound")
        except BaseException:
            self.stop()
            raise
        return self

    def tail(self) -> str:
        told = self._errors.read_text(errors="replace").splitlines() if self._errors.exists() else []
        return "\n".join(f"err| {line}" for line in told[-60:]) or super().tail()

    def _is_bound(self) -> bool:
        if self.process.poll() is not None:
            return True
        return f"{self.host.address}:{self._port}" in self.host.run("ss", "-Huln")
