"""Session descriptions of several m-lines, written out by the tests that offer them."""

from __future__ import annotations

import re
from collections.abc import Sequence

from support.ladder import Phone

__all__ = ["describe", "unplaced"]

_ADDRESS = re.compile(rb"^((?:c=|o=.* |a=rtcp:.* )IN )IP[46] \S+")
_PORT = re.compile(rb"^(m=\S+ |a=rtcp:)[1-9][0-9]*")


def describe(
    phone: Phone, *media: Sequence[str], session: Sequence[str] = (), version: int = 1, address: str = ""
) -> bytes:
    """The description of ``phone`` with these m-lines, each a list of lines; ``session``: lines above the first one.

    ``{host}`` in a line stands for the phone's address.
    """
    host = address or phone.address.host
    family = 6 if ":" in host else 4
    lines = [
        "v=0",
        f"o={phone.user} 7 {version} IN IP{family} {host}",
        "s=-",
        f"c=IN IP{family} {host}",
        "t=0 0",
        *session,
        *(line for medium in media for line in medium),
    ]
    return "".join(line.replace("{host}", host) + "\r\n" for line in lines).encode()


def unplaced(sdp: bytes) -> list[bytes]:
    """The lines of a description without addresses and ports: the rest is nobody's business but the phones'."""
    lines = []
    for line in sdp.split(b"\r\n"):
        line = _ADDRESS.sub(rb"\1*", line)
        lines.append(_PORT.sub(rb"\1*", line))
    return lines
