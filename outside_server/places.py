"""[io] The agents of a running server: who is let in, what becomes of their sessions, and what is counted of them.

acceptor -> admit -> place (seat with link, pump, half proxy) <-> gatekeeper, face
"""

from __future__ import annotations

import secrets
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

import msgpack
import structlog
import trio

from outside_server.authority import Authority
from outside_server.enrol import renew_untrusted
from outside_server.gatekeeper import Gatekeeper
from outside_server.policy import PublicPolicy
from outside_server.tenancy import Tenancy
from outside_server.tenants import TenantStore
from tunnel.assembly import FaceParts, epoch_s, make_seat
from tunnel.call_book import CallBook
from tunnel.contained import contained
from tunnel.counters import Counters
from tunnel.errors import BadPacket, Refused
from tunnel.link.driver import Link
from tunnel.link.events import PeerDraining, RenewRequested, SessionDown, SessionEvent, SessionExpired, SessionUp
from tunnel.link.identity import AgentIdentity
from tunnel.link.resume import SignalNotTaken
from tunnel.link.states import State
from tunnel.metrics import AgentFigures, CallFigures
from tunnel.seat import Seat
from tunnel.sip.bindings import Bindings
from tunnel.sip.contacts import ContactMasks
from tunnel.sip.half import CallClosed, CallOpened, RelayEvent
from tunnel.sip.keepalives import Keepalives
from tunnel.sip.mask import MaskKey, TenantHint

__all__ = ["Place", "Places"]

log = structlog.get_logger()

# Our number: a certificate costs a signature and a write to the disk, and an agent asks for one in two months.
RENEWAL_PAUSE_S = 60.0

ATTACHING = frozenset({State.GREETING, State.RESUMING, State.UP})

EXPLANATIONS = {
    "revoked": "this agent was revoked by the operator of the server; a new TOKEN makes it another agent",
    "unknown": "the server knows no such agent: was its tenant removed? Ask the operator for a new TOKEN",
}


@dataclass(slots=True)
class Place:
    """One agent's place at the server, from its first connection until its session has expired; a gatekeeper's Door."""

    identity: AgentIdentity
    seat: Seat
    masks: ContactMasks
    bindings: Bindings
    keepalives: Keepalives
    scope: trio.CancelScope
    connected_at: float | None = None
    renewed_at: float | None = None

    @property
    def number(self) -> int:
        return self.identity.agent_id

    @property
    def tenant(self) -> int:
        return self.identity.tenant_id

    @property
    def is_up(self) -> bool:
        return self.seat.link.session.is_live

    @property
    def takes_calls(self) -> bool:
        return self.seat.link.session.is_up and not self.seat.draining

    @property
    def has_pbx(self) -> bool:
        """Whether a PBX takes calls there, now."""
        return self.seat.peer_has_pbx and not self.seat.draining


