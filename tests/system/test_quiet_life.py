"""What an operator sees of a day without trouble: nothing above info."""

from __future__ import annotations

from pathlib import Path

import structlog
from support.both_ends import connect, inside_phone, open_ends, outside_phone, until

HOST_MATTERS = {"link.bbr_refused"}  # what the kernel of this host can do


async def test_a_life_without_trouble_logs_no_warning(tmp_path: Path) -> None:
    with structlog.testing.capture_logs() as logs:
        async with open_ends(tmp_path) as ends:
            server = await ends.start_server()
            ends.add_tenant("acme")
            agent = await ends.start_agent(await ends.join("acme", "one"))
            async with inside_phone(agent) as alice, outside_phone() as bob:
                placed, taken = await connect(alice, bob)
                await placed.hang_up()
                await taken.ended()
            await agent.drain(1)
            await until(lambda: server.figures().agents == ())
            await ends.stop(agent)
            await server.drain(1)
            await ends.stop(server)
    loud = [entry for entry in logs if entry["log_level"] != "info" and entry["event"] not in HOST_MATTERS]
    assert loud == []
    assert {"reason": "the other end said goodbye", "event": "tunnel.down"}.items() <= next(
        entry.items() for entry in logs if entry["event"] == "tunnel.down" and "tenant" in entry
    )
