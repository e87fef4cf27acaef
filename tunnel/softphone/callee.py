"""What others ask of a phone, and its answers (RFC 3261 sections 9.2, 11, 13.3, 14.2, 15.1.2)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from tunnel.address import Address
from tunnel.errors import BadPacket
from tunnel.sip.message import Message
from tunnel.sip.name_addr import NameAddr
from tunnel.sip.transaction_key import ServerKey, cancelled_key, server_key
from tunnel.softphone.dialogue import Dialogue
from tunnel.softphone.leg import Leg, LegEnd, LegState
from tunnel.softphone.messages import ALLOW
from tunnel.softphone.registrar import Registrar
from tunnel.softphone.responder import Received, Responder, Unacknowledged
from tunnel.softphone.user_agent_events import CallChanged, CallOffered

__all__ = ["Callee", "HangUpDue"]


@dataclass(frozen=True, slots=True)
class HangUpDue:
    """A call has to be ended by a request of ours."""

    leg: Leg


CalleeEvent: TypeAlias = CallOffered | CallChanged | HangUpDue


class Callee:
    """The answering half of a user agent. ``legs`` are all its calls; those that come are added there and taken out."""

    def __init__(
        self,
        contact: bytes,
        responder: Responder,
        registrar: Registrar | None,
        legs: list[Leg],
        entropy: Callable[[int], bytes],
    ) -> None:
        self._contact = contact
        self._responder = responder
        self._registrar = registrar
        self._legs = legs
        self._entropy = entropy
        self._events: list[CalleeEvent] = []

    def ring(self, leg: Leg, now: float) -> None:
        if leg.state is LegState.CALLING and leg.invite is not None:
            leg.state = LegState.RINGING
            leg.ringing_at = now
            self._reply(leg, leg.invite, 180, now, lines=(b"Contact: " + self._contact,))

    def answer(self, leg: Leg, audio: Address, now: float) -> None:
        if leg.state in (LegState.CALLING, LegState.RINGING) and leg.invite is not None:
            leg.state = LegState.ANSWERED
            leg.answered_at = now
            leg.audio = audio
            self._accept(leg, leg.invite, now)
            self._events.append(CallChanged(leg))

    def reject(self, leg: Leg, status: int, now: float) -> None:
        if leg.state in (LegState.CALLING, LegState.RINGING) and leg.invite is not None:
            self._reply(leg, leg.invite, status, now)
            self._end(leg, LegEnd(True, status, "refused"))

    def settle(self, now: float) -> None:
        """Answer what the responder has let through."""
        for event in self._responder.events():
            match event:
                case Received(key, request):
                    try:
                        self._on_request(key, request, now)
                    except BadPacket as error:
                        self._responder.reply(key, error.status, now, to_tag=self._tag())
                case Unacknowledged(key):
                    self._on_unacknowledged(key)

    def events(self) -> list[CalleeEvent]:
        events, self._events = self._events, []
        return events

    def _on_request(self, key: ServerKey, request: Message, now: float) -> None:
        if request.method == "ACK":
            self._on_ack(request, now)
        elif request.method == "CANCEL":
            self._on_cancel(key, request, now)
        elif request.to_tag:
            self._on_request_in_dialog(key, request, now)
        elif request.method == "INVITE":
            self._on_invite(key, request, now)
        elif request.method == "OPTIONS":
            lines = (ALLOW, b"Accept: application/sdp", b"Contact: " + self._contact)
            self._responder.reply(key, 200, now, to_tag=self._tag(), lines=lines)
        elif request.method == "REGISTER" and self._registrar is not None:
            self._responder.reply_raw(key, *self._registrar.register_untrusted(request, now), now)
        else:
            self._responder.reply(key, 405, now, to_tag=self._tag(), lines=(ALLOW,))

    def _on_invite(self, key: ServerKey, request: Message, now: float) -> None:
        challenge = self._registrar.challenge(request) if self._registrar is not None else None
        if challenge is not None:
            self._responder.reply_raw(key, *challenge, now)
            return
        peer = NameAddr.parse_untrusted(request.all("from")[0].value).uri_text
        session = int.from_bytes(self._entropy(4))
        leg = Leg(incoming=True, call_id=request.call_id, peer=peer, begun_at=now, session=session, invite=request)
        leg.dialogue = Dialogue.of_callee_untrusted(request, self._tag(), self._contact)
        leg.read_untrusted(request)
        self._legs.append(leg)
        self._responder.reply(key, 100, now)
        self._events.append(CallOffered(leg))

    def _on_request_in_dialog(self, key: ServerKey, request: Message, now: float) -> None:
        leg = self._leg_of(request)
        if leg is None or leg.dialogue is None:
            self._responder.reply(key, 481, now)
        elif request.method == "BYE":
            self._responder.reply(key, 200, now)
            if leg.invite is not None and leg.state in (LegState.CALLING, LegState.RINGING):
                self._reply(leg, leg.invite, 487, now)
            self._end(leg, LegEnd(False, 200, "hung up"))
        elif request.method == "INVITE" and (leg.changing or leg.state is not LegState.TALKING):
            self._responder.reply(key, 491, now)
        elif request.method == "INVITE":
            leg.read_untrusted(request)
            leg.dialogue.refresh_untrusted(request)
            self._accept(leg, request, now)
            self._events.append(CallChanged(leg))
        else:
            status = 200 if request.method == "OPTIONS" else 405
            self._responder.reply(key, status, now, lines=(ALLOW,))

    def _on_cancel(self, key: ServerKey, cancel: Message, now: float) -> None:
        cancelled = cancelled_key(cancel)
        legs = (leg for leg in self._legs if leg.invite is not None and server_key(leg.invite) == cancelled)
        leg = next(legs, None)
        self._responder.reply(key, 481 if leg is None else 200, now, to_tag=self._tag())
        if leg is not None and leg.invite is not None and leg.state in (LegState.CALLING, LegState.RINGING):
            self._reply(leg, leg.invite, 487, now)
            self._end(leg, LegEnd(False, 487, "called off"))

    def _on_ack(self, ack: Message, now: float) -> None:
        leg = self._leg_of(ack)
        if leg is None or leg.dialogue is None:
            return
        key = leg.unacknowledged.pop(ack.cseq[0], None)
        if key is None:
            return
        self._responder.acknowledged(key, leg.dialogue.our_tag)
        if leg.state is LegState.ANSWERED:
            leg.state = LegState.TALKING
            try:
                leg.read_untrusted(ack)
            except BadPacket:
                leg.unwanted = True
            self._events.append(CallChanged(leg))
        if leg.unwanted:
            self._events.append(HangUpDue(leg))

    def _on_unacknowledged(self, key: ServerKey) -> None:
        """No ACK in 32 s: the call is no call (section 13.3.1.4)."""
        for leg in self._legs:
            if key in leg.unacknowledged.values():
                leg.state = LegState.TALKING
                self._events.append(HangUpDue(leg))

    def _accept(self, leg: Leg, invite: Message, now: float) -> None:
        leg.unacknowledged[invite.cseq[0]] = server_key(invite)
        self._reply(leg, invite, 200, now, lines=(b"Contact: " + self._contact, ALLOW), body=leg.write_answer(invite))

    def _reply(
        self, leg: Leg, invite: Message, status: int, now: float, lines: tuple[bytes, ...] = (), body: bytes = b""
    ) -> None:
        tag = leg.dialogue.our_tag if leg.dialogue is not None else b""
        self._responder.reply(server_key(invite), status, now, to_tag=tag, lines=lines, body=body)

    def _leg_of(self, request: Message) -> Leg | None:
        tags = request.call_id, request.to_tag, request.from_tag
        for leg in self._legs:
            dialogue = leg.dialogue
            if dialogue is not None and (dialogue.call_id, dialogue.our_tag, dialogue.their_tag) == tags:
                return leg
        return None

    def _tag(self) -> bytes:
        return self._entropy(6).hex().encode()

    def _end(self, leg: Leg, end: LegEnd) -> None:
        leg.finish(end)
        self._legs.remove(leg)
        self._events.append(CallChanged(leg))
