"""RFC 3263 against a small DNS server on loopback."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import TypeAlias

import pytest
import trio
from support.dns_server import DnsServer

from tunnel.address import Address
from tunnel.sip import resolve
from tunnel.sip.resolve import ResolveFailed, Resolver
from tunnel.sip.uri import SipUri

HOSTS = [
    "sip1.example. 60 IN A 203.0.113.1",
    "sip2.example. 60 IN A 203.0.113.2",
    "sip2.example. 60 IN AAAA 2001:db8::2",
]
SRV = [
    "_sip._udp.example. 60 IN SRV 10 0 5070 sip1.example.",
    "_sip._tcp.example. 60 IN SRV 20 0 5080 sip2.example.",
    "_sip._tcp.example. 60 IN SRV 10 0 5081 sip1.example.",
    "_sips._tcp.example. 60 IN SRV 10 0 5061 sip2.example.",
]
NAPTR = [
    'example. 60 IN NAPTR 20 10 "s" "SIP+D2U" "" _sip._udp.example.',
    'example. 60 IN NAPTR 10 20 "s" "SIP+D2T" "" _sip._tcp.example.',
    'example. 60 IN NAPTR 10 10 "s" "SIPS+D2T" "" _sips._tcp.example.',
    'example. 60 IN NAPTR 5 10 "s" "SIP+D2S" "" _sip._sctp.example.',
    'example. 60 IN NAPTR 5 10 "u" "E2U+sip" "!^.*$!sip:info@example!" .',
]
UDP1 = ("udp", Address("203.0.113.1", 5070))
TCP1 = ("tcp", Address("203.0.113.1", 5081))
TCP2 = [("tcp", Address("203.0.113.2", 5080)), ("tcp", Address("2001:db8::2", 5080))]
TLS2 = [("tls", Address("203.0.113.2", 5061)), ("tls", Address("2001:db8::2", 5061))]

Found: TypeAlias = list[tuple[str, Address]]


class Asker:
    """A resolver that asks ``server`` and no hosts file but ``hosts``."""

    def __init__(self, server: DnsServer, port: int, hosts: Path) -> None:
        self.server = server
        self.hosts = hosts
        self.resolver = Resolver(["127.0.0.1"], port, hosts, below=lambda n: n - 1)

    async def __call__(self, uri: str, preference: Sequence[str] = ("udp", "tcp", "tls")) -> Found:
        targets = await self.resolver.resolve(SipUri.parse_untrusted(uri.encode()), transport_preference=preference)
        return [(target.transport, target.address) for target in targets]


World: TypeAlias = Callable[..., AbstractAsyncContextManager[Asker]]


@pytest.fixture
def world(tmp_path: Path) -> World:
    @asynccontextmanager
    async def serve(*records: str, mute: str = "") -> AsyncIterator[Asker]:
        server = DnsServer(list(records), frozenset(mute.split()))
        async with trio.open_nursery() as nursery:
            port = await nursery.start(server.run)
            yield Asker(server, port, tmp_path / "hosts")
            nursery.cancel_scope.cancel()

    return serve


@pytest.mark.parametrize(
    ("uri", "target"),
    [
        ("sip:203.0.113.9", ("udp", Address("203.0.113.9", 5060))),
        ("sips:203.0.113.9", ("tls", Address("203.0.113.9", 5061))),
        ("sip:[2001:db8::9]:5070;transport=tcp", ("tcp", Address("2001:db8::9", 5070))),
        ("sip:example;maddr=203.0.113.9", ("udp", Address("203.0.113.9", 5060))),
    ],
)
async def test_an_ip_address_asks_nobody(world: World, uri: str, target: tuple[str, Address]) -> None:
    async with world() as ask:
        assert await ask(uri) == [target]
        assert not ask.server.asked


async def test_a_port_asks_for_addresses_only(world: World) -> None:
    async with world(*HOSTS, *SRV) as ask:
        assert await ask("sip:sip2.example:5099") == [
            ("udp", Address("203.0.113.2", 5099)),
            ("udp", Address("2001:db8::2", 5099)),
        ]
        assert {kind for _, kind in ask.server.asked} == {"A", "AAAA"}


async def test_naptr_orders_the_services_it_knows(world: World) -> None:
    async with world(*HOSTS, *SRV, *NAPTR) as ask:
        assert await ask("sip:example") == [*TLS2, TCP1, *TCP2, UDP1]
        assert await ask("sip:example", ["udp", "tcp"]) == [TCP1, *TCP2, UDP1]
        assert await ask("sips:example") == TLS2


async def test_naptr_may_lead_elsewhere(world: World) -> None:
    naptr = 'example. 60 IN NAPTR 10 10 "s" "SIP+D2U" "" _sip._udp.carrier.example.'
    srv = "_sip._udp.carrier.example. 60 IN SRV 1 1 5090 sip1.example."
    async with world(*HOSTS, *SRV, naptr, srv) as ask:
        assert await ask("sip:example") == [("udp", Address("203.0.113.1", 5090))]


async def test_without_naptr_our_preference_orders_what_srv_offers(world: World) -> None:
    async with world(*HOSTS, *SRV) as ask:
        assert await ask("sip:example") == [UDP1, TCP1, *TCP2, *TLS2]
        assert await ask("sip:example", ["tcp", "udp"]) == [TCP1, *TCP2, UDP1]


async def test_a_transport_parameter_asks_for_that_service(world: World) -> None:
    async with world(*HOSTS, *SRV, *NAPTR) as ask:
        assert await ask("sip:example;transport=TCP") == [TCP1, *TCP2]
        assert ("example.", "NAPTR") not in ask.server.asked


async def test_without_services_the_name_itself_is_the_host(world: World) -> None:
    async with world(*HOSTS) as ask:
        assert await ask("sip:sip1.example") == [("udp", Address("203.0.113.1", 5060))]
        assert await ask("sip:sip1.example;transport=tls") == [("tls", Address("203.0.113.1", 5061))]
        assert await ask("sips:sip1.example") == [("tls", Address("203.0.113.1", 5061))]


async def test_a_service_that_is_declared_absent_is_not_used(world: World) -> None:
    async with world(*HOSTS, "_sip._udp.example. 60 IN SRV 0 0 0 .", SRV[2]) as ask:
        assert await ask("sip:example") == [TCP1]


async def test_the_name_that_tls_must_prove_is_that_of_the_uri(world: World) -> None:
    async with world(*HOSTS, *SRV) as ask:
        targets = await ask.resolver.resolve(SipUri.parse_untrusted(b"sips:example"))
        assert {target.server_name for target in targets} == {"example"}


async def test_the_hosts_file_comes_first(world: World) -> None:
    async with world(*HOSTS, *SRV) as ask:
        ask.hosts.write_text("10.1.0.5 example\n10.1.0.6 sip1.example\n")
        assert await ask("sip:example") == [("udp", Address("10.1.0.5", 5060))]
        assert not ask.server.asked
        ask.hosts.write_text("10.1.0.6 sip1.example # another length\n")
        assert (await ask("sip:example"))[0] == ("udp", Address("10.1.0.6", 5070))


@pytest.mark.parametrize(
    "uri", ["sip:nobody.example", "sips:example;transport=udp", "sip:example;transport=ws", "sip:a..b"]
)
async def test_what_leads_nowhere_is_said(world: World, uri: str) -> None:
    async with world(*HOSTS) as ask:
        with pytest.raises(ResolveFailed):
            await ask(uri)


async def test_answers_are_kept_for_their_time_to_live_and_no_longer(world: World) -> None:
    async with world(HOSTS[0], "brief.example. 0 IN A 203.0.113.7") as ask:
        for _ in range(3):
            await ask("sip:sip1.example:5060")
            await ask("sip:brief.example:5060")
        assert ask.server.asked["sip1.example.", "A"] == 1
        assert ask.server.asked["brief.example.", "A"] == 3


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every wait is a tenth of what it is: a try 0.2 s, services 0.3 s, all together 0.5 s."""
    for name in ("TRY_S", "SERVICES_S", "TOTAL_S"):
        monkeypatch.setattr(resolve, name, getattr(resolve, name) / 10)


@pytest.mark.usefixtures("hurried")
async def test_a_server_that_swallows_naptr_and_srv_still_leads_to_the_host(world: World) -> None:
    async with world(*HOSTS, mute="NAPTR SRV") as ask:
        began = trio.current_time()
        assert await ask("sip:sip1.example") == [("udp", Address("203.0.113.1", 5060))]
        assert trio.current_time() - began < 0.45


@pytest.mark.usefixtures("hurried")
async def test_a_silent_server_does_not_hold_up_a_call_for_ever(world: World) -> None:
    async with world(*HOSTS, mute="A AAAA NAPTR SRV") as ask:
        with trio.fail_after(2), pytest.raises(ResolveFailed):
            await ask("sip:sip1.example")
