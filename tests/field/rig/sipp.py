"""A carrier's gateway: sipp with one of the scenarios in `tests/field/sipp`, which plays a tone while the call is up."""

from __future__ import annotations

from pathlib import Path

from field.rig.audio import to_ulaw, tone
from field.rig.host import Host
from field.rig.program import Program, ProgramFailed, eventually
from field.rig.voices import LEVEL_DBFS, VOICES_HZ

__all__ = ["Gateway"]

_SCENARIOS = Path(__file__).parent.parent / "sipp"
_NEVER_MS = 60_000


class Gateway(Program):
    """sipp for one call. `answers` one, or dials `number` at `peer`; hangs up after `talk_s`, or waits for the other."""

    def __init__(
        self,
        host: Host,
        folder: Path,
        number: str = "",
        peer: str = "",
        caller: str = "+498912",
        talk_s: float | None = None,
    ) -> None:
        kind = "dials" if number else "answers"
        voice = folder / "gateway.ulaw"
        voice.write_bytes(to_ulaw(tone(VOICES_HZ["gateway"], 2.0, LEVEL_DBFS)))
        scenario = folder / f"gateway-{kind}.xml"
        text = (_SCENARIOS / f"{kind}.xml").read_text().replace("VOICE", str(voice)).replace("CALLER", caller)
        scenario.write_text(text.replace("TALK_MS", str(int(talk_s * 1000) if talk_s else _NEVER_MS)))
        argv = ["sipp", "-sf", str(scenario), "-m", "1", "-nostdin", "-i", host.address, "-p", "5060"]
        argv += ["-mi", host.address, "-mp", "16000", "-cid_str", f"%u-{kind}-%p@carrier.example"]
        argv += ["-trace_err", "-error_file", str(folder / f"gateway-{kind}.errors"), "-timeout", "60s"]
        argv += ["-s", number, f"{peer}:5060"] if number else []
        super().__init__(host, f"sipp-{kind}", argv, folder, {"TERM": "dumb"})

    def __enter__(self) -> Gateway:
        try:
            eventually(self._is_bound, 10.0, f"{self.name} bound")
        except BaseException:
            self.stop()
            raise
        return self

    def finished(self, within_s: float = 15.0) -> None:
        """Wait for the end of its call; fails unless the call went as the scenario says, to the last 200."""
        if self.await_exit(within_s) != 0:
            raise ProgramFailed(f"{self.name}: exit {self.process.returncode}\n{self.tail()}")

    def _is_bound(self) -> bool:
        if self.process.poll() is not None:
            raise ProgramFailed(f"{self.name}: ended with {self.process.returncode}\n{self.tail()}")
        return f"{self.host.address}:5060" in self.host.run("ss", "-Huln")
