"""The requests that wait on this face for their answers: the tables of the near role, and how answers leave."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from tunnel.address import Address
from tunnel.sip.dialog import Call
from tunnel.sip.edit import stamp_source
from tunnel.sip.flow import Flow
from tunnel.sip.half import Emission, Half
from tunnel.sip.message import Message
from tunnel.sip.sender import is_natted
from tunnel.sip.server_transaction import ServerTransaction
from tunnel.sip.transaction_events import GaveUpWaitingForAck, Terminated
from tunnel.sip.transaction_key import ServerKey, server_key
from tunnel.sip.via import reply_address
from tunnel.sip.wall import RequestCrossed

__all__ = ["Arrival", "Arrivals"]


@dataclass(slots=True, eq=False)
class Arrival:
    """A request on this face that waits for its answer."""

    id: int
    key: ServerKey
    request: Message  # as it came, with received and rport in its top Via
    source: Flow
    flow: Flow  # where answers go
    machine: ServerTransaction
    call: Call | None = None
    crossed: RequestCrossed | None = None
    held_until: float | None = None
    acked: set[bytes] = field(default_factory=set)

    def deadline(self) -> float | None:
        own = self.machine.deadline()
        return min((at for at in (own, self.held_until) if at is not None), default=None)

    def tick(self, now: float) -> None:
        self.machine.tick(now)

    @property
    def is_answered(self) -> bool:
        """Whether a final response has been given."""
        return self.machine.last_status >= 200


class Arrivals:
    """The server transactions of one half proxy, by key, by handle, and the INVITEs by call and CSeq."""

    def __init__(self, half: Half) -> None:
        self._half = half
        self._by_key: dict[ServerKey, Arrival] = {}
        self._by_id: dict[int, Arrival] = {}
        self._invites: dict[tuple[int, int], Arrival] = {}

    def __len__(self) -> int:
        return len(self._by_id)

    def __iter__(self) -> Iterator[Arrival]:
        return iter(list(self._by_id.values()))

    def get(self, handle: int) -> Arrival | None:
        return self._by_id.get(handle)

    def find(self, key: ServerKey) -> Arrival | None:
        return self._by_key.get(key)

    def invite(self, call: Call, cseq: int) -> Arrival | None:
        """The INVITE of ``call`` with that CSeq number: what its ACK and PRACK are about."""
        return self._invites.get((call.handle, cseq))

    def take_on(self, message: Message, flow: Flow, now: float) -> Arrival:
        """A new request. Raises BadPacket when it is too long to be answered."""
        half = self._half
        stamped = stamp_source(message, flow.remote)
        remote = flow.remote
        if not flow.reliable:
            remote = reply_address(message.top_via, flow.remote, force_rport=is_natted(message, flow))
        machine = ServerTransaction(message.method == "INVITE", flow.reliable, now)
        answers = Flow(flow.transport, flow.local, remote, flow.connection)
        arrival = Arrival(half.handle(), server_key(message), stamped, flow, answers, machine)
        self._by_key[arrival.key] = arrival
        self._by_id[arrival.id] = arrival
        half.index.transactions[arrival.key] = half.number
        return arrival

    def belongs_to(self, arrival: Arrival, call: Call) -> None:
        """``arrival`` is a request of ``call``."""
        arrival.call = call
        if arrival.request.method == "INVITE":
            self._invites[call.handle, arrival.request.cseq[0]] = arrival

    def respond(self, arrival: Arrival, raw: bytes, status: int, tag: bytes, now: float, rseq: int = 0) -> None:
        """Send a response; ``rseq``: see ServerTransaction."""
        arrival.machine.respond(raw, status, tag, now, rseq)
        self.drain(arrival, now)

    def drain(self, arrival: Arrival, now: float) -> None:
        """Carry out what the transaction wants; to be called after each change of it."""
        half = self._half
        for event in arrival.machine.events():
            if isinstance(event, Terminated):
                self.forget(arrival)
            elif isinstance(event, GaveUpWaitingForAck) and arrival.call is not None and not arrival.acked:
                half.never_acknowledged(arrival.call, now)
        for data in arrival.machine.outgoing():
            half.emissions.append(Emission(data, arrival.flow))
        half.schedule(arrival)

    def forget(self, arrival: Arrival) -> None:
        self._by_key.pop(arrival.key, None)
        self._by_id.pop(arrival.id, None)
        self._half.index.transactions.pop(arrival.key, None)
        if arrival.call is not None:
            key = arrival.call.handle, arrival.request.cseq[0]
            if self._invites.get(key) is arrival:
                del self._invites[key]

    def transport_failed(self, transport: str, remote: Address, connection: int, now: float) -> None:
        """A connection is gone: answers go where the Via says, over a new one, once (RFC 3261 section 18.2.2)."""
        for arrival in self:
            flow = arrival.flow
            if not connection or (flow.transport, flow.remote, flow.connection) != (transport, remote, connection):
                continue
            arrival.flow = Flow(transport, flow.local, Address(remote.host, arrival.request.top_via.sent_by.port))
            if arrival.machine.last_status:
                arrival.machine.receive_retransmission(now)
                self.drain(arrival, now)

    def clear(self) -> None:
        for arrival in self:
            self.forget(arrival)
