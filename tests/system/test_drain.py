"""An end that is told to stop lets live calls finish and takes no new ones, from either side (contract, T21)."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
from support.both_ends import connect, inside_phone, open_ends, outside_phone, sip_addresses, until, uri_of
from support.joined_site import site
from support.sip_peer import SipPeer

from tunnel.softphone import Account, CallFailed, Tune, open_phone


@pytest.mark.parametrize("which", ["server", "agent"])
async def test_draining(tmp_path: Path, which: str) -> None:
    """T21: a live call goes on to its own end, new ones from either side are told to go elsewhere, and then it is over."""
    async with open_ends(tmp_path) as ends, open_phone(Account("100", "acme.example")) as pbx:
        server = await ends.start_server()
        ends.add_tenant("acme", trunks=["sip:127.0.0.2"])
        agent = await ends.start_agent(await ends.join("acme", "one", lan=f'pbx = "sip:{pbx.address}"'))
        public = sip_addresses(server)["udp"]
        draining = server if which == "server" else agent
        async with inside_phone(agent) as alice, outside_phone() as bob, SipPeer.open("127.0.0.2") as peer:
            placed, taken = await connect(alice, bob)
            finished: list[float] = []

            async def drain() -> None:
                await draining.drain(10)
                finished.append(trio.current_time())

            ends.nursery.start_soon(drain)
            await until(lambda: not draining.is_healthy)
            await trio.sleep(0.05)  # the other end has been told
            response = await peer.call(f"sip:100@{public}", public)
            assert (response.status, response.header("retry-after") is not None) == (503, True)
            with pytest.raises(CallFailed, match="503"):
                await alice.call(uri_of(bob), Tune(1))
            await placed.hold()
            await placed.resume()
            assert not finished
            heard = len(taken.ear.arrivals)
            await placed.talk(0.2)
            assert len(taken.ear.arrivals) > heard
            await taken.hang_up()
            await placed.ended()
            await until(lambda: bool(finished))
            if which == "agent":
                await until(lambda: server.figures().agents == ())  # it said goodbye: nobody waits for it


async def test_the_next_server_takes_calls_again(tmp_path: Path) -> None:
    """T21: after the restart callers need do nothing."""
    async with open_ends(tmp_path) as ends:
        server = await ends.start_server()
        ends.add_tenant("acme")
        agent = await ends.start_agent(await ends.join("acme", "one"))
        async with inside_phone(agent) as alice, outside_phone() as bob:
            await server.drain(1)
            await ends.stop(server)
            await ends.start_server()
            await until(lambda: agent.is_healthy)
            placed, taken = await connect(alice, bob)
            await placed.hang_up()
            await taken.ended()


async def test_draining_ends_at_its_time_with_calls_left(tmp_path: Path) -> None:
    """T21: nobody can hold up the end for ever."""
    async with open_ends(tmp_path) as ends:
        server = await ends.start_server()
        ends.add_tenant("acme")
        agent = await ends.start_agent(await ends.join("acme", "one"))
        async with inside_phone(agent) as alice, outside_phone() as bob:
            await connect(alice, bob)
            begun_at = trio.current_time()
            await server.drain(0.3)
            assert 0.25 < trio.current_time() - begun_at < 1.0


async def test_an_agent_that_comes_back_to_a_draining_server_is_told_again(tmp_path: Path) -> None:
    """T21: a cut in the middle of it changes nothing."""
    async with open_ends(tmp_path) as ends:
        server = await ends.start_server()
        ends.add_tenant("acme")
        agent = await ends.start_agent(await ends.join("acme", "one"))
        await server.drain(0.1)  # it says goodbye, and the agent dials again
        await until(lambda: bool(server.figures().agents) and server.figures().agents[0].connected)
        await until(lambda: agent.is_healthy)
        async with inside_phone(agent) as alice, outside_phone() as bob:
            with pytest.raises(CallFailed, match="503"):
                await alice.call(uri_of(bob), Tune(1))


@pytest.mark.parametrize("which", ["server", "agent"])
async def test_an_end_that_shuts_down_says_so_to_who_asks(tmp_path: Path, which: str) -> None:
    """F3: OPTIONS to a draining end gets 503 that says why, so that a PBX or a trunk takes its calls elsewhere."""
    async with site(tmp_path, "udp", "udp") as at:
        asking, end_at = (at.peer, at.server_at) if which == "server" else (at.phone, at.agent_at)
        uri = f"sip:{end_at}"
        await asking.ask("OPTIONS", uri, end_at)
        await asking.hears(200)
        await at.phone.ask("INVITE", at.peer.uri, at.agent_at, body=at.phone.sdp())  # a call that lives on
        at.peer.answer(await at.peer.hears("INVITE"), 180)
        draining = at.server if which == "server" else at.agent
        at.ends.nursery.start_soon(draining.drain, 10)
        await until(lambda: not draining.is_healthy)
        await asking.ask("OPTIONS", uri, end_at)
        refused = (await asking.hears(503)).message
        assert b"shutting down" in refused.raw
        assert refused.header("retry-after") is not None
