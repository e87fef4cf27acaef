"""What the demo found out, and how it is said: a table for people, JSON for programs, the failures for both."""

from __future__ import annotations

from dataclasses import dataclass, field

from rich.box import SIMPLE_HEAD
from rich.table import Table

from tunnel.softphone.measure import OneWay

__all__ = ["CallReport", "DemoReport", "render_table"]

EXPECTED_CALLS = 2  # one in each direction


@dataclass(slots=True)
class CallReport:
    """One call; what it did not come to is None."""

    title: str
    setup_ms: float | None = None
    """From the first INVITE to the 200, at the caller; the callee answers as soon as it is called."""
    to_outside: OneWay | None = None
    to_inside: OneWay | None = None
    failure: str = ""
    """What went wrong with the call itself; empty when nothing did."""

    @property
    def ways(self) -> dict[str, OneWay | None]:
        return {"inside → outside": self.to_outside, "outside → inside": self.to_inside}

    def failures(self) -> list[str]:
        """Everything that was not as it should be, in words."""
        if self.failure:
            return [f"{self.title}: {self.failure}"]
        faults = {name: "not measured" if way is None else way.fault for name, way in self.ways.items()}
        return [f"{self.title}, {name}: {fault}" for name, fault in faults.items() if fault]


@dataclass(slots=True)
class DemoReport:
    """The whole demo; fills up as it goes."""

    link_ms: float | None = None
    """From the start of the agent until the tunnel was up."""
    register_ms: float | None = None
    calls: list[CallReport] = field(default_factory=list)
    failure: str = ""
    """What kept the demo from its calls; empty when nothing did."""

    def failures(self) -> list[str]:
        """Empty only when audio was verified both ways in every call."""
        faults = [self.failure] if self.failure else []
        faults += [fault for call in self.calls for fault in call.failures()]
        if not faults and len(self.calls) < EXPECTED_CALLS:
            faults.append(f"{len(self.calls)} of {EXPECTED_CALLS} calls were made")
        return faults

    def as_json(self) -> dict[str, object]:
        failures = self.failures()
        return {
            "ok": not failures,
            "failures": failures,
            "link_ms": rounded(self.link_ms),
            "register_ms": rounded(self.register_ms),
            "calls": [call_as_json(call) for call in self.calls],
        }


def call_as_json(call: CallReport) -> dict[str, object]:
    return {
        "title": call.title,
        "failures": call.failures(),
        "setup_ms": rounded(call.setup_ms),
        "to_outside": way_as_json(call.to_outside),
        "to_inside": way_as_json(call.to_inside),
    }


def way_as_json(way: OneWay | None) -> dict[str, object] | None:
    if way is None:
        return None
    return {
        "verified": way.verified,
        "said_tune": way.said,
        "heard_tune": way.heard.tune,
        "heard_s": rounded(way.heard.tune_s),
        "foreign_s": rounded(way.heard.foreign_s),
        "longest_gap_ms": rounded(way.heard.longest_gap_ms),
        "sent_packets": way.sent_packets,
        "received_packets": way.received_packets,
        "lost_packets": way.lost_packets,
        "duplicate_packets": way.duplicate_packets,
        "added_delay_p50_ms": rounded(way.delay_p50_ms),
        "added_delay_p99_ms": rounded(way.delay_p99_ms),
        "jitter_ms": rounded(way.jitter_ms),
        "mos": rounded(way.mos),
    }


def render_table(report: DemoReport) -> Table:
    """A row for each call and one for each of its ways; at most 79 columns, times in ms."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    table.add_column("call, and each way", no_wrap=True)
    for heading in ("set-up\nms", "packets\nsent", "\nlost", "delay\np50 ms", "delay\np99 ms", "\nMOS", "tune\nheard"):
        table.add_column(heading, justify="right", no_wrap=True)
    for call in report.calls:
        table.add_row(call.title, number(call.setup_ms, 0))
        for name, way in call.ways.items():
            table.add_row(f"  {name}", "", *way_cells(way))
    return table


def way_cells(way: OneWay | None) -> list[str]:
    if way is None:
        return ["-"] * 6
    return [
        str(way.sent_packets),
        str(way.lost_packets),
        number(way.delay_p50_ms, 1),
        number(way.delay_p99_ms, 1),
        number(way.mos, 2),
        f"{way.heard.tune_s:.2f} s" if way.verified else "NO",
    ]


def number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
