"""In which order the records of a service are tried (RFC 2782)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

__all__ = ["SrvRecord", "srv_order"]


@dataclass(frozen=True, slots=True)
class SrvRecord:
    """One SRV record; ``target`` is a host name without the final dot."""

    priority: int
    weight: int
    port: int
    target: str


def srv_order(records: Iterable[SrvRecord], below: Callable[[int], int]) -> list[SrvRecord]:
    """The records by rising priority, within one priority drawn at random by weight.

    ``below(n)`` gives a random number from 0 to n - 1.
    """
    by_priority: dict[int, list[SrvRecord]] = {}
    for record in records:
        by_priority.setdefault(record.priority, []).append(record)
    return [record for _, group in sorted(by_priority.items()) for record in _drawn(group, below)]


def _drawn(group: list[SrvRecord], below: Callable[[int], int]) -> list[SrvRecord]:
    left = sorted(group, key=lambda record: record.weight)  # weight 0 first: a small chance is left to them
    drawn = []
    while left:
        pick = below(sum(record.weight for record in left) + 1)
        running = 0
        for index, record in enumerate(left):
            running += record.weight
            if running >= pick:
                drawn.append(left.pop(index))
                break
    return drawn
