"""The near role: requests that arrive on this face, until their answers have come back over the wall.

request -> server transaction -> facts (call, flow, SDP heard) -> over the wall
wall    -> Via stack and route set restored, SDP spoken, Contacts shown -> server transaction -> sender
"""

from __future__ import annotations

from tunnel.errors import BadPacket
from tunnel.media.exchange import Side
from tunnel.media.plane import CannotRelay, LedgerFull
from tunnel.sip.arrivals import Arrival, Arrivals, build_answer
from tunnel.sip.dialog import Call, Party
from tunnel.sip.flow import Flow
from tunnel.sip.grammar import number
from tunnel.sip.half import (
    AFTER_FAILURE_S,
    BYE_GOES_ON,
    Half,
    Timed,
    cannot_relay,
    check_lists_untrusted,
    contact_uri,
    is_natted,
    uri_of_value,
)
from tunnel.sip.message import Message, parse_untrusted
from tunnel.sip.policy import Admit, Answer
from tunnel.sip.registrations import note_registration
from tunnel.sip.response import build_response
from tunnel.sip.rewrite import RECORD_ROUTED, own_record_route
from tunnel.sip.transaction_key import ServerKey, cancelled_key, server_key
from tunnel.sip.wall import CancelCrossed, Failed, RequestCrossed, ResponseCrossed

__all__ = ["Near"]

# Our numbers. A new request waits this long for a link that just went down (SIP-RULES K), then it gets 503 with this
# Retry-After.
HOLD_S = 2.0
RETRY_AFTER_S = 5

# What the other end may mask in a request of this face (rewrite.py).
_MASKED = ("contact", "refer-to", "referred-by")
_DIALOG_FORMING = frozenset({"INVITE", "SUBSCRIBE", "REFER"})
_CARRY_SDP = frozenset({"INVITE", "UPDATE", "PRACK"})
_TARGET_REFRESH = frozenset({"INVITE", "UPDATE", "SUBSCRIBE", "NOTIFY", "REFER"})


