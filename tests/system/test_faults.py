"""A fault of ours, met by one message, one timer or one name, costs that and nothing else (contract: whatever arrives)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio
from structlog.testing import capture_logs
from support.both_ends import (
    BothEnds,
    connect,
    counted,
    inside_phone,
    open_ends,
    outside_phone,
    sip_addresses,
    until,
    uri_of,
)
from support.sip_peer import SipPeer

import inside_agent
import outside_server
from tunnel.sip.relay import HalfProxy
from tunnel.sip.resolve import Resolver
from tunnel.softphone import CallFailed, Tune


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[tuple[BothEnds, outside_server.Server, inside_agent.Agent]]:
    with capture_logs():
        async with open_ends(tmp_path) as ends:
            server = await ends.start_server()
            ends.add_tenant("acme", domains=["acme.example"])
            yield ends, server, await ends.start_agent(await ends.join("acme", "one"))


@pytest.mark.parametrize("step", ["request", "wall", "response"])
async def test_a_message_that_nobody_thought_of(
    pair: tuple[BothEnds, outside_server.Server, inside_agent.Agent], step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, server, agent = pair
    right = getattr(HalfProxy, step)

    def wrong(proxy: HalfProxy, message: object, *more: object) -> None:
        if b"evil" in (getattr(message, "raw", None) or b""):
            raise KeyError("evil")
        right(proxy, message, *more)

    async with inside_phone(agent) as alice, outside_phone() as bob, outside_phone() as eve:
        monkeypatch.setattr(HalfProxy, step, wrong)
        placed, taken = await connect(alice, bob)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(alice.dial, f"sip:evil@{eve.address}".encode(), Tune(1))
            if step == "response":
                await (await eve.next_call()).ring()
            await until(lambda: counted(agent, "internal.errors") + counted(server, "internal.errors") > 0)
        heard = len(taken.ear.arrivals)
        await placed.talk(0.2)
        assert len(taken.ear.arrivals) > heard
        await placed.hang_up()
        await taken.ended()
        again, _ = await connect(alice, bob)
        await again.hang_up()


async def test_a_timer_that_fails_does_not_spin(
    pair: tuple[BothEnds, outside_server.Server, inside_agent.Agent], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, server, agent = pair

    def wrong(proxy: HalfProxy, now: float) -> None:
        raise KeyError("timer")

    async with inside_phone(agent) as alice, outside_phone() as bob:
        placed, _ = await connect(alice, bob)
        with monkeypatch.context() as patch:
            patch.setattr(HalfProxy, "tick", wrong)
            await until(lambda: counted(server, "internal.errors") + counted(agent, "internal.errors") > 0, 12)
            await placed.talk(0.3)
            assert counted(server, "internal.errors") + counted(agent, "internal.errors") < 5
        await placed.hang_up()


async def test_a_resolver_that_fails_in_its_own_way(
    pair: tuple[BothEnds, outside_server.Server, inside_agent.Agent], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, server, agent = pair

    async def wrong(resolver: Resolver, uri: object) -> list[object]:
        raise UnicodeError("label empty or too long")

    async with inside_phone(agent) as alice, outside_phone() as bob:
        placed, taken = await connect(alice, bob)
        monkeypatch.setattr(Resolver, "resolve", wrong)
        with pytest.raises(CallFailed):
            await alice.call(b"sip:bob@strange.example", Tune(1))
        assert counted(server, "internal.errors") == 1
        await placed.hang_up()
        await taken.ended()


async def test_a_flood_of_nonsense_leaves_a_call_alone(
    pair: tuple[BothEnds, outside_server.Server, inside_agent.Agent],
) -> None:
    _, server, agent = pair
    async with inside_phone(agent) as alice, outside_phone() as bob, SipPeer.open("127.0.0.3") as scanner:
        placed, taken = await connect(alice, bob)
        public = sip_addresses(server)["udp"]
        for number in range(300):
            await scanner.ask("REGISTER", f"sip:{number}@203.0.113.10", public)
        assert await scanner.silence(0.2), "default deny, without a word"
        await placed.talk(0.1)
        assert placed.end is None
        assert uri_of(bob)
        await placed.hang_up()
        await taken.ended()
        assert counted(server, "internal.errors") == 0
