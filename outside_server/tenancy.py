"""What the running server works by of its tenants: who may connect, domains, trunks, limits; kept up to date. [io]"""

from __future__ import annotations

from collections.abc import Callable

import structlog
import trio

from outside_server.gatekeeper import TenantDoors
from outside_server.limits import CallLimits
from outside_server.tenants import Snapshot, TenantStore
from tunnel.config import SipUriText, sip_uri_host
from tunnel.errors import LocalMisuse
from tunnel.link.identity import AgentIdentity
from tunnel.sip.half import sip_uri
from tunnel.sip.resolve import ResolveFailed, Resolver

__all__ = ["Tenancy"]

log = structlog.get_logger()

# Our numbers: a revocation must cut within 2 s; a trunk's addresses may change with its DNS.
LOOK_S = 0.5
RESOLVE_S = 60.0
# How long a start waits for names of trunks; how many names are asked for at a time.
FIRST_RESOLVE_S = 2.0
MOST_QUESTIONS = 16


class Tenancy:
    """``changed`` is called with each new snapshot, and when trunks resolved to other addresses."""

    def __init__(self, store: TenantStore, resolver: Resolver) -> None:
        self._store = store
        self._resolver = resolver
        self._mark = store.change_mark()
        self.snapshot: Snapshot = store.snapshot()
        self._limits: dict[int, CallLimits] = {}
        self._trunks: dict[str, tuple[str, ...]] = {}  # trunk URI -> IP addresses
        self._news = trio.Event()  # something that the face has not been told
        self._stale = trio.Event()  # trunks may be others than those that were resolved
        self._note_limits()

    def refusal(self, identity: AgentIdentity) -> str | None:
        """Why an agent may not connect, None if it may; one that joined a moment ago is not unknown."""
        refusal = self.snapshot.refusal(identity)
        if refusal == "unknown" and self._look():
            refusal = self.snapshot.refusal(identity)
        return refusal

    def limits(self, tenant: int) -> CallLimits:
        """The limits of a tenant, one object for all its agents."""
        return self._limits.setdefault(tenant, CallLimits(0, 0))

    def doors(self) -> TenantDoors:
        """Domains and trunk addresses as the gatekeeper looks them up."""
        domains: dict[str, int] = {}
        trunks: dict[str, tuple[int, ...]] = {}
        for tenant in self.snapshot.tenants.values():
            domains.update(dict.fromkeys(tenant.domains, tenant.id))
            for trunk in tenant.trunks:
                for ip in self._trunks.get(trunk, ()):
                    if tenant.id not in trunks.get(ip, ()):
                        trunks[ip] = (*trunks.get(ip, ()), tenant.id)
        return TenantDoors(domains, trunks)

    def is_trunk(self, ip: str, tenant: int) -> bool:
        """Whether ``ip`` is the address of a trunk of that tenant."""
        found = self.snapshot.tenants.get(tenant)
        return found is not None and any(ip in self._trunks.get(trunk, ()) for trunk in found.trunks)

    def is_anothers_trunk(self, ip: str, tenant: int) -> bool:
        """Whether ``ip`` is the address of a trunk of others, and of none of that tenant."""
        if self.is_trunk(ip, tenant):
            return False
        return any(self.is_trunk(ip, other) for other in self.snapshot.tenants)

    def authorities(self, tenant: int, server_name: str, ip: str) -> str:
        """PEM text of who may vouch for a TLS peer of that tenant; empty for the system's store."""
        found = self.snapshot.tenants.get(tenant)
        if found is None or not found.trunk_ca:
            return ""
        named = any(sip_uri_host(SipUriText(trunk)) in (server_name, ip) for trunk in found.trunks)
        return found.trunk_ca if named or self.is_trunk(ip, tenant) else ""

    async def run(
        self, changed: Callable[[], None], task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Watch the store until cancelled; what DNS has to say of trunks never delays what the store says."""
        async with trio.open_nursery() as nursery:
            resolved = trio.Event()
            nursery.start_soon(self._keep_resolved, changed, resolved)
            with trio.move_on_after(FIRST_RESOLVE_S):
                await resolved.wait()
            changed()
            task_status.started()
            while True:
                with trio.move_on_after(LOOK_S):
                    await self._news.wait()
                self._look()
                if self._news.is_set():
                    self._news = trio.Event()
                    changed()
                    self._stale.set()

    async def _keep_resolved(self, changed: Callable[[], None], resolved: trio.Event) -> None:
        while True:
            self._stale = trio.Event()
            before = self._trunks
            await self._resolve()
            resolved.set()
            if self._trunks != before:
                changed()
            with trio.move_on_after(RESOLVE_S):
                await self._stale.wait()

    def _look(self) -> bool:
        """Whether the store says something new; a store that cannot be read leaves what was."""
        try:
            mark = self._store.change_mark()
            if mark == self._mark:
                return False
            self.snapshot = self._store.snapshot()
        except LocalMisuse as error:
            log.error("tenants.unreadable", reason=str(error))
            return False
        self._mark = mark
        self._news.set()
        self._note_limits()
        return True

    def _note_limits(self) -> None:
        for tenant in self.snapshot.tenants.values():
            limits = self.limits(tenant.id)
            limits.max_calls = tenant.max_calls or 0
            limits.calls_per_second = tenant.calls_per_second or 0

    async def _resolve(self) -> None:
        """Ask for every trunk; one whose name cannot be resolved keeps its addresses."""
        trunks = {trunk for tenant in self.snapshot.tenants.values() for trunk in tenant.trunks}
        found: dict[str, tuple[str, ...]] = {}
        limit = trio.CapacityLimiter(MOST_QUESTIONS)

        async def ask(trunk: str) -> None:
            async with limit:
                found[trunk] = await self._addresses_of(trunk)

        async with trio.open_nursery() as nursery:
            for trunk in trunks:
                nursery.start_soon(ask, trunk)
        self._trunks = found

    async def _addresses_of(self, trunk: str) -> tuple[str, ...]:
        uri = sip_uri(trunk.encode())
        if uri is None:
            return ()
        try:
            targets = await self._resolver.resolve(uri)
        except ResolveFailed as error:
            log.warning("trunk.not_resolved", trunk=trunk, reason=str(error))
            return self._trunks.get(trunk, ())
        return tuple(sorted({target.address.host for target in targets}))