class Near:
    """The server transactions of one half proxy."""

    def __init__(self, half: Half) -> None:
        self._half = half
        self._arrivals = Arrivals(half)
        self._held: list[Arrival] = []

    def __len__(self) -> int:
        return len(self._arrivals)

    def request(self, message: Message, flow: Flow, admission: Admit, now: float) -> None:
        """A request that the face let in. Raises BadPacket for what cannot be a request of RFC 3261."""
        if message.method == "ACK":
            self._ack(message, flow, now)
            return
        key = server_key(message)
        known = self._arrivals.of_key(key)
        if known is not None:
            known.machine.receive_retransmission(now)
            self._arrivals.drain(known)
            return
        if message.method == "CANCEL":
            self._cancel(message, flow, key, now)
        else:
            self._begin(message, flow, key, admission, now)

    def _begin(self, message: Message, flow: Flow, key: ServerKey, admission: Admit, now: float) -> None:
        """A new request: take it on, tell the sender so, and pass it over the wall."""
        half = self._half
        arrival = self._arrivals.take_on(message, flow, key, now)
        if arrival is None:
            return
        refusal = self._refusal(message, now)
        if refusal is not None:
            self._answer(arrival, refusal, now)
            return
        try:
            if message.method == "INVITE":
                self._arrivals.respond(arrival, build_response(message, 100, "Trying"), 100, b"", now)
            arrival.call = self._call_of(message, flow, now)
            channels = half.hear(arrival.call, message, flow, now)
        except (CannotRelay, LedgerFull) as error:
            self._answer(arrival, cannot_relay(error), now)
            return
        if message.method in _CARRY_SDP and message.to_tag and (arrival.call is None or arrival.call.media is None):
            # Without its media state the SDP would pass as it came, the addresses of this side in it.
            self._answer(arrival, Answer(481, "Call/Transaction Does Not Exist"), now)
            return
        if message.method == "PRACK":
            self._pracked(message, now)
        arrival.crossed = self._facts(arrival, admission, channels, now)
        self._cross(arrival, now)

    def _refusal(self, message: Message, now: float) -> Answer | None:
        """Why a new request goes no further, by what every proxy checks (RFC 3261 section 16.3)."""
        try:
            check_lists_untrusted(message)
        except BadPacket as error:
            return Answer(400, "Bad Request", error.reason)
        if message.max_forwards == 0:
            return Answer(483, "Too Many Hops")
        if message.all("proxy-require"):
            return Answer(420, "Bad Extension")
        initial = message.method in _DIALOG_FORMING and not message.to_tag
        if initial and self._half.draining:
            return Answer(503, "Service Unavailable", "this end is shutting down", RETRY_AFTER_S)
        if message.method == "INVITE" and initial:
            return self._half.policy.refuse_call(now)
        return None

    def _call_of(self, message: Message, flow: Flow, now: float) -> Call | None:
        """The call that ``message`` belongs to or begins, with what it tells of its sender."""
        half = self._half
        if not message.to_tag:
            if message.method not in _DIALOG_FORMING:
                return None
            call = Call(half.handle(), message.method, message.call_id, message.from_tag, True, now)
            call.caller.route_set = tuple(value.text for value in message.values("record-route"))
            if message.method == "INVITE":
                call.media = half.new_media(call.handle)
            half.open_call(call, outbound=not half.outside)
        else:
            found = half.calls.find(message)
            if found is None:
                return None
            call = found
        party = call.party(call.fork_of(message))
        half.touch_call(call, message, now)
        if party is not None and (message.method in _TARGET_REFRESH or not party.target):
            _note_party(party, message, flow)
        return call

    def _facts(self, arrival: Arrival, admission: Admit, channels: tuple[int, ...], now: float) -> RequestCrossed:
        half, message = self._half, arrival.request
        natted = is_natted(message, arrival.flow)
        binding = half.binding_key(message, arrival.flow)
        half.bindings.note(binding, arrival.flow, natted, now + 3600)
        for name in _MASKED:
            for value in message.values(name):
                uri = uri_of_value(value.text)
                if uri is not None:
                    half.masks.remember(binding, uri)
        return RequestCrossed(
            transaction=arrival.id,
            call=arrival.call.handle if arrival.call else 0,
            raw=message.raw,
            source=str(arrival.flow),
            channels=channels,
            routes=tuple(self._foreign_routes(message)),
            target=admission.target,
            purpose=admission.purpose,
            binding=binding,
            natted=natted,
        )

    def _foreign_routes(self, message: Message) -> list[bytes]:
        """The Route values that are left when our own on top are taken off (D2)."""
        routes = [value.text for value in message.values("route")]
        while routes:
            uri = uri_of_value(routes[0])
            if uri is None or not self._half.addresses.is_own(uri):
                break
            routes.pop(0)
        return routes

    def _cross(self, arrival: Arrival, now: float) -> None:
        """Over the wall, or wait a little for the link where nothing is lost by an answer of our own."""
        half = self._half
        assert arrival.crossed is not None
        if half.link_up or arrival.request.to_tag:
            half.crossings.append(arrival.crossed)
            half.schedule(arrival)
            return
        if half.link_down_since is None or now - half.link_down_since > 2 * HOLD_S:
            self._no_link(arrival, now)
            return
        arrival.held_until = now + HOLD_S
        self._held.append(arrival)
        half.schedule(arrival)

    def _no_link(self, arrival: Arrival, now: float) -> None:
        self._answer(arrival, Answer(503, "Service Unavailable", "the tunnel is down", RETRY_AFTER_S), now)

    def link_came_up(self) -> None:
        """Requests that waited for the link go over it."""
        held, self._held = self._held, []
        for arrival in held:
            arrival.held_until = None
            if arrival.crossed is not None:
                self._half.crossings.append(arrival.crossed)

    # Hop-by-hop requests

    def _ack(self, message: Message, flow: Flow, now: float) -> None:
        """An ACK of a failure ends here; one of a 2xx goes on to the callee, once (RFC 3261 sections 17.1.1.3, 13.2.2.4)."""
        half = self._half
        check_lists_untrusted(message)
        failed = self._arrivals.of_key(server_key(message))
        if failed is not None and failed.machine.last_status >= 300:
            failed.machine.receive_ack(now)
            self._arrivals.drain(failed)
            return
        arrival = self._arrivals.invite_of(message, message.cseq[0])
        if arrival is not None:
            arrival.machine.acknowledged(message.to_tag)
            half.schedule(arrival)
            if message.to_tag in arrival.acked:
                return
            arrival.acked.add(message.to_tag)
        call = half.calls.find(message)
        if call is None:
            half.counters.bump("sip.dropped.stray_ack")
            return
        try:
            channels = half.hear(call, message, flow, now)
        except (CannotRelay, LedgerFull):
            half.counters.bump("sip.dropped.ack_without_media")
            channels = ()
        half.crossings.append(
            RequestCrossed(
                transaction=0,
                call=call.handle,
                raw=message.raw,
                source=str(flow),
                channels=channels,
                routes=tuple(self._foreign_routes(message)),
                binding=half.binding_key(message, flow),
            )
        )

    def _pracked(self, message: Message, now: float) -> None:
        """The reliable provisional response that this PRACK names need not be repeated any more (RFC 3262 section 3)."""
        rack = message.header("rack")
        fields = rack.value.split() if rack is not None else []
        if len(fields) != 3 or not all(field.isdigit() and len(field) <= 10 for field in fields[:2]):
            return
        invite = self._arrivals.invite_of(message, int(fields[1]))
        if invite is not None:
            invite.machine.pracked(message.to_tag, int(fields[0]))
            self._half.schedule(invite)

    def _cancel(self, message: Message, flow: Flow, key: ServerKey, now: float) -> None:
        """Answered here at once; what it cancels is cancelled beyond the wall by the far end (RFC 3261 section 9.2)."""
        arrival = self._arrivals.take_on(message, flow, key, now)
        if arrival is None:
            return
        invite = self._arrivals.of_key(cancelled_key(message))
        if invite is None:
            self._answer(arrival, Answer(481, "Call/Transaction Does Not Exist"), now)
            return
        self._answer(arrival, Answer(200, "OK"), now)
        if invite.machine.last_status >= 200:
            return
        if invite in self._held:
            self._held.remove(invite)
            invite.held_until = None
            self._answer(invite, Answer(487, "Request Terminated"), now)
            return
        self._half.crossings.append(CancelCrossed(invite.id, tuple(message.lines("reason"))))

    # What comes back over the wall

    def wall_response(self, crossed: ResponseCrossed, now: float) -> None:
        """The answer to a request of this face, as the other side gave it."""
        half = self._half
        arrival = self._arrivals.of_id(crossed.transaction)
        if arrival is None:
            half.counters.bump("sip.dropped.late_response")
            return
        response = parse_untrusted(crossed.raw)
        check_lists_untrusted(response)
        call, request = arrival.call, arrival.request
        if response.is_request or response.cseq != request.cseq:
            raise BadPacket("what crossed as a response is none to its request")
        if arrival.machine.last_status >= 200 and not (request.method == "INVITE" and 200 <= response.status < 300):
            half.counters.bump("sip.dropped.late_response")
            return
        if call is not None:
            call.dialog(response.to_tag if request.from_tag == call.caller_tag else request.from_tag)
            half.index_call(call, now)
        try:
            body = half.speak(call, response, crossed.channels, now)
        except (CannotRelay, LedgerFull) as error:
            half.counters.bump("sip.answers_without_media")
            self._answer(arrival, Answer(500, "Server Internal Error", str(error)), now)
            if request.method == "INVITE" and response.status < 200:
                half.crossings.append(CancelCrossed(arrival.id))  # or the callee would ring for nobody
            return
        if request.method == "INVITE":
            self._arrivals.note_fork(arrival, response.to_tag)
        flow = arrival.flow
        raw = half.rewriter.response(
            response,
            vias=request.lines("via"),
            record_routes=self._record_routes(request, response, flow),
            at=flow.local,
            transport=flow.transport,
            binding=crossed.binding,
            natted=crossed.natted,
            body=body,
            now=now,
        )
        self._follow(arrival, response, now)
        rseq = response.header("rseq")
        reliable = (number(rseq.value) or 0) if rseq is not None and response.status < 200 else 0
        self._arrivals.respond(arrival, raw, response.status, response.to_tag, now, reliable)

    def wall_failed(self, failed: Failed, now: float) -> None:
        """The far end could not send the request on: it says what we answer."""
        arrival = self._arrivals.of_id(failed.transaction)
        if arrival is None or arrival.machine.last_status >= 200:
            return
        if failed.status == 408 and arrival.request.method != "INVITE":
            self._conclude(arrival, 408, now)
            # Its sender's own timer has fired: a 408 would only come late (RFC 4320 section 4.2).
            self._arrivals.forget(arrival)
        else:
            self._answer(arrival, Answer(failed.status, failed.reason, failed.warning, failed.retry_after_s), now)

    def _record_routes(self, request: Message, response: Message, flow: Flow) -> list[bytes]:
        """The Record-Route set that the sender is to see: its own side's, ours on top (RFC 3261 section 16.7, D3)."""
        if request.method not in RECORD_ROUTED or not 100 < response.status < 300:
            return []
        own = own_record_route(flow.local, flow.transport)
        return [b"Record-Route: " + own, *request.lines("record-route")]

    def _follow(self, arrival: Arrival, response: Message, now: float) -> None:
        """What a response means for its call and for the sender's registration."""
        method, call = arrival.request.method, arrival.call
        if method == "REGISTER" and 200 <= response.status < 300:
            note_registration(self._half, arrival.request, arrival.flow, response, now)
        elif method == "INVITE" and 200 <= response.status < 300 and call is not None:
            self._half.answer_call(call, call.fork_of(response), now)
        elif response.status >= 200:
            self._conclude(arrival, response.status, now)

    def _conclude(self, arrival: Arrival, status: int, now: float) -> None:
        """A BYE ends its dialog; what a request that failed was to begin, or to change, does not come about (F7)."""
        half, call, request = self._half, arrival.call, arrival.request
        if call is None:
            return
        if request.method == "BYE":
            if status not in BYE_GOES_ON:
                half.end_dialog(call, call.fork_of(request), now)
        elif status >= 300 and not request.to_tag:
            half.end_call(call, now, linger_s=AFTER_FAILURE_S, status=status)
        elif status >= 300 and request.method in ("INVITE", "UPDATE") and call.media is not None:
            call.media.roll_back(call.fork_of(request), Side.HEARD, now)

    # Answers

    def _answer(self, arrival: Arrival, answer: Answer, now: float) -> None:
        """A final response of our own making."""
        half = self._half
        tag = arrival.request.to_tag or half.entropy(5).hex().encode("ascii")
        raw = build_answer(arrival.request, answer, tag)
        if answer.status >= 300:
            half.counters.bump(f"sip.answered.{answer.status}")
        self._conclude(arrival, answer.status, now)
        self._arrivals.respond(arrival, raw, answer.status, tag, now)

    def tick(self, arrival: Timed, now: float) -> bool:
        """A timer of ``arrival`` is due; False when it is none of ours."""
        if not isinstance(arrival, Arrival):
            return False
        if arrival.held_until is not None and arrival.held_until <= now:
            arrival.held_until = None
            self._held.remove(arrival)
            self._no_link(arrival, now)
        arrival.tick(now)
        self._arrivals.drain(arrival)
        return True

    def close(self, now: float) -> None:
        """The session is over: whoever still waits for an answer gets one."""
        for arrival in self._arrivals:
            if arrival.machine.last_status < 200:
                self._no_link(arrival, now)
            self._arrivals.forget(arrival)
        self._held.clear()


def _note_party(party: Party, message: Message, flow: Flow) -> None:
    """Keep how the sender of ``message`` is reached: its Contact, and its flow where only that leads back."""
    uri = contact_uri(message)
    if uri is not None:
        party.target = uri.text
    party.natted = is_natted(message, flow)
    party.flow = flow if party.natted or flow.reliable else None
