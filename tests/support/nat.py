"""A NAT as RFC 4787 describes them: how it maps, what it filters, when it forgets. Pure; time is what it is told.

home = Nat("198.51.100.7", **SYMMETRIC, timeout_s=30)
seen = home.outwards(phone, server, now)       # the source that the server sees
home.inwards(server, seen, now)                # the phone, or None: dropped

cgn = Chain(home, Nat("203.0.113.200", **PORT_RESTRICTED, timeout_s=60))     # from the phone outwards
"""

from __future__ import annotations

import itertools
import random
from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol, TypedDict

from tunnel.address import Address

__all__ = [
    "FULL_CONE",
    "KINDS",
    "PORT_RESTRICTED",
    "RESTRICTED",
    "SYMMETRIC",
    "Chain",
    "Kind",
    "Nat",
    "Router",
    "Sees",
]

FIRST_PORT = 40_000


class Sees(IntEnum):
    """What of the far end decides: nothing, its IP address, or address and port (RFC 4787 sections 4.1 and 5)."""

    NOTHING = 0
    ADDRESS = 1
    ADDRESS_AND_PORT = 2

    def of(self, remote: Address) -> tuple[object, ...]:
        return tuple(remote)[:self]


class Kind(TypedDict):
    """``mapping``: for which remotes a source gets the same port; ``filtering``: from which ones something comes back."""

    mapping: Sees
    filtering: Sees


FULL_CONE = Kind(mapping=Sees.NOTHING, filtering=Sees.NOTHING)
RESTRICTED = Kind(mapping=Sees.NOTHING, filtering=Sees.ADDRESS)
PORT_RESTRICTED = Kind(mapping=Sees.NOTHING, filtering=Sees.ADDRESS_AND_PORT)
SYMMETRIC = Kind(mapping=Sees.ADDRESS_AND_PORT, filtering=Sees.ADDRESS_AND_PORT)
KINDS = {
    "full cone": FULL_CONE,
    "restricted": RESTRICTED,
    "port-restricted": PORT_RESTRICTED,
    "symmetric": SYMMETRIC,
}


class Router(Protocol):
    """What stands between a phone and everybody else."""

    @property
    def public(self) -> str:
        """The IP address that everybody else sees."""

    def outwards(self, source: Address, to: Address, now: float) -> Address:
        """A packet leaves: its source as ``to`` sees it."""

    def inwards(self, source: Address, at: Address, now: float) -> Address | None:
        """A packet from ``source`` comes to ``at`` on the outside: whom it is for, None where it is dropped."""


@dataclass(slots=True)
class _Mapping:
    inside: Address
    key: tuple[object, ...]
    fresh_at: float
    heard: set[Address]


class Nat:
    """One router with the outside address ``public``.

    ``timeout_s``: a mapping that no packet left by for so long is gone. What comes in keeps it alive only with
    ``inbound_refreshes`` (RFC 4787 REQ-6 leaves that open). ``keeps_ports``: the inside port is used outside as well
    while it is free, else ports are drawn at random.
    """

    def __init__(
        self,
        public: str,
        *,
        mapping: Sees,
        filtering: Sees,
        timeout_s: float = 30.0,
        keeps_ports: bool = False,
        inbound_refreshes: bool = False,
        seed: int = 1,
    ) -> None:
        self.public = public
        self.dropped = 0
        self._by = mapping
        self._filtering = filtering
        self._timeout_s = timeout_s
        self._keeps_ports = keeps_ports
        self._inbound_refreshes = inbound_refreshes
        self._ports = random.Random(seed).sample(range(FIRST_PORT, 60_000), 5_000)
        self._next = itertools.count()
        self._mappings: dict[int, _Mapping] = {}

    def outwards(self, source: Address, to: Address, now: float) -> Address:
        self._forget(now)
        key = source, self._by.of(to)
        port = next((port for port, each in self._mappings.items() if (each.inside, each.key) == key), None)
        if port is None:
            port = self._free_port(source)
            self._mappings[port] = _Mapping(*key, now, set())
        mapping = self._mappings[port]
        mapping.fresh_at = now
        mapping.heard.add(to)
        return Address(self.public, port)

    def inwards(self, source: Address, at: Address, now: float) -> Address | None:
        self._forget(now)
        mapping = self._mappings.get(at.port)
        if mapping is None or not any(self._filtering.of(to) == self._filtering.of(source) for to in mapping.heard):
            self.dropped += 1
            return None
        if self._inbound_refreshes:
            mapping.fresh_at = now
        return mapping.inside

    def reboot(self, public: str = "") -> None:
        """Forget everything; perhaps the provider gives another address."""
        self._mappings.clear()
        self.public = public or self.public

    def _forget(self, now: float) -> None:
        for port in [port for port, each in self._mappings.items() if now - each.fresh_at >= self._timeout_s]:
            del self._mappings[port]

    def _free_port(self, source: Address) -> int:
        if self._keeps_ports and source.port not in self._mappings:
            return source.port
        return next(port for index in self._next if (port := self._ports[index % 5_000]) not in self._mappings)


class Chain:
    """Routers in series, the phone's own first: carrier-grade NAT."""

    def __init__(self, *routers: Nat) -> None:
        self.routers = routers

    @property
    def public(self) -> str:
        return self.routers[-1].public

    @property
    def dropped(self) -> int:
        return sum(router.dropped for router in self.routers)

    def outwards(self, source: Address, to: Address, now: float) -> Address:
        for router in self.routers:
            source = router.outwards(source, to, now)
        return source

    def inwards(self, source: Address, at: Address, now: float) -> Address | None:
        found: Address | None = at
        for router in reversed(self.routers):
            if found is None:
                return None
            found = router.inwards(source, found, now)
        return found
