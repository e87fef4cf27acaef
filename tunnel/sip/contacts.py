"""Contacts of one side as they look on the other: masked on the way out, restored when somebody hands them back (C1-C6)."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

from tunnel.address import Address, is_private
from tunnel.errors import BadPacket, LocalMisuse
from tunnel.sip.bindings import Bindings
from tunnel.sip.mask import ContactMask, MaskKey, uri_digest
from tunnel.sip.uri import SipUri

__all__ = ["BINDING_BYTES", "ContactMasks", "Opened"]

MASK_PARAM = "wp"
BINDING_BYTES = 8
# Which side of the wall the masked Contact lives on: the top bit of the agent's number inside the mask.
_OUTSIDE_BIT = 0x8000_0000
# Our number. A mask must stay the same over many registrations, or each refresh would add a binding at the registrar;
# so its expiry moves in steps of this, and a mask lives between one and two steps.
_EXPIRY_STEP_S = 30 * 86_400
# A parameter that names an address of the other side (``alias=10.1.0.5~5060~1``, ``received=sip:10.1.0.5``) stays hidden.
_ADDRESS_INSIDE = re.compile(rb"(?:[0-9]{1,3}\.){3}[0-9]{1,3}|\[[0-9A-Fa-f:.]+\]")


@dataclass(frozen=True, slots=True)
class Opened:
    """What a mask stood for: the exact URI, and the key of the binding that knows the way."""

    uri: bytes
    binding: bytes


class ContactMasks:
    """The masks of one tenant's agent as one end makes and opens them.

    ``outside``: whether this end is the server, whose face lies outside. ``epoch_s`` is unix time at ``now`` == 0.
    The agent learns the key with its first session, before which nothing can be masked: ``use``.
    """

    def __init__(self, *, outside: bool, epoch_s: float, bindings: Bindings) -> None:
        self._key: MaskKey | None = None
        self._agent = 0
        self._outside = outside
        self._epoch_s = epoch_s
        self._bindings = bindings

    def use(self, key: MaskKey, agent: int) -> None:
        """Seal with ``key`` for the agent with that number from now on."""
        self._key = key
        self._agent = agent

    def mask(self, uri: SipUri, binding: bytes, at: Address, transport: str, now: float) -> bytes:
        """The URI to show on this face for ``uri`` of the other side: our address and a token in it (C1, C2)."""
        if self._key is None:
            raise LocalMisuse("there is no key to mask with before the first session")
        owner = self._agent | (0 if self._outside else _OUTSIDE_BIT)
        step = int((now + self._epoch_s) // _EXPIRY_STEP_S) + 2
        token = self._key.seal_contact(owner, step * _EXPIRY_STEP_S, binding + _target(uri))
        shown = uri.with_hostport(str(at).encode("ascii"))
        for name, value in uri.params:
            if value is not None and _ADDRESS_INSIDE.search(value):
                shown = SipUri.parse_untrusted(shown).without_param(name.decode("latin-1").lower())
        shown = SipUri.parse_untrusted(shown).without_param("maddr")
        parsed = SipUri.parse_untrusted(shown)
        if transport == "udp":
            shown = parsed.without_param("transport")
        elif parsed.scheme != "sips":
            shown = parsed.with_param("transport", transport.encode("ascii"))
        return SipUri.parse_untrusted(shown).with_param(MASK_PARAM, token)

    def open_own(self, uri: SipUri, now: float) -> Opened | None:
        """The Contact of *this* side that ``uri`` stands for, its user replaced where somebody else was dialled (C3).

        None: no mask, not a live one, or one of the other side.
        """
        mask = self._opened(uri, now)
        if mask is None or bool(mask.agent & _OUTSIDE_BIT) is not self._outside:
            return None
        if mask.uri is not None:
            binding, text = mask.uri[:BINDING_BYTES], mask.uri[BINDING_BYTES:]
        else:
            found = self._bindings.by_digest(mask.digest, now)
            if found is None:
                return None
            binding, text = found
        try:
            original = SipUri.parse_untrusted(text)
        except BadPacket:
            return None
        if uri.user != original.user and uri.user is not None:
            return Opened(original.with_user(uri.user), binding)
        return Opened(text, binding)

    def is_live(self, uri: SipUri, now: float) -> bool:
        """Whether ``uri`` bears a mask of this agent, whichever side it stands for, that has not expired."""
        return self._opened(uri, now) is not None

    def remember(self, binding: bytes, uri: SipUri) -> None:
        """A Contact of this side passed: keep it for a mask too small to hold it."""
        target = _target(uri)
        self._bindings.remember(binding, uri_digest(binding + target), target)

    def _opened(self, uri: SipUri, now: float) -> ContactMask | None:
        token = uri.param(MASK_PARAM)
        mask = self._key.open(token) if token and self._key is not None else None
        if not isinstance(mask, ContactMask) or mask.expiry <= now + self._epoch_s:
            return None
        return mask if mask.agent & ~_OUTSIDE_BIT == self._agent else None


def _target(uri: SipUri) -> bytes:
    """The URI without its headers, which stay visible behind the mask and have no place in a Request-URI."""
    return uri.text[: uri.params_span[1]]


def is_unreachable(host: str) -> bool:
    """Whether ``host`` is an IP address that means nothing beyond its own network."""
    try:
        return is_private(ipaddress.ip_address(host))
    except ValueError:
        return False
