"""Ways back: where a user agent that showed us a Contact can be reached again (FIELD-NOTES S3-2, S3-10).

A mask stands for a Contact beyond the wall. When somebody hands it back, the end on whose face that Contact arrived looks
here for the flow the user agent had, and for Contacts too long to stand in a mask.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field

from tunnel.sip.flow import Flow

__all__ = ["Binding", "Bindings"]

# Our numbers. One site's phones, each with a few Contacts, about 1 KiB each; the least recently seen goes first, and
# strangers who merely passed by never push out who is registered.
MOST_BINDINGS = 20_000
# Some user agents show another Contact in each call; within a dialog nobody looks here for them.
MOST_CONTACTS = 32


@dataclass(slots=True)
class Binding:
    """One user agent: its flow, whether it sits behind a NAT of its own, its long Contacts by digest."""

    key: bytes
    flow: Flow
    natted: bool
    expires_at: float
    registered_until: float = 0.0
    contacts: dict[bytes, bytes] = field(default_factory=dict)


class Bindings:
    """The bindings of one session on one end: at most ``most`` of registered user agents, and as many of others."""

    def __init__(self, most: int = MOST_BINDINGS) -> None:
        self._most = most
        self._registered: OrderedDict[bytes, Binding] = OrderedDict()
        self._passing: OrderedDict[bytes, Binding] = OrderedDict()
        self._by_digest: dict[bytes, bytes] = {}

    def __len__(self) -> int:
        return len(self._registered) + len(self._passing)

    def note(self, key: bytes, flow: Flow, natted: bool, expires_at: float, *, registered: bool = False) -> None:
        """A message came from this user agent: its flow is where it is reached from now on. ``registered``: a registrar
        keeps it until ``expires_at``."""
        binding = self._registered.pop(key, None) or self._passing.pop(key, None)
        if binding is None:
            binding = Binding(key, flow, natted, expires_at)
        else:
            binding.flow = flow
            binding.natted = natted
            binding.expires_at = max(binding.expires_at, expires_at)
        if registered:
            binding.registered_until = expires_at
        kept = self._registered if binding.registered_until else self._passing
        kept[key] = binding
        while len(kept) > self._most:
            self.forget(next(iter(kept)))

    def get(self, key: bytes, now: float) -> Binding | None:
        """The binding ``key`` while it lasts."""
        binding = self._registered.get(key) or self._passing.get(key)
        if binding is not None and binding.expires_at <= now:
            self.forget(key)
            return None
        return binding

    def remember(self, key: bytes, digest: bytes, contact: bytes) -> None:
        """Keep the exact bytes of a Contact of the binding ``key`` under their digest."""
        binding = self._registered.get(key) or self._passing.get(key)
        if binding is None:
            return
        binding.contacts.pop(digest, None)
        binding.contacts[digest] = contact
        self._by_digest[digest] = key
        while len(binding.contacts) > MOST_CONTACTS:
            oldest = next(iter(binding.contacts))
            del binding.contacts[oldest]
            self._by_digest.pop(oldest, None)

    def by_digest(self, digest: bytes, now: float) -> tuple[bytes, bytes] | None:
        """The binding's key and the exact Contact bytes that ``digest`` was made of."""
        binding = self.get(self._by_digest.get(digest, b""), now)
        contact = binding.contacts.get(digest) if binding else None
        return (binding.key, contact) if binding and contact is not None else None

    def forget(self, key: bytes) -> None:
        binding = self._registered.pop(key, None) or self._passing.pop(key, None)
        for digest in binding.contacts if binding is not None else ():
            self._by_digest.pop(digest, None)

    def keepalive_flows(self, now: float) -> list[Flow]:
        """The UDP flows through foreign NATs that lead to registered user agents: these need keep-alives (RFC 5626).

        Whose registration has run out is registered no longer.
        """
        for binding in [each for each in self._registered.values() if each.registered_until <= now]:
            binding.registered_until = 0.0
            self._passing[binding.key] = self._registered.pop(binding.key)
        return [b.flow for b in self._registered.values() if b.natted and b.flow.transport == "udp"]

    @property
    def registered(self) -> int:
        """How many registered user agents there are."""
        return len(self._registered)
