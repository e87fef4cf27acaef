"""Agents behind NATs: many behind one address, an address that changes, routers that meddle, a server that is new."""

from __future__ import annotations

import socket
from contextlib import AsyncExitStack
from pathlib import Path

import trio
from support.alg import MeddlingRouter
from support.both_ends import BothEnds, connect, inside_phone, open_ends, outside_phone, sip_addresses, until
from support.cutter import Cutter
from support.sip_peer import SipPeer

import inside_agent
from tunnel.address import Address
from tunnel.sip.contacts import MASK_PARAM
from tunnel.sip.message import Message, parse_untrusted
from tunnel.sip.response import build_response
from tunnel.sip.sender import contact_uri
from tunnel.softphone import Passage, compare

INSIDE, OUTSIDE = "127.0.0.1", "127.0.0.2"


async def ten_agents(ends: BothEnds) -> tuple[Cutter, list[inside_agent.Agent]]:
    """Five of acme, five of globex, all behind one router."""
    router = Cutter(ends.tunnel)
    await ends.nursery.start(router.run)
    for tenant in ("acme", "globex"):
        ends.add_tenant(tenant)
    names = [(tenant, f"{tenant}-{n}") for tenant in ("acme", "globex") for n in range(5)]
    configs = [await ends.join(tenant, name, via=router.address) for tenant, name in names]
    return router, [await ends.start_agent(config) for config in configs]


async def test_ten_agents_of_two_tenants_behind_one_address(tmp_path: Path) -> None:
    """S1-2: told apart by their keys; each one's calls are its own; noise from that address locks none of them out."""
    async with open_ends(tmp_path) as ends:
        server = await ends.start_server()
        router, agents = await ten_agents(ends)
        assert {source.host for source in router.sources} == {"127.0.0.1"}
        assert len({source.port for source in router.sources}) == 10
        known = {(figures.tenant, figures.agent) for figures in server.figures().agents if figures.connected}
        assert known == {(tenant, f"{tenant}-{n}") for tenant in ("acme", "globex") for n in range(5)}
        async with outside_phone() as bob:
            for agent in agents:
                async with inside_phone(agent) as alice:
                    placed, taken = await connect(alice, bob)
                    await placed.hang_up()
                    await taken.ended()
        assert {figures.tenant: figures.total["outbound"] for figures in server.figures().calls} == {
            "acme": 5,
            "globex": 5,
        }
        for _ in range(100):  # a scanner in the same building
            with socket.create_connection(router.address) as stranger:
                stranger.sendall(b"\x16\x03\x01\x00\x05hello")
        begun_at = trio.current_time()
        await ends.stop(agents[9])
        again = await ends.start_agent(tmp_path / "globex-4" / "agent.toml")
        assert again.is_healthy
        print(f"an agent was in again {trio.current_time() - begun_at:.2f} s after 100 strangers from its address")
        assert trio.current_time() - begun_at < 3.0


async def test_one_of_ten_is_revoked(tmp_path: Path) -> None:
    """S2-2: that one is cut within 2 s; its neighbours behind the same address never notice, nor do their calls."""
    heard: list[Passage] = []
    async with open_ends(tmp_path) as ends:
        await ends.start_server()
        router, agents = await ten_agents(ends)
        async with inside_phone(agents[1], watch=heard.append) as alice, outside_phone(watch=heard.append) as bob:
            placed, taken = await connect(alice, bob)
            heard.clear()
            with ends.store() as store:
                store.revoke("acme", "acme-0")
            cut_s = await until(lambda: not agents[0].is_healthy)
            connections = router.accepted
            await placed.talk(0.5)
            assert cut_s < 2.0
            assert all(agent.is_healthy for agent in agents[1:])
            assert heard == []
            assert router.accepted - connections <= 2, "only the revoked one dials again"
            await taken.hang_up()
            await placed.ended()
        print(f"one of ten was cut after {cut_s:.2f} s")


async def test_an_agent_whose_address_changes_in_a_call(tmp_path: Path) -> None:
    """S1-3, S1-4, S3-13: every connection comes from a port of the router's choice, then from another address; the key is
    proved again, the session resumed, and the call goes on."""
    said: list[Passage] = []
    async with open_ends(tmp_path) as ends:
        server = await ends.start_server()
        ends.add_tenant("acme")
        router = Cutter(ends.tunnel)
        await ends.nursery.start(router.run)
        agent = await ends.start_agent(await ends.join("acme", "one", via=router.address))
        async with inside_phone(agent, watch=said.append) as alice, outside_phone(watch=said.append) as bob:
            placed, taken = await connect(alice, bob)
            await placed.talk(0.3)
            said.clear()
            for host in ("127.0.0.3", "127.0.0.4"):
                router.leaves_from = host
                router.reset()
                back_s = await until(lambda host=host: router.sources[-1].host == host and agent.is_healthy)  # type: ignore[misc]
                print(f"from {host} the agent was back after {back_s:.2f} s")
                assert back_s < 2.0
                await placed.talk(0.3)
            assert said == []
            await taken.hang_up()
            await placed.ended()
            assert compare(placed.mouth, taken.ear).heard.tune == placed.mouth.tune.number
            assert compare(taken.mouth, placed.ear).heard.tune == taken.mouth.tune.number
        assert [source.host for source in router.sources] == ["127.0.0.1", "127.0.0.3", "127.0.0.4"]
        assert server.figures().calls[0].total["outbound"] == 1


