"""What a phone writes: requests and responses as plain byte templates (RFC 3261 sections 8.1.1 and 8.2.6)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from tunnel.address import Address
from tunnel.errors import BadPacket
from tunnel.sip.message import Message
from tunnel.sip.name_addr import NameAddr
from tunnel.sip.response import build_response
from tunnel.sip.uri import SipUri
from tunnel.sip.via import build_via, default_port

__all__ = ["ALLOW", "Draft", "address_of_uri_untrusted", "build_reply", "contact_uris_untrusted"]

ALLOW = b"Allow: INVITE, ACK, CANCEL, BYE, OPTIONS, REGISTER"
PRODUCT = b"User-Agent: wallpass-softphone"
SDP_TYPE = b"Content-Type: application/sdp"

REASONS = {
    100: "Trying",
    180: "Ringing",
    200: "OK",
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    407: "Proxy Authentication Required",
    480: "Temporarily Unavailable",
    481: "Call/Transaction Does Not Exist",
    486: "Busy Here",
    487: "Request Terminated",
    488: "Not Acceptable Here",
    491: "Request Pending",
    603: "Decline",
}


@dataclass(frozen=True, slots=True)
class Draft:
    """A request that lacks only its Via.

    ``sender`` and ``recipient`` are whole From and To values, tags included; ``contact`` and ``routes`` are whole
    values too, ``lines`` further header lines without CRLF.
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
        """Where the request goes: the topmost Route, else the Request-URI (RFC 3261 8.1.2). Raises BadPacket."""
        uri = NameAddr.parse_untrusted(self.routes[0]).uri_text if self.routes else self.uri
        return address_of_uri_untrusted(uri)

    def again(self, lines: tuple[bytes, ...]) -> Draft:
        """The same request as a new attempt: the next CSeq, and other ``lines`` (RFC 3261 section 8.1.3.5)."""
        return replace(self, cseq=self.cseq + 1, lines=lines)

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
    """A response to ``request`` (RFC 3261 section 8.2.6); ``lines`` are further header lines without CRLF."""
    kind = [SDP_TYPE] if body else []
    return build_response(request, status, REASONS.get(status, ""), to_tag, [*lines, *kind], body)


def join(lines: Sequence[bytes], body: bytes) -> bytes:
    kind = [SDP_TYPE] if body else []
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
