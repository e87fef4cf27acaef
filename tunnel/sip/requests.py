"""The two requests that a proxy makes itself from an INVITE it has sent: CANCEL and the ACK to a failure."""

from __future__ import annotations

from collections.abc import Sequence

from tunnel.sip.message import Message

__all__ = ["build_ack_non2xx", "build_cancel"]


def build_ack_non2xx(invite: Message, response: Message) -> bytes:
    """The ACK to a final response other than 2xx (RFC 3261 section 17.1.1.3).

    ``invite`` is the request as it was sent. Request-URI, top Via, Route, From and Call-ID are its own to the byte; To
    is the response's, for its tag.
    """
    return _hop_by_hop(invite, "ACK", to=response, more=())


def build_cancel(invite: Message, reason_lines: Sequence[bytes] = ()) -> bytes:
    """The CANCEL of an INVITE as it was sent (RFC 3261 section 9.1), with Reason lines (RFC 3326) if there are any."""
    return _hop_by_hop(invite, "CANCEL", to=invite, more=reason_lines)


def _hop_by_hop(invite: Message, method: str, to: Message, more: Sequence[bytes]) -> bytes:
    name = method.encode("ascii")
    cseq = invite.all("cseq")[0].raw_name
    lines = [
        b"%s %s SIP/2.0" % (name, invite.request_uri),
        invite.all("via")[0].raw_name + b": " + invite.top_via.text,
        *invite.lines("route"),
        b"Max-Forwards: 70",
        *invite.lines("from"),
        *to.lines("to"),
        *invite.lines("call-id"),
        b"%s: %d %s" % (cseq, invite.cseq[0], name),
        *more,
        b"Content-Length: 0",
    ]
    return b"\r\n".join(lines) + b"\r\n\r\n"
