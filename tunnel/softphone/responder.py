"""The requests that reach a phone: retransmissions absorbed, responses repeated until they are acknowledged."""

from __future__ import annotations

from dataclasses import dataclass

from tunnel.address import Address
from tunnel.sip.edit import stamp_source
from tunnel.sip.message import Message
from tunnel.sip.server_transaction import ServerTransaction
from tunnel.sip.transaction_events import GaveUpWaitingForAck, Terminated
from tunnel.sip.transaction_key import ServerKey, server_key
from tunnel.sip.via import reply_address
from tunnel.softphone.messages import build_reply
from tunnel.softphone.requester import Sent

__all__ = ["Received", "Responder", "Unacknowledged"]


@dataclass(frozen=True, slots=True)
class Received:
    """A new request came. An ACK comes this way only when it belongs to a 2xx."""

    key: ServerKey
    request: Message


@dataclass(frozen=True, slots=True)
class Unacknowledged:
    """A 2xx to INVITE was sent for 32 s and no ACK came."""

    key: ServerKey


@dataclass(slots=True)
class Served:
    transaction: ServerTransaction
    request: Message
    reply_to: Address


class Responder:
    """The server transactions of a phone on ``transport``."""

    def __init__(self, transport: str) -> None:
        self._reliable = transport != "udp"
        self._served: dict[ServerKey, Served] = {}
        self._events: list[Received | Unacknowledged] = []
        self._outgoing: list[Sent] = []

    def receive_untrusted(self, request: Message, source: Address, now: float) -> None:
        """Take a request. Raises BadPacket when it cannot be told apart from others."""
        key = server_key(request)
        served = self._served.get(key)
        if served is not None:
            if request.method == "ACK":
                served.transaction.receive_ack(now)
            else:
                served.transaction.receive_retransmission(now)
            self._drain(key, served)
            return
        request = stamp_source(request, source)
        if request.method != "ACK":
            reply_to = source if self._reliable else reply_address(request.top_via, source)
            invite = request.method == "INVITE"
            self._served[key] = Served(ServerTransaction(invite, self._reliable, now), request, reply_to)
        self._events.append(Received(key, request))

    def reply(
        self,
        key: ServerKey,
        status: int,
        now: float,
        *,
        to_tag: bytes = b"",
        lines: tuple[bytes, ...] = (),
        body: bytes = b"",
    ) -> None:
        """Answer a request that is still open; without effect when it has its final answer, or nobody waits."""
        served = self._served.get(key)
        if served is not None:
            raw = build_reply(served.request, status, to_tag=to_tag, lines=lines, body=body)
            self.reply_raw(key, raw, status, now, to_tag=to_tag)

    def reply_raw(self, key: ServerKey, raw: bytes, status: int, now: float, *, to_tag: bytes = b"") -> None:
        """The same with a response that is written already."""
        served = self._served.get(key)
        if served is not None:
            served.transaction.respond(raw, status, to_tag, now)
            self._drain(key, served)

    def acknowledged(self, key: ServerKey, to_tag: bytes) -> None:
        """The ACK of a 2xx came."""
        served = self._served.get(key)
        if served is not None:
            served.transaction.acknowledged(to_tag)

    def tick(self, now: float) -> None:
        for key, served in list(self._served.items()):
            served.transaction.tick(now)
            self._drain(key, served)

    def events(self) -> list[Received | Unacknowledged]:
        events, self._events = self._events, []
        return events

    def outgoing(self) -> list[Sent]:
        outgoing, self._outgoing = self._outgoing, []
        return outgoing

    def deadline(self) -> float | None:
        deadlines = (served.transaction.deadline() for served in self._served.values())
        return min((at for at in deadlines if at is not None), default=None)

    def _drain(self, key: ServerKey, served: Served) -> None:
        self._outgoing += [(raw, served.reply_to) for raw in served.transaction.outgoing()]
        for event in served.transaction.events():
            match event:
                case GaveUpWaitingForAck() if 200 <= served.transaction.last_status < 300:
                    self._events.append(Unacknowledged(key))
                case Terminated():
                    self._served.pop(key, None)
