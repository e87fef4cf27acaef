"""Which transaction a message belongs to (RFC 3261 sections 17.1.3 and 17.2.3)."""

from __future__ import annotations

from typing import TypeAlias

from tunnel.errors import BadPacket
from tunnel.sip.message import Message
from tunnel.sip.via import MAGIC_COOKIE, Via

__all__ = ["ClientKey", "ServerKey", "cancelled_key", "client_key", "server_key"]

ClientKey: TypeAlias = tuple[bytes, str]
ServerKey: TypeAlias = tuple[bytes | str | int | None, ...]


def client_key(message: Message) -> ClientKey:
    """The key of the client transaction that sent a request, or that a response answers: (branch, CSeq method).

    Raises BadPacket when there is no usable top Via.
    """
    return _branch_untrusted(message)[0], message.cseq[1]


def server_key(request: Message) -> ServerKey:
    """The key of the server transaction a request belongs to; an ACK has the key of its INVITE.

    Call-ID and CSeq number are part of it, beyond what the RFC asks: user agents that use a branch twice exist, and
    nobody can reach a transaction of somebody else by guessing a branch. Raises BadPacket without a usable top Via.
    """
    return _server_key(request, "INVITE" if request.method == "ACK" else request.method)


def cancelled_key(cancel: Message) -> ServerKey:
    """The key of the server transaction that a CANCEL is to end (RFC 3261 section 9.2)."""
    return _server_key(cancel, "INVITE")


def _server_key(request: Message, method: str) -> ServerKey:
    branch, via = _branch_untrusted(request)
    number = request.cseq[0]
    if branch.startswith(MAGIC_COOKIE):
        return branch, via.host.lower(), via.port, method, request.call_id, number
    # RFC 2543: no unique branch, so everything that a retransmission and a hop-by-hop ACK have in common.
    return branch, via.host.lower(), via.port, method, request.call_id, number, request.from_tag, request.request_uri


def _branch_untrusted(message: Message) -> tuple[bytes, Via]:
    values = message.values("via")
    if not values:
        raise BadPacket("no Via")
    via = Via.parse_untrusted(values[0].text)
    return via.branch, via
