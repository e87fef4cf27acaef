"""The far role: requests that came over the wall and leave by this face, and the responses to them.

wall    -> next hop -> SDP spoken, addresses rewritten -> client transaction -> target, the next one if it fails
response -> facts (callee, flow, SDP heard) -> over the wall
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from tunnel.address import Address
from tunnel.errors import BadPacket
from tunnel.media.exchange import Side
from tunnel.media.plane import CannotRelay, LedgerFull
from tunnel.sip.client_transaction import ClientTransaction
from tunnel.sip.dialog import Call
from tunnel.sip.flow import Flow
from tunnel.sip.half import (
    AFTER_FAILURE_S,
    BYE_GOES_ON,
    Emission,
    Half,
    Lookup,
    Timed,
    cannot_relay,
    check_lists_untrusted,
    contact_uri,
    is_natted,
    sip_uri,
    uri_of_value,
)
from tunnel.sip.message import Message, parse_untrusted
from tunnel.sip.next_hop import Target, literal_target, next_hop, way_to
from tunnel.sip.policy import Answer, NextHop
from tunnel.sip.transaction_events import (
    AckLost,
    Final,
    Provisional,
    Terminated,
    TimedOut,
    TimerCFired,
    TransportFailed,
)
from tunnel.sip.via import MAGIC_COOKIE
from tunnel.sip.wall import CancelCrossed, Failed, RequestCrossed, ResponseCrossed

__all__ = ["Far"]

# Our number: requests of one session that may be under way on this face at once.
MOST_DEPARTURES = 20_000
_REASON = re.compile(rb"(?i)reason[ \t]*+:(?:[^\x00-\x08\x0a-\x1f]|\r\n[ \t])*+")
_CONTROLS = re.compile(rb"[\x00-\x08\x0a-\x1f]")


@dataclass(slots=True, eq=False)
class _Departure:
    """A request on its way out of this face."""

    crossed: RequestCrossed
    request: Message
    call: Call | None
    hop: NextHop
    routes: tuple[bytes, ...]
    body: bytes | None
    targets: deque[Target] = field(default_factory=deque)
    machine: ClientTransaction | None = None
    branch: bytes = b""
    flow: Flow | None = None
    cancelled: tuple[bytes, ...] | None = None
    answered: bool = False
    is_over: bool = False
    ack_flows: dict[bytes, Flow] = field(default_factory=dict)

    def deadline(self) -> float | None:
        return self.machine.deadline() if self.machine is not None else None

    def tick(self, now: float) -> None:
        if self.machine is not None:
            self.machine.tick(now)


class Far:
    """The client transactions of one half proxy."""

    def __init__(self, half: Half) -> None:
        self._half = half
        self._by_id: dict[int, _Departure] = {}
        self._by_branch: dict[bytes, _Departure] = {}
        self._by_lookup: dict[int, _Departure] = {}
        self._invites: dict[tuple[int, int], _Departure] = {}  # call, CSeq: for ACK to 2xx

    def __len__(self) -> int:
        return len(self._by_id)

    # What comes over the wall

    def wall_request(self, crossed: RequestCrossed, now: float) -> None:
        """A request of the other side is to leave by this face. Raises BadPacket."""
        request = parse_untrusted(crossed.raw)
        check_lists_untrusted(request)
        if not request.is_request or any(_CONTROLS.search(route) for route in crossed.routes):
            raise BadPacket("what crossed as a request is none")
        if len(self._by_id) >= MOST_DEPARTURES:
            self._fail(crossed, Answer(503, "Service Unavailable", "too many requests are under way", 5))
            return
        refusal = self._open_call(crossed, request, now)
        if refusal is not None:
            self._fail(crossed, refusal)
            return
        half = self._half
        call = half.calls.get(crossed.call)
        if call is not None and request.to_tag:
            half.touch_call(call, request, now)
        hop, routes = self._hop(request, crossed, call, now)
        if isinstance(hop, Answer):
            self._give_up(crossed, request, call, hop, now)
            return
        try:
            body = half.speak(call, request, crossed.channels, now)
        except (CannotRelay, LedgerFull) as error:
            self._give_up(crossed, request, call, cannot_relay(error), now)
            return
        departure = _Departure(crossed, request, call, hop, routes, body)
        if crossed.transaction:
            self._by_id[crossed.transaction] = departure
        if request.method == "INVITE" and call is not None:
            self._invites[call.handle, request.cseq[0]] = departure
        self._find_targets(departure, now)

    def wall_cancel(self, crossed: CancelCrossed, now: float) -> None:
        """The caller gave up."""
        departure = self._by_id.get(crossed.transaction)
        if departure is None or departure.cancelled is not None or departure.request.method != "INVITE":
            return
        departure.cancelled = tuple(line for line in crossed.reasons if _REASON.fullmatch(line))
        if departure.machine is None:
            self._finish(departure, Answer(487, "Request Terminated"), now)
            return
        departure.machine.cancel(now, departure.cancelled)
        self._drain(departure, now)

    def resolved(self, key: int, targets: Sequence[Target] | None, now: float) -> None:
        """What a Lookup found; None or nothing where it failed."""
        departure = self._by_lookup.pop(key, None)
        if departure is None or departure.is_over:
            return
        if not targets:
            self._finish(departure, Answer(502, "Bad Gateway", f"no address for {departure.hop.uri!r}"), now)
            return
        departure.targets.extend(targets)
        self._send_next(departure, now)

    # Where it goes

    def _open_call(self, crossed: RequestCrossed, request: Message, now: float) -> Answer | None:
        """The call that a dialog-forming request begins; an Answer where there are too many of them."""
        half = self._half
        if not crossed.call or request.to_tag or half.calls.get(crossed.call) is not None:
            return None
        if request.method == "INVITE":
            refusal = half.policy.refuse_call(now)
            if refusal is not None:
                return refusal
        call = Call(crossed.call, request.method, request.call_id, request.from_tag, False, now)
        if request.method == "INVITE":
            call.media = half.new_media(call.handle)
        half.open_call(call, outbound=half.outside)
        return None

    def _hop(
        self, request: Message, crossed: RequestCrossed, call: Call | None, now: float
    ) -> tuple[NextHop | Answer, tuple[bytes, ...]]:
        """The next hop and the Route values to leave with: by dialog, by mask, by Route, or as the face decides."""
        half = self._half
        if call is not None and request.to_tag:
            party = call.party(call.fork_of(request))
            if party is not None and party.target:
                return next_hop(party.target, party.route_set, party.flow)
        uri = sip_uri(request.request_uri)
        opened = half.masks.open_own(uri, now) if uri is not None else None
        if opened is not None:
            flow, contact = way_to(opened, half.bindings, now)
            return next_hop(contact, crossed.routes, flow)
        if crossed.routes:
            return next_hop(request.request_uri, crossed.routes, None)
        return half.policy.route(request, crossed), ()

    def _find_targets(self, departure: _Departure, now: float) -> None:
        hop = departure.hop
        if hop.flow is not None:
            departure.targets.append(Target(hop.flow.transport, hop.flow.remote))
            self._send_next(departure, now)
            return
        uri = sip_uri(hop.uri)
        if uri is None:
            self._finish(departure, Answer(416, "Unsupported URI Scheme"), now)
            return
        target = literal_target(uri)
        if target is None:
            key = self._half.handle()
            self._by_lookup[key] = departure
            self._half.lookups.append(Lookup(key, uri))
            return
        departure.targets.append(target)
        self._send_next(departure, now)

    def _send_next(self, departure: _Departure, now: float) -> None:
        """Send it to the next target that this face may and can send to (RFC 3263 section 4.3)."""
        half = self._half
        while departure.targets:
            target = departure.targets.popleft()
            local = half.addresses.pick(target.transport, target.address.is_ipv6)
            if not half.policy.may_send(target.address):
                half.counters.bump("sip.blocked_targets")
            elif local is not None:
                self._send(departure, target, local, now)
                return
        answer = Answer(403, "Forbidden", "the destination is not allowed, or no listener of this face leads to it")
        self._finish(departure, answer, now)

    def _send(self, departure: _Departure, target: Target, local: Address, now: float) -> None:
        half, crossed, hop = self._half, departure.crossed, departure.hop
        self._forget_branch(departure)
        departure.branch = MAGIC_COOKIE + half.entropy(9).hex().encode("ascii")
        flow = hop.flow if hop.flow is not None and hop.flow.remote == target.address else None
        flow = flow or Flow(target.transport, local, target.address)
        departure.flow = flow
        data = half.rewriter.request(
            departure.request,
            request_uri=hop.request_uri,
            routes=departure.routes,
            at=flow.local,
            transport=flow.transport,
            branch=departure.branch,
            binding=crossed.binding,
            natted=crossed.natted,
            body=departure.body,
            now=now,
        )
        if departure.request.method == "ACK":
            self._send_ack(departure, data, flow, target.server_name)
            return
        if departure.request.method == "INVITE" and not _is_readable(data):
            self._finish(departure, Answer(513, "Message Too Large"), now)
            return
        half.index.branches[departure.branch] = half.number
        self._by_branch[departure.branch] = departure
        departure.machine = ClientTransaction(departure.request.method == "INVITE", data, flow.reliable, now)
        self._drain(departure, now, target.server_name)

    def _send_ack(self, departure: _Departure, data: bytes, flow: Flow, server_name: str) -> None:
        """The ACK of a 2xx: sent once, and kept to be sent again whenever its 2xx comes again."""
        half, request = self._half, departure.request
        half.emissions.append(Emission(data, flow, server_name))
        invite = self._invites.get((departure.crossed.call, request.cseq[0]))
        if invite is not None and invite.machine is not None:
            invite.machine.acknowledge(request.to_tag, data)
            invite.ack_flows[request.to_tag] = flow

    # What comes back from the network

    def response(self, response: Message, flow: Flow, now: float) -> None:
        """A response to a request of ours."""
        departure = self._by_branch.get(response.top_via.branch)
        if departure is None or departure.machine is None:
            self._half.counters.bump("sip.dropped.stray_response")
            return
        check_lists_untrusted(response)
        if response.cseq[1] == "CANCEL":
            departure.machine.receive_cancel_response(response.status, now)
        elif response.cseq == departure.request.cseq:
            departure.flow = departure.flow and Flow(
                departure.flow.transport, departure.flow.local, departure.flow.remote, flow.connection
            )
            departure.machine.receive(response.status, response.raw, response.to_tag, now)
        self._drain(departure, now)

    def transport_failed(self, transport: str, remote: Address, connection: int, now: float) -> None:
        """Nothing can be delivered to ``remote``, or that connection is gone."""
        for departure in list(self._by_branch.values()):
            flow = departure.flow
            if flow is None or departure.machine is None or (flow.transport, flow.remote) != (transport, remote):
                continue
            if connection and flow.connection not in (0, connection):
                continue
            departure.machine.transport_failed(now)
            self._drain(departure, now)

    def tick(self, departure: Timed, now: float) -> None:
        """A timer of ``departure`` is due."""
        if isinstance(departure, _Departure):
            departure.tick(now)
            self._drain(departure, now)

    def close(self, now: float) -> None:
        """The session is over: what still rings is cancelled, everything is forgotten."""
        for departure in list(self._by_branch.values()):
            if departure.machine is not None and departure.machine.invite:
                departure.machine.cancel(now)
                self._drain(departure, now)
            self._forget(departure)
        self._by_lookup.clear()
        self._by_id.clear()
        self._invites.clear()

    def _drain(self, departure: _Departure, now: float, server_name: str = "") -> None:
        half, machine, to = self._half, departure.machine, departure.flow
        if machine is None:
            return
        for event in machine.events():
            if isinstance(event, Provisional | Final):
                self._pass_back(departure, event, now)
            elif isinstance(event, AckLost):
                flow = departure.ack_flows.get(event.to_tag)
                if flow is not None:
                    half.emissions.append(Emission(event.ack, flow))
            elif isinstance(event, TimerCFired):
                machine.cancel(now)
            elif isinstance(event, TimedOut):
                self._timed_out(departure, now)
            elif isinstance(event, TransportFailed):
                self._unreachable(departure, now)
            elif isinstance(event, Terminated) and departure.machine is machine:
                self._forget(departure)
        if to is not None:
            for data in machine.outgoing():
                half.emissions.append(Emission(data, to, server_name))
        half.schedule(departure)

    def _timed_out(self, departure: _Departure, now: float) -> None:
        if departure.cancelled is not None:
            self._finish(departure, Answer(487, "Request Terminated"), now)
        elif departure.request.method == "INVITE" or departure.targets:
            self._next_or(departure, Answer(408, "Request Timeout", "no answer from the next hop"), now)
        else:
            self._finish(departure, Answer(408, "Request Timeout"), now)

    def _unreachable(self, departure: _Departure, now: float) -> None:
        """Where a stream connection that a party once made is gone, its address may still do (RFC 3261 section 18.2.2)."""
        hop = departure.hop
        if hop.flow is not None and departure.cancelled is None:
            departure.hop = NextHop(hop.request_uri, hop.uri)
            self._find_targets(departure, now)
            return
        self._next_or(departure, Answer(503, "Service Unavailable", "the next hop cannot be reached", 5), now)

    def _next_or(self, departure: _Departure, answer: Answer, now: float) -> None:
        """Try the next target; without one, ``answer`` is the end."""
        if departure.targets and not departure.answered and departure.cancelled is None:
            self._send_next(departure, now)
        else:
            self._finish(departure, answer, now)

    def _pass_back(self, departure: _Departure, event: Provisional | Final, now: float) -> None:
        """A response goes over the wall, with what it tells of the callee."""
        half, call, flow = self._half, departure.call, departure.flow
        assert flow is not None
        response = parse_untrusted(event.raw)
        if event.status == 503 and departure.targets and not departure.answered and departure.cancelled is None:
            self._send_next(departure, now)
            return
        departure.answered = True
        channels: tuple[int, ...] = ()
        if call is not None:
            try:
                self._note_callee(departure, call, response, flow, now)
                channels = half.hear(call, response, flow, now)
            except (CannotRelay, LedgerFull, BadPacket):
                half.counters.bump("sip.answers_without_media")
        self._follow(departure, response, flow, now)
        natted = self._is_natted(departure, response, flow)
        binding = half.binding_key(response, flow)
        half.bindings.note(binding, flow, natted, now + 3600)
        for value in response.values("contact"):
            uri = uri_of_value(value.text)
            if uri is not None:
                half.masks.remember(binding, uri)
        half.crossings.append(
            ResponseCrossed(departure.crossed.transaction, response.raw, str(flow), channels, natted, binding)
        )

    def _note_callee(self, departure: _Departure, call: Call, response: Message, flow: Flow, now: float) -> None:
        """Where the answerer of this dialog is reached from now on (RFC 3261 section 12.1.2)."""
        half = self._half
        fork = call.fork_of(response)
        if not fork:
            return
        party = call.dialog(fork).party
        half.index_call(call, now)
        uri = contact_uri(response)
        if uri is None or response.status >= 300 or response.status == 100:
            return
        party.target = uri.text
        if not departure.request.to_tag:
            party.route_set = tuple(reversed(self._foreign_record_routes(response)))
        party.natted = self._is_natted(departure, response, flow)
        party.flow = flow if flow.reliable or party.natted else None

    def _is_natted(self, departure: _Departure, response: Message, flow: Flow) -> bool:
        """Whether the callee sits behind a NAT of its own; behind a proxy its Contact may be whatever that proxy knows, and
        the Contacts of a registrar or a redirection are not the sender's."""
        if departure.request.method == "REGISTER" or response.status >= 300:
            return False
        if departure.hop.flow is not None:
            return not flow.reliable
        return not self._foreign_record_routes(response) and is_natted(response, flow)

    def _foreign_record_routes(self, response: Message) -> list[bytes]:
        """The Record-Route values above our own: those of the proxies between us and the callee."""
        found = []
        for value in response.values("record-route"):
            uri = uri_of_value(value.text)
            if uri is not None and self._half.addresses.is_own(uri):
                break
            found.append(value.text)
        return found

    def _follow(self, departure: _Departure, response: Message, flow: Flow, now: float) -> None:
        """What a response means for its call, and for whom we know as a registrar."""
        half, call, request = self._half, departure.call, departure.request
        status = response.status
        if request.method == "REGISTER" and 200 <= status < 300:
            half.index.registrars.setdefault(flow.remote.host, {})[half.number] = now + 86_400
        if status in (401, 407):
            half.rewriter.note_challenge(response)
        if call is None or status < 200:
            return
        if status >= 300:
            self._follow_failure(request, call, status, now)
        elif request.method == "INVITE":
            half.answer_call(call, call.fork_of(response), now)
        elif request.method == "BYE":
            half.end_dialog(call, call.fork_of(request), now)

    def _follow_failure(self, request: Message, call: Call | None, status: int, now: float) -> None:
        half = self._half
        if call is None:
            return
        if request.method in ("INVITE", "UPDATE") and request.to_tag:
            if call.media is not None:
                call.media.roll_back(call.fork_of(request), Side.SPOKEN, now)
        elif request.method == "BYE":
            if status not in BYE_GOES_ON:
                half.end_dialog(call, call.fork_of(request), now)
        elif not request.to_tag:
            half.end_call(call, now, linger_s=AFTER_FAILURE_S, status=status)

    # Ends

    def _finish(self, departure: _Departure, answer: Answer, now: float) -> None:
        """It cannot go on: the near end answers in our name."""
        departure.targets.clear()
        self._give_up(departure.crossed, departure.request, departure.call, answer, now)
        self._forget(departure)

    def _give_up(
        self, crossed: RequestCrossed, request: Message, call: Call | None, answer: Answer, now: float
    ) -> None:
        self._fail(crossed, answer)
        self._follow_failure(request, call, answer.status, now)

    def _fail(self, crossed: RequestCrossed, answer: Answer) -> None:
        self._half.counters.bump(f"sip.failed.{answer.status}")
        if crossed.transaction:
            failed = Failed(crossed.transaction, answer.status, answer.reason, answer.warning, answer.retry_after_s)
            self._half.crossings.append(failed)

    def _forget(self, departure: _Departure) -> None:
        self._by_id.pop(departure.crossed.transaction, None)
        self._forget_branch(departure)
        key = departure.crossed.call, departure.request.cseq[0]
        if self._invites.get(key) is departure:
            del self._invites[key]
        departure.machine = None
        departure.is_over = True

    def _forget_branch(self, departure: _Departure) -> None:
        self._by_branch.pop(departure.branch, None)
        self._half.index.branches.pop(departure.branch, None)


def _is_readable(data: bytes) -> bool:
    """Whether what grew on its way out still keeps our own limits: its CANCEL and ACK are made from it."""
    try:
        parse_untrusted(data)
    except BadPacket:
        return False
    return True
