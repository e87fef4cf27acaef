"""What comes back to this face for the requests of the other side, on its way over the wall.

response -> facts (callee, flow, SDP heard) -> over the wall
"""

from __future__ import annotations

import re

from tunnel.errors import BadPacket
from tunnel.media.exchange import Side
from tunnel.media.plane import CannotRelay, LedgerFull
from tunnel.sip.departures import Departure
from tunnel.sip.dialog import Call
from tunnel.sip.flow import Flow
from tunnel.sip.half import TARGET_REFRESH, Conclusion, Half, Sender
from tunnel.sip.message import Message, parse_untrusted
from tunnel.sip.policy import Answer
from tunnel.sip.registrations import granted_s
from tunnel.sip.rewrite import offers_only_auth_int
from tunnel.sip.sender import contact_uri
from tunnel.sip.transaction_events import Final, Provisional
from tunnel.sip.trust import trusts
from tunnel.sip.wall import Failed, RequestCrossed, ResponseCrossed

__all__ = ["Returns"]

_CONTROLS = re.compile(r"[\x00-\x1f\x7f]")  # a warning may quote what a party wrote


class Returns:
    """The way back of the far role."""

    def __init__(self, half: Half) -> None:
        self._half = half

    def pass_back(self, departure: Departure, event: Provisional | Final, flow: Flow, now: float) -> None:
        """A response, which came from where the request had gone by ``flow``, goes over the wall."""
        half, call, crossed = self._half, departure.call, departure.crossed
        try:
            response = parse_untrusted(event.raw)
            sender = half.note_sender(response, flow, now)
        except BadPacket:
            half.counters.bump("sip.dropped.bad_response")
            if isinstance(event, Final):
                self.give_up(crossed, departure.request, call, Answer(502, "Bad Gateway", "no sound answer"), now)
            return
        if self._is_phishing(departure, response, flow, now):
            half.counters.bump("sip.challenges_refused")
            refused = Answer(
                403,
                "Forbidden",
                "a challenge of a peer that is no trunk, registrar or lan.outside is not passed on",
                0,
                "challenge",
            )
            self.give_up(crossed, departure.request, call, refused, now)
            return
        channels: tuple[int, ...] = ()
        natted = sender.natted or (departure.hop.flow is not None and not flow.reliable)
        if call is not None:
            self._note_callee(departure, call, response, flow, sender, now)
            try:
                channels = half.hear(call, response, flow, now, natted=natted)
            except (CannotRelay, LedgerFull):
                half.counters.bump("sip.answers_without_media")
        self._follow(departure, response, flow, now)
        if not crossed.transaction:  # a BYE of our own: nobody waits
            return
        half.crossings.append(
            ResponseCrossed(
                crossed.transaction,
                response.raw,
                str(flow),
                channels,
                natted,
                sender.owner,
                trusts(half, flow.remote.host, now),
            )
        )

    def give_up(self, crossed: RequestCrossed, request: Message, call: Call | None, answer: Answer, now: float) -> None:
        """A request cannot go on, or its answer cannot: the near end answers in our name."""
        self.fail(crossed, answer)
        if call is not None:
            fork = call.fork_of(request) if request.to_tag else b""
            self._half.conclude(call, request, Conclusion(answer.status, fork), Side.SPOKEN, now)

    def fail(self, crossed: RequestCrossed, answer: Answer) -> None:
        """The near end is to give ``answer``."""
        self._half.counters.bump(f"sip.failed.{answer.status}")
        self._half.counters.bump(answer.counter)
        if crossed.transaction:
            warning = _CONTROLS.sub(" ", answer.warning)
            failed = Failed(crossed.transaction, answer.status, answer.reason, warning, answer.retry_after_s)
            self._half.crossings.append(failed)

    def _is_phishing(self, departure: Departure, response: Message, flow: Flow, now: float) -> bool:
        """Whether a stranger asks an inside phone for its credentials: one who called in, or whom it was sent to (H4)."""
        half, call = self._half, departure.call
        if response.status not in (401, 407) or trusts(half, flow.remote.host, now):
            return False
        if call is not None and departure.request.to_tag:
            return not call.may_challenge
        return not departure.is_at_home

    def _note_callee(
        self, departure: Departure, call: Call, response: Message, flow: Flow, sender: Sender, now: float
    ) -> None:
        """Where the answerer of this dialog is reached from now on (RFC 3261 section 12.1.2)."""
        half, request = self._half, departure.request
        fork = call.fork_of(request) if request.to_tag else response.to_tag
        if not fork or not 100 < response.status < 300:
            return
        party = call.dialog(fork).party
        party.seen_at = flow.remote
        half.index_call(call, now)
        uri = contact_uri(response)
        if uri is not None and (not request.to_tag or request.method in TARGET_REFRESH):
            party.target = uri.text
            party.natted = sender.natted or (departure.hop.flow is not None and not flow.reliable)
        if not request.to_tag:
            party.route_set = tuple(reversed(half.foreign_record_routes(response)))
            party.knows_route = True
        party.came_by(flow)

    def _follow(self, departure: Departure, response: Message, flow: Flow, now: float) -> None:
        """What a response means for its call, and for whom we know as a registrar."""
        half, call, request = self._half, departure.call, departure.request
        status = response.status
        if request.method == "REGISTER" and 200 <= status < 300:
            lasts_s = granted_s(request, response)
            if lasts_s:
                uri = request.uri
                home = uri.host if uri is not None else ""
                half.index.note_registrar(flow.remote.host, half.number, now + lasts_s, now, home)
        if status in (401, 407):
            half.rewriter.note_challenge(response)
            if offers_only_auth_int(response):
                half.counters.bump("sip.challenges_over_the_body")  # it passes, and will be refused
        if call is None:
            return
        if status == 199 and response.to_tag:
            half.drop_early(call, response.to_tag, now)
        if status < 200:
            return
        if request.method in ("SUBSCRIBE", "REFER") and status < 300:
            half.note_subscription(call, request, now, response)
        fork = call.fork_of(request) if request.to_tag else response.to_tag
        half.conclude(call, request, Conclusion(status, fork), Side.SPOKEN, now)
