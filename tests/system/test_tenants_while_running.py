"""``wallpass tenant`` commands take effect on the running server (contract: without a restart)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from support.both_ends import BothEnds, connect, inside_phone, open_ends, outside_phone, sip_addresses, until, uri_of
from support.sip_peer import SipPeer

import inside_agent
import outside_server
from tunnel.softphone import Account, CallFailed, Phone, Tune, open_phone

TRUNK = "127.0.0.2"


@asynccontextmanager
async def pbx_inside(
    directory: Path, **tenant: object
) -> AsyncIterator[tuple[BothEnds, outside_server.Server, inside_agent.Agent, Phone]]:
    """A tenant ``acme`` whose PBX is a phone inside."""
    async with open_ends(directory) as ends, open_phone(Account("100", "acme.example")) as pbx:
        server = await ends.start_server()
        ends.add_tenant("acme", **tenant)
        agent = await ends.start_agent(await ends.join("acme", "one", lan=f'pbx = "sip:{pbx.address}"'))
        yield ends, server, agent, pbx


async def test_a_domain_opens_and_closes_the_gate(tmp_path: Path) -> None:
    async with open_ends(tmp_path) as ends:
        server = await ends.start_server()
        public = sip_addresses(server)["udp"]
        async with SipPeer.open(TRUNK) as peer:
            await peer.ask("OPTIONS", "sip:100@acme.example", public)
            assert await peer.silence(0.2), "default deny"
            ends.add_tenant("acme", domains=["acme.example"])
            begun_at = trio.current_time()
            while not await peer.status_of("OPTIONS", "sip:100@acme.example", public, 0.1):
                pass
            print(f"a new domain opened the gate after {trio.current_time() - begun_at:.2f} s")
            assert trio.current_time() - begun_at < 1.0
            with ends.store() as store:
                store.remove("acme")
            begun_at = trio.current_time()
            while await peer.status_of("OPTIONS", "sip:100@acme.example", public, 0.2):
                pass
            assert trio.current_time() - begun_at < 1.2


async def test_a_trunk_that_is_added_may_call(tmp_path: Path) -> None:
    async with pbx_inside(tmp_path) as (ends, server, _, pbx), outside_phone() as trunk:
        ends.add_tenant("globex", trunks=[f"sip:{TRUNK}"])
        config = await ends.join("globex", "two", lan=f'pbx = "sip:{pbx.address}"')
        await ends.start_agent(config)
        public = sip_addresses(server)["udp"]
        placed, taken = await connect(trunk, pbx, f"sip:100@{public}".encode())
        await placed.talk(0.2)
        assert len(taken.ear.arrivals) > 5
        await taken.hang_up()
        await placed.ended()


async def test_a_tenant_has_no_more_calls_than_it_may(tmp_path: Path) -> None:
    async with pbx_inside(tmp_path, max_calls=1, trunks=[f"sip:{TRUNK}"]) as (_, server, agent, pbx):
        public = sip_addresses(server)["udp"]
        async with outside_phone() as bob, inside_phone(agent) as alice, SipPeer.open(TRUNK) as peer:
            placed, taken = await connect(bob, pbx, f"sip:100@{public}".encode())
            response = await peer.call(f"sip:100@{public}", public)
            assert (response.status, response.header("retry-after") is not None) == (503, True)
            with pytest.raises(CallFailed, match="503"):
                await alice.call(uri_of(bob), Tune(1))
            await placed.hang_up()
            await taken.ended()
            outward, _ = await connect(alice, bob)
            await outward.hang_up()
            acme = server.figures().calls[0]
            assert (acme.total["inbound"], acme.total["outbound"]) == (1, 1)
        await until(lambda: server.figures().calls[0].active.get("outbound", 0) == 0)


async def test_a_tenant_has_no_more_calls_a_second_than_it_may(tmp_path: Path) -> None:
    async with pbx_inside(tmp_path, calls_per_second=2, trunks=[f"sip:{TRUNK}"]) as (_, server, _, _):
        public = sip_addresses(server)["udp"]
        async with SipPeer.open(TRUNK) as peer:
            statuses = []
            for _ in range(5):
                response = await peer.call(f"sip:100@{public}", public, until_status=100)
                statuses.append(response.status)
                assert response.status == 100 or response.header("retry-after") is not None
        assert statuses == [100, 100, 503, 503, 503]
