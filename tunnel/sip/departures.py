"""The requests of the other side that are on their way out of this face: the tables of the far role."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from tunnel.address import Address
from tunnel.errors import BadPacket
from tunnel.sip.client_transaction import ClientTransaction
from tunnel.sip.dialog import Call
from tunnel.sip.flow import Flow
from tunnel.sip.half import FaceIndex
from tunnel.sip.message import Message
from tunnel.sip.next_hop import Target
from tunnel.sip.policy import NextHop
from tunnel.sip.states import State
from tunnel.sip.via import Via
from tunnel.sip.wall import RequestCrossed

__all__ = ["Departure", "Departures", "Way"]


@dataclass(frozen=True, slots=True)
class Way:
    """How a request leaves: ``flow``, the name TLS is to prove, and within how many seconds a connection must be up.

    ``shown`` is the flow that Contact and Record-Route name: the same, but for a request that only its size sends by TCP.
    """

    flow: Flow
    shown: Flow
    server_name: str = ""
    open_within_s: float | None = None

    @property
    def is_for_size(self) -> bool:
        return self.flow.transport != self.shown.transport


@dataclass(slots=True, eq=False)
class Departure:
    """A request on its way out of this face. ``is_over``: it has got its final answer, or needs none.

    ``is_at_home``: see trust.py. ``turned``: it went to this face itself.
    """

    crossed: RequestCrossed
    request: Message
    call: Call | None
    hop: NextHop
    routes: tuple[bytes, ...]
    body: bytes | None = None  # with SDP as it was said to ``spoken_to``
    spoken_to: Address | None = None
    targets: deque[Target] = field(default_factory=deque)
    machine: ClientTransaction | None = None
    branch: bytes = b""
    flow: Flow | None = None
    cancelled: tuple[bytes, ...] | None = None
    answered: bool = False
    is_over: bool = False
    succeeded: bool = False
    is_at_home: bool = True
    turned: bool = False
    ack_ways: dict[bytes, Way] = field(default_factory=dict)
    has_lost_flow: bool = False  # the connection that led to the user agent is gone
    way: Way | None = None  # how it was sent last; ``flow`` follows the connection that took it
    trouble: str = ""  # why it could not be delivered, for a Warning

    def deadline(self) -> float | None:
        return self.machine.deadline() if self.machine is not None else None

    def tick(self, now: float) -> None:
        if self.machine is not None:
            self.machine.tick(now)

    @property
    def is_secure(self) -> bool:
        """Whether it is for a ``sips:`` URI, which nothing but TLS may carry (RFC 3261 section 26.2.2)."""
        asked = self.request.uri
        return (asked is not None and asked.scheme == "sips") or self.hop.uri[:5].lower() == b"sips:"

    @property
    def is_unheard(self) -> bool:
        """Whether nothing at all has come back for it."""
        return self.machine is not None and self.machine.state in (State.CALLING, State.TRYING)

    @property
    def may_try_next(self) -> bool:
        """Whether another target may still be tried: none has answered, and the caller still waits."""
        return bool(self.targets) and not self.answered and self.cancelled is None


class Departures:
    """The client transactions of one half proxy, by handle and branch, and the INVITEs by call and CSeq.

    ``index`` is shared by the sessions of a face and tells under which ``number`` a branch is ours.
    """

    def __init__(self, index: FaceIndex, number: int) -> None:
        self._index = index
        self._number = number
        self._by_id: dict[int, Departure] = {}
        self._by_branch: dict[bytes, Departure] = {}
        self._by_lookup: dict[int, Departure] = {}
        self._invites: dict[tuple[int, int], Departure] = {}

    def __len__(self) -> int:
        return len(self._by_id)

    def __iter__(self) -> Iterator[Departure]:
        return iter(list(self._by_branch.values()))

    def add(self, departure: Departure) -> None:
        if departure.crossed.transaction:
            self._by_id[departure.crossed.transaction] = departure
        if departure.request.method == "INVITE" and departure.call is not None:
            self._invites[departure.call.handle, departure.request.cseq[0]] = departure

    def get(self, transaction: int) -> Departure | None:
        return self._by_id.get(transaction)

    def of_branch(self, branch: bytes) -> Departure | None:
        return self._by_branch.get(branch)

    def that_went_by(self, transport: str, remote: Address, connection: int) -> list[Departure]:
        """Those that were sent by that connection, or by no connection to ``remote``."""
        way = transport, remote, connection
        flows = ((departure, departure.flow) for departure in self if departure.machine is not None)
        return [one for one, flow in flows if flow and (flow.transport, flow.remote, flow.connection) == way]

    def has_sent(self, request: Message) -> bool:
        """Whether ``request`` is one that we sent: with the same Request-URI and Route, and a branch of ours below.

        What we sent to this face itself, and that nobody has had since, has only turned.
        """
        routes = tuple(value.text for value in request.values("route"))
        for place, value in enumerate(request.values("via")):
            try:
                departure = self.of_branch(Via.parse_untrusted(value.text).branch)
            except BadPacket:
                continue
            if departure is None or (departure.turned and not place):
                continue
            if (departure.hop.request_uri, departure.routes) == (request.request_uri, routes):
                return True
        return False

    def invite(self, call: int, cseq: int) -> Departure | None:
        """The INVITE of the call with that handle and CSeq number: what its ACK is about."""
        return self._invites.get((call, cseq))

    def sent(self, departure: Departure, branch: bytes) -> None:
        """``departure`` has left with ``branch``, and with no other any more."""
        self._drop_branch(departure)
        departure.branch = branch
        self._by_branch[branch] = departure
        self._index.branches[branch] = self._number

    def looking_up(self, departure: Departure, key: int) -> None:
        self._by_lookup[key] = departure

    def looked_up(self, key: int) -> Departure | None:
        """Whose lookup ``key`` is done, if it still goes on."""
        departure = self._by_lookup.pop(key, None)
        return None if departure is None or departure.is_over else departure

    def forget(self, departure: Departure) -> None:
        departure.is_over = True
        if self._by_id.get(departure.crossed.transaction) is departure:
            del self._by_id[departure.crossed.transaction]
        self._drop_branch(departure)
        if departure.call is not None:
            key = departure.call.handle, departure.request.cseq[0]
            if self._invites.get(key) is departure:
                del self._invites[key]
        departure.machine = None

    def clear(self) -> None:
        for departure in [*self._by_id.values(), *self._by_branch.values()]:
            self.forget(departure)
        self._by_lookup.clear()

    def _drop_branch(self, departure: Departure) -> None:
        if self._by_branch.pop(departure.branch, None) is not None:
            self._index.branches.pop(departure.branch, None)
