"""Who gets in from the internet, and to which tenant: default deny (FIELD-NOTES 3-#8, contract: the public face).

In this order: a dialog that we carry, a live mask, a tenant's domain, what a tenant with a trunk sent to this face itself,
a tenant's trunk, a registrar where somebody of the tenant is registered. Everything else is dropped without a word. The
last two may also ask how we are (OPTIONS to nobody).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from tunnel.sip.contacts import MASK_PARAM, ContactMasks
from tunnel.sip.face_index import FaceIndex
from tunnel.sip.flow import Flow
from tunnel.sip.mask import TenantHint
from tunnel.sip.message import Message
from tunnel.sip.policy import Admit, Answer, Drop, Purpose
from tunnel.sip.transaction_key import cancelled_key, server_key
from tunnel.sip.uri import SipUri

__all__ = ["Door", "Gatekeeper", "TenantDoors"]

OFFLINE = Answer(480, "Temporarily Unavailable", "the agent is offline", 10, "agent_offline")
NO_TUNNEL = Answer(503, "Service Unavailable", "no agent is connected that takes calls", 5, "tunnel_down")
SEVERAL_TENANTS = Answer(404, "Not Found", "several tenants have this trunk: it must dial a registered contact")


class Door(Protocol):
    """One agent's way in, from its first connection until its session has expired."""

    @property
    def number(self) -> int:
        """The half proxy's number on this face."""

    @property
    def tenant(self) -> int: ...

    @property
    def masks(self) -> ContactMasks: ...

    @property
    def is_up(self) -> bool:
        """Whether the session lives, connected or not."""

    @property
    def takes_calls(self) -> bool:
        """Whether a call could be brought in now: connected, and not shutting down."""

    @property
    def has_pbx(self) -> bool:
        """Whether a PBX takes calls there."""


@dataclass(frozen=True, slots=True)
class TenantDoors:
    """What brings a request to a tenant without a mask: its domains, and the addresses its trunks resolved to."""

    domains: Mapping[str, int] = field(default_factory=dict)
    trunks: Mapping[str, tuple[int, ...]] = field(default_factory=dict)


