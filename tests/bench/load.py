"""Plays both ends of many calls and measures: a thin wrapper of rtp_load.c, which is compiled on first use."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ["CallPath", "Measured", "measure"]

SOURCE = Path(__file__).with_name("rtp_load.c")


@dataclass(frozen=True, slots=True)
class CallPath:
    """``IP:PORT`` each: A sends from ``a_local`` to ``a_target`` and is to be heard at ``b_local``; B likewise."""

    a_local: str
    a_target: str
    b_local: str
    b_target: str


@dataclass(frozen=True, slots=True)
class Measured:
    """One run. Delays are one way, absolute, in ms; ``cpu_us`` for each packet that arrived, of each
    watched process: what a saturated relay loses is no work done."""

    calls: int
    sent: int
    lost: int
    wrong: int
    p50_ms: float
    p99_ms: float
    worst_ms: float
    cpu_us: tuple[float, ...]
    cpu_share: tuple[float, ...]
    meter_share: float
    meter_lag_ms: float

    @property
    def loss_percent(self) -> float:
        return 100 * self.lost / self.sent if self.sent else 100.0


def measure(paths: Sequence[CallPath], seconds: float, watch: Sequence[int] = ()) -> Measured:
    """Send for one second and ``seconds`` more, of which the latter count."""
    calls = "".join(f"{path.a_local} {path.a_target} {path.b_local} {path.b_target}\n" for path in paths)
    command = [_program(), str(seconds), *map(str, watch)]
    done = subprocess.run(command, input=calls, capture_output=True, text=True, check=False, timeout=seconds + 30)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}: {done.stderr}")
    result = json.loads(done.stdout)
    delay, processes = result["delay_ms"], result["processes"]
    return Measured(
        calls=result["calls"],
        sent=result["sent"],
        lost=result["sent"] - result["received"],
        wrong=result["misrouted"] + result["foreign"] + result["duplicates"],
        p50_ms=delay["p50"],
        p99_ms=delay["p99"],
        worst_ms=delay["max"],
        cpu_us=tuple(each["cpu_us_per_packet"] * result["sent"] / max(1, result["received"]) for each in processes),
        cpu_share=tuple(each["cpu_share"] for each in processes),
        meter_share=result["meter"]["cpu_share"],
        meter_lag_ms=result["meter"]["worst_lag_ms"],
    )


def _program() -> str:
    digest = hashlib.sha256(SOURCE.read_bytes()).hexdigest()[:16]
    program = Path(tempfile.gettempdir()) / f"rtp_load-{os.getuid()}-{digest}"
    if not program.exists():
        fresh = program.with_suffix(f".{os.getpid()}")
        subprocess.run(["cc", "-O2", "-o", str(fresh), str(SOURCE)], check=True)
        fresh.rename(program)
    return str(program)
