"""What one message can do at worst: fail itself. A fault of ours is logged and counted where it comes to light. [io]"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import structlog

from tunnel.counters import Counters

__all__ = ["contained"]

log = structlog.get_logger()


@contextmanager
def contained(counters: Counters, where: str) -> Iterator[None]:
    """Keep a programming error in the block from everybody else that this process serves (contract: whatever arrives).

    Stands around the work for one message, timer or connection. The counter ``internal.errors`` should be 0 for ever.
    """
    try:
        yield
    except Exception:
        counters.bump("internal.errors")
        log.exception("internal.error", where=where)
