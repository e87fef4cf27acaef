"""Contacts of one side as they look on the other: masked on the way out, restored when somebody hands them back (C1-C6)."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

from tunnel.address import Address, is_private
from tunnel.errors import BadPacket
from tunnel.sip.bindings import Bindings
from tunnel.sip.mask import ContactMask, MaskKey
from tunnel.sip.uri import SipUri

__all__ = [
    "MASK_PARAM",
    "NOBODY",
    "OWNER_BYTES",
    "ContactMasks",
    "Opened",
    "inside_spans",
    "is_unreachable",
    "without_headers",
]

MASK_PARAM = "wp"
OWNER_BYTES = 8
NOBODY = bytes(OWNER_BYTES)  # the owner of an address that its own user agent did not tell us
# Which side of the wall the masked Contact lives on: the top bit of the agent's number inside the mask.
_OUTSIDE_BIT = 0x8000_0000
# Our number. A mask must stay the same over many registrations, or each refresh would add a binding at the registrar;
# so its expiry moves in steps of this, and a mask lives between one and two steps.
_EXPIRY_STEP_S = 30 * 86_400
# A parameter that names an address of the other side (``alias=10.1.0.5~5060~1``, ``received=sip:10.1.0.5``) stays hidden.
_ADDRESS_INSIDE = re.compile(rb"(?:[0-9]{1,3}\.){3}[0-9]{1,3}|\[[0-9A-Fa-f:.]+\]|(?:[0-9A-Fa-f]{1,4}:){2}")

_LITERAL = re.compile(rb"(?<![0-9.])[0-9]{1,3}(?:\.[0-9]{1,3}){3}(?![0-9.])|\[[0-9A-Fa-f:.]{2,45}\]")


@dataclass(frozen=True, slots=True)
class Opened:
    """What a mask stood for: the exact URI, the key of the binding that knows the way, and who was dialled.

    ``dialled`` is the user part that came with the mask: a carrier puts the number there that its customer is to see.
    ``owner`` is whose Contact it is, ``NOBODY`` where it was only mentioned. ``natted``: only a flow leads there.
    """

    uri: bytes
    key: bytes
    dialled: bytes | None
    owner: bytes = b""
    natted: bool = False

    @property
    def host(self) -> str:
        """The host of the exact URI."""
        return SipUri.parse_untrusted(self.uri).host

    @property
    def request_uri(self) -> bytes:
        """The exact URI (C3), its user replaced where somebody else was dialled.

        Who was mentioned in a Refer-To is called, and nobody else; the method that stood there says how, and has no place
        in a Request-URI (RFC 3261 section 19.1.5).
        """
        original = SipUri.parse_untrusted(self.uri)
        if self.owner == NOBODY:
            return original.without_param("method")
        if self.dialled is None or unquote_to_bytes(self.dialled) == unquote_to_bytes(original.user or b""):
            return self.uri
        return original.with_user(self.dialled)


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

    def mask(self, uri: SipUri, owner: bytes, at: Address, transport: str, now: float) -> bytes:
        """The URI to show on this face for ``uri`` of the other side: our address and a token in it (C1, C2).

        Raises BadPacket while there is no key.
        """
        if self._key is None:
            raise BadPacket("there is no key to mask with before the first session", status=503)
        agent = self._agent | (0 if self._outside else _OUTSIDE_BIT)
        step = int((now + self._epoch_s) // _EXPIRY_STEP_S) + 2
        token = self._key.seal_contact(agent, step * _EXPIRY_STEP_S, owner + without_headers(uri))
        return _shown(uri, token, at, transport)

    def mask_again(self, uri: SipUri, at: Address, transport: str, now: float) -> bytes:
        """The URI to show on this face for ``uri``, which bears a live mask as the other face shows it.

        For those whom only we can reach: a party of this side behind a NAT, shown to another one of this side.
        """
        mask = self._opened(uri, now)
        token = uri.param(MASK_PARAM) or b""
        if mask is not None and self._key is not None:
            binding = self._bindings.get(mask.digest, now) if mask.uri is None else None
            sealed = mask.uri if binding is None else binding.owner + binding.contact
            if sealed is not None:
                token = self._key.seal_contact(mask.agent, mask.expiry, sealed)
        return _shown(uri, token, at, transport)

    def open_own(self, uri: SipUri, now: float) -> Opened | None:
        """The Contact of *this* side that ``uri`` stands for (C3).

        None: no mask, not a live one, or one of the other side.
        """
        mask = self._opened(uri, now)
        if mask is None or self._leads_outside(mask) is not self._outside:
            return None
        binding = self._bindings.get(mask.digest, now)
        natted = binding is not None and binding.natted
        if mask.uri is not None:
            return Opened(mask.uri[OWNER_BYTES:], mask.digest, uri.user, mask.uri[:OWNER_BYTES], natted)
        return None if binding is None else Opened(binding.contact, mask.digest, uri.user, binding.owner, natted)

    def is_live(self, uri: SipUri, now: float) -> bool:
        """Whether ``uri`` bears a mask of this agent, whichever side it stands for, that has not expired."""
        return self._opened(uri, now) is not None

    @staticmethod
    def _leads_outside(mask: ContactMask) -> bool:
        return bool(mask.agent & _OUTSIDE_BIT)

    def _opened(self, uri: SipUri, now: float) -> ContactMask | None:
        token = uri.param(MASK_PARAM)
        mask = self._key.open(token) if token and self._key is not None else None
        if mask is None or mask.expiry <= now + self._epoch_s:
            return None
        return mask if mask.agent & ~_OUTSIDE_BIT == self._agent else None


def _shown(uri: SipUri, token: bytes, at: Address, transport: str) -> bytes:
    """``uri`` with our address and ``token`` in the place of what names the other side (C1, C2)."""
    shown = SipUri.parse_untrusted(uri.with_hostport(str(at).encode("ascii")))
    for name, value in uri.params:
        if name.lower() == b"maddr" or _ADDRESS_INSIDE.search(name) or _ADDRESS_INSIDE.search(value or b""):
            shown = SipUri.parse_untrusted(shown.without_param(name.lower().decode("latin-1")))
    if transport == "udp" and uri.transport not in ("", "udp"):
        shown = SipUri.parse_untrusted(shown.without_param("transport"))
    elif transport != "udp" and uri.scheme != "sips":
        shown = SipUri.parse_untrusted(shown.with_param("transport", transport.encode("ascii")))
    return shown.with_param(MASK_PARAM, token)


def without_headers(uri: SipUri) -> bytes:
    """The URI without its headers, which stay visible behind a mask and have no place in a Request-URI."""
    return uri.text[: uri.params_span[1]]


def is_unreachable(host: str) -> bool:
    """Whether ``host`` is an IP address that means nothing beyond its own network."""
    try:
        return is_private(ipaddress.ip_address(host))
    except ValueError:
        return False


def inside_spans(text: bytes) -> list[tuple[int, int]]:
    """Where in ``text`` there are IP addresses that mean nothing beyond their own network, IPv6 ones in brackets."""
    found = _LITERAL.finditer(text)
    return [match.span() for match in found if is_unreachable(match[0].decode("ascii").strip("[]"))]
