"""The near role: requests that arrive on this face, on their way over the wall.

request -> server transaction -> facts (call, flow, SDP heard) -> over the wall
The way back is answers.py.
"""

from __future__ import annotations

from collections.abc import Callable

from tunnel.address import Address
from tunnel.errors import BadPacket
from tunnel.media.plane import CannotRelay, LedgerFull
from tunnel.sip.answers import Answers
from tunnel.sip.arrivals import Arrival, Arrivals
from tunnel.sip.contacts import MASK_PARAM
from tunnel.sip.dialog import Call
from tunnel.sip.flow import Flow
from tunnel.sip.grammar import number
from tunnel.sip.half import DIALOG_FORMING, NEEDS_DIALOG, TARGET_REFRESH, Half, Timed
from tunnel.sip.message import Message
from tunnel.sip.policy import Admit, Answer, Purpose, answer_to
from tunnel.sip.response import build_response
from tunnel.sip.sender import check_lists_untrusted, contact_uri, uri_of_value
from tunnel.sip.subscriptions import SUBSCRIBING
from tunnel.sip.transaction_key import cancelled_key, server_key
from tunnel.sip.trust import trusts
from tunnel.sip.wall import CancelCrossed, Failed, RequestCrossed, ResponseCrossed

__all__ = ["Near"]

# Our numbers. What one session may have open at once; beyond it requests are dropped.
MOST_TRANSACTIONS = 20_000
# A new request waits this long for a link that just went down (SIP-RULES K), then gets 503 with this Retry-After.
HOLD_S = 2.0
RETRY_AFTER_S = 5
# When it has been down for longer, or this end shuts down, between 1 and so many.
LONGEST_RETRY_AFTER_S = 30
NO_DIALOG = "no such dialog passes here"