class Gatekeeper:
    """Decides for each request on the public face. ``tenants`` is replaced whenever the store changes."""

    def __init__(self, index: FaceIndex, hint: TenantHint) -> None:
        self._index = index
        self._hint = hint
        self._doors: dict[int, Door] = {}
        self._absent: dict[int, tuple[int, ContactMasks]] = {}  # tenant and masks of agents without a session
        self.tenants = TenantDoors()

    def open(self, door: Door) -> None:
        self._doors[door.number] = door
        self._absent.pop(door.number, None)

    def close(self, number: int) -> None:
        """The session of that agent is over: who has one of its masks is still told so, and does not wait in silence."""
        door = self._doors.pop(number, None)
        if door is not None:
            self._absent[number] = door.tenant, door.masks

    def expect(self, agents: Mapping[int, tuple[int, ContactMasks]]) -> None:
        """These agents there are, each with its tenant and masks: whoever calls one that is not connected is told so, and
        does not wait in silence, even when the server has just started (S2-1)."""
        self._absent = {number: agent for number, agent in agents.items() if number not in self._doors}

    def admit(self, request: Message, flow: Flow, now: float) -> tuple[Door | None, Admit | Answer | Drop]:
        """The agent that ``request`` is for and why; or the answer, or silence. Raises BadPacket."""
        known = self._known(request, flow, now)
        if known is not None:
            return known, Admit(Purpose.DIALOG)
        if request.method in ("ACK", "CANCEL"):
            return None, Drop(f"sip.dropped.stray_{request.method.lower()}")
        uri = request.uri
        host = flow.remote.host
        masked = self._masked(uri, now) if uri is not None else None
        if masked is not None:
            return masked
        if uri is not None and (tenant := self.tenants.domains.get(uri.host)) is not None:
            if self._is_anothers_dialog(request, flow, tenant, now):
                return None, Drop("sip.dropped.anothers_dialog")
            return self._of_tenants((tenant,), Purpose.DOMAIN)
        if uri is None and host not in self.tenants.trunks:
            return None, Drop("sip.dropped.unknown_target")
        if host == flow.local.host and (turned := self._turned(request)) is not None:
            return turned
        if uri is not None and request.method == "OPTIONS" and not uri.user:
            return None, self._health(host, now)
        if host in self.tenants.trunks:
            return self._of_tenants(self.tenants.trunks[host], Purpose.TRUNK)
        return self._of_registrar(host, now)

    def _known(self, request: Message, flow: Flow, now: float) -> Door | None:
        """The session that holds the transaction or dialog of ``request``.

        Call-ID and tags alone are no key: they pass through many hands. A request in a dialog comes from where the party
        is known to be, or bears the mask that the party was given.
        """
        number = self._index.transactions.get(server_key(request))
        if number is None and request.method == "CANCEL":
            number = self._index.transactions.get(cancelled_key(request))
        if number is not None or not request.to_tag:
            return self._doors.get(number) if number is not None else None
        found = self._index.session_of_dialog((request.call_id, request.from_tag, request.to_tag), flow.remote)
        door = self._doors.get(found[0]) if found is not None else None
        if found is None or door is None:
            return None
        masked = request.uri is not None and door.masks.is_live(request.uri, now)
        return door if found[1] or masked else None

    def _is_anothers_dialog(self, request: Message, flow: Flow, tenant: int, now: float) -> bool:
        """Whether a stranger speaks in a dialog that we carry, and whose ids it has heard of: that it also knows the
        domain, as everybody does, is no reason to let it. A peer of the tenant may come from several addresses."""
        if not request.to_tag or tenant in self.tenants.trunks.get(flow.remote.host, ()):
            return False
        if self._index.session_of_dialog((request.call_id, request.from_tag, request.to_tag), flow.remote) is None:
            return False
        registered = self._index.registrars.get(flow.remote.host, {})
        return not any(until > now and self._has_tenant(number, tenant) for number, until in registered.items())

    def _has_tenant(self, number: int, tenant: int) -> bool:
        door = self._doors.get(number)
        return door is not None and door.tenant == tenant

    def _masked(self, uri: SipUri, now: float) -> tuple[Door | None, Admit | Answer | Drop] | None:
        token = uri.param(MASK_PARAM)
        tenant = self._hint.tenant_of(token) if token else None
        if tenant is None:
            return None
        for door in self._doors.values():
            if door.tenant == tenant and door.masks.is_live(uri, now):
                return (door, Admit(Purpose.MASK)) if door.is_up else (None, OFFLINE)
        for owner, masks in self._absent.values():
            if owner == tenant and masks.is_live(uri, now):
                return None, OFFLINE
        return None

    def _health(self, host: str, now: float) -> Answer | Drop:
        """A peer whose calls we bring in asks whether we can (F3): the truth. Whoever else asks hears nothing."""
        tenants = self.tenants.trunks.get(host, ())
        registrar = self._index.registrars.get(host, {})
        doors = [door for n, door in self._doors.items() if door.tenant in tenants or registrar.get(n, now) > now]
        if not tenants and not doors:
            return Drop("sip.dropped.unknown_source")
        return Answer(200, "OK") if any(door.takes_calls for door in doors) else NO_TUNNEL

    def _turned(self, request: Message) -> tuple[Door | None, Admit | Answer | Drop] | None:
        """A request that a tenant sent out to the face itself: for whom the trunk dials there, so for its own PBX.

        It is known by the branch that we gave it, and comes from our own address, so nobody else can have sent it.
        """
        door = self._doors.get(self._index.branches.get(request.top_via.branch, -1))
        if door is None:
            return None
        if request.method == "OPTIONS" and request.uri is not None and not request.uri.user:
            return None, Answer(200, "OK")
        if not any(door.tenant in tenants for tenants in self.tenants.trunks.values()):
            return None, Answer(404, "Not Found", "addressed to the server itself")
        return self._of_tenants((door.tenant,), Purpose.TRUNK)

    def _of_tenants(self, tenants: Iterable[int], purpose: Purpose) -> tuple[Door | None, Admit | Answer | Drop]:
        """An agent of the one tenant that this is for."""
        wanted = set(tenants)
        if len(wanted) > 1:
            return None, SEVERAL_TENANTS
        return _best((door for door in self._doors.values() if door.tenant in wanted), purpose)

    def _of_registrar(self, host: str, now: float) -> tuple[Door | None, Admit | Answer | Drop]:
        """A registrar that dropped our mask: it may call the agents of the one tenant through which it was registered."""
        live = [n for n, until in self._index.registrars.get(host, {}).items() if until > now and n in self._doors]
        if not live:
            return None, Drop("sip.dropped.unknown_source")
        doors = [self._doors[number] for number in live]
        if len({door.tenant for door in doors}) > 1:
            return None, SEVERAL_TENANTS
        return _best(doors, Purpose.REGISTERED)


def _best(doors: Iterable[Door], purpose: Purpose) -> tuple[Door | None, Admit | Answer | Drop]:
    """Of a tenant's agents one that is up, one with a PBX before one without."""
    ordered = sorted(doors, key=lambda door: (not door.is_up, not door.has_pbx, door.number))
    if not ordered or not ordered[0].is_up:
        return None, OFFLINE
    return ordered[0], Admit(purpose)
