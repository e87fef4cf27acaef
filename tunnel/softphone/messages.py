"""What a phone writes: requests and responses as plain byte templates (RFC 3261 sections 8.1.1 and 8.2.6)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from tunnel.address import Address
from tunnel.errors import BadPacket
from tunnel.sip.message import Message
from tunnel.sip.name_addr import NameAddr
from tunnel.sip.uri import SipUri
from tunnel.sip.via import build_via, default_port

__all__ = ["ALLOW", "Draft", "address_of_uri_untrusted", "build_reply", "contact_uris_untrusted"]

ALLOW = b"Allow: INVITE, ACK, CANCEL, BYE, OPTIONS, REGISTER"
PRODUCT = b"User-Agent: wallpass-softphone"

REASONS = {
    100: b"Trying",
    180: b"Ringing",
    200: b"OK",
    400: b"Bad Request",
    401: b"Unauthorized",
    403: b"Forbidden",
    404: b"Not Found",
    405: b"Method Not Allowed",
    407: b"Proxy Authentication Required",
    480: b"Temporarily Unavailable",
    481: b"Call/Transaction Does Not Exist",
    486: b"Busy Here",
    487: b"Request Terminated",
    488: b"Not Acceptable Here",
    491: b"Request Pending",
    603: b"Decline",
}


@dataclass(frozen=True, slots=True)
class Draft:
    """A request that lacks only its Via.

    ``sender`` and ``recipient`` are whole From and To values, tags included; ``contact`` and ``routes`` whole values too;
    ``lines`` are further header lines without CRLF.
    """

    method: str
    uri: bytes
    sender: bytes
    recipient: bytes
    call_id: bytes
    cseq: int
    contact: bytes = b""
    routes: tuple[bytes, ...] = ()
    lines: tuple[bytes, ...] = ()
    body: bytes = b""

    def next_hop_untrusted(self) -> Address:
        """Where the request goes: the topmost Route, else the Request-URI (RFC 3261 section 8.1.2). Raises BadPacket."""
        uri = NameAddr.parse_untrusted(self.routes[0]).uri_text if self.routes else self.uri
        return address_of_uri_untrusted(uri)

    def again(self, *lines: bytes) -> Draft:
        """The same request as a new attempt: the next CSeq, and ``lines`` besides (RFC 3261 section 8.1.3.5)."""
        return replace(self, cseq=self.cseq + 1, lines=(*self.lines, *lines))

    def render(self, transport: str, local: Address, branch: bytes) -> bytes:
        """The bytes to send from ``local``."""
        lines = [
            b"%b %b SIP/2.0" % (self.method.encode(), self.uri),
            b"Via: " + build_via(transport, local, branch),
            b"Max-Forwards: 70",
            *(b"Route: " + route for route in self.routes),
            b"From: " + self.sender,
            b"To: " + self.recipient,
            b"Call-ID: " + self.call_id,
            b"CSeq: %d %b" % (self.cseq, self.method.encode()),
            *([b"Contact: " + self.contact] if self.contact else []),
            PRODUCT,
            *self.lines,
        ]
        return join(lines, self.body)


def build_reply(
    request: Message, status: int, *, to_tag: bytes = b"", lines: Sequence[bytes] = (), body: bytes = b""
) -> bytes:
    """A response to ``request`` with the headers that RFC 3261 section 8.2.6.2 has it copy; ``lines`` without CRLF."""
    recipient = request.lines("to")[0]
    if to_tag and not request.to_tag:
        recipient += b";tag=" + to_tag
    copied = [
        *request.lines("via"),
        *request.lines("from"),
        recipient,
        *request.lines("call-id"),
        *request.lines("cseq"),
    ]
    if status < 300 and not request.to_tag:
        copied += request.lines("record-route")
    return join([b"SIP/2.0 %d %b" % (status, REASONS.get(status, b"")), *copied, *lines], body)


def join(lines: Sequence[bytes], body: bytes) -> bytes:
    kind = [b"Content-Type: application/sdp"] if body else []
    return b"\r\n".join([*lines, *kind, b"Content-Length: %d" % len(body), b"", b""]) + body


def contact_uris_untrusted(message: Message) -> list[bytes]:
    """The URIs of all Contact values. Raises BadPacket."""
    return [NameAddr.parse_untrusted(value.text).uri_text for value in message.values("contact")]


def address_of_uri_untrusted(text: bytes) -> Address:
    """Where a request for this SIP URI is sent, a host name still unresolved. Raises BadPacket."""
    uri = SipUri.parse_untrusted(text)
    if uri.scheme != "sip":
        raise BadPacket(f"a softphone does not speak {uri.scheme}:")
    return Address(uri.host, uri.port or default_port(uri.transport or "udp"))