class Near:
    """``came_back``: whether a request that arrives is one that the far role of this half proxy has sent."""

    def __init__(self, half: Half, came_back: Callable[[Message, float], bool]) -> None:
        self._half = half
        self._came_back = came_back
        self._arrivals = Arrivals(half)
        self._answers = Answers(half, self._arrivals)
        self._held: list[Arrival] = []

    def __len__(self) -> int:
        return len(self._arrivals)

    def request(self, message: Message, flow: Flow, admission: Admit, now: float) -> None:
        """A request that the face let in. Raises BadPacket for what cannot even be answered."""
        if message.method == "ACK":
            self._ack(message, flow, now)
            return
        known = self._arrivals.find(server_key(message))
        if known is not None:
            known.machine.receive_retransmission(now)
            self._arrivals.drain(known, now)
            return
        if len(self._arrivals) >= MOST_TRANSACTIONS:
            self._half.counters.bump("sip.dropped.too_many_transactions")
            return
        arrival = self._arrivals.take_on(message, flow, now)
        if message.method == "CANCEL":
            self._cancel(arrival, now)
            return
        try:
            self._begin(arrival, admission, now)
        except (LedgerFull, BadPacket) as error:
            self._answers.answer(arrival, answer_to(error), now)

    def wall_response(self, crossed: ResponseCrossed, now: float) -> None:
        self._answers.wall_response(crossed, now)

    def wall_failed(self, failed: Failed, now: float) -> None:
        self._answers.wall_failed(failed, now)

    # A new request

    def _begin(self, arrival: Arrival, admission: Admit, now: float) -> None:
        """Take it on, tell the sender so, and pass it over the wall."""
        half, message = self._half, arrival.request
        check_lists_untrusted(message)
        call = half.calls.find(message, arrival.source.remote) if message.to_tag else None
        refusal = self._refusal(message, call, now)
        if refusal is not None:
            self._answers.answer(arrival, refusal, now)
            return
        if message.method == "INVITE":
            self._arrivals.respond(arrival, build_response(message, 100, "Trying"), 100, b"", now)
        trusted = self._is_trusted(admission, call, arrival.source, now)
        path = tuple(value.text for value in message.values("path")) if message.method == "REGISTER" else ()
        sender = half.note_sender(message, arrival.source, now, path)
        if call is None and message.method in DIALOG_FORMING and not message.to_tag:
            call = Call(half.handle(), message.method, message.call_id, message.from_tag, True, now, trusted=trusted)
            call.may_challenge = trusted
            half.open_call(call, message, outbound=not half.outside)
        if call is not None:
            self._arrivals.belongs_to(arrival, call)
            self._note_party(call, message, arrival.source, sender.natted, now)
        channels = half.hear(call, message, arrival.source, now, natted=sender.natted)
        if message.method == "PRACK" and call is not None:
            self._pracked(call, message)
        arrival.crossed = RequestCrossed(
            transaction=arrival.id,
            call=call.handle if call is not None else 0,
            raw=message.raw,
            source=str(arrival.source),
            channels=channels,
            routes=tuple(self._foreign_routes(message, now)),
            target=admission.target,
            purpose=admission.purpose,
            binding=sender.owner,
            natted=sender.natted,
            trusted=trusted,
        )
        self._cross(arrival, now)

    def _refusal(self, message: Message, call: Call | None, now: float) -> Answer | None:
        """Why a request goes no further: what every proxy checks (RFC 3261 section 16.3), and what only we know."""
        half = self._half
        if message.max_forwards == 0:
            return Answer(483, "Too Many Hops", "no hop is left")
        if self._came_back(message, now):
            return Answer(482, "Loop Detected", "this request has been here before")
        if message.all("proxy-require"):
            return Answer(420, "Bad Extension", "no extension of proxies is supported")
        if _is_trickle(message):
            return Answer(469, "Bad Info Package", "candidates are of no use beyond a relay")
        if message.to_tag and message.method in NEEDS_DIALOG and (call is None or call.media is None):
            # Without its media state the SDP would pass as it came, the addresses of this side in it.
            return Answer(481, "Call/Transaction Does Not Exist", NO_DIALOG)
        refusal = self._refusal_of_stranger(message, now) if call is None else None
        if refusal is not None:
            return refusal
        if message.method not in DIALOG_FORMING or message.to_tag:
            return None
        if half.draining:
            return Answer(503, "Service Unavailable", "this end is shutting down", self._some_seconds(), "draining")
        return half.policy.refuse_call(now) if message.method == "INVITE" else None

    def _refusal_of_stranger(self, message: Message, now: float) -> Answer | None:
        """A request outside any dialog of ours: what has a dialog that we forgot, or a mask that says nothing."""
        half, uri = self._half, message.uri
        leads_here = uri is not None and half.addresses.is_own(uri) and not half.masks.is_live(uri, now)
        if message.to_tag and leads_here:
            return Answer(481, "Call/Transaction Does Not Exist", NO_DIALOG)
        if leads_here and not half.outside and uri is not None and uri.has_param(MASK_PARAM):
            return Answer(404, "Not Found", "what this address stood for has expired")
        return None

    def _is_trusted(self, admission: Admit, call: Call | None, flow: Flow, now: float) -> bool:
        """Whether the sender may assert identities: on our own LAN, a trunk, or a registrar of somebody inside."""
        half = self._half
        if not half.outside or admission.purpose in (Purpose.TRUNK, Purpose.REGISTERED):
            return True
        return (call is not None and call.trusted) or trusts(half, flow.remote.host, now)

    def _note_party(self, call: Call, message: Message, flow: Flow, natted: bool, now: float) -> None:
        """What a request tells of its sender: where it is reached from now on (RFC 3261 section 12.2.2)."""
        if message.to_tag and message.method in SUBSCRIBING:
            self._half.note_subscription(call, message, now)
        party = call.party(call.fork_of(message))
        if party is None:
            return
        if message.method in TARGET_REFRESH or not party.target:
            uri = contact_uri(message)
            if uri is not None:
                party.target = uri.text
            party.natted = natted
        if not party.knows_route:
            party.route_set = tuple(self._half.foreign_record_routes(message))
            party.knows_route = True
        party.came_by(flow)

    def _foreign_routes(self, message: Message, now: float) -> list[bytes]:
        """The Route values but our own (D2), of which only those go on that stand for one beyond the wall."""
        routes = []
        for value in message.values("route"):
            uri = uri_of_value(value.text)
            if uri is None or not self._half.addresses.is_own(uri) or self._half.masks.is_live(uri, now):
                routes.append(value.text)
        return routes

    # Over the wall

    def _cross(self, arrival: Arrival, now: float) -> None:
        """Over the wall, or wait a little for the link where nothing is lost by an answer of our own."""
        half = self._half
        assert arrival.crossed is not None
        if half.link_up or arrival.request.to_tag:
            half.crossings.append(arrival.crossed)
        elif half.link_down_since is None or now - half.link_down_since > 2 * HOLD_S:
            self._no_link(arrival, now)
        else:
            arrival.held_until = now + HOLD_S
            self._held.append(arrival)
        half.schedule(arrival)

    def _no_link(self, arrival: Arrival, now: float) -> None:
        down = self._half.link_down_since
        wait_s = RETRY_AFTER_S if down is not None and now - down <= 2 * HOLD_S else self._some_seconds()
        answer = Answer(503, "Service Unavailable", "the tunnel is down", wait_s, "tunnel_down")
        self._answers.answer(arrival, answer, now)

    def _some_seconds(self) -> int:
        """A Retry-After that does not bring everybody back at once: 1 to 30 seconds."""
        return 1 + self._half.entropy(1)[0] % LONGEST_RETRY_AFTER_S

    def _let_go(self, arrival: Arrival) -> None:
        """``arrival`` waits for the link no longer."""
        arrival.held_until = None
        self._held.remove(arrival)

    def link_came_up(self) -> None:
        """Requests that waited for the link go over it."""
        for arrival in list(self._held):
            self._let_go(arrival)
            if arrival.crossed is not None:
                self._half.crossings.append(arrival.crossed)

    # Hop-by-hop requests

    def _ack(self, message: Message, flow: Flow, now: float) -> None:
        """An ACK of a failure ends here; one of a 2xx goes on to the callee, once (RFC 3261 sections 17.1.1.3, 13.2.2.4)."""
        half = self._half
        failed = self._arrivals.find(server_key(message))
        if failed is not None and failed.machine.last_status >= 300:
            failed.machine.receive_ack(now)
            self._arrivals.drain(failed, now)
            return
        call = half.calls.find(message, flow.remote)
        if call is None or call.method != "INVITE":
            half.counters.bump("sip.dropped.stray_ack")
            return
        arrival = self._arrivals.invite(call, message.cseq[0])
        if arrival is not None:
            arrival.machine.acknowledged(message.to_tag)
            half.schedule(arrival)
            if message.to_tag in arrival.acked:
                return
            arrival.acked.add(message.to_tag)
        half.acknowledge(call)
        sender = half.note_sender(message, flow, now)
        try:
            channels = half.hear(call, message, flow, now, natted=sender.natted)
        except (CannotRelay, LedgerFull):
            half.counters.bump("sip.acks_without_media")
            channels = ()
        half.crossings.append(
            RequestCrossed(
                transaction=0,
                call=call.handle,
                raw=message.raw,
                source=str(flow),
                channels=channels,
                routes=tuple(self._foreign_routes(message, now)),
                purpose=Purpose.DIALOG,
                binding=sender.owner,
                natted=sender.natted,
                trusted=call.trusted,
            )
        )

    def _pracked(self, call: Call, message: Message) -> None:
        """The reliable provisional response that this PRACK names need not be repeated any more (RFC 3262 section 3)."""
        rack = message.header("rack")
        fields = [number(field) for field in rack.value.split()[:2]] if rack is not None else []
        if len(fields) != 2 or fields[0] is None or fields[1] is None:
            return
        invite = self._arrivals.invite(call, fields[1])
        if invite is not None:
            invite.machine.pracked(message.to_tag, fields[0])
            self._half.schedule(invite)

    def _cancel(self, arrival: Arrival, now: float) -> None:
        """Answered here at once; what it cancels is cancelled beyond the wall by the far end (RFC 3261 section 9.2)."""
        invite = self._arrivals.find(cancelled_key(arrival.request))
        if invite is None:
            self._answers.answer(arrival, Answer(481, "Call/Transaction Does Not Exist", "nothing to cancel"), now)
            return
        self._answers.answer(arrival, Answer(200, "OK"), now)
        if invite.is_answered:
            return
        if invite in self._held:
            self._let_go(invite)
            self._answers.answer(invite, Answer(487, "Request Terminated", "the caller gave up"), now)
            return
        reasons = tuple(b"Reason: " + header.value for header in arrival.request.all("reason"))
        self._half.crossings.append(CancelCrossed(invite.id, reasons))

    # Time and ends

    def tick(self, arrival: Timed, now: float) -> bool:
        """A timer of ``arrival`` is due; False when it is none of ours."""
        if not isinstance(arrival, Arrival):
            return False
        if arrival.held_until is not None and arrival.held_until <= now:
            self._let_go(arrival)
            self._no_link(arrival, now)
        arrival.tick(now)
        self._arrivals.drain(arrival, now)
        return True

    def transport_failed(self, transport: str, remote: Address, connection: int, now: float) -> None:
        """A connection is gone that answers were to go by."""
        self._arrivals.transport_failed(transport, remote, connection, now)

    def close(self, now: float) -> None:
        """The session is over: whoever still waits for an answer gets one."""
        for arrival in self._arrivals:
            if not arrival.is_answered:
                self._no_link(arrival, now)
        self._held.clear()
        self._arrivals.clear()


def _is_trickle(message: Message) -> bool:
    """Whether this INFO brings ICE candidates (RFC 8840), which would name addresses that the peer must not use."""
    package = message.header("info-package")
    return message.method == "INFO" and package is not None and package.value.lower() == b"trickle-ice"
