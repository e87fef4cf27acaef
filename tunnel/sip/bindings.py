"""Ways back: where a user agent that showed us a Contact can be reached again (FIELD-NOTES S3-2, S3-10).

A mask stands for a Contact beyond the wall. When somebody hands it back, the end on whose face that Contact arrived looks
here for the flow the user agent had, and for Contacts too long to stand in a mask.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, replace

from tunnel.sip.flow import Flow
from tunnel.sip.mask import uri_digest
from tunnel.sip.uri import SipUri

__all__ = ["Binding", "Bindings", "gruu_key"]

# Our number: one site's phones, each with a few Contacts; the least recently seen goes first. About 1 KiB each.
MOST_BINDINGS = 20_000


@dataclass(frozen=True, slots=True)
class Binding:
    """One Contact of one user agent: its exact bytes, the flow it came by, whether behind a NAT of its own.

    ``owner`` names the user agent (see sender.py). ``flow`` is None for an address that somebody else named (Refer-To).
    ``path`` are the proxies of its side that a registration named as the way to it (RFC 3327). ``registration`` is what
    its refreshes have in common (see sender.py). ``moved``: it has another address by now than its Contact says.
    ``aor`` is the address-of-record that it is registered for, ``gruus`` are the keys of the URIs that the registrar made
    for it (RFC 5627).
    """

    owner: bytes
    contact: bytes
    flow: Flow | None
    natted: bool
    expires_at: float
    path: tuple[bytes, ...] = ()
    registration: bytes = b""
    moved: bool = False
    aor: bytes = b""
    gruus: tuple[bytes, ...] = ()

    @property
    def needs_flow(self) -> bool:
        """Whether its Contact alone does not lead to it."""
        return self.flow is not None and (self.natted or self.moved or self.flow.reliable)

    @property
    def key(self) -> bytes:
        return uri_digest(self.owner + self.contact)


class Bindings:
    """The bindings of one session on one end, bounded, the oldest dropped first.

    Registered ones are kept apart: whoever sends requests that nobody accepts cannot push them out nor move them.
    """

    def __init__(self, most: int = MOST_BINDINGS) -> None:
        self._most = most
        self._passing: OrderedDict[bytes, Binding] = OrderedDict()
        self._registered: OrderedDict[bytes, Binding] = OrderedDict()
        self._latest: dict[bytes, Binding] = {}  # of each registration, by its name

    def __len__(self) -> int:
        return len(self._passing) + len(self._registered)

    def note(self, binding: Binding) -> None:
        """A message with this Contact came; what a registrar has accepted stays as it is."""
        if binding.key not in self._registered:
            self._keep(self._passing, binding)

    def register(self, binding: Binding) -> None:
        """A registrar accepted this Contact. A user agent that came with it from another host than before has moved:
        what it had registered from there leads to it here, and not to whoever has its old address now (S4-8)."""
        self._passing.pop(binding.key, None)
        self._keep(self._registered, binding)
        if not binding.registration:
            return
        before, self._latest[binding.registration] = self._latest.get(binding.registration), binding
        if before is not None and before.flow and binding.flow and before.flow.remote.host != binding.flow.remote.host:
            for key, old in list(self._registered.items()):
                if old.registration == binding.registration and old.flow == before.flow:
                    self._registered[key] = replace(old, flow=binding.flow, moved=True)

    def owner_of(self, registration: bytes) -> bytes | None:
        """Whose registration that is; None where none is known by that name."""
        latest = self._latest.get(registration)
        return None if latest is None else latest.owner

    def get(self, key: bytes, now: float) -> Binding | None:
        """The binding ``key`` while it lasts."""
        binding = self._registered.get(key) or self._passing.get(key)
        return binding if binding is not None and binding.expires_at > now else None

    def forget(self, owner: bytes, contact: bytes) -> None:
        """A registrar removed this Contact."""
        self._registered.pop(uri_digest(owner + contact), None)

    def forget_all(self, aor: bytes) -> None:
        """A registrar removed all Contacts of this address-of-record, from wherever they were registered."""
        for key in [key for key, binding in self._registered.items() if binding.aor == aor]:
            del self._registered[key]

    def of_gruu(self, gruu: SipUri, now: float) -> Binding | None:
        """The registered Contact that the registrar made ``gruu`` for, the latest where there are several (D7)."""
        wanted = gruu_key(gruu)
        for binding in reversed(self._registered.values()):
            if wanted in binding.gruus and binding.expires_at > now:
                return binding
        return None

    def keepalive_flows(self, now: float) -> dict[Flow, bytes]:
        """The UDP flows through foreign NATs that lead to registered user agents, each with a Contact at its end."""
        self._drop_expired(now)
        natted = (each for each in self._registered.values() if each.natted)
        return {each.flow: each.contact for each in natted if each.flow and not each.flow.reliable}

    @property
    def registered(self) -> int:
        """How many registered Contacts there are."""
        return len(self._registered)

    def _keep(self, table: OrderedDict[bytes, Binding], binding: Binding) -> None:
        key = binding.key
        table[key] = binding
        table.move_to_end(key)
        while len(table) > self._most:
            table.popitem(last=False)

    def _drop_expired(self, now: float) -> None:
        for table in (self._passing, self._registered):
            for key in [key for key, binding in table.items() if binding.expires_at <= now]:
                del table[key]
        for name in [name for name, binding in self._latest.items() if binding.expires_at <= now]:
            del self._latest[name]


def gruu_key(uri: SipUri) -> bytes:
    """What two spellings of one GRUU have in common (RFC 5627 section 3.1)."""
    return b"%s@%s;%s" % (uri.user or b"", uri.host.encode("latin-1"), uri.param("gr") or b"")
