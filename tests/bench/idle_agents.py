"""Measures what an idle agent costs the server: resident memory, file descriptors, CPU (FIELD-NOTES S1-7).

python tests/bench/idle_agents.py --agents 500 --seconds 20

The agents are links and nothing else, all in this process; the server is the program, with nothing else to do.
"""

from __future__ import annotations

import argparse
import os
import ssl
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import trio

from outside_server.authority import Authority
from outside_server.tenant_store import SqliteTenants
from outside_server.tenants import hash_of
from tunnel.address import Address
from tunnel.carriers.direct import connect_direct
from tunnel.counters import Counters
from tunnel.link.credentials import AgentCredentials
from tunnel.link.driver import Link
from tunnel.link.events import SessionEvent, SessionUp
from tunnel.link.identity import make_csr, new_key
from tunnel.link.secure import SecureChannel, agent_context
from tunnel.link.session import Role, Session

HOST = f"127.77.{os.getpid() % 250}.1"  # nobody else on this machine has it
AT_ONCE = 20
PAGE_KIB = os.sysconf("SC_PAGE_SIZE") // 1024
TICKS = os.sysconf("SC_CLK_TCK")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--agents", type=int, default=500)
    parser.add_argument("--seconds", type=float, default=20.0, help="for which they are idle")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        print(measured(Path(folder), options.agents, options.seconds))


def measured(folder: Path, agents: int, seconds: float) -> str:
    """Start the server, connect so many agents, wait; the figures in one line."""
    (folder / "server.toml").write_text(
        f'data_dir = "data"\n[tunnel]\nlisten = "{HOST}:4443"\n[public]\naddress = "{HOST}"\nsip = ["udp:5060"]\n'
        'media_ports = "20000-20099"\n'
    )
    argv = [str(Path(sys.executable).with_name("wallpass")), "server", "--config", str(folder / "server.toml")]
    server = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=folder)
    try:
        assert server.stdout is not None
        server.stdout.readline()
        contexts = [context(folder, each) for each in enrolled(folder, agents)]
        time.sleep(1.0)  # the server has looked at its store
        before_kib = resident_kib(server.pid)
        return trio.run(idle, server.pid, contexts, seconds, before_kib)
    finally:
        server.kill()
        server.wait()
        server.stdout.close() if server.stdout else None


def enrolled(folder: Path, agents: int) -> list[AgentCredentials]:
    """The credentials of so many agents of one tenant."""
    now, made = datetime.now(UTC), []
    authority = Authority.open(folder / "data", now, os.urandom)
    with closing(SqliteTenants(folder / "data" / "tenants.db")) as store:
        tenant = store.add("acme")
        for number in range(agents):
            secret, key, name = os.urandom(16), new_key(), f"agent-{number}"
            store.invite("acme", hash_of(secret), now + timedelta(minutes=5))
            grant = store.redeem(secret, name, now)
            certificate = authority.issue_agent_untrusted(make_csr(key, name), tenant.id, grant.agent_id, name, now)
            made.append(AgentCredentials(key, certificate, authority.der, (), "acme"))
    return made


def context(folder: Path, credentials: AgentCredentials) -> ssl.SSLContext:
    path = folder / "agent.pem"
    path.write_bytes(bytes(credentials))
    return agent_context(credentials.authority_pem, path, path)


async def idle(pid: int, contexts: list[ssl.SSLContext], seconds: float, before_kib: int) -> str:
    up = 0

    async def live(context: ssl.SSLContext, task_status: trio.TaskStatus[None]) -> None:
        def note(event: SessionEvent) -> None:
            nonlocal up
            if isinstance(event, SessionUp):
                up += 1
                task_status.started()

        link = Link(Session(Role.AGENT, Counters(), os.urandom, b""), note)
        async with trio.open_nursery() as nursery:
            await nursery.start(link.run)
            carrier = await connect_direct(Address(HOST, 4443), 10.0)
            await link.run_carrier(carrier, SecureChannel(context, server_side=False))
            raise RuntimeError("an agent lost its connection")

    async with trio.open_nursery() as nursery:
        limit = trio.CapacityLimiter(AT_ONCE)

        async def start(context: ssl.SSLContext) -> None:
            async with limit:
                await nursery.start(live, context)

        async with trio.open_nursery() as starting:
            for each in contexts:
                starting.start_soon(start, each)
        await trio.sleep(1.0)
        cpu = cpu_s(pid)
        await trio.sleep(seconds)
        used_kib, cpu = resident_kib(pid) - before_kib, cpu_s(pid) - cpu
        nursery.cancel_scope.cancel()
    return (
        f"{up} idle agents: {used_kib / up:.0f} KiB resident each ({before_kib} KiB before them), "
        f"{cpu / seconds / up * 1e6:.0f} us of CPU a second each"
    )


def resident_kib(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE_KIB


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


if __name__ == "__main__":
    main()
