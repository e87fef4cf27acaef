"""What comes back over the wall for the requests of this face, and the answers that this end gives itself.

response -> Via stack and route set restored, SDP spoken, Contacts shown -> server transaction -> sender
"""

from __future__ import annotations

from tunnel.errors import BadPacket
from tunnel.media.exchange import Side
from tunnel.media.plane import CannotRelay, LedgerFull
from tunnel.sip.arrivals import Arrival, Arrivals
from tunnel.sip.grammar import number
from tunnel.sip.half import Conclusion, Half
from tunnel.sip.message import Message, parse_untrusted
from tunnel.sip.policy import Answer, Purpose
from tunnel.sip.refusal import explanation
from tunnel.sip.registrations import note_registration
from tunnel.sip.requests import build_ack_2xx, build_bye
from tunnel.sip.response import build_response
from tunnel.sip.rewrite import RECORD_ROUTED, own_record_route
from tunnel.sip.wall import CancelCrossed, Failed, RequestCrossed, ResponseCrossed

__all__ = ["Answers"]


class Answers:
    """The way back of the near role."""

    def __init__(self, half: Half, arrivals: Arrivals) -> None:
        self._half = half
        self._arrivals = arrivals

    def wall_response(self, crossed: ResponseCrossed, now: float) -> None:
        """The answer to a request of this face, as the other side gave it. Raises BadPacket for what is none."""
        half = self._half
        arrival = self._arrivals.get(crossed.transaction)
        if arrival is None:
            half.counters.bump("sip.dropped.late_response")
            return
        response = parse_untrusted(crossed.raw)
        if response.is_request or response.cseq != arrival.request.cseq:
            raise BadPacket("what crossed as a response is none to its request")
        if arrival.is_answered and not (arrival.request.method == "INVITE" and 200 <= response.status < 300):
            half.counters.bump("sip.dropped.late_response")
            return
        try:
            raw = self._as_it_leaves(arrival, response, crossed, now)
        except (CannotRelay, LedgerFull, BadPacket):
            half.counters.bump("sip.answers_not_relayed")
            if not arrival.is_answered:
                # Why is not for this side to read: it quotes a message of the other one.
                answer = Answer(500, "Server Internal Error", "the answer of the other party cannot be relayed")
                self.answer(arrival, answer, now)
            if arrival.request.method == "INVITE" and response.status < 300:
                self._dismiss(arrival, response)
            return
        self._follow(arrival, response, now)
        rseq = response.header("rseq")
        reliable = (number(rseq.value) or 0) if rseq is not None and response.status < 200 else 0
        self._arrivals.respond(arrival, raw, response.status, response.to_tag, now, reliable)

    def wall_failed(self, failed: Failed, now: float) -> None:
        """The far end could not send the request on: it says what we answer."""
        arrival = self._arrivals.get(failed.transaction)
        if arrival is None or arrival.is_answered:
            return
        if failed.status == 408 and arrival.request.method != "INVITE":
            # Its sender's own timer has fired: a 408 would only come late (RFC 4320 section 4.2).
            self._conclude(arrival, failed.status, arrival.request.to_tag, now)
            self._arrivals.forget(arrival)
        else:
            cause = "said_by_the_other_end"  # which has counted why
            self.answer(arrival, Answer(failed.status, failed.reason, failed.warning, failed.retry_after_s, cause), now)

    def answer(self, arrival: Arrival, answer: Answer, now: float) -> None:
        """A final response of our own making."""
        half, request = self._half, arrival.request
        extra = explanation(answer)
        if answer.status == 420:
            extra += [b"Unsupported: " + header.value for header in request.all("proxy-require")]
        if answer.status == 415:
            extra.append(b"Accept-Encoding: identity")  # 415 is ours only for bodies that came encoded (A8)
        tag = request.to_tag or half.entropy(5).hex().encode("ascii")
        raw = build_response(request, answer.status, answer.reason, tag, extra)
        if answer.status >= 300:
            half.counters.bump(f"sip.answered.{answer.status}")
            half.counters.bump(answer.counter)
        self._conclude(arrival, answer.status, request.to_tag, now)
        self._arrivals.respond(arrival, raw, answer.status, tag, now)

    def _dismiss(self, arrival: Arrival, response: Message) -> None:
        """The callee's answer cannot reach the caller: it is not to ring, or talk, for nobody.

        After an answer it hears what a caller would say who does not want the call: ACK and BYE. The dialog of a
        re-INVITE goes on as it was.
        """
        half, call, invite = self._half, arrival.call, arrival.request
        if response.status < 200:
            half.crossings.append(CancelCrossed(arrival.id))
            return
        if call is None or not response.to_tag:
            return
        said = [build_ack_2xx(invite, response)]
        if not invite.to_tag:
            said.append(build_bye(invite, response, call.top_cseq + 1))
        for raw in said:
            half.crossings.append(
                RequestCrossed(0, call.handle, raw, str(arrival.source), purpose=Purpose.DIALOG, trusted=call.trusted)
            )

    def _as_it_leaves(self, arrival: Arrival, response: Message, crossed: ResponseCrossed, now: float) -> bytes:
        half, request, call, flow = self._half, arrival.request, arrival.call, arrival.flow
        if call is not None and response.to_tag and 100 < response.status < 300:
            call.dialog(call.fork_of(request) if request.to_tag else response.to_tag)
            half.index_call(call, now)
        return half.rewriter.response(
            response,
            vias=request.lines("via"),
            record_routes=self._record_routes(
                request, response, own_record_route(flow.local, flow.transport, request.request_uri)
            ),
            at=flow.local,
            transport=flow.transport,
            binding=crossed.binding,
            natted=crossed.natted,
            body=half.speak(call, response, crossed.channels, flow.remote, now),
            trusted=crossed.trusted,
            to_trusted=arrival.crossed is None or arrival.crossed.trusted,
            now=now,
        )

    def _record_routes(self, request: Message, response: Message, own: bytes) -> list[bytes]:
        """The Record-Route set that the sender is to see: its own side's, ours on top (RFC 3261 section 16.7, D3).

        Without hiding, what the proxies beyond the wall put above the value of our other end stands above ours.
        """
        if request.method not in RECORD_ROUTED or not 100 < response.status < 300:
            return []
        beyond: list[bytes] = []
        if not self._half.hide_full:
            sent = [value.text for value in request.values("record-route")]
            came = [value.text for value in response.values("record-route")]
            if len(came) > len(sent) and came[len(came) - len(sent) :] == sent:
                beyond = [b"Record-Route: " + value for value in came[: len(came) - len(sent) - 1]]
        return [*beyond, b"Record-Route: " + own, *request.lines("record-route")]

    def _follow(self, arrival: Arrival, response: Message, now: float) -> None:
        """What a response means for its call and for the sender's registration."""
        half, call, request = self._half, arrival.call, arrival.request
        if response.status == 199 and call is not None and response.to_tag:
            half.drop_early(call, response.to_tag, now)
        if response.status < 200:
            return
        if request.method == "REGISTER" and response.status < 300 and arrival.crossed is not None:
            note_registration(half, request, arrival.crossed, arrival.source, response, now)
        if call is not None:
            if request.method in ("SUBSCRIBE", "REFER") and response.status < 300:
                half.note_subscription(call, request, now, response)
            self._conclude(arrival, response.status, response.to_tag, now)

    def _conclude(self, arrival: Arrival, status: int, to_tag: bytes, now: float) -> None:
        call, request = arrival.call, arrival.request
        if call is not None and status >= 200:
            fork = call.fork_of(request) if request.to_tag else to_tag
            self._half.conclude(call, request, Conclusion(status, fork), Side.HEARD, now)
