"""What an accepted REGISTER of this face means for the way back to its sender (RFC 3261 section 10)."""

from __future__ import annotations

from tunnel.errors import BadPacket
from tunnel.sip.flow import Flow
from tunnel.sip.grammar import number
from tunnel.sip.half import Half, is_natted, uri_of_value
from tunnel.sip.message import Message
from tunnel.sip.name_addr import NameAddr

__all__ = ["note_registration"]

# What a registrar grants that does not say (RFC 3261 section 10.2.1.1 leaves it open; section 10.3 shows an hour).
_DEFAULT_EXPIRES_S = 3600
# Our numbers: how long a phone that is late with its refresh stays reachable, and the longest registration believed.
_GRACE_S = 32
_LONGEST_S = 86_400


def note_registration(half: Half, register: Message, flow: Flow, response: Message, now: float) -> None:
    """A registrar accepted ``register``, which came by ``flow``: its sender stays reachable as long as that lasts (F2)."""
    key = half.binding_key(register, flow)
    granted_s = _granted_expires_s(register, response)
    if granted_s == 0:
        half.bindings.forget(key)
        return
    half.bindings.note(key, flow, is_natted(register, flow), now + granted_s + _GRACE_S, registered=True)


def _granted_expires_s(register: Message, response: Message) -> int:
    """How long the registrar keeps the sender's Contacts: the largest value of its answer (RFC 3261 section 10.2.1.1)."""
    wanted = {uri.text for value in register.values("contact") if (uri := uri_of_value(value.text)) is not None}
    header = response.header("expires")
    answered = None if header is None else number(header.value)
    default = _DEFAULT_EXPIRES_S if answered is None else answered
    if _asks_to_be_removed(register):
        return 0
    granted = []
    for value in response.values("contact"):
        try:
            expires = NameAddr.parse_untrusted(value.text).param("expires")
        except BadPacket:
            continue
        seconds = None if expires is None else number(expires)
        granted.append(default if seconds is None else seconds)
    if not wanted or not granted:
        return default if wanted else 0
    return min(max(granted), _LONGEST_S)


def _asks_to_be_removed(register: Message) -> bool:
    """Whether every Contact of this REGISTER is to go (RFC 3261 section 10.2.2): its own ``expires`` wins over the header."""
    header = register.header("expires")
    default = header.value if header is not None else b""
    try:
        asked = [NameAddr.parse_untrusted(value.text).param("expires") for value in register.values("contact")]
    except BadPacket:
        return False
    return bool(asked) and all((default if each is None else each) == b"0" for each in asked)
