"""A media plane of paper: port pairs by counting, ties and aims in dictionaries, and a way to ask where a packet goes.

It holds its caller to the contract of ``MediaPlane``: what is tied must be held, what is aimed must be tied, nothing is
released twice, and no aim is repeated.
"""

from __future__ import annotations

from tunnel.address import Address
from tunnel.media.plane import Aim, Lease, LedgerFull

__all__ = ["FakePlane"]


class FakePlane:
    """The ports of one face, from ``first_port`` up; ``capacity`` pairs can be held at a time."""

    def __init__(
        self, ipv4: str | None, ipv6: str | None = None, first_port: int = 20000, capacity: int = 10_000
    ) -> None:
        self._ipv4, self._ipv6 = ipv4, ipv6
        self._next_port = first_port
        self.capacity = capacity
        self.calls: list[tuple[object, ...]] = []
        self.held: dict[int, Lease] = {}
        self.ties: dict[tuple[int, int], Aim | None] = {}
        self.released: dict[int, float] = {}
        self.active: dict[int, float] = {}  # set by a test: when a packet of the lease last came or left

    def take(self, call: int, now: float, ipv6: bool = False) -> Lease:
        if len(self.held) >= self.capacity:
            raise LedgerFull("no media port is free")
        host = (self._ipv6 or self._ipv4) if ipv6 else (self._ipv4 or self._ipv6)
        assert host is not None
        lease = Lease(self._next_port, Address(host, self._next_port), Address(host, self._next_port + 1))
        self._next_port += 2
        self.held[lease.id] = lease
        self.calls.append(("take", lease.id))
        return lease

    def tie(self, lease: int, channel: int, now: float) -> None:
        assert lease in self.held
        assert channel > 0
        assert channel % 2 == 0
        assert channel not in [each for _, each in self.ties], "a channel is tied to one lease"
        self.ties[lease, channel] = None
        self.calls.append(("tie", lease, channel))

    def aim(self, lease: int, channel: int, target: Aim, now: float) -> None:
        assert self.ties[lease, channel] != target, "called only when something changed"
        del self.ties[lease, channel]
        self.ties[lease, channel] = target
        self.calls.append(("aim", lease, channel, target))

    def untie(self, lease: int, channel: int, now: float) -> None:
        del self.ties[lease, channel]
        self.calls.append(("untie", lease, channel))

    def active_at(self, lease: int) -> float | None:
        assert lease in self.held
        return self.active.get(lease)

    def release(self, lease: int, linger_s: float, now: float) -> None:
        del self.held[lease]
        assert all(tied != lease for tied, _ in self.ties)
        self.released[lease] = linger_s
        self.calls.append(("release", lease, linger_s))

    def aim_of(self, channel: int) -> Aim | None:
        """Where the channel is aimed; None when it is not tied or not aimed."""
        return next((aim for (_, each), aim in self.ties.items() if each == channel), None)

    def from_network(self, source: Address, destination: Address) -> int | None:
        """The channel that takes an RTP packet which came to ``destination``; None when it is dropped."""
        for (lease, channel), aim in reversed(self.ties.items()):
            if self.held[lease].rtp == destination and aim is not None:
                known = aim.rtp == source if aim.rtp is not None else aim.sip_source == source.host
                if known:
                    return channel
        return None

    def to_network(self, channel: int) -> tuple[Address, Address] | None:
        """Where an RTP packet of the channel leaves from and goes to; None when it is dropped or kept back."""
        for (lease, each), aim in self.ties.items():
            if each == channel and aim is not None and aim.rtp is not None:
                return self.held[lease].rtp, aim.rtp
        return None
