"""What a fuzz target is, and the table of all of them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tunnel.errors import BadPacket
from tunnel.sip.message import Message, parse_untrusted

__all__ = ["TARGETS", "Target", "add", "with_message"]


@dataclass(frozen=True, slots=True)
class Target:
    """``run`` takes one input and may raise BadPacket; ``seeds`` makes real inputs to begin with."""

    run: Callable[[bytes], object]
    seeds: Callable[[], Sequence[bytes]]

    def __call__(self, data: bytes) -> None:
        with contextlib.suppress(BadPacket):
            self.run(data)


TARGETS: dict[str, Target] = {}


def add(name: str, run: Callable[[bytes], object], seeds: Callable[[], Sequence[bytes]]) -> None:
    """Enter a target under the name of its function, ``module:Class.function``."""
    assert name not in TARGETS
    TARGETS[name] = Target(run, seeds)


def with_message(run: Callable[[Message], object]) -> Callable[[bytes], object]:
    """For a function that takes a message: bytes that are none do not reach it."""
    return lambda data: run(parse_untrusted(data))
