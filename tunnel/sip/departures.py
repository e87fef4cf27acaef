"""The requests of the other side that are on their way out of this face: the tables of the far role."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from tunnel.sip.client_transaction import ClientTransaction
from tunnel.sip.dialog import Call
from tunnel.sip.flow import Flow
from tunnel.sip.half import FaceIndex
from tunnel.sip.message import Message
from tunnel.sip.next_hop import Target
from tunnel.sip.policy import NextHop
from tunnel.sip.wall import RequestCrossed

__all__ = ["Departure", "Departures"]


@dataclass(slots=True, eq=False)
class Departure:
    """A request on its way out of this face. ``is_over``: it has got its final answer, or needs none.

    ``is_at_home``: see trust.py.
    """

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
    succeeded: bool = False
    is_at_home: bool = True
    ack_flows: dict[bytes, Flow] = field(default_factory=dict)

    def deadline(self) -> float | None:
        return self.machine.deadline() if self.machine is not None else None

    def tick(self, now: float) -> None:
        if self.machine is not None:
            self.machine.tick(now)

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
