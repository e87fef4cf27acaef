"""The calls of one session as numbers: how many are up now and were ever, by direction. [io]"""

from __future__ import annotations

from collections import Counter

import trio

from tunnel.sip.half import CallAnswered, CallClosed, CallOpened, RelayEvent

__all__ = ["CallBook"]


class CallBook:
    """May outlive its session: ``total`` only ever grows. ``outbound`` calls come from inside."""

    def __init__(self) -> None:
        self.total: Counter[str] = Counter()
        self.answered = 0
        self._open: dict[int, str] = {}
        self._emptied = trio.Event()

    def note(self, event: RelayEvent) -> None:
        """Keep step with the half proxy."""
        if isinstance(event, CallOpened):
            direction = "outbound" if event.outbound else "inbound"
            self._open[event.call] = direction
            self.total[direction] += 1
        elif isinstance(event, CallAnswered):
            self.answered += 1
        elif isinstance(event, CallClosed):
            self._open.pop(event.call, None)
            if not self._open:
                self._emptied.set()
                self._emptied = trio.Event()

    async def wait_empty(self) -> None:
        """Return when no call is up."""
        while self._open:
            await self._emptied.wait()

    @property
    def active(self) -> Counter[str]:
        return Counter(self._open.values())

    def __len__(self) -> int:
        return len(self._open)
