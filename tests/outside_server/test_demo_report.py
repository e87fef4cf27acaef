"""What the demo says at its end, for better and for worse."""

from __future__ import annotations

import io
import json

from rich.console import Console

from outside_server.demo_report import CallReport, DemoReport, render_table
from tunnel.softphone.measure import OneWay, compare
from tunnel.softphone.tune import Tune
from tunnel.softphone.voice import Ear, Mouth


def way(*, heard: bool = True) -> OneWay:
    mouth, ear = Mouth(Tune(8), 1, 0, 0), Ear()
    for index in range(150):
        packet = mouth.speak(index * 0.02)
        if heard:
            ear.hear_untrusted(packet, index * 0.02 + 0.001)
    return compare(mouth, ear)


def good() -> DemoReport:
    calls = [
        CallReport(title, setup_ms=41.4, to_outside=way(), to_inside=way())
        for title in ("inside calls outside", "outside calls inside")
    ]
    return DemoReport(link_ms=50.0, register_ms=10.0, calls=calls)


def shown(report: DemoReport) -> str:
    text = io.StringIO()
    Console(file=text, width=80).print(render_table(report))
    return text.getvalue()


def test_audio_both_ways_in_both_calls_is_no_failure() -> None:
    report = good()
    assert report.failures() == []
    assert report.as_json()["ok"] is True
    json.dumps(report.as_json())


def test_one_deaf_ear_fails_the_demo_and_is_named() -> None:
    report = good()
    report.calls[1].to_inside = way(heard=False)
    assert report.failures() == ["outside calls inside, outside → inside: nothing was heard"]
    assert report.as_json()["ok"] is False
    assert "NO" in shown(report)


def test_call_that_failed_is_named_once_with_its_reason() -> None:
    report = good()
    report.calls[0] = CallReport("inside calls outside", failure="503 Service Unavailable")
    assert report.failures() == ["inside calls outside: 503 Service Unavailable"]
    json.dumps(report.as_json())


def test_call_that_was_never_made_fails_the_demo() -> None:
    report = good()
    del report.calls[1]
    assert report.failures() == ["1 of 2 calls were made"]
    assert DemoReport(failure="the link did not come up").failures() == ["the link did not come up"]


def test_table_shows_every_figure_whole_in_80_columns() -> None:
    text = shown(good())
    assert "…" not in text
    for figure in ("41", "150", "1.0", "4.36", "3.00 s", "inside → outside", "outside calls inside"):
        assert figure in text
    assert all(len(line.rstrip()) < 80 for line in text.splitlines())
