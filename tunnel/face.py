"""One end's side towards a network: what its listeners hear goes to the half proxy it is for. [io]"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable
from typing import TypeAlias

import trio

from tunnel.address import Address
from tunnel.contained import contained
from tunnel.counters import Counters
from tunnel.errors import BadPacket
from tunnel.seat import Seat
from tunnel.sip.edit import stamp_source
from tunnel.sip.flow import NOT_VERIFIED, Flow
from tunnel.sip.half import FaceIndex, is_natted
from tunnel.sip.keepalives import is_keepalive_answer
from tunnel.sip.listener import Listeners
from tunnel.sip.message import Message, parse_untrusted
from tunnel.sip.policy import Admit, Answer, Drop, answer_to
from tunnel.sip.refusal import explanation
from tunnel.sip.response import build_refusal_untrusted, build_response
from tunnel.sip.transaction_key import server_key
from tunnel.sip.via import quoted_branch_untrusted, reply_address

__all__ = ["Face", "Verdict"]

# Our number: UDP sources whose keep-alives are answered, those of a large site; about 200 bytes each.
MOST_HEARD = 20_000

Verdict: TypeAlias = tuple[Seat | None, Admit | Answer | Drop]


class Face:
    """``gate`` decides for each request; ``seat`` finds the session of a number in ``index``; ``known`` says whether a
    source may be told that it sent nonsense."""

    def __init__(
        self,
        *,
        index: FaceIndex,
        gate: Callable[[Message, Flow, float], Verdict],
        seat: Callable[[int], Seat | None],
        known: Callable[[Flow], bool],
        counters: Counters,
        entropy: Callable[[int], bytes],
    ) -> None:
        self._listeners: Listeners | None = None
        self._index = index
        self._gate = gate
        self._seat = seat
        self._known = known
        self._counters = counters
        self._tag_key = entropy(32)
        self._welcome: set[int] = set()  # stream connections that have brought something that was let in
        self._heard: OrderedDict[Address, None] = OrderedDict()  # UDP sources that have, the latest last

    def use(self, listeners: Listeners) -> None:
        """The listeners that answers leave by; they deliver to this face."""
        self._listeners = listeners

    def deliver(self, data: bytes, flow: Flow) -> None:
        """A whole message came. Never raises."""
        with contained(self._counters, "face"):
            self._deliver_untrusted(data, flow)

    def _deliver_untrusted(self, data: bytes, flow: Flow) -> None:
        try:
            message = parse_untrusted(data, stream=flow.reliable)
            if message.is_request:
                self._request(message, flow)
            else:
                self._response(message, flow)
        except BadPacket as error:
            self._counters.bump("sip.dropped.malformed")
            if self._known(flow):
                self._refuse(data, flow, error)
            else:
                self._turn_away(flow)

    def failed(self, transport: str, remote: Address, connection: int, reason: str) -> None:
        """A stream connection could not be made or is gone: whoever used it must know."""
        self._counters.bump("sip.connections_failed")
        self._welcome.discard(connection)
        why = NOT_VERIFIED if reason == NOT_VERIFIED else ""
        for number in {*self._index.branches.values(), *self._index.transactions.values()}:
            seat = self._seat(number)
            if seat is not None:
                with contained(self._counters, "face.failed"):
                    seat.proxy.transport_failed(transport, remote, connection, trio.current_time(), why)
                    seat.settle()

    def refused(self, quoted: bytes) -> None:
        """ICMP says that nobody listens where a datagram went that began so. Anybody can forge that; what proves it is
        our own branch, which cannot be guessed. Never raises."""
        with contained(self._counters, "face.refused"):
            branch = quoted_branch_untrusted(quoted)
            number = self._index.branches.get(branch)
            seat = None if number is None else self._seat(number)
            if seat is not None:
                seat.proxy.refused(branch, trio.current_time())
                seat.settle()

    def _request(self, message: Message, flow: Flow) -> None:
        now = trio.current_time()
        seat, verdict = self._gate(message, flow, now)
        if isinstance(verdict, Drop):
            self._counters.bump(verdict.counter)
            self._turn_away(flow)
            return
        self._note_welcome(flow)
        if isinstance(verdict, Answer):
            self._answer(message, flow, verdict)
        elif seat is not None:
            seat.proxy.request(message, flow, verdict, now)
            seat.settle()

    def _response(self, message: Message, flow: Flow) -> None:
        if is_keepalive_answer(message):
            self._counters.bump("sip.keepalives_answered")
            return
        number = self._index.branches.get(message.top_via.branch)
        seat = None if number is None else self._seat(number)
        if seat is None:
            self._counters.bump("sip.dropped.stray_response")
            return
        self._note_welcome(flow)
        seat.proxy.response(message, flow, trio.current_time())
        seat.settle()

    def welcomes(self, flow: Flow) -> bool:
        """Whether a keep-alive that comes by ``flow`` is answered: strangers do not learn that anybody listens here."""
        return flow.remote in self._heard or self._known(flow)

    def _note_welcome(self, flow: Flow) -> None:
        """Something that came by ``flow`` was let in."""
        if flow.connection:
            self._welcome.add(flow.connection)
        else:
            self._heard[flow.remote] = None
            self._heard.move_to_end(flow.remote)
            if len(self._heard) > MOST_HEARD:
                self._heard.popitem(last=False)

    def _turn_away(self, flow: Flow) -> None:
        """A stranger's connection is closed (SIP-RULES K); one that carries calls stays, whatever else comes by it."""
        if self._listeners is not None and flow.connection not in self._welcome:
            self._listeners.hang_up(flow)

    def _answer(self, message: Message, flow: Flow, answer: Answer) -> None:
        """A response without a transaction: the sender repeats its request if this is lost."""
        if message.method == "ACK":
            return
        self._counters.bump(f"sip.answered.{answer.status}")
        if answer.status >= 300:
            self._counters.bump(answer.counter)
        extra = explanation(answer)
        if message.method == "OPTIONS" and answer.status == 200:
            extra += [b"Allow: INVITE, ACK, CANCEL, BYE, OPTIONS", b"Accept: application/sdp"]
        stamped = stamp_source(message, flow.remote)
        raw = build_response(stamped, answer.status, answer.reason, self._tag_of(message), extra)
        natted = is_natted(message, flow)
        remote = flow.remote if flow.reliable else reply_address(message.top_via, flow.remote, force_rport=natted)
        self._send(raw, Flow(flow.transport, flow.local, remote, flow.connection))

    def _tag_of(self, request: Message) -> bytes:
        """The To tag of an answer without a transaction: the same whenever the request comes again (RFC 3261 8.2.7)."""
        return (
            hashlib.blake2b(repr(server_key(request)).encode(), digest_size=5, key=self._tag_key).hexdigest().encode()
        )

    def _refuse(self, data: bytes, flow: Flow, error: BadPacket) -> None:
        answer = answer_to(error)
        refusal = build_refusal_untrusted(data, flow.remote, error.status, error.reason, explanation(answer))
        if refusal is not None:
            self._counters.bump(answer.counter)
            raw, remote = refusal
            to = flow.remote if flow.reliable else remote
            self._send(raw, Flow(flow.transport, flow.local, to, flow.connection))

    def _send(self, data: bytes, flow: Flow) -> None:
        if self._listeners is not None:
            self._listeners.send(data, flow)
