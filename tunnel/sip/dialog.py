"""Calls as one end sees them: who is on this face, how to reach them, and which dialogs have formed (RFC 3261 section 12).

Each end knows only the party on its own side of the wall, because only there does that party's Contact, Record-Route
and source address arrive. Both ends know a call by the same handle.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

from tunnel.address import Address
from tunnel.media.offer_answer import CallMedia
from tunnel.sip.flow import Flow
from tunnel.sip.grammar import number
from tunnel.sip.message import Message
from tunnel.sip.subscriptions import Subscriptions

__all__ = ["Call", "CallTable", "Dialog", "DialogKey", "DialogSessions", "Party", "strangeness"]

# Our numbers: no honest subscription forks wider; no honest call passes the same face more often.
MOST_DIALOGS = 64
MOST_PASSES = 4

# RFC 4028: what negotiates the session interval; and ours: no honest one is longer.
_REFRESHING = frozenset({"INVITE", "UPDATE"})
_LONGEST_INTERVAL_S = 86_400.0

DialogKey = tuple[bytes, bytes, bytes]  # Call-ID, tag of the party on this face, tag of the party beyond the wall
DialogSessions: TypeAlias = "dict[int, list[Call]]"  # number of a session -> the passes of one dialog through it


@dataclass(slots=True)
class Party:
    """The user agent on this face: its remote target (exact Contact bytes), the route set towards it, its flow.

    ``natted``: only the flow leads to it. ``knows_route``: the dialog has its route set, which never changes (12.2).
    ``seen_at``: where its messages come from.
    """

    target: bytes = b""
    route_set: tuple[bytes, ...] = ()
    flow: Flow | None = None
    natted: bool = False
    knows_route: bool = False
    seen_at: Address | None = None

    def came_by(self, flow: Flow) -> None:
        """A message of this party came by ``flow``: the way back, where its address is not (a NAT may move it)."""
        self.seen_at = flow.remote
        self.flow = flow if self.natted or flow.reliable else None


@dataclass(slots=True)
class Dialog:
    """One dialog of a call: the tag its answerer chose, and the party of this face in it."""

    answerer_tag: bytes
    party: Party
    confirmed: bool = False
    ended: bool = False


@dataclass(slots=True, eq=False)
class Call:
    """What began with one dialog-forming request: early dialogs, one per fork, of which usually one is confirmed.

    ``trusted``: the party on this face is one whose word on identities is passed on; ``may_challenge``: it may ask for
    credentials (see trust.py).
    ``expires_at``: when it is forgotten, None while only its end can tell. ``alive_at``: when a message of it passed last.
    ``session_expires_s``: the session interval its parties spoke of last (RFC 4028), 0 if they have none. ``top_cseq``:
    the highest sequence number that a request of it had. ``looked_at``: when its timer goes off next. ``acknowledged``:
    an ACK of a 2xx passed.
    """

    handle: int
    method: str
    call_id: bytes
    caller_tag: bytes
    caller_here: bool
    opened_at: float
    caller: Party = field(default_factory=Party)
    dialogs: dict[bytes, Dialog] = field(default_factory=dict)
    trusted: bool = True
    may_challenge: bool = True
    media: CallMedia | None = None
    subscriptions: Subscriptions = field(default_factory=Subscriptions)
    answered_at: float | None = None
    acknowledged: bool = False
    ended: bool = False
    expires_at: float | None = None
    alive_at: float = 0.0
    session_expires_s: float = 0.0
    top_cseq: int = 0

    def __post_init__(self) -> None:
        self.alive_at = self.opened_at

    def saw(self, message: Message, now: float) -> None:
        """``message``, of either party, passes."""
        self.alive_at = now
        if message.is_request:
            self.top_cseq = max(self.top_cseq, message.cseq[0])
        if message.cseq_method in _REFRESHING and (message.is_request or 200 <= message.status < 300):
            said = message.header("session-expires")
            digits = number(said.value.partition(b";")[0].strip()) if said is not None else None
            self.session_expires_s = min(float(digits or 0), _LONGEST_INTERVAL_S)

    looked_at: float | None = None

    def deadline(self) -> float | None:
        return self.expires_at

    def tick(self, now: float) -> None:
        """Its owner forgets it."""

    def fork_of(self, message: Message) -> bytes:
        """The answerer's tag in ``message``, whichever way it travels; empty while there is none."""
        return message.to_tag if message.from_tag == self.caller_tag else message.from_tag

    def party(self, fork: bytes) -> Party | None:
        """The party of this face in the dialog ``fork``; None where that dialog is not known."""
        if self.caller_here:
            return self.caller
        dialog = self.dialogs.get(fork)
        return dialog.party if dialog else None

    def parties(self) -> Iterator[Party]:
        """The parties of this face: the caller, or one for each fork."""
        yield from (self.caller,) if self.caller_here else (dialog.party for dialog in self.dialogs.values())

    def dialog(self, fork: bytes) -> Dialog:
        """The dialog ``fork``, made if it is new."""
        if fork not in self.dialogs:
            self.dialogs[fork] = Dialog(fork, self.caller if self.caller_here else Party())
        return self.dialogs[fork]

    def dialog_keys(self) -> Iterator[DialogKey]:
        """The keys under which requests from this face's party find their dialogs."""
        for tag in self.dialogs:
            here, beyond = (self.caller_tag, tag) if self.caller_here else (tag, self.caller_tag)
            yield self.call_id, here, beyond


