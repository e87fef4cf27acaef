"""Requests too big for one UDP datagram, and which peers take them by TCP instead (RFC 3261 section 18.1.1, M2, T18).

The decision is made for each message and its target; nothing else about the peer changes, so its next small request goes
by UDP again.
"""

from __future__ import annotations

from collections import OrderedDict

from tunnel.address import Address

__all__ = ["MOST_UDP_BYTES", "PROBE_S", "BigRequests"]

# Number of RFC 3261 section 18.1.1: what surely fits an unknown path without being cut into fragments.
MOST_UDP_BYTES = 1_300

# Our numbers. A connection for a big request is up by then or the request goes by UDP: a lost SYN repeats after 1 s.
PROBE_S = 1.5
# How long a peer that took one by TCP is held to do so, and one that did not is not asked again.
WORKS_S = 3_600.0
FAILS_S = 600.0
MOST_PEERS = 1_000


class BigRequests:
    """What is known of the peers of one session; bounded, the peer heard of longest ago is forgotten first."""

    def __init__(self) -> None:
        self._works: OrderedDict[Address, tuple[bool, float]] = OrderedDict()  # whether by TCP, and until when

    def by_tcp(self, to: Address, now: float, *, surely: bool) -> bool:
        """Whether a big request goes to ``to`` by TCP. ``surely``: only if that is known to work, as for an ACK, of which
        nobody says that it was lost; all others may be sent to find out."""
        works, until = self._works.get(to, (not surely, now))
        return works if until > now else not surely

    def worked(self, to: Address, now: float) -> None:
        """``to`` answered by TCP."""
        self._note(to, True, now + WORKS_S)

    def failed(self, to: Address, now: float) -> bool:
        """Big requests to ``to`` have to go by UDP, in fragments; whether that is news."""
        works, until = self._works.get(to, (True, now))
        self._note(to, False, now + FAILS_S)
        return works or until <= now

    def _note(self, to: Address, works: bool, until: float) -> None:
        self._works[to] = works, until
        self._works.move_to_end(to)
        if len(self._works) > MOST_PEERS:
            self._works.popitem(last=False)
