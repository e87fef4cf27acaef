"""What an agent makes of a configuration that is read again."""

from __future__ import annotations

from pathlib import Path

import trio
from structlog.testing import capture_logs
from support.both_ends import BothEnds, connect, counted, inside_phone, open_ends, outside_phone, sip_addresses

import inside_agent
from tunnel.softphone import Account, open_phone


def edited(config: Path, old: str, new: str) -> inside_agent.AgentConfig:
    config.write_text(config.read_text().replace(old, new))
    return inside_agent.load(config)


async def agent_of(ends: BothEnds) -> tuple[inside_agent.Agent, Path]:
    await ends.start_server()
    ends.add_tenant("acme", trunks=["sip:127.0.0.2"])
    config = await ends.join("acme", "one")
    return await ends.start_agent(config), config


async def test_a_new_pbx_gets_the_calls_from_now_on_and_a_live_call_goes_on(tmp_path: Path) -> None:
    async with open_ends(tmp_path) as ends, open_phone(Account("100", "acme.example")) as pbx:
        server = await ends.start_server()
        ends.add_tenant("acme", trunks=["sip:127.0.0.2"])
        config = await ends.join("acme", "one")
        agent = await ends.start_agent(config)
        async with inside_phone(agent) as alice, outside_phone() as bob:
            placed, taken = await connect(alice, bob)
            agent.reload(edited(config, "[lan]", f'[lan]\npbx = "sip:{pbx.address}"'))
            inward, _ = await connect(bob, pbx, f"sip:100@{sip_addresses(server)['udp']}".encode())
            await inward.hang_up()
            heard = len(taken.ear.arrivals)
            await placed.talk(0.1)
            assert len(taken.ear.arrivals) > heard
            await placed.hang_up()


async def test_hosts_that_are_not_allowed_any_more_are_not_heard(tmp_path: Path) -> None:
    async with open_ends(tmp_path) as ends:
        agent, config = await agent_of(ends)
        agent.reload(edited(config, "127.0.0.1/32", "127.0.0.9/32"))
        async with inside_phone(agent) as alice:
            with trio.move_on_after(0.3) as scope:
                await alice.ask_options(b"sip:bob@127.0.0.2")
            assert scope.cancelled_caught, "silence"
            assert counted(agent, "sip.dropped.source_not_allowed") == 1


async def test_what_waits_for_a_restart_is_said(tmp_path: Path) -> None:
    async with open_ends(tmp_path) as ends:
        agent, config = await agent_of(ends)
        with capture_logs() as logs:
            agent.reload(edited(config, 'data_dir = "data"', 'data_dir = "elsewhere"'))
        assert [entry["keys"] for entry in logs if entry["event"] == "config.needs_restart"] == [["data_dir"]]
        assert agent.is_healthy
