"""[io] Keeps the NAT of a silent party open (SIP-RULES L8, RFC 6263): only where there is one, only while nothing is sent.

A party is behind a NAT when it was heard from elsewhere than its SDP said.
"""

from __future__ import annotations

from collections.abc import Iterable

from tunnel.media.leg import Leg
from tunnel.media.tie import Tie

__all__ = ["KEEPALIVE_S", "NatKeeper"]

# --- numbers of the rules (L8) -------------------------------------------------------------------------------------
KEEPALIVE_S = 20.0


class NatKeeper:
    """``look`` is called twice a second with all ties there are."""

    def __init__(self) -> None:
        self._quiet: dict[Tie, tuple[int, float]] = {}  # packets sent so far, and when that was first noticed

    def look(self, ties: Iterable[tuple[Leg, Tie]], now: float) -> None:
        """Send an empty datagram to whoever was sent nothing for KEEPALIVE_S."""
        before, self._quiet = self._quiet, {}
        for leg, tie in ties:
            if not tie.is_natted:
                continue
            packets, since = before.get(tie, (tie.sent.packets, now))
            if packets != tie.sent.packets:
                since = now
            elif now - since >= KEEPALIVE_S:
                leg.keep_open(tie)
                since = now
            self._quiet[tie] = tie.sent.packets, since
