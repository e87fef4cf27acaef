"""Which transaction a message belongs to (RFC 3261 sections 17.1.3 and 17.2.3)."""

from __future__ import annotations

from typing import TypeAlias

from tunnel.sip.message import Message
from tunnel.sip.via import MAGIC_COOKIE

__all__ = ["ClientKey", "ServerKey", "cancelled_key", "client_key", "server_key"]

ClientKey: TypeAlias = tuple[bytes, str]
ServerKey: TypeAlias = tuple[bytes | str | int | None, ...]


def client_key(message: Message) -> ClientKey:
    """The key of the client transaction that sent this request, or that this response answers: (branch, method).

    A CANCEL has its INVITE's branch and its own method.
    """
    return message.top_via.branch, message.cseq_method


def server_key(request: Message) -> ServerKey:
    """The key of the server transaction a request belongs to; an ACK has the key of its INVITE.

    Call-ID and CSeq number are part of it, beyond what the RFC asks: user agents that use a branch twice exist, and
    nobody reaches a transaction of somebody else by guessing a branch.
    """
    return _server_key(request, "INVITE" if request.method == "ACK" else request.method)


def cancelled_key(cancel: Message) -> ServerKey:
    """The key of the server transaction that a CANCEL is to end (RFC 3261 section 9.2)."""
    return _server_key(cancel, "INVITE")


def _server_key(request: Message, method: str) -> ServerKey:
    via = request.top_via
    key = (via.branch, via.host, via.port, method, request.call_id, request.cseq[0])
    if via.branch.startswith(MAGIC_COOKIE):
        return key
    # RFC 2543: the branch is not unique, so all that a retransmission, a CANCEL and a hop-by-hop ACK have in common.
    return *key, request.from_tag, request.request_uri
