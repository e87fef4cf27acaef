"""The far role: requests that came over the wall and leave by this face.

wall -> next hop -> SDP spoken, addresses rewritten -> client transaction -> target, the next one if it fails
What comes back is returns.py.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from tunnel.address import Address
from tunnel.errors import BadPacket
from tunnel.media.plane import LedgerFull
from tunnel.sip.client_transaction import ClientTransaction
from tunnel.sip.departures import Departure, Departures, Way
from tunnel.sip.dialog import Call
from tunnel.sip.flow import Flow
from tunnel.sip.half import DIALOG_FORMING, NEEDS_DIALOG, Emission, Half, Lookup, Timed
from tunnel.sip.known_leaks import known_leaks
from tunnel.sip.message import Message, parse_untrusted
from tunnel.sip.next_hop import Target, literal_target, without_uri_headers
from tunnel.sip.policy import Answer, NextHop, answer_to
from tunnel.sip.returns import Returns
from tunnel.sip.sender import check_lists_untrusted, is_readable, sip_uri
from tunnel.sip.subscriptions import SUBSCRIBING
from tunnel.sip.targets import Targets
from tunnel.sip.transaction_events import (
    AckLost,
    Final,
    Provisional,
    Terminated,
    TimedOut,
    TimerCFired,
    TransportFailed,
)
from tunnel.sip.trust import is_at_home, trusts
from tunnel.sip.via import MAGIC_COOKIE
from tunnel.sip.wall import CancelCrossed, RequestCrossed
from tunnel.sip.ways import leads_nowhere, way_of

__all__ = ["Far"]

# Our number: requests of one session that may be under way on this face at once.
MOST_DEPARTURES = 20_000
FLOW_GONE = Answer(480, "Temporarily Unavailable", "the flow to this user agent is gone")
_CONTROLS = re.compile(rb"[\x00-\x08\x0a-\x1f]")
_REASON = re.compile(rb"Reason: [^\x00-\x08\x0a-\x1f]*")


class Far:
    """The client transactions of one half proxy."""

    def __init__(self, half: Half) -> None:
        self._half = half
        self._departures = Departures(half.index, half.number)
        self._returns = Returns(half)
        self._targets = Targets(half)

    def __len__(self) -> int:
        return len(self._departures)

    def came_back(self, request: Message, now: float) -> bool:
        """Whether ``request`` is one that we sent and that nobody has changed: a loop (RFC 3261 section 16.3 item 4).

        With another Request-URI or Route it is a spiral, and so it is with a mask, which means something else where it
        arrives: no harm, an inside phone calls another through a registrar. What we sent to this face itself, and that
        nobody has had since, has only turned.
        """
        if request.uri is not None and self._half.masks.is_live(request.uri, now):
            return False
        return self._departures.has_sent(request)

    # What comes over the wall

    def wall_request(self, crossed: RequestCrossed, now: float) -> None:
        """A request of the other side is to leave by this face. Raises BadPacket for what is none."""
        request = parse_untrusted(crossed.raw)
        check_lists_untrusted(request)
        if not request.is_request or any(_CONTROLS.search(route) for route in crossed.routes):
            raise BadPacket("what crossed as a request is none")
        if self._departures.get(crossed.transaction) is not None:
            raise BadPacket("a request crossed twice")
        half = self._half
        refusal = self._open_call(crossed, request, now)
        if refusal is not None:
            self._returns.fail(crossed, refusal)
            return
        call = half.calls.get(crossed.call) or (half.calls.beyond(request) if request.to_tag else None)
        if call is not None:
            self._follow_request(call, request, now)
        try:
            hop, routes = way_of(half, request, crossed, call, now)
        except BadPacket as error:
            hop = answer_to(error)
        if isinstance(hop, Answer):
            self._returns.give_up(crossed, request, call, hop, now)
            return
        departure = Departure(crossed, request, call, without_uri_headers(hop), routes)
        self._departures.add(departure)
        self._find_targets(departure, now)

    def wall_cancel(self, crossed: CancelCrossed, now: float) -> None:
        """The caller gave up. Raises BadPacket for what cannot stand in a CANCEL."""
        if not all(_REASON.fullmatch(line) for line in crossed.reasons):
            raise BadPacket("a Reason that is none")
        departure = self._departures.get(crossed.transaction)
        if departure is None or departure.cancelled is not None or departure.request.method != "INVITE":
            return
        departure.cancelled = crossed.reasons
        if departure.machine is None:
            self._finish(departure, Answer(487, "Request Terminated", "the caller gave up"), now)
            return
        departure.machine.cancel(now, crossed.reasons)
        self._drain(departure, now)

    def resolved(self, key: int, targets: Sequence[Target] | None, now: float) -> None:
        """What a Lookup found; None or nothing where it failed."""
        departure = self._departures.looked_up(key)
        if departure is None:
            return
        if not targets:
            self._finish(departure, Answer(502, "Bad Gateway", "the name of the next hop has no address"), now)
            return
        self._targets.found(departure, targets, now)
        self._send_next(departure, now)

    # Where it goes

    def _open_call(self, crossed: RequestCrossed, request: Message, now: float) -> Answer | None:
        """The call that a dialog-forming request begins; an Answer where there are too many of them, or none any more."""
        half = self._half
        if len(self._departures) >= MOST_DEPARTURES:
            return Answer(503, "Service Unavailable", "too many requests are under way", 5, "too_many_requests")
        if not crossed.call or half.calls.get(crossed.call) is not None:
            return None
        if request.to_tag and request.method not in NEEDS_DIALOG:
            return None  # a call that this end does not know any more: its Request-URI leads on
        if request.to_tag or request.method not in DIALOG_FORMING:
            return Answer(481, "Call/Transaction Does Not Exist", "no such dialog passes here")
        if request.method == "INVITE":
            refusal = half.policy.refuse_call(now)
            if refusal is not None:
                return refusal
        call = Call(crossed.call, request.method, request.call_id, request.from_tag, False, now)
        call.may_challenge = is_at_home(half, request, crossed, now)
        half.open_call(call, request, outbound=half.outside)
        return None

    def _follow_request(self, call: Call, request: Message, now: float) -> None:
        """What a request from beyond the wall says of its call."""
        half = self._half
        if request.method == "ACK":
            half.acknowledge(call)
        if not request.to_tag:
            return
        if request.method in SUBSCRIBING:
            half.note_subscription(call, request, now)
        if request.method == "NOTIFY":
            call.dialog(call.fork_of(request))  # it may come before the answer that makes the dialog
            half.index_call(call, now)

    def _find_targets(self, departure: Departure, now: float) -> None:
        hop = departure.hop
        if hop.flow is not None:
            departure.targets.append(Target(hop.flow.transport, hop.flow.remote))
            self._send_next(departure, now)
            return
        uri = sip_uri(hop.uri)
        if uri is None:
            self._finish(departure, Answer(416, "Unsupported URI Scheme", "only sip and sips can be followed"), now)
            return
        target = literal_target(uri)
        if target is None:
            key = self._half.handle()
            self._departures.looking_up(departure, key)
            self._half.lookups.append(Lookup(key, uri))
            return
        departure.targets.append(target)
        self._send_next(departure, now)

    # On its way

    def _send_next(self, departure: Departure, now: float) -> None:
        """Send it to the next target, or give up."""
        way = self._targets.next(departure, now)
        if isinstance(way, Answer):
            self._finish(departure, way, now)
        else:
            self._send(departure, way, now)

    def _send(self, departure: Departure, way: Way, now: float, *, whatever_size: bool = False) -> None:
        request = departure.request
        branch = MAGIC_COOKIE + self._half.entropy(9).hex().encode("ascii")
        try:
            self._speak(departure, way.flow.remote, now)
            data = self._as_it_leaves(departure, way, branch, now)
            if not whatever_size and (better := self._targets.for_size(departure, way, len(data), now)) is not way:
                way, data = better, self._as_it_leaves(departure, better, branch, now)
        except (LedgerFull, BadPacket) as error:
            self._finish(departure, answer_to(error), now)
            return
        departure.way, departure.flow = way, way.flow
        departure.turned = (way.flow.transport, way.flow.remote) in self._half.addresses.bound
        departure.is_at_home = is_at_home(self._half, request, departure.crossed, now)
        if departure.call is not None and not request.to_tag:
            departure.call.trusted = trusts(self._half, way.flow.remote.host, now)
        if request.method == "ACK":
            self._send_ack(departure, data, way)
            return
        if request.method == "INVITE" and not is_readable(data):
            self._finish(departure, Answer(513, "Message Too Large", "with our own headers it is too long"), now)
            return
        if self._half.outside and self._half.hide_full and not request.to_tag:
            for name in known_leaks(request):
                self._half.counters.bump(f"sip.known_leaks.{name}")
        machine = ClientTransaction(request.method == "INVITE", data, way.flow.reliable, now)
        self._departures.sent(departure, branch)
        departure.machine = machine
        self._drain(departure, now)

    def _speak(self, departure: Departure, to: Address, now: float) -> None:
        """Say its SDP, once, or again where the next target is of the other address family."""
        if departure.spoken_to is None or departure.spoken_to.is_ipv6 is not to.is_ipv6:
            channels = departure.crossed.channels
            departure.body = self._half.speak(departure.call, departure.request, channels, to, now)
            departure.spoken_to = to

    def _as_it_leaves(self, departure: Departure, way: Way, branch: bytes, now: float) -> bytes:
        crossed = departure.crossed
        return self._half.rewriter.request(
            departure.request,
            request_uri=departure.hop.request_uri,
            routes=departure.routes,
            at=way.shown.local,
            transport=way.shown.transport,
            via=way.flow,
            branch=branch,
            binding=crossed.binding,
            natted=crossed.natted,
            trusted=crossed.trusted,
            to_trusted=trusts(self._half, way.flow.remote.host, now),
            body=departure.body,
            now=now,
        )

    def _send_ack(self, departure: Departure, data: bytes, way: Way) -> None:
        """The ACK of a 2xx: sent once, and kept to be sent again whenever its 2xx comes again."""
        request = departure.request
        self._half.emissions.append(Emission(data, way.flow, way.server_name))
        invite = self._departures.invite(departure.crossed.call, request.cseq[0])
        if invite is not None and invite.machine is not None:
            invite.machine.acknowledge(request.to_tag, data)
            invite.ack_ways[request.to_tag] = way

    # What comes back from the network

    def response(self, response: Message, flow: Flow, now: float) -> None:
        """A response to a request of ours."""
        departure = self._departures.of_branch(response.top_via.branch)
        if departure is None or departure.machine is None or departure.flow is None:
            self._half.counters.bump("sip.dropped.stray_response")
            return
        if response.cseq_method == "CANCEL":
            departure.machine.receive_cancel_response(response.status, now)
        elif response.cseq == departure.request.cseq:
            if flow.transport == departure.flow.transport:
                departure.flow = replace(departure.flow, connection=flow.connection)
            departure.machine.receive(response.status, response.raw, response.to_tag, now)
        self._drain(departure, now)

    def went_by(self, branch: bytes, connection: int) -> None:
        """What was sent with ``branch`` went by that connection; what follows it does so too."""
        departure = self._departures.of_branch(branch)
        if departure is not None and departure.flow is not None:
            departure.flow = replace(departure.flow, connection=connection)

    def transport_failed(self, transport: str, remote: Address, connection: int, now: float, why: str) -> None:
        """Nothing can be delivered to ``remote``, or that connection is gone."""
        for departure in self._departures.that_went_by(transport, remote, connection):
            self._cut_off(departure, why or "the next hop cannot be reached", now)

    def refused(self, branch: bytes, now: float) -> None:
        """Nobody listens where the request with ``branch`` went (RFC 3261 section 18.4)."""
        departure = self._departures.of_branch(branch)
        if departure is not None and departure.is_unheard:
            self._cut_off(departure, "nobody listens at the port of the next hop", now)

    def _cut_off(self, departure: Departure, trouble: str, now: float) -> None:
        departure.trouble = trouble
        if departure.machine is not None:
            departure.machine.transport_failed(now)
        self._drain(departure, now)

    def tick(self, departure: Timed, now: float) -> bool:
        """A timer of ``departure`` is due; False when it is none of ours."""
        if not isinstance(departure, Departure):
            return False
        departure.tick(now)
        self._drain(departure, now)
        return True

    def _drain(self, departure: Departure, now: float) -> None:
        """Carry out what the transaction wants; to be called after each change of it."""
        half, machine, flow, way = self._half, departure.machine, departure.flow, departure.way
        if machine is None or flow is None or way is None:
            return
        events = machine.events()
        for data in machine.outgoing():
            half.emissions.append(Emission(data, flow, way.server_name, departure.branch, way.open_within_s))
        for event in events:
            if isinstance(event, Provisional | Final):
                self._came(departure, event, flow, now)
            elif isinstance(event, AckLost):
                ack_way = departure.ack_ways.get(event.to_tag)
                if ack_way is not None:
                    half.emissions.append(Emission(event.ack, ack_way.flow, ack_way.server_name))
            elif isinstance(event, TimerCFired):
                machine.cancel(now)
                self._drain(departure, now)
            elif isinstance(event, TimedOut):
                self._timed_out(departure, now)
            elif isinstance(event, TransportFailed):
                self._unreachable(departure, now)
            elif isinstance(event, Terminated) and departure.machine is machine:
                self._terminated(departure, now)
        half.schedule(departure)

    def _came(self, departure: Departure, event: Provisional | Final, flow: Flow, now: float) -> None:
        if event.status == 503:
            self._targets.failed(departure, now, event.raw)
            if departure.may_try_next:
                self._send_next(departure, now)
                return
        else:
            self._targets.did_well(departure, now)
        departure.answered = True
        departure.succeeded = departure.succeeded or 200 <= event.status < 300
        # By TCP for its size alone: that is no way to the party for anything else.
        way_back = departure.way.shown if departure.way is not None and departure.way.is_for_size else flow
        self._returns.pass_back(departure, event, way_back, now)

    def _terminated(self, departure: Departure, now: float) -> None:
        request, call = departure.request, departure.call
        if departure.succeeded and request.method == "INVITE" and not departure.ack_ways and call is not None:
            self._half.never_acknowledged(call, now)
        self._departures.forget(departure)

    def _timed_out(self, departure: Departure, now: float) -> None:
        self._targets.failed(departure, now)
        if departure.cancelled is not None:
            self._finish(departure, Answer(487, "Request Terminated", "the caller gave up"), now)
        else:
            self._next_or(departure, Answer(408, "Request Timeout", "no answer from the next hop"), now)

    def _unreachable(self, departure: Departure, now: float) -> None:
        """Where a connection that a party once made is gone, its address may still do (RFC 3261 section 18.2.2)."""
        hop = departure.hop
        self._targets.failed(departure, now)
        if (by_udp := self._targets.in_fragments(departure)) is not None and departure.cancelled is None:
            self._send(departure, by_udp, now, whatever_size=True)
            return
        if departure.has_lost_flow or (hop.flow is not None and leads_nowhere(self._half, hop.uri)):
            self._next_or(departure, FLOW_GONE, now)
        elif hop.flow is None or departure.answered:
            unreachable = Answer(503, "Service Unavailable", departure.trouble, 5, "next_hop_unreachable")
            self._next_or(departure, unreachable, now)
        else:
            departure.hop, departure.has_lost_flow = NextHop(hop.request_uri, hop.uri), True
            self._find_targets(departure, now)

    def _next_or(self, departure: Departure, answer: Answer, now: float) -> None:
        """Try the next target; without one, ``answer`` is the end."""
        if departure.may_try_next:
            self._send_next(departure, now)
        else:
            self._finish(departure, answer, now)

    # Ends

    def _finish(self, departure: Departure, answer: Answer, now: float) -> None:
        """It cannot go on: the near end answers in our name."""
        departure.targets.clear()
        self._returns.give_up(departure.crossed, departure.request, departure.call, answer, now)
        self._departures.forget(departure)

    def close(self, now: float) -> None:
        """The session is over: what still rings on this face is told so."""
        for departure in self._departures:
            machine, flow = departure.machine, departure.flow
            if machine is not None and flow is not None and machine.invite and not departure.succeeded:
                machine.cancel(now)
                for data in machine.outgoing():
                    self._half.emissions.append(Emission(data, flow))
        self._departures.clear()
