"""What user agents, trunks and PBXs send in ladders, and a World that watches what shows outside.

world = HidingWorld(pbx="sip:10.1.0.5")
world.public(TRUNK, request("INVITE", "sip:+4930@203.0.113.10", TRUNK, body=offer("203.0.113.20", 4000)))
"""

from __future__ import annotations

from support.pair import World
from tunnel.sip.message import Message
from tunnel.sip.name_addr import NameAddr

__all__ = ["HidingWorld", "contact_of", "offer", "request", "route_to", "uri_in"]

# Dialog identifiers are never edited (SIP-RULES E): what a user agent puts there shows.
_NEVER_EDITED = frozenset({"call-id", "from", "to"})


def request(
    method: str,
    uri: str | bytes,
    source: str,
    *,
    call: str = "call-1",
    cseq: int = 1,
    caller: str = "<sip:alice@acme.example>;tag=a1",
    callee: str = "<sip:bob@acme.example>",
    contact: str = "",
    more: tuple[str | bytes, ...] = (),
    body: bytes = b"",
    transport: str = "UDP",
    branch: str = "",
) -> bytes:
    """A request as the user agent at ``source`` (what it thinks its address is) sends it."""
    lines: list[str | bytes] = [
        b"%s %s SIP/2.0" % (method.encode(), uri if isinstance(uri, bytes) else uri.encode()),
        f"Via: SIP/2.0/{transport} {source};branch=z9hG4bK{branch or f'{call}-{cseq}-{method}'};rport",
        "Max-Forwards: 70",
        f"From: {caller}",
        f"To: {callee}",
        f"Call-ID: {call}",
        f"CSeq: {cseq} {method}",
    ]
    if contact:
        lines.append(f"Contact: {contact}")
    lines += more
    if body:
        lines.append("Content-Type: application/sdp")
    lines.append(f"Content-Length: {len(body)}")
    encoded = [line if isinstance(line, bytes) else line.encode() for line in lines]
    return b"\r\n".join([*encoded, b"", body])


def offer(host: str, port: int) -> bytes:
    """An SDP with one audio stream to ``host:port``; it serves as an answer just as well."""
    return (f"v=0\r\no=- 1 1 IN IP4 {host}\r\ns=-\r\nc=IN IP4 {host}\r\nt=0 0\r\nm=audio {port} RTP/AVP 0\r\n").encode()


def uri_in(value: bytes) -> bytes:
    """The URI of a name-addr value."""
    return NameAddr.parse_untrusted(value).uri_text


def contact_of(message: Message) -> bytes:
    """The URI of the first Contact."""
    return uri_in(message.values("contact")[0].text)


def route_to(message: Message, *, caller: bool) -> tuple[bytes, ...]:
    """The Route lines of in-dialog requests of who got ``message``: the callee as the request came, the caller from a
    2xx, bottom first (RFC 3261 section 12.1)."""
    routes = [value.text for value in message.values("record-route")]
    return tuple(b"Route: " + route for route in (reversed(routes) if caller else routes))


class HidingWorld(World):
    """A World with ``hide = "full"`` in which nothing that leaves outside may name an address of the LAN."""

    def settle(self) -> None:
        super().settle()
        for _, message in self.public_side.sent:
            shown = message.raw[: message.headers[0].start] + message.body
            for header in message.headers:
                if header.name not in _NEVER_EDITED:
                    shown += message.raw[header.start : header.end]
            assert b"10.1." not in shown, message.raw.decode()
