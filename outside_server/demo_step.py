"""[io] A step of the demo: takes its time, but not for ever, and says what it was."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import trio

from tunnel.errors import WallpassError

__all__ = ["StepFailed", "step"]


class StepFailed(WallpassError):
    """A step of the demo did not come to its end."""


@contextmanager
def step(what: str, limit_s: float) -> Iterator[None]:
    """Raises StepFailed when the block takes longer than ``limit_s``."""
    try:
        with trio.fail_after(limit_s):
            yield
    except trio.TooSlowError:
        raise StepFailed(f"{what}: not done within {limit_s:g} s") from None