class Places:
    """``usable``: see FaceRules. ``connect_tls`` gives the context to connect with by the PEM text of who may vouch.

    The tasks of the places live in ``nursery``.
    """

    def __init__(
        self,
        *,
        nursery: trio.Nursery,
        authority: Authority,
        store: TenantStore,
        tenancy: Tenancy,
        gatekeeper: Gatekeeper,
        parts: FaceParts,
        usable: Callable[[str], bool],
        connect_tls: Callable[[str], ssl.SSLContext],
    ) -> None:
        self._nursery = nursery
        self._authority = authority
        self._store = store
        self._tenancy = tenancy
        self._gatekeeper = gatekeeper
        self._parts = parts
        self._usable = usable
        self._connect_tls = connect_tls
        self._places: dict[int, Place] = {}
        self._books: dict[int, tuple[int, CallBook]] = {}  # agent -> its tenant, its calls ever
        self._hint = TenantHint(authority.mask_hint_key())
        self._mask_keys: dict[int, MaskKey] = {}
        self._drained_at: float | None = None

    def __iter__(self) -> Iterator[Place]:
        return iter(list(self._places.values()))

    def seat(self, number: int) -> Seat | None:
        """The seat of the agent with that number."""
        place = self._places.get(number)
        return None if place is None else place.seat

    # --- coming and going ------------------------------------------------------------------------------------------

    def admit(self, identity: AgentIdentity) -> Link:
        """The link of an agent whose certificate TLS has verified. Raises Refused."""
        refusal = self._tenancy.refusal(identity)
        if refusal is not None:
            raise Refused(EXPLANATIONS[refusal])
        known = self._places.get(identity.agent_id)
        if known is None:
            known = self._open(identity)
        known.identity = identity
        return known.seat.link

    def expect_agents(self) -> None:
        """Let the gatekeeper know which agents there are: some may not have come back yet."""
        nowhere = Bindings()
        agents: dict[int, tuple[int, ContactMasks]] = {}
        for agent in self._tenancy.snapshot.agents.values():
            masks = ContactMasks(outside=True, epoch_s=epoch_s(), bindings=nowhere)
            masks.use(self._mask_key(agent.tenant_id), agent.id)
            agents[agent.id] = agent.tenant_id, masks
        self._gatekeeper.expect(agents)

    def cut_refused(self) -> None:
        """Tenants or agents are not what they were: whoever is not wanted any more goes, with calls and ports."""
        for place in self:
            refusal = self._tenancy.snapshot.refusal(place.identity)
            if refusal is not None:
                log.warning("tunnel.cut", agent=place.identity.name, reason=EXPLANATIONS[refusal])
                place.seat.link.session.refuse(EXPLANATIONS[refusal], trio.current_time())
                place.seat.link.flush()
                self._close(place)
        tenants = self._tenancy.snapshot.tenants
        self._books = {agent: kept for agent, kept in self._books.items() if kept[0] in tenants}

    async def drain(self, seconds: float) -> None:
        """Refuse new calls from either side, wait for the live ones, at most ``seconds``, and say goodbye."""
        self._drained_at = trio.current_time() + seconds
        for place in self:
            self._drain(place)
        with trio.move_on_after(seconds):
            for place in self:
                await place.seat.book.wait_empty()
        for place in self:
            place.seat.say_goodbye()
            self._close(place)

    def _drain(self, place: Place) -> None:
        if self._drained_at is not None:
            place.seat.drain()
            place.seat.tell_draining(max(0.0, self._drained_at - trio.current_time()))

    def _open(self, identity: AgentIdentity) -> Place:
        try:
            place = self._new_place(identity)
        except OSError as error:
            raise Refused(f"the server has no room for another agent: {error.strerror}") from None
        self._places[place.number] = place
        self._gatekeeper.open(place)
        self._nursery.start_soon(self._run, place)
        return place

    async def _run(self, place: Place) -> None:
        try:
            with place.scope, contained(self._parts.counters, "place"):
                await place.seat.run()
        finally:
            self._close(place)
            self._parts.counters.values.update(place.seat.counters.values)

    def _close(self, place: Place) -> None:
        """From now on nothing leads there; without effect the second time."""
        if self._places.get(place.number) is place:
            del self._places[place.number]
            self._gatekeeper.close(place.number)
            place.scope.cancel()

    def _new_place(self, identity: AgentIdentity) -> Place:
        """Raises OSError when the system gives no more files."""
        tenant, number = identity.tenant_id, identity.agent_id
        key = self._authority.tenant_mask_key(tenant)
        bindings = Bindings()
        masks = ContactMasks(outside=True, epoch_s=epoch_s(), bindings=bindings)
        masks.use(self._mask_key(tenant), number)
        limits = self._tenancy.limits(tenant)
        _, book = self._books.setdefault(number, (tenant, CallBook()))
        greeting: bytes = msgpack.packb({"key": key, "tenant": tenant, "agent": number})

        def on_call(event: RelayEvent) -> None:
            if isinstance(event, CallOpened):
                limits.active += 1
            elif isinstance(event, CallClosed):
                limits.active -= 1

        seat = make_seat(
            self._parts,
            number=number,
            greeting=greeting,
            policy=PublicPolicy(
                self._parts.addresses,
                limits,
                is_trunk=lambda ip: self._tenancy.is_trunk(ip, tenant),
                is_anothers=lambda ip: self._tenancy.is_anothers_trunk(ip, tenant),
            ),
            masks=masks,
            bindings=bindings,
            usable=self._usable,
            trusted=lambda ip: self._tenancy.is_trunk(ip, tenant),
            on_session=lambda event: self._session_event(place, event),
            on_call=on_call,
            counters=Counters(),
            trust=lambda name, ip: self._connect_tls(self._tenancy.authorities(tenant, name, ip)),
            book=book,
        )
        keepalives = Keepalives(bindings, secrets.token_bytes)
        place = Place(identity, seat, masks, bindings, keepalives, trio.CancelScope())
        return place

    def _mask_key(self, tenant: int) -> MaskKey:
        """One for all agents of a tenant."""
        if tenant not in self._mask_keys:
            self._mask_keys[tenant] = MaskKey(self._authority.tenant_mask_key(tenant), tenant, self._hint)
        return self._mask_keys[tenant]

    # --- sessions --------------------------------------------------------------------------------------------------

    def _session_event(self, place: Place, event: SessionEvent) -> None:
        bound = log.bind(tenant=self.tenant_name(place.tenant), agent=place.identity.name)
        if isinstance(event, SessionUp):
            place.connected_at = trio.current_time()
            bound.info("tunnel.up", resumed=event.resumed, carrier=place.seat.link.carrier_name)
            if not event.resumed:
                place.seat.drain(self._drained_at is not None)
                self._drain(place)
        elif isinstance(event, SessionDown):
            place.connected_at = None
            say = bound.info if event.is_orderly else bound.warning
            say("tunnel.down", reason=event.reason)
        elif isinstance(event, SessionExpired):
            say = bound.info if event.is_orderly else bound.warning
            say("session.expired", reason=event.reason, lost_signals=event.lost_signals)
            if place.seat.link.session.state not in ATTACHING:  # else a newer connection has just taken over
                self._close(place)
        elif isinstance(event, PeerDraining):
            bound.info("agent.draining", seconds=event.retry_after_s)
            place.seat.drain()
        elif isinstance(event, RenewRequested):
            self._renew(place, event.csr)

    def _renew(self, place: Place, csr: bytes) -> None:
        now = trio.current_time()
        if place.renewed_at is not None and now - place.renewed_at < RENEWAL_PAUSE_S:
            place.seat.counters.bump("tunnel.renewals_refused")
            return
        place.renewed_at = now
        try:
            chain = renew_untrusted(csr, place.identity, self._authority, self._store, datetime.now(UTC))
            place.seat.link.session.answer_renewal(chain, now)
        except (BadPacket, Refused, SignalNotTaken) as error:
            log.warning("certificate.not_renewed", agent=place.identity.name, reason=str(error))
            return
        place.seat.link.flush()
        log.info("certificate.renewed", agent=place.identity.name)

    # --- for people ------------------------------------------------------------------------------------------------

    def tenant_name(self, tenant: int) -> str:
        found = self._tenancy.snapshot.tenants.get(tenant)
        return found.name if found is not None else f"#{tenant}"

    def status(self) -> list[dict[str, object]]:
        """What each agent is doing now."""
        now = trio.current_time()
        return [
            {
                "tenant": self.tenant_name(place.tenant),
                "agent": place.identity.name,
                "connected": place.seat.link.session.is_up,
                "connected_s": round(now - place.connected_at, 1) if place.connected_at is not None else None,
                "rtt_ms": _ms(place.seat.link.session.keepalive.smoothed_rtt_s),
                "draining": place.seat.draining,
                "calls_active": dict(place.seat.book.active),
                "calls_total": dict(place.seat.book.total),
                "media_leases": place.seat.pump.leases,
            }
            for place in self
        ]

    def figures(self) -> tuple[AgentFigures, ...]:
        """What a scrape reads of each agent."""
        return tuple(
            AgentFigures(
                tenant=self.tenant_name(place.tenant),
                agent=place.identity.name,
                connected=place.seat.link.session.is_up,
                rtt_s=place.seat.link.session.keepalive.smoothed_rtt_s,
                registrations=place.bindings.registered,
            )
            for place in self
        )

    def call_figures(self) -> tuple[CallFigures, ...]:
        """What a scrape reads of each tenant's calls, those without an agent at the moment included."""
        found = {number: CallFigures(t.name, {}, {}) for number, t in self._tenancy.snapshot.tenants.items()}
        for tenant, book in self._books.values():
            if tenant in found:
                found[tenant] = found[tenant].plus(book.active, book.total)
        return tuple(found.values())

    def counted(self) -> Counters:
        """All events that were counted, on the face and in every place."""
        total = Counters()
        total.values.update(self._parts.counters.values)
        for place in self:
            total.values.update(place.seat.counters.values)
        return total


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 2)