async def test_a_router_that_helps_with_sip_finds_nothing_to_help_with(tmp_path: Path) -> None:
    """S4-7, S4-12, S3-9, S3-11: it sees 0 bytes of SIP or SDP in the tunnel, so it can break nothing; calls both ways."""
    async with open_ends(tmp_path) as ends:
        await ends.start_server()
        ends.add_tenant("acme")
        router = MeddlingRouter(ends.tunnel, marker=bytes(range(0x40, 0x60)))
        await ends.nursery.start(router.run)
        agent = await ends.start_agent(await ends.join("acme", "one", via=router.address))
        async with inside_phone(agent) as alice, outside_phone() as bob:
            placed, taken = await connect(alice, bob)
            await placed.talk(0.5)
            await taken.hang_up()
            await placed.ended()
            assert compare(placed.mouth, taken.ear).heard.tune == placed.mouth.tune.number
            assert compare(taken.mouth, placed.ear).heard.tune == taken.mouth.tune.number
        assert router.carried > 10_000
        assert router.found == 0
    assert MeddlingRouter(Address("127.0.0.1", 1)).meddle(b"Content-Length: 5\r\n") == b"Content-Length: 95\r\n"


async def test_calls_for_an_agent_that_has_not_come_back_to_a_new_server(tmp_path: Path) -> None:
    """S2-1: the server restarts while the agent is away: who dials a phone of its gets 480 and Retry-After, no silence.
    The agent is back as soon as it is started."""
    async with open_ends(tmp_path) as ends, SipPeer.open(OUTSIDE) as peer:
        server = await ends.start_server()
        ends.add_tenant("acme")
        agent = await ends.start_agent(await ends.join("acme", "one"))
        shown = await contact_shown_outside(agent)
        assert MASK_PARAM.encode() + b"=" in shown
        await ends.stop(agent)
        await ends.stop(server)
        server = await ends.start_server()
        answer = await peer.call(shown.decode(), sip_addresses(server)["udp"], until_status=200)
        assert (answer.status, answer.header("retry-after") is not None) == (480, True)
        begun_at = trio.current_time()
        agent = await ends.start_agent(tmp_path / "one" / "agent.toml")
        print(f"the agent was back {trio.current_time() - begun_at:.2f} s after its start")
        assert trio.current_time() - begun_at < 3.0


async def test_two_hundred_phones_need_one_connection(tmp_path: Path) -> None:
    """S1-7: one connection for a site, not for a phone."""
    async with open_ends(tmp_path, limit_s=40.0) as ends, AsyncExitStack() as opened:
        await ends.start_server()
        ends.add_tenant("acme")
        router = Cutter(ends.tunnel)
        await ends.nursery.start(router.run)
        agent = await ends.start_agent(await ends.join("acme", "one", via=router.address))
        registrar = await opened.enter_async_context(open_registrar())
        inside = sip_addresses(agent)["udp"]
        for n in range(200):
            phone = await opened.enter_async_context(SipPeer.open(INSIDE))
            await phone.ask("REGISTER", f"sip:u{n}@{OUTSIDE}:{registrar}", inside)
            assert (await phone.response()).status == 200
        assert agent.figures().agents[0].registrations == 200
        assert router.accepted == 1


class open_registrar(AsyncExitStack):
    """Says yes to every REGISTER; entered, it is the number of its port."""

    async def __aenter__(self) -> int:  # type: ignore[override]
        await super().__aenter__()
        nursery = await self.enter_async_context(trio.open_nursery())
        self.callback(nursery.cancel_scope.cancel)
        sock = self.enter_context(trio.socket.socket(type=trio.socket.SOCK_DGRAM))
        await sock.bind((OUTSIDE, 0))
        nursery.start_soon(self._answer, sock)
        return int(sock.getsockname()[1])

    async def _answer(self, sock: trio.socket.SocketType) -> None:
        while True:
            data, source = await sock.recvfrom(65535)
            request = parse_untrusted(data)
            contacts = [b"Contact: " + value.text + b";expires=600" for value in request.values("contact")]
            await sock.sendto(build_response(request, 200, "OK", b"r", contacts), source)


async def contact_shown_outside(agent: inside_agent.Agent) -> bytes:
    """The Contact of an inside phone as a peer outside sees it."""
    with trio.socket.socket(type=trio.socket.SOCK_DGRAM) as sock:
        await sock.bind((OUTSIDE, 0))
        async with SipPeer.open(INSIDE) as phone:
            port = sock.getsockname()[1]
            await phone.ask("SUBSCRIBE", f"sip:x@{OUTSIDE}:{port}", sip_addresses(agent)["udp"])
            request: Message = parse_untrusted((await sock.recvfrom(65535))[0])
    uri = contact_uri(request)
    assert uri is not None
    return uri.text
