"""The requests of a phone until each has its final response, a digest challenge answered on the way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import TypeAlias

from tunnel.address import Address
from tunnel.sip.client_transaction import ClientTransaction
from tunnel.sip.message import Message, parse_untrusted
from tunnel.sip.transaction_events import AckLost, ClientEvent, Final, Provisional, Terminated, TimedOut
from tunnel.sip.transaction_key import ClientKey, client_key
from tunnel.sip.via import MAGIC_COOKIE
from tunnel.softphone.digest import Credentials, answer_challenge, pick_challenge
from tunnel.softphone.leg import Leg
from tunnel.softphone.messages import Draft

__all__ = ["Exchange", "Finished", "Progressed", "Purpose", "Requester", "Sent"]

CHALLENGE_HEADERS = {
    401: ("www-authenticate", b"Authorization"),
    407: ("proxy-authenticate", b"Proxy-Authorization"),
}

Sent: TypeAlias = tuple[bytes, Address]  # a message and where it goes


class Purpose(Enum):
    """What a request is for, so that its owner knows what to do with the answer."""

    REGISTER = auto()
    OPTIONS = auto()
    CALL = auto()
    CHANGE = auto()  # re-INVITE
    HANG_UP = auto()


@dataclass(slots=True, eq=False)
class Exchange:
    """One request of ours, its second attempt after a challenge included."""

    purpose: Purpose
    draft: Draft
    leg: Leg | None = None
    answered_challenge: bool = False
    response: Message | None = None
    """The final response; None until it has come, and for ever when none came."""
    finished: bool = False


@dataclass(frozen=True, slots=True)
class Progressed:
    """A provisional response above 100 came."""

    exchange: Exchange
    response: Message


@dataclass(frozen=True, slots=True)
class Finished:
    """A final response came; None: none came in time. An INVITE that forked may finish again, with another tag."""

    exchange: Exchange
    response: Message | None


@dataclass(slots=True)
class Attempt:
    transaction: ClientTransaction
    exchange: Exchange
    next_hop: Address
    ack_hop: Address


class Requester:
    """Sends from ``local`` (what the Via says) over ``transport``; ``credentials`` answer whoever asks."""

    def __init__(
        self, transport: str, local: Address, credentials: Credentials, entropy: Callable[[int], bytes]
    ) -> None:
        self._transport = transport
        self._local = local
        self._credentials = credentials
        self._entropy = entropy
        self._attempts: dict[ClientKey, Attempt] = {}
        self._events: list[Progressed | Finished] = []
        self._outgoing: list[Sent] = []

    def send(self, exchange: Exchange, now: float) -> None:
        """Begin the exchange. Raises BadPacket when its next hop is no address that can be used."""
        next_hop = exchange.draft.next_hop_untrusted()
        raw = self._render(exchange.draft)
        invite = exchange.draft.method == "INVITE"
        transaction = ClientTransaction(invite, raw, self._transport != "udp", now)
        attempt = Attempt(transaction, exchange, next_hop, next_hop)
        self._attempts[client_key(parse_untrusted(raw))] = attempt
        self._drain(attempt, now)

    def acknowledge(self, exchange: Exchange, to_tag: bytes, draft: Draft) -> None:
        """Send the ACK of a 2xx with ``to_tag``, now and each time the 2xx comes again. Raises BadPacket."""
        raw, next_hop = self._render(draft), draft.next_hop_untrusted()
        self._outgoing.append((raw, next_hop))
        for attempt in self._attempts.values():
            if attempt.exchange is exchange:
                attempt.ack_hop = next_hop
                attempt.transaction.acknowledge(to_tag, raw)

    def cancel(self, exchange: Exchange, now: float) -> None:
        """Call an INVITE off; its final response still comes."""
        for attempt in list(self._attempts.values()):
            if attempt.exchange is exchange:
                attempt.transaction.cancel(now)
                self._drain(attempt, now)

    def receive_untrusted(self, response: Message, now: float) -> None:
        """Take a response; one that answers nothing of ours is passed over. Raises BadPacket."""
        branch, method = client_key(response)
        attempt = self._attempts.get((branch, "INVITE" if method == "CANCEL" else method))
        if attempt is None:
            return
        if method == "CANCEL":
            attempt.transaction.receive_cancel_response(response.status, now)
        else:
            attempt.transaction.receive(response.status, response.raw, response.to_tag, now)
        self._drain(attempt, now)

    def tick(self, now: float) -> None:
        for attempt in list(self._attempts.values()):
            attempt.transaction.tick(now)
            self._drain(attempt, now)

    def events(self) -> list[Progressed | Finished]:
        events, self._events = self._events, []
        return events

    def outgoing(self) -> list[Sent]:
        outgoing, self._outgoing = self._outgoing, []
        return outgoing

    def deadline(self) -> float | None:
        deadlines = (attempt.transaction.deadline() for attempt in self._attempts.values())
        return min((at for at in deadlines if at is not None), default=None)

    def _render(self, draft: Draft) -> bytes:
        return draft.render(self._transport, self._local, MAGIC_COOKIE + self._entropy(8).hex().encode())

    def _drain(self, attempt: Attempt, now: float) -> None:
        # First what is to be sent: the ACK of a 407 goes out before the INVITE that follows from it.
        self._outgoing += [(raw, attempt.next_hop) for raw in attempt.transaction.outgoing()]
        for event in attempt.transaction.events():
            self._follow(attempt, event, now)

    def _follow(self, attempt: Attempt, event: ClientEvent, now: float) -> None:
        match event:
            case Provisional():
                self._events.append(Progressed(attempt.exchange, parse_untrusted(event.raw)))
            case Final():
                response = parse_untrusted(event.raw)
                if not self._tried_again(attempt.exchange, response, now):
                    self._finish(attempt.exchange, response)
            case TimedOut():
                self._finish(attempt.exchange, None)
            case AckLost():
                self._outgoing.append((event.ack, attempt.ack_hop))
            case Terminated():
                self._attempts = {key: other for key, other in self._attempts.items() if other is not attempt}

    def _finish(self, exchange: Exchange, response: Message | None) -> None:
        exchange.response = response
        exchange.finished = True
        self._events.append(Finished(exchange, response))

    def _tried_again(self, exchange: Exchange, response: Message, now: float) -> bool:
        """Answer a challenge, once, and once more when only the nonce was too old (RFC 3261 section 22)."""
        if response.status not in (401, 407) or not self._credentials.password:
            return False
        asked, answered = CHALLENGE_HEADERS[response.status]
        challenge = pick_challenge(header.value for header in response.all(asked))
        if challenge is None or (exchange.answered_challenge and not challenge.stale):
            return False
        exchange.answered_challenge = True
        draft = exchange.draft
        nonce = self._entropy(8).hex().encode()
        answer = answer_challenge(challenge, self._credentials, draft.method, draft.uri, nonce)
        earlier = tuple(line for line in draft.lines if not line.startswith(answered))
        exchange.draft = draft.again((*earlier, answered + b": " + answer))
        if exchange.leg is not None and exchange.leg.dialogue is not None:
            exchange.leg.dialogue.cseq = exchange.draft.cseq
        self.send(exchange, now)
        return True
