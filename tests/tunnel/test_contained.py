from __future__ import annotations

import pytest
import trio
from structlog.testing import capture_logs

from tunnel.contained import contained
from tunnel.counters import Counters


def test_a_fault_is_counted_logged_and_goes_no_further() -> None:
    counters = Counters()
    with capture_logs() as logs, contained(counters, "face"):
        raise KeyError("what nobody thought of")
    assert counters["internal.errors"] == 1
    assert [(entry["event"], entry["where"], entry["exc_info"]) for entry in logs] == [("internal.error", "face", True)]


async def test_cancellation_is_no_fault() -> None:
    counters = Counters()
    with trio.move_on_after(0) as scope, contained(counters, "face"):
        await trio.sleep_forever()
    assert scope.cancelled_caught
    assert counters["internal.errors"] == 0


def test_an_operator_who_interrupts_is_obeyed() -> None:
    with pytest.raises(KeyboardInterrupt), contained(Counters(), "face"):
        raise KeyboardInterrupt
