"""The measuring tools still work; the figures are for people, as they depend on the machine."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="rtp_load.c needs a C compiler")


def test_the_media_path_is_measured_beside_a_bare_relay(tmp_path: Path) -> None:
    """S4-10: the delay that the pair adds is in the report; tests/bench/README.md has the figures."""
    result = tmp_path / "result.json"
    command = [sys.executable, str(Path(__file__).with_name("bench.py")), "--pump-only", "--calls", "5"]
    subprocess.run([*command, "--seconds", "0.5", "--json", str(result)], check=True, timeout=60, capture_output=True)
    measured = {each["system"]: each for each in json.loads(result.read_text())}
    assert set(measured) == {"direct", "bare relay", "pumps"}
    for each in measured.values():
        assert each["sent"] >= 200
        assert (each["lost"], each["wrong"]) == (0, 0)
    assert len(measured["pumps"]["cpu_us"]) == 2


def test_idle_agents_are_measured() -> None:
    """S1-7: a session that nobody uses must not hold tables for those that are; the bound is twice what was measured."""
    command = [sys.executable, str(Path(__file__).with_name("idle_agents.py")), "--agents", "40", "--seconds", "1"]
    said = subprocess.run(command, check=True, timeout=60, capture_output=True, text=True).stdout
    figures = re.match(r"40 idle agents: (\d+) KiB resident each", said)
    assert figures is not None, said
    assert int(figures[1]) <= 160
