"""Measures the media path of the pair beside a bare relay, in one run on one machine: only ratios mean something.

python tests/bench/bench.py                             # the pair beside the bare relay: 10, 100 and 500 calls
python tests/bench/bench.py --pump-only --calls 100     # the media path alone, without SIP
python tests/bench/bench.py --systems direct,pumps,pair --seconds 20 --json result.json
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path

from load import Measured, measure
from rich.console import Console
from rich.table import Table
from systems import SYSTEMS, Rig

WORST_LAG_MS = 20.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", default="10,100,500", help="loads, each 50 packets a second each way")
    parser.add_argument("--seconds", type=float, default=10.0, help="of each measurement")
    parser.add_argument("--systems", help=f"of {', '.join(SYSTEMS)}; default: direct, bare relay, pair")
    parser.add_argument("--pump-only", action="store_true", help="the ends' media path without SIP instead of the pair")
    parser.add_argument("--json", type=Path, help="write the figures to this file too")
    options = parser.parse_args()
    names = ["direct", "bare relay", "pumps" if options.pump_only else "pair"]
    if options.systems:
        names = [name.strip() for name in options.systems.split(",")]
    unknown = sorted(set(names) - set(SYSTEMS))
    if unknown:
        parser.error(f"there is no system {', '.join(unknown)}")

    table = Table(
        "calls", "system", "loss %", "p50 ms", "p99 ms", "worst ms", "us/packet", "CPU %", "set-up p50/p99 ms"
    )
    rows = []
    for calls in map(int, options.calls.split(",")):
        for name in names:
            with SYSTEMS[name](calls) as rig:
                measured = measure(rig.paths, options.seconds, [pid for _, pid in rig.processes])
            rows.append({"system": name, **asdict(measured), "set_up_ms": _percentiles(rig.set_up_ms)})
            table.add_row(*_cells(name, rig, measured))
            for caution in _cautions(measured):
                sys.stderr.write(f"CAUTION, {name}, {calls} calls: {caution}\n")
    Console().print(table)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")


def _cells(name: str, rig: Rig, measured: Measured) -> list[str]:
    who = [process for process, _ in rig.processes]
    per_packet = [f"{each} {us:.1f}" for each, us in zip(who, measured.cpu_us, strict=True)]
    shares = [f"{share:.0%}" for share in measured.cpu_share]
    return [
        str(measured.calls),
        name,
        f"{measured.loss_percent:.3f}",
        f"{measured.p50_ms:.2f}",
        f"{measured.p99_ms:.2f}",
        f"{measured.worst_ms:.1f}",
        ", ".join(per_packet),
        ", ".join(shares),
        " / ".join(f"{each:.0f}" for each in _percentiles(rig.set_up_ms)),
    ]


def _percentiles(ordered: tuple[float, ...]) -> list[float]:
    return [ordered[int(share * (len(ordered) - 1))] for share in (0.5, 0.99)] if ordered else []


def _cautions(measured: Measured) -> list[str]:
    """Reasons why the figures may not be those of the system."""
    cautions = []
    if measured.meter_lag_ms > WORST_LAG_MS:
        cautions.append(f"the meter was up to {measured.meter_lag_ms:.0f} ms late")
    if measured.meter_share > 0.9:
        cautions.append("the meter had no CPU to spare")
    if measured.wrong:
        cautions.append(f"{measured.wrong} packets came twice, at the wrong place, or from somewhere else")
    return cautions


if __name__ == "__main__":
    main()
