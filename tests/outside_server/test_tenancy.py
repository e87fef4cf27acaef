from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
import trio
from structlog.testing import capture_logs

from outside_server.tenancy import Tenancy
from outside_server.tenant_store import SqliteTenants
from outside_server.tenants import hash_of
from tunnel.address import Address
from tunnel.errors import LocalMisuse
from tunnel.link.identity import AgentIdentity
from tunnel.sip.resolve import ResolveFailed
from tunnel.sip.uri import SipUri

LATER = datetime(2040, 1, 1, tzinfo=UTC)


class Names:
    """A resolver of which the test says what it knows; an unknown name takes for ever."""

    def __init__(self) -> None:
        self.known: dict[str, str | None] = {}

    async def resolve(self, uri: SipUri) -> list[object]:
        if uri.host not in self.known:
            await trio.sleep_forever()
        address = self.known[uri.host]
        if address is None:
            raise ResolveFailed(uri.host, "no such name")
        return [type("Target", (), {"address": Address(address, 5060)})]


class Desk:
    """The operator's side of the store, and the running server's."""

    def __init__(self, store: SqliteTenants, tenancy: Tenancy, names: Names) -> None:
        self.store = store
        self.tenancy = tenancy
        self.names = names
        self.changes = 0

    def changed(self) -> None:
        self.changes += 1


@asynccontextmanager
async def desk(directory: Path, names: Names) -> AsyncIterator[Desk]:
    commands, server = SqliteTenants(directory / "tenants.db"), SqliteTenants(directory / "tenants.db")
    commands.add("acme", domains=["acme.example"], trunks=["sip:itsp.example"])
    made = Desk(commands, Tenancy(server, names), names)  # type: ignore[arg-type]
    with capture_logs():
        async with trio.open_nursery() as nursery:
            await nursery.start(made.tenancy.run, made.changed)
            yield made
            nursery.cancel_scope.cancel()
    commands.close()
    server.close()


async def test_a_name_that_nobody_answers_for_delays_neither_start_nor_revocation(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    begun_at = trio.current_time()
    async with desk(tmp_path, Names()) as made:
        assert trio.current_time() - begun_at <= 2.0
        assert made.tenancy.doors().domains == {"acme.example": 1}
        seen = made.changes
        made.store.add("globex", domains=["globex.example"])
        await trio.sleep(0.6)
        assert made.changes == seen + 1
        assert made.tenancy.doors().domains["globex.example"] == 2


async def test_trunks_are_known_when_it_has_started_and_resolved_again(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    names = Names()
    names.known["itsp.example"] = "203.0.113.20"
    async with desk(tmp_path, names) as made:
        assert made.tenancy.doors().trunks == {"203.0.113.20": (1,)}
        assert made.tenancy.is_trunk("203.0.113.20", 1)
        names.known["itsp.example"] = "203.0.113.21"
        await trio.sleep(61)
        assert made.tenancy.doors().trunks == {"203.0.113.21": (1,)}
        names.known["itsp.example"] = None
        await trio.sleep(61)
        assert made.tenancy.doors().trunks == {"203.0.113.21": (1,)}, "a DNS that fails takes nothing away"


async def test_two_tenants_of_one_trunk_are_both_named(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    names = Names()
    names.known["itsp.example"] = "203.0.113.20"
    async with desk(tmp_path, names) as made:
        made.store.add("globex", trunks=["sip:itsp.example"])
        await trio.sleep(1)
        assert made.tenancy.doors().trunks == {"203.0.113.20": (1, 2)}


async def test_an_agent_that_joined_a_moment_ago_is_known(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    async with desk(tmp_path, Names()) as made:
        assert made.tenancy.refusal(AgentIdentity(1, 1, "one", 1, LATER)) == "unknown"
        made.store.invite("acme", hash_of(b"right"), LATER)
        grant = made.store.redeem(b"right", "one", datetime.now(UTC))
        identity = AgentIdentity(grant.tenant.id, grant.agent_id, "one", 1, LATER)
        assert made.tenancy.refusal(identity) is None
        made.store.revoke("acme", "one")
        await trio.sleep(0.6)
        assert made.tenancy.refusal(identity) == "revoked"


async def test_limits_follow_the_store_and_are_one_object(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    async with desk(tmp_path, Names()) as made:
        limits = made.tenancy.limits(1)
        limits.active = 3
        assert limits.max_calls == 0
        assert made.tenancy.limits(1) is limits


async def test_a_store_that_cannot_be_read_leaves_what_was(
    tmp_path: Path, autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with desk(tmp_path, Names()) as made:

        def broken() -> object:
            raise LocalMisuse("disk I/O error")

        monkeypatch.setattr(made.tenancy._store, "change_mark", broken)
        await trio.sleep(2)
        assert made.tenancy.doors().domains == {"acme.example": 1}


async def test_who_may_vouch_for_a_trunk_is_said_of_that_trunk_only(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """M4: by the name of the trunk or an address of it, for its own tenant, and for nobody else."""
    names = Names()
    names.known |= {"itsp.example": "203.0.113.20", "secure.example": "203.0.113.30"}
    async with desk(tmp_path, names) as made:
        made.store.add("globex", trunks=["sips:secure.example"], trunk_ca="PEM")
        await trio.sleep(1)
        who = made.tenancy.authorities
        assert who(2, "secure.example", "203.0.113.30") == who(2, "", "203.0.113.30") == "PEM"
        assert who(2, "other.example", "203.0.113.40") == who(1, "secure.example", "203.0.113.30") == ""
