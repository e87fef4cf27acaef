"""The requests that a proxy makes itself: CANCEL, the ACK to a failure, and the end of a call that nobody can have."""

from __future__ import annotations

from collections.abc import Sequence

from tunnel.sip.message import Message

__all__ = ["build_ack_2xx", "build_ack_non2xx", "build_bye", "build_cancel"]


def build_ack_non2xx(invite: Message, response: Message) -> bytes:
    """The ACK to a final response other than 2xx (RFC 3261 section 17.1.1.3).

    ``invite`` is the request as it was sent. Request-URI, top Via, Route, From and Call-ID are its own to the byte; To
    is the response's, for its tag.
    """
    return _hop_by_hop(invite, "ACK", to=response, more=())


def build_cancel(invite: Message, reason_lines: Sequence[bytes] = ()) -> bytes:
    """The CANCEL of an INVITE as it was sent (RFC 3261 section 9.1), with Reason lines (RFC 3326) if there are any."""
    return _hop_by_hop(invite, "CANCEL", to=invite, more=reason_lines)


def build_ack_2xx(invite: Message, response: Message) -> bytes:
    """The ACK of a 2xx as the caller would send it (RFC 3261 section 13.2.2.4); ``invite`` is the request as it came."""
    return _in_dialog(invite, response, "ACK", invite.cseq[0])


def build_bye(invite: Message, response: Message, cseq: int) -> bytes:
    """The caller's BYE to the dialog that ``response``, a 2xx to ``invite``, made (RFC 3261 section 15.1.1)."""
    return _in_dialog(invite, response, "BYE", cseq)


def _in_dialog(invite: Message, response: Message, method: str, cseq: int) -> bytes:
    name = method.encode("ascii")
    lines = [
        b"%s %s SIP/2.0" % (name, invite.request_uri),
        b"Via: " + invite.top_via.text,
        b"Max-Forwards: 70",
        *invite.lines("from"),
        *response.lines("to"),
        *invite.lines("call-id"),
        b"CSeq: %d %s" % (cseq, name),
        b"Content-Length: 0",
    ]
    return b"\r\n".join(lines) + b"\r\n\r\n"


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
