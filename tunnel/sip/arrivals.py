"""Requests that came in on this face and wait for their answers: each with its server transaction, findable by what comes
later (RFC 3261 section 17.2.3)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from tunnel.sip.dialog import Call
from tunnel.sip.edit import stamp_source
from tunnel.sip.flow import Flow
from tunnel.sip.half import Emission, Half, is_natted
from tunnel.sip.message import Message
from tunnel.sip.policy import Answer
from tunnel.sip.response import build_response
from tunnel.sip.server_transaction import ServerTransaction
from tunnel.sip.transaction_events import GaveUpWaitingForAck, Terminated
from tunnel.sip.transaction_key import ServerKey
from tunnel.sip.via import reply_address
from tunnel.sip.wall import RequestCrossed

__all__ = ["Arrival", "Arrivals", "build_answer"]

# Our number. What one session may have open at once; beyond it new requests are dropped.
MOST_TRANSACTIONS = 20_000

# Call-ID, From tag and number of an INVITE, To tag of who answers it. Two branches of one forked INVITE, for two phones
# behind the same agent, differ in the last only.
_ForkKey = tuple[bytes, bytes, int, bytes]


@dataclass(slots=True, eq=False)
class Arrival:
    """A request on this face that waits for its answer."""

    id: int
    key: ServerKey
    request: Message  # as it came, with received and rport in its top Via
    flow: Flow  # where answers go
    machine: ServerTransaction
    call: Call | None
    crossed: RequestCrossed | None = None
    held_until: float | None = None
    acked: set[bytes] = field(default_factory=set)
    forks: set[_ForkKey] = field(default_factory=set)

    def deadline(self) -> float | None:
        own = self.machine.deadline()
        return min((at for at in (own, self.held_until) if at is not None), default=None)

    def tick(self, now: float) -> None:
        self.machine.tick(now)


class Arrivals:
    """The arrivals of one half proxy."""

    def __init__(self, half: Half) -> None:
        self._half = half
        self._by_key: dict[ServerKey, Arrival] = {}
        self._by_id: dict[int, Arrival] = {}
        self._by_fork: dict[_ForkKey, Arrival] = {}  # each fork of an INVITE: for ACK to 2xx, and for PRACK

    def __len__(self) -> int:
        return len(self._by_id)

    def __iter__(self) -> Iterator[Arrival]:
        return iter(list(self._by_id.values()))

    def of_key(self, key: ServerKey) -> Arrival | None:
        return self._by_key.get(key)

    def of_id(self, number: int) -> Arrival | None:
        return self._by_id.get(number)

    def invite_of(self, message: Message, cseq: int) -> Arrival | None:
        """The INVITE number ``cseq`` in whose dialog the sender of ``message`` acknowledges something."""
        return self._by_fork.get((message.call_id, message.from_tag, cseq, message.to_tag))

    def note_fork(self, invite: Arrival, to_tag: bytes) -> None:
        """Somebody with ``to_tag`` answers the INVITE."""
        fork = invite.request.call_id, invite.request.from_tag, invite.request.cseq[0], to_tag
        invite.forks.add(fork)
        self._by_fork[fork] = invite

    def take_on(self, message: Message, flow: Flow, key: ServerKey, now: float) -> Arrival | None:
        """A new request; None when there are too many."""
        half = self._half
        if len(self._by_id) >= MOST_TRANSACTIONS:
            half.counters.bump("sip.dropped.too_many_transactions")
            return None
        natted = is_natted(message, flow)
        remote = flow.remote if flow.reliable else reply_address(message.top_via, flow.remote, force_rport=natted)
        machine = ServerTransaction(message.method == "INVITE", flow.reliable, now)
        stamped = stamp_source(message, flow.remote)
        answers = Flow(flow.transport, flow.local, remote, flow.connection)
        arrival = Arrival(half.handle(), key, stamped, answers, machine, None)
        self._by_key[key] = arrival
        self._by_id[arrival.id] = arrival
        half.index.transactions[key] = half.number
        return arrival

    def respond(self, arrival: Arrival, raw: bytes, status: int, tag: bytes, now: float, rseq: int = 0) -> None:
        """Answer with ``raw``; ``rseq`` as in ``ServerTransaction.respond``."""
        arrival.machine.respond(raw, status, tag, now, rseq)
        self.drain(arrival)

    def drain(self, arrival: Arrival) -> None:
        """Let out what its transaction wants; to be called after each change of it."""
        half = self._half
        for event in arrival.machine.events():
            if isinstance(event, Terminated):
                self.forget(arrival)
            elif isinstance(event, GaveUpWaitingForAck):
                half.counters.bump("sip.never_acknowledged")
        for data in arrival.machine.outgoing():
            half.emissions.append(Emission(data, arrival.flow))
        half.schedule(arrival)

    def forget(self, arrival: Arrival) -> None:
        self._by_key.pop(arrival.key, None)
        self._by_id.pop(arrival.id, None)
        self._half.index.transactions.pop(arrival.key, None)
        for fork in arrival.forks:
            if self._by_fork.get(fork) is arrival:
                del self._by_fork[fork]


def build_answer(request: Message, answer: Answer, tag: bytes) -> bytes:
    """A final response of our own making, which says why (RFC 3261 section 20.43)."""
    extra = []
    if answer.warning:
        quoted = answer.warning.replace("\\", " ").replace('"', "'").encode("utf-8", "replace")
        extra.append(b'Warning: 399 wallpass "%s"' % quoted)
    if answer.retry_after_s:
        extra.append(b"Retry-After: %d" % answer.retry_after_s)
    if answer.status == 420:
        extra += [b"Unsupported: " + header.value for header in request.all("proxy-require")]
    return build_response(request, answer.status, answer.reason, tag, extra)
