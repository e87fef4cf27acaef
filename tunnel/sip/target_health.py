"""Which of several targets of a name is tried first: one that just failed comes last for a while (RFC 3263, M1)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

from tunnel.address import Address
from tunnel.sip.next_hop import Target

__all__ = ["TargetHealth"]

# Our numbers: the first failure counts this long, each further one twice as long as the one before, up to the longest.
BACK_OFF_S = 30.0
LONGEST_BACK_OFF_S = 480.0
MOST_TARGETS = 1_000


@dataclass(slots=True)
class _Failure:
    until: float
    lasts_s: float


class TargetHealth:
    """The targets of one session that failed, bounded, the one that failed longest ago forgotten first."""

    def __init__(self) -> None:
        self._failures: OrderedDict[tuple[str, Address], _Failure] = OrderedDict()

    def ordered(self, targets: Sequence[Target], now: float) -> list[Target]:
        """``targets`` in their order, those that are backed off from last, the one soonest to be forgiven first."""
        return sorted(targets, key=lambda target: self._backed_off_until(target, now))

    def failed(self, transport: str, address: Address, now: float, for_s: float = 0.0) -> None:
        """It did not answer, or said 503, with Retry-After perhaps for ``for_s``."""
        before = self._failures.pop((transport, address), None)
        lasts_s = BACK_OFF_S
        if before is not None and now >= before.until:
            lasts_s = min(before.lasts_s * 2, LONGEST_BACK_OFF_S)
        elif before is not None:
            lasts_s = before.lasts_s  # several requests found the same failure
        self._failures[transport, address] = _Failure(now + max(lasts_s, min(for_s, LONGEST_BACK_OFF_S)), lasts_s)
        if len(self._failures) > MOST_TARGETS:
            self._failures.popitem(last=False)

    def worked(self, transport: str, address: Address) -> None:
        """It answered: all is forgiven."""
        self._failures.pop((transport, address), None)

    def _backed_off_until(self, target: Target, now: float) -> float:
        failure = self._failures.get((target.transport, target.address))
        return failure.until if failure is not None and failure.until > now else 0.0
