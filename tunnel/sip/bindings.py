"""Ways back: where a user agent that showed us a Contact can be reached again (FIELD-NOTES S3-2, S3-10).

A mask stands for a Contact beyond the wall. When somebody hands it back, the end on whose face that Contact arrived looks
here for the flow the user agent had, and for Contacts too long to stand in a mask.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field

from tunnel.sip.flow import Flow

__all__ = ["Binding", "Bindings"]

# Our number: one site's phones, each with a few Contacts; the least recently seen goes first. About 1 KiB each.
MOST_BINDINGS = 20_000


@dataclass(slots=True)
class Binding:
    """One user agent: its flow, whether it sits behind a NAT of its own, its long Contacts by digest."""

    key: bytes
    flow: Flow
    natted: bool
    expires_at: float
    registered: bool = False
    contacts: dict[bytes, bytes] = field(default_factory=dict)


class Bindings:
    """The bindings of one session on one end, bounded, the oldest dropped first."""

    def __init__(self, most: int = MOST_BINDINGS) -> None:
        self._most = most
        self._by_key: OrderedDict[bytes, Binding] = OrderedDict()
        self._by_digest: OrderedDict[bytes, bytes] = OrderedDict()

    def __len__(self) -> int:
        return len(self._by_key)

    def note(self, key: bytes, flow: Flow, natted: bool, expires_at: float) -> Binding:
        """A message came from this user agent: its flow is where it is reached from now on."""
        binding = self._by_key.get(key)
        if binding is None:
            binding = self._by_key[key] = Binding(key, flow, natted, expires_at)
            while len(self._by_key) > self._most:
                self._by_key.popitem(last=False)
        else:
            self._by_key.move_to_end(key)
            binding.flow = flow
            binding.natted = natted
            binding.expires_at = max(binding.expires_at, expires_at)
        return binding

    def get(self, key: bytes, now: float) -> Binding | None:
        """The binding ``key`` while it lasts."""
        binding = self._by_key.get(key)
        if binding is not None and binding.expires_at <= now:
            del self._by_key[key]
            return None
        return binding

    def remember(self, key: bytes, digest: bytes, contact: bytes) -> None:
        """Keep the exact bytes of a Contact of the binding ``key`` under their digest."""
        binding = self._by_key.get(key)
        if binding is None:
            return
        binding.contacts[digest] = contact
        self._by_digest[digest] = key
        self._by_digest.move_to_end(digest)
        while len(self._by_digest) > self._most:
            self._by_digest.popitem(last=False)

    def by_digest(self, digest: bytes, now: float) -> tuple[bytes, bytes] | None:
        """The binding's key and the exact Contact bytes that ``digest`` was made of."""
        binding = self.get(self._by_digest.get(digest, b""), now)
        contact = binding.contacts.get(digest) if binding else None
        return (binding.key, contact) if binding and contact is not None else None

    def forget(self, key: bytes) -> None:
        self._by_key.pop(key, None)

    def keepalive_flows(self, now: float) -> list[Flow]:
        """The UDP flows through foreign NATs that lead to registered user agents: these need keep-alives (RFC 5626)."""
        return [
            binding.flow
            for binding in self._by_key.values()
            if binding.natted and binding.registered and binding.expires_at > now and binding.flow.transport == "udp"
        ]

    @property
    def registered(self) -> int:
        """How many registered user agents there are."""
        return sum(binding.registered for binding in self._by_key.values())
