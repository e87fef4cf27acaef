"""Inside addresses in what is never edited: dialog identifiers that an inside party made of them (SIP-RULES E), and what
an SDP says for people to read (SIP-RULES J).

They are reported, not changed: a changed Call-ID or tag would break transfers, digests and whoever compares both ends.
"""

from __future__ import annotations

import re

from tunnel.sip.contacts import inside_spans
from tunnel.sip.message import Message

__all__ = ["known_leaks"]

_NEVER_EDITED = ("call-id", "from", "to")
_FOR_PEOPLE = re.compile(rb"(?m)^[siuep]=[^\r\n]*")  # subject, information, URI, mail address, telephone number


def known_leaks(message: Message) -> list[str]:
    """The names of the headers in which ``message`` shows a private address that we do not hide; ``sdp`` for such a
    line of its SDP."""
    names = [name for name in _NEVER_EDITED if any(inside_spans(header.value) for header in message.all(name))]
    if b"\nc=" in message.body and any(inside_spans(line) for line in _FOR_PEOPLE.findall(message.body)):
        names.append("sdp")
    return names