class CallTable:
    """The calls of one session on one end, by handle and by dialog.

    ``index`` is shared by the sessions of a face and tells under which ``number`` a dialog is carried, and by which calls:
    one of two tenants' phones passes the face in the sessions of both.
    """

    def __init__(self, index: dict[DialogKey, DialogSessions], number: int) -> None:
        self._index = index
        self._number = number
        self._by_handle: dict[int, Call] = {}
        self._by_dialog: dict[DialogKey, list[Call]] = {}
        self._subscriptions: dict[tuple[bytes, bytes], Call] = {}  # Call-ID and tag of a subscriber beyond the wall

    def __len__(self) -> int:
        return len(self._by_handle)

    def __iter__(self) -> Iterator[Call]:
        return iter(list(self._by_handle.values()))

    def get(self, handle: int) -> Call | None:
        return self._by_handle.get(handle)

    def add(self, call: Call) -> None:
        self._by_handle[call.handle] = call
        if call.method != "INVITE" and not call.caller_here:
            self._subscriptions[call.call_id, call.caller_tag] = call

    def index(self, call: Call) -> list[Call]:
        """Make the dialogs that ``call`` has by now findable, unless it was removed already.

        Returns the calls that had one of these dialogs: an INVITE that came again long after its transaction.
        """
        displaced: list[Call] = []
        if self._by_handle.get(call.handle) is not call:
            return displaced
        for key in call.dialog_keys():
            known = self._by_dialog.setdefault(key, [])
            if call not in known:
                displaced += [each for each in known if _seen_at(each, key) == _seen_at(call, key)]
                known[:] = [*(each for each in known if each not in displaced), call]
                if len(known) > MOST_PASSES:
                    displaced.append(known.pop(0))
            self._index.setdefault(key, {})[self._number] = known
        return displaced

    def find(self, request: Message, source: Address) -> Call | None:
        """The call in whose dialog the party on this face sent ``request`` from ``source``.

        A call may pass the same face more than once, on its way through proxies of either side: then each pass has another
        neighbour. A NOTIFY may come before the answer to the SUBSCRIBE or REFER that it belongs to: then it makes the
        dialog (RFC 6665 section 4.1.2.4).
        """
        key = request.call_id, request.from_tag, request.to_tag
        passes = self._by_dialog.get(key, [])
        if passes:
            return min(reversed(passes), key=lambda call: strangeness(call, key, source))
        if request.method != "NOTIFY":
            return None
        found = self._subscriptions.get((request.call_id, request.to_tag))
        if found is not None and request.from_tag and len(found.dialogs) < MOST_DIALOGS:
            found.dialog(request.from_tag)
            self.index(found)
        return found

    def beyond(self, request: Message) -> Call | None:
        """The call in whose dialog the party beyond the wall sent ``request``, where the other end does not know it."""
        passes = self._by_dialog.get((request.call_id, request.to_tag, request.from_tag))
        return passes[-1] if passes else None

    def remove(self, call: Call) -> None:
        self._by_handle.pop(call.handle, None)
        if self._subscriptions.get((call.call_id, call.caller_tag)) is call:
            del self._subscriptions[call.call_id, call.caller_tag]
        for key in call.dialog_keys():
            passes = self._by_dialog.get(key, [])
            if call in passes:
                passes.remove(call)
            if passes or key not in self._by_dialog:
                continue
            del self._by_dialog[key]
            sessions = self._index.get(key, {})
            sessions.pop(self._number, None)
            if not sessions:
                self._index.pop(key, None)


def _seen_at(call: Call, key: DialogKey) -> Address | None:
    """Where the party of this face in the dialog ``key`` of ``call`` sends from."""
    party = call.party(key[2] if call.caller_here else key[1])
    return None if party is None else party.seen_at


def strangeness(call: Call, key: DialogKey, source: Address) -> int:
    """How unlike ``source`` is to where the party of this face in that dialog is known to send from."""
    known = _seen_at(call, key)
    if known is None or known.host != source.host:
        return 2
    return int(known != source)
