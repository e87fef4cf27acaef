"""What a phone asks of others: to be registered, to talk, to hold, to hang up (RFC 3261 sections 10, 13, 14, 15)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from tunnel.address import Address
from tunnel.errors import BadPacket, LocalMisuse
from tunnel.sip.message import Message
from tunnel.softphone.account import Account
from tunnel.softphone.dialogue import Dialogue
from tunnel.softphone.leg import Leg, LegEnd, LegState
from tunnel.softphone.messages import ALLOW, Draft
from tunnel.softphone.requester import Exchange, Finished, Progressed, Purpose, Requester
from tunnel.softphone.user_agent_events import CallChanged, RequestFinished

__all__ = ["Caller"]

OVER = (408, 481)  # what a request within a dialog gets when the dialog is gone (section 12.2.1.2)


class Caller:
    """The asking half of a user agent. ``legs`` are all its calls; those it makes are added there and taken out."""

    def __init__(
        self,
        account: Account,
        contact: bytes,
        transport: str,
        requester: Requester,
        legs: list[Leg],
        entropy: Callable[[int], bytes],
    ) -> None:
        self._account = account
        self._contact = contact
        self._transport = transport
        self._requester = requester
        self._legs = legs
        self._entropy = entropy
        self._invites: dict[Leg, Exchange] = {}
        self._events: list[CallChanged | RequestFinished] = []
        self._registration = self._draft("REGISTER", f"sip:{account.domain}".encode(), account.uri)

    def register(self, expires_s: int, now: float) -> Exchange:
        """Bind our contact to the account; one Call-ID for all of it, as section 10.2 asks."""
        draft = self._registration.again((b"Expires: %d" % expires_s,))
        self._registration = draft
        return self._begin(Exchange(Purpose.REGISTER, draft), now)

    def ask_options(self, uri: bytes, now: float) -> Exchange:
        return self._begin(Exchange(Purpose.OPTIONS, self._draft("OPTIONS", uri, uri)), now)

    def call(self, uri: bytes, audio: Address, now: float) -> Leg:
        draft = self._draft("INVITE", uri, uri)
        session = int.from_bytes(self._entropy(4))
        leg = Leg(incoming=False, call_id=draft.call_id, peer=uri, begun_at=now, session=session, audio=audio)
        offered = replace(draft, lines=(ALLOW,), body=leg.write_offer())
        self._invites[leg] = self._begin(Exchange(Purpose.CALL, offered, leg), now)
        self._legs.append(leg)
        return leg

    def hang_up(self, leg: Leg, now: float) -> None:
        """BYE for a call that talks, CANCEL for one of ours that does not yet; others end when they get that far."""
        leg.unwanted = True
        if leg.state is LegState.TALKING and leg.dialogue is not None:
            self._begin(Exchange(Purpose.HANG_UP, leg.dialogue.draft("BYE"), leg), now)
        elif leg in self._invites:
            self._requester.cancel(self._invites[leg], now)

    def hold(self, leg: Leg, on_hold: bool, now: float) -> Exchange:
        if leg.state is not LegState.TALKING or leg.dialogue is None or leg.changing or leg.unwanted:
            raise LocalMisuse("only a call that talks, and is not being changed, can be put on hold")
        leg.on_hold = on_hold
        leg.changing = True
        return self._begin(Exchange(Purpose.CHANGE, leg.dialogue.draft("INVITE", body=leg.write_offer()), leg), now)

    def settle(self, now: float) -> None:
        """Follow what the requester has to tell."""
        for event in self._requester.events():
            match event:
                case Progressed(exchange, response) if exchange.purpose is Purpose.CALL and exchange.leg is not None:
                    self._on_progress(exchange.leg, response, now)
                case Finished(exchange, response):
                    self._on_finish(exchange, response, now)

    def events(self) -> list[CallChanged | RequestFinished]:
        events, self._events = self._events, []
        return events

    def _begin(self, exchange: Exchange, now: float) -> Exchange:
        self._requester.send(exchange, now)
        return exchange

    def _draft(self, method: str, uri: bytes, to: bytes) -> Draft:
        return Draft(
            method=method,
            uri=uri,
            sender=b"<%b>;tag=%b" % (self._account.uri, self._entropy(6).hex().encode()),
            recipient=b"<%b>" % to,
            call_id=self._entropy(12).hex().encode(),
            cseq=1,
            contact=self._contact,
            routes=self._account.routes(self._transport),
        )

    def _on_progress(self, leg: Leg, response: Message, now: float) -> None:
        if leg.state is LegState.CALLING and response.status >= 180:
            leg.state = LegState.RINGING
            leg.ringing_at = now
            self._events.append(CallChanged(leg))

    def _on_finish(self, exchange: Exchange, response: Message | None, now: float) -> None:
        leg = exchange.leg
        accepted = response is not None and response.status < 300
        if leg is not None and exchange.purpose is Purpose.CALL:
            if response is not None and accepted:
                self._on_answer(exchange, leg, response, now)
            elif leg.state is not LegState.ENDED:
                self._end(leg, response, by_us=leg.unwanted)
        elif leg is not None and exchange.purpose is Purpose.CHANGE:
            self._on_change(exchange, leg, response, now)
        elif leg is not None and leg.state is not LegState.ENDED:
            self._end(leg, response, by_us=True)
        elif exchange.purpose is Purpose.REGISTER:
            self._registration = replace(self._registration, cseq=max(self._registration.cseq, exchange.draft.cseq))
        self._events.append(RequestFinished(exchange))

    def _on_answer(self, exchange: Exchange, leg: Leg, response: Message, now: float) -> None:
        """A 2xx: the first makes the call, one of another fork is acknowledged and hung up (section 13.2.2.4)."""
        dialogue = Dialogue.of_caller_untrusted(response, self._contact)
        ack = dialogue.draft("ACK", cseq=response.cseq[0])
        self._requester.acknowledge(exchange, response.to_tag, ack)
        if leg.dialogue is not None or leg.state is LegState.ENDED:
            self._begin(Exchange(Purpose.HANG_UP, dialogue.draft("BYE")), now)
            return
        leg.dialogue = dialogue
        leg.state = LegState.TALKING
        leg.answered_at = now
        try:
            leg.read_untrusted(response)
        except BadPacket:
            leg.unwanted = True
        if leg.unwanted:
            self.hang_up(leg, now)
        self._events.append(CallChanged(leg))

    def _on_change(self, exchange: Exchange, leg: Leg, response: Message | None, now: float) -> None:
        leg.changing = False
        if response is not None and response.status < 300 and leg.dialogue is not None:
            leg.dialogue.refresh_untrusted(response)
            self._requester.acknowledge(exchange, response.to_tag, leg.dialogue.draft("ACK", cseq=response.cseq[0]))
            leg.read_untrusted(response)
        elif response is None or response.status in OVER:
            self.hang_up(leg, now)
        else:
            leg.on_hold = not leg.on_hold
        self._events.append(CallChanged(leg))

    def _end(self, leg: Leg, response: Message | None, *, by_us: bool) -> None:
        status, reason = (408, "no answer") if response is None else (response.status, response.reason.decode())
        leg.finish(LegEnd(by_us, status, reason))
        self._invites.pop(leg, None)
        self._legs.remove(leg)
        self._events.append(CallChanged(leg))
