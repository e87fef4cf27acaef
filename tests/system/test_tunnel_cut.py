"""The tunnel is cut in the middle of a call: the call goes on (issue: RST, FIN, silence; FIELD-NOTES 3-#2, T19)."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
import trio
from support.both_ends import connect, counted, inside_phone, open_ends, outside_phone, until, uri_of
from support.cutter import Cutter

from tunnel.softphone import Ear, Passage, compare

BEFORE_S, AFTER_S = 0.6, 1.2


def longest_gap_ms(ear: Ear) -> float:
    times = sorted(ear.arrivals.values())
    return max(after - before for before, after in pairwise(times)) * 1000 - 20


@pytest.mark.parametrize(
    ("how", "allowed_ms", "silent_s"), [("reset", 600.0, 0.0), ("finish", 600.0, 0.0), ("swallow", 2500.0, 2.2)]
)
async def test_call_goes_on_with_a_short_gap(tmp_path: Path, how: str, allowed_ms: float, silent_s: float) -> None:
    said: list[Passage] = []
    async with open_ends(tmp_path) as ends:
        server = await ends.start_server()
        ends.add_tenant("acme")
        cutter = Cutter(ends.tunnel)
        await ends.nursery.start(cutter.run)
        agent = await ends.start_agent(await ends.join("acme", "one", via=cutter.address))
        async with inside_phone(agent, watch=said.append) as alice, outside_phone(watch=said.append) as bob:
            placed, taken = await connect(alice, bob)
            await placed.talk(BEFORE_S)
            held = [end.figures().ports[0] for end in (agent, server)]
            ports = placed.leg.speak_to, taken.leg.speak_to
            said.clear()
            getattr(cutter, how)()
            await placed.talk(silent_s + AFTER_S)
            assert said == [], "nobody was told anything"
            assert cutter.accepted == 2
            assert (placed.leg.speak_to, taken.leg.speak_to) == ports
            assert [end.figures().ports[0] for end in (agent, server)] == held
            gaps = longest_gap_ms(placed.ear), longest_gap_ms(taken.ear)
            print(f"after {how}: the inside heard a gap of {gaps[0]:.0f} ms, the outside one of {gaps[1]:.0f} ms")
            assert max(gaps) <= allowed_ms
            await taken.hang_up()
            await placed.ended()
            for mouth, ear in ((placed.mouth, taken.ear), (taken.mouth, placed.ear)):
                assert compare(mouth, ear).heard.tune == mouth.tune.number
        for end in (agent, server):
            assert counted(end, "internal.errors") == 0
            assert end.figures().calls[0].active.get("outbound", 0) == 0


@pytest.mark.parametrize("how", ["reset", "finish", "swallow"])
async def test_what_is_said_in_the_gap_arrives_once(tmp_path: Path, how: str) -> None:
    heard: list[Passage] = []
    async with open_ends(tmp_path) as ends:
        await ends.start_server()
        ends.add_tenant("acme")
        cutter = Cutter(ends.tunnel)
        await ends.nursery.start(cutter.run)
        agent = await ends.start_agent(await ends.join("acme", "one", via=cutter.address))
        async with inside_phone(agent) as alice, outside_phone(watch=heard.append) as bob:
            placed, _ = await connect(alice, bob)
            heard.clear()
            getattr(cutter, how)()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(placed.hold)
                nursery.start_soon(alice.ask_options, uri_of(bob))
            await placed.resume()  # is done when bob has the ACK of the hold
            requests = [passage.method for passage in heard if not passage.sent]
            assert sorted(requests[:3]) == ["ACK", "INVITE", "OPTIONS"], "the retransmissions of alice stay on her side"
            await placed.hang_up()


async def test_a_server_that_restarts_finds_its_agent_back(tmp_path: Path) -> None:
    """S2-1: the server never dials; the agent is back within 3 s."""
    async with open_ends(tmp_path) as ends:
        server = await ends.start_server()
        ends.add_tenant("acme")
        agent = await ends.start_agent(await ends.join("acme", "one"))
        await ends.stop(server)
        await trio.sleep(1.0)
        assert not agent.is_healthy
        await ends.start_server()
        seconds = await until(lambda: agent.is_healthy)
        print(f"the agent was back {seconds:.2f} s after its server")
        assert seconds <= 3.0
        async with inside_phone(agent) as alice, outside_phone() as bob:
            placed, taken = await connect(alice, bob)
            await placed.hang_up()
            await taken.ended()
