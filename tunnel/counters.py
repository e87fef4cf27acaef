"""Counters: plain integers by dotted name, read when somebody asks (a scrape, ``wallpass status``)."""

from __future__ import annotations

from collections import Counter

__all__ = ["Counters"]


class Counters:
    """What happened how often; ``bump`` is cheap enough for any place but the per-packet one."""

    __slots__ = ("values",)

    def __init__(self) -> None:
        self.values: Counter[str] = Counter()

    def bump(self, name: str, amount: int = 1) -> None:
        """Add ``amount`` to the counter ``name``, for example ``sip.dropped.unknown_source``."""
        self.values[name] += amount

    def __getitem__(self, name: str) -> int:
        return self.values[name]
