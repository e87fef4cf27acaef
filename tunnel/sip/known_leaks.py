"""Inside addresses in what is never edited: dialog identifiers that an inside party made of them (SIP-RULES E), and what
an SDP says for people to read (SIP-RULES J).

They are reported, not changed: a changed Call-ID or tag would break transfers, digests and whoever compares both ends.
"""

from __future__ import annotations

import re

from tunnel.address import Address, is_private
from tunnel.sip.message import Message

__all__ = ["known_leaks"]

_NEVER_EDITED = ("call-id", "from", "to")
_FOR_PEOPLE = re.compile(rb"(?m)^[siuep]=[^\r\n]*")  # subject, information, URI, mail address, telephone number
_LITERAL = re.compile(rb"(?<![0-9.])[0-9]{1,3}(?:\.[0-9]{1,3}){3}(?![0-9.])")


def known_leaks(message: Message) -> list[str]:
    """The names of the headers in which ``message`` shows a private IPv4 address that we do not hide; ``sdp`` for such a
    line of its SDP."""
    names = [name for name in _NEVER_EDITED if any(_shows(header.value) for header in message.all(name))]
    if b"\nc=" in message.body and any(_shows(line) for line in _FOR_PEOPLE.findall(message.body)):
        names.append("sdp")
    return names


def _shows(value: bytes) -> bool:
    for match in _LITERAL.finditer(value):
        try:
            if is_private(Address(match[0].decode("ascii"), 0).ip):
                return True
        except ValueError:
            continue
    return False
