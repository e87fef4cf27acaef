"""Two tenants on one server by real sockets: the same extensions inside, and every call is heard by whom it was for."""

from __future__ import annotations

import random
import secrets
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
import trio
from support.both_ends import OUTSIDE, open_ends, sip_addresses, uri_of

import inside_agent
from tunnel.address import Address
from tunnel.softphone import Account, Call, Phone, Tune, open_phone
from tunnel.softphone.measure import compare
from tunnel.softphone.registrar import Registrar

CALLS = 100
AT_ONCE = 5
USERS = ("201", "202", "203", "204", "205")
TALK_S = 1.1  # two tunes of half a second


@dataclass
class Site:
    """A tenant: its agent, what registers its phones outside, its phones by extension."""

    name: str
    agent: inside_agent.Agent
    registrar: Registrar
    hosted: Phone
    inside: dict[str, Phone]


async def open_site(stack: AsyncExitStack, name: str, agent: inside_agent.Agent) -> Site:
    registrar = Registrar(f"{name}.example", dict.fromkeys(USERS, "secret"), secrets.token_bytes)
    at = Address(OUTSIDE, 0)
    hosted = await stack.enter_async_context(
        open_phone(Account("pbx", f"{name}.example"), bind=at, registrar=registrar)
    )
    site = Site(name, agent, registrar, hosted, {})
    for user in USERS:
        account = Account(user, str(hosted.address), "secret", outbound=sip_addresses(agent)["udp"])
        site.inside[user] = await stack.enter_async_context(open_phone(account))
        await site.inside[user].register()
    return site


async def test_100_calls_of_two_tenants(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """S1-1, S1-2, 3-#11: 20 phones, 100 calls in both directions, 5 at a time: each rings, and is heard, where it should."""
    chance = random.Random(7)
    monkeypatch.setattr("outside_server.demo_pair.MEDIA_PORTS", 500)  # a port rests for 30 s after its call
    async with open_ends(tmp_path, limit_s=120) as ends, AsyncExitStack() as stack:
        await ends.start_server()
        sites = []
        for name in ("red", "blue"):
            ends.add_tenant(name)
            agent = await ends.start_agent(await ends.join(name, f"{name}-host"))
            sites.append(await open_site(stack, name, agent))
        masks = {(site.name, u): site.registrar.contact(u, trio.current_time()) for site in sites for u in USERS}
        assert len(set(masks.values())) == 2 * len(USERS)
        outside = [
            await stack.enter_async_context(
                open_phone(Account(f"bob{n}", "provider.example"), bind=Address(OUTSIDE, 0))
            )
            for n in range(10)
        ]
        idle_inside = [(site, user) for site in sites for user in USERS]
        idle_outside = list(outside)
        made = 0

        async def one_after_another() -> None:
            nonlocal made
            while made < CALLS:
                made += 1
                number = made
                site, user = idle_inside.pop(chance.randrange(len(idle_inside)))
                bob = idle_outside.pop(chance.randrange(len(idle_outside)))
                phone, mask = site.inside[user], masks[site.name, user]
                assert mask is not None
                pair = (bob, phone, mask) if chance.random() < 0.6 else (phone, bob, uri_of(bob))
                await converse(*pair, number)
                idle_inside.append((site, user))
                idle_outside.append(bob)

        async with trio.open_nursery() as nursery:
            for _ in range(AT_ONCE):
                nursery.start_soon(one_after_another)
        assert made == CALLS
        for phone in [*outside, *(phone for site in sites for phone in site.inside.values())]:
            with trio.move_on_after(0.01) as nothing_came:
                await phone.next_call()
            assert nothing_came.cancelled_caught, "a call that was for somebody else"


async def converse(caller: Phone, callee: Phone, uri: bytes, number: int) -> None:
    """A call that its callee answers; each hears the tune of the other, which nobody else speaks."""
    taken: list[Call] = []

    async def answer() -> None:
        taken.append(await callee.answer_next(Tune(2 * number)))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(answer)
        placed = await caller.call(uri, Tune(2 * number + 1))
    await placed.talk(TALK_S)
    placed.fall_silent()
    taken[0].fall_silent()
    await trio.sleep(0.1)
    await placed.hang_up()
    await taken[0].ended()
    for mouth, ear in ((placed.mouth, taken[0].ear), (taken[0].mouth, placed.ear)):
        heard = compare(mouth, ear)
        assert heard.heard.tune == heard.said, heard.fault
        assert heard.heard.foreign_s < 0.2, heard.fault
