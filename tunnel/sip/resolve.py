"""Where a SIP URI leads: transport, addresses and ports by RFC 3263, asked of hosts(5) and the DNS. [io]

A URI takes this way, each step only where the one before left something open::

    IP address -> hosts file or port given -> NAPTR -> SRV -> A and AAAA
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TypeAlias, TypeVar

import dns.asyncresolver
import dns.exception
import dns.resolver
import trio
from dns.rdata import Rdata
from dns.rdtypes.IN.A import A
from dns.rdtypes.IN.AAAA import AAAA
from dns.rdtypes.IN.NAPTR import NAPTR
from dns.rdtypes.IN.SRV import SRV

from tunnel.address import Address
from tunnel.errors import WallpassError
from tunnel.sip.hosts_file import HostsFile
from tunnel.sip.next_hop import Target, literal_target
from tunnel.sip.srv_order import SrvRecord, srv_order
from tunnel.sip.uri import SipUri
from tunnel.sip.via import default_port

__all__ = ["ResolveFailed", "Resolver", "Target"]

# RFC 3263 section 4.1.
SRV_PREFIXES = {"udp": "_sip._udp", "tcp": "_sip._tcp", "tls": "_sips._tcp"}
NAPTR_SERVICES = {"SIP+D2U": "udp", "SIP+D2T": "tcp", "SIPS+D2T": "tls"}

# Numbers of ours.
TRY_S = 2.0  # one question to one name server
SERVICES_S = 3.0  # NAPTR and SRV: a lost question is asked again; a server that ignores these leaves time for the rest
TOTAL_S = 5.0  # a caller waits for it
CACHED_ANSWERS = 1_024
MOST_TARGETS = 16  # more would be tried when the caller has long hung up

_T = TypeVar("_T")
_Service: TypeAlias = tuple[str, str]  # transport and SRV name


class ResolveFailed(WallpassError):
    """The name of a next hop leads to no address that can be used."""

    def __init__(self, host: str, reason: str) -> None:
        super().__init__(f"{host}: {reason}")
        self.host = host
        self.reason = reason


class Resolver:
    """Asks ``nameservers`` (IP addresses; by default those of resolv.conf), keeping answers as long as their TTL says.

    ``below(n)`` draws a number from 0 to n - 1 for the weights of SRV records.
    """

    def __init__(
        self,
        nameservers: Sequence[str] | None = None,
        port: int = 53,
        hosts_file: Path = Path("/etc/hosts"),
        below: Callable[[int], int] = random.randrange,
    ) -> None:
        self._dns = _resolver(nameservers, port)
        self._hosts = HostsFile(hosts_file)
        self._below = below

    async def resolve(
        self, uri: SipUri, *, transport_preference: Sequence[str] = ("udp", "tcp", "tls")
    ) -> list[Target]:
        """The targets of ``uri``, best first, at least one. Raises ResolveFailed, after 5 s at the latest.

        ``transport_preference``: the transports we can send by; their order counts where the DNS does not say.
        """
        literal = literal_target(uri)
        if literal is not None:
            return [literal]
        wanted = _wanted_transports(uri, transport_preference)
        if not wanted:
            raise ResolveFailed(uri.host, f"transport {uri.transport!r} cannot be used for {uri.scheme}")
        targets: list[Target] = []
        with trio.move_on_after(TOTAL_S):
            targets = await self._targets(uri, wanted)
        if not targets:
            raise ResolveFailed(uri.host, "the name leads to no address")
        return targets[:MOST_TARGETS]

    async def _targets(self, uri: SipUri, wanted: tuple[str, ...]) -> list[Target]:
        maddr = uri.param("maddr")
        host = maddr.decode("latin-1") if maddr else uri.host
        if uri.port is None and not self._hosts.addresses(host):
            targets = await self._service_targets(host, uri.host, wanted)
            if targets:
                return targets
        transport = wanted[0] if len(wanted) == 1 or "udp" not in wanted else "udp"
        port = default_port(transport) if uri.port is None else uri.port
        return [Target(transport, Address(ip, port), uri.host) for ip in await self._addresses(host)]

    async def _service_targets(self, host: str, server_name: str, wanted: tuple[str, ...]) -> list[Target]:
        """By NAPTR, else by the SRV records of every transport; both are asked for at once to save a round trip."""
        guessed = [(transport, f"{SRV_PREFIXES[transport]}.{host}") for transport in wanted]
        if len(wanted) == 1:
            return await self._srv_targets(guessed, server_name)
        named: list[_Service] = []

        async def ask_naptr() -> None:
            named.extend(await self._naptr(host, wanted))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask_naptr)
            found = await self._srv_targets(guessed, server_name)
        return await self._srv_targets(named, server_name) or found

    async def _naptr(self, host: str, wanted: tuple[str, ...]) -> list[_Service]:
        records = [record for record in await self._ask(host, "NAPTR", SERVICES_S) if isinstance(record, NAPTR)]
        services = []
        for record in sorted(records, key=lambda record: (record.order, record.preference)):
            transport = NAPTR_SERVICES.get(record.service.decode("latin-1").upper())
            if transport in wanted and record.flags.lower() == b"s":
                services.append((transport, record.replacement.to_text(omit_final_dot=True)))
        return services

    async def _srv_targets(self, services: Sequence[_Service], server_name: str) -> list[Target]:
        per_service = await _all([partial(self._srv, service, server_name) for service in services])
        return [target for targets in per_service for target in targets]

    async def _srv(self, service: _Service, server_name: str) -> list[Target]:
        transport, name = service
        records = [
            SrvRecord(record.priority, record.weight, record.port, record.target.to_text(omit_final_dot=True))
            for record in await self._ask(name, "SRV", SERVICES_S)
            if isinstance(record, SRV) and len(record.target) > 1  # a lone "." says: not offered
        ]
        ordered = srv_order(records, self._below)[:MOST_TARGETS]
        addresses = await _all([partial(self._addresses, record.target) for record in ordered])
        return [
            Target(transport, Address(ip, record.port), server_name)
            for record, ips in zip(ordered, addresses, strict=True)
            for ip in ips
        ]

    async def _addresses(self, host: str) -> list[str]:
        known = self._hosts.addresses(host)
        if known:
            return known
        v4, v6 = await _all([partial(self._ask, host, kind, TOTAL_S) for kind in ("A", "AAAA")])
        return [record.address for record in (*v4, *v6) if isinstance(record, A | AAAA)]

    async def _ask(self, name: str, kind: str, within_s: float) -> list[Rdata]:
        """The records of one kind; none when the DNS has none, is silent or answers nonsense."""
        try:
            answer = await self._dns.resolve(name, kind, lifetime=within_s, search="." not in name)
        except dns.exception.DNSException:
            return []
        return list(answer)


def _wanted_transports(uri: SipUri, preference: Sequence[str]) -> tuple[str, ...]:
    """What the URI leaves open of what we can do; ``sips`` is TLS and nothing less (RFC 3261 section 26.2.2)."""
    if uri.scheme == "sips":
        return ("tls",) if uri.transport in ("", "tcp", "tls") and "tls" in preference else ()
    if uri.transport:
        return (uri.transport,) if uri.transport in preference and uri.transport in SRV_PREFIXES else ()
    return tuple(transport for transport in preference if transport in SRV_PREFIXES)


def _resolver(nameservers: Sequence[str] | None, port: int) -> dns.asyncresolver.Resolver:
    if nameservers is None:
        try:
            resolver = dns.asyncresolver.Resolver()
        except dns.resolver.NoResolverConfiguration:
            resolver = dns.asyncresolver.Resolver(configure=False)
    else:
        resolver = dns.asyncresolver.Resolver(configure=False)
        resolver.nameservers = list(nameservers)
        resolver.port = port
    resolver.timeout = TRY_S
    resolver.lifetime = TOTAL_S
    resolver.cache = dns.resolver.LRUCache(CACHED_ANSWERS)
    return resolver


async def _all(jobs: Sequence[Callable[[], Awaitable[_T]]]) -> list[_T]:
    """The results of all jobs, run at once, in their order."""
    results: dict[int, _T] = {}

    async def do(index: int, job: Callable[[], Awaitable[_T]]) -> None:
        results[index] = await job()

    async with trio.open_nursery() as nursery:
        for index, job in enumerate(jobs):
            nursery.start_soon(do, index, job)
    return [results[index] for index in range(len(jobs))]
