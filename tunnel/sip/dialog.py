"""Calls as one end sees them: who is on this face, how to reach them, and which dialogs have formed (RFC 3261 section 12).

Each end knows only the party on its own side of the wall, because only there does that party's Contact, Record-Route
and source address arrive. Both ends know a call by the same handle.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from tunnel.media.offer_answer import CallMedia
from tunnel.sip.flow import Flow
from tunnel.sip.grammar import number
from tunnel.sip.message import Message
from tunnel.sip.subscriptions import Subscriptions

__all__ = ["Call", "CallTable", "Dialog", "DialogKey", "Party"]

# Our number: no honest subscription forks wider.
MOST_DIALOGS = 64

# RFC 4028: what negotiates the session interval; and ours: no honest one is longer.
_REFRESHING = frozenset({"INVITE", "UPDATE"})
_LONGEST_INTERVAL_S = 86_400.0

DialogKey = tuple[bytes, bytes, bytes]  # Call-ID, tag of the party on this face, tag of the party beyond the wall


@dataclass(slots=True)
class Party:
    """The user agent on this face: its remote target (exact Contact bytes), the route set towards it, its flow.

    ``natted``: only the flow leads to it. ``knows_route``: the dialog has its route set, which never changes (12.2).
    """

    target: bytes = b""
    route_set: tuple[bytes, ...] = ()
    flow: Flow | None = None
    natted: bool = False
    knows_route: bool = False

    def came_by(self, flow: Flow) -> None:
        """A message of this party came by ``flow``: the way back, where its address is not (a NAT may move it)."""
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

    ``index`` is shared by the sessions of a face and tells under which ``number`` a dialog is carried.
    """

    def __init__(self, index: dict[DialogKey, int], number: int) -> None:
        self._index = index
        self._number = number
        self._by_handle: dict[int, Call] = {}
        self._by_dialog: dict[DialogKey, Call] = {}
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
            before = self._by_dialog.get(key)
            if before is not None and before is not call:
                displaced.append(before)
            self._by_dialog[key] = call
            self._index.setdefault(key, self._number)  # another session's dialog of the same name stays its own
        return displaced

    def find(self, request: Message) -> Call | None:
        """The call in whose dialog the party on this face sent ``request``.

        A NOTIFY may come before the answer to the SUBSCRIBE or REFER that it belongs to: then it makes the dialog (RFC
        6665 section 4.1.2.4).
        """
        found = self._by_dialog.get((request.call_id, request.from_tag, request.to_tag))
        if found is None and request.method == "NOTIFY":
            found = self._subscriptions.get((request.call_id, request.to_tag))
            if found is not None and request.from_tag and len(found.dialogs) < MOST_DIALOGS:
                found.dialog(request.from_tag)
                self.index(found)
        return found

    def beyond(self, request: Message) -> Call | None:
        """The call in whose dialog the party beyond the wall sent ``request``, where the other end does not know it."""
        return self._by_dialog.get((request.call_id, request.to_tag, request.from_tag))

    def remove(self, call: Call) -> None:
        self._by_handle.pop(call.handle, None)
        if self._subscriptions.get((call.call_id, call.caller_tag)) is call:
            del self._subscriptions[call.call_id, call.caller_tag]
        for key in call.dialog_keys():
            if self._by_dialog.get(key) is call:
                del self._by_dialog[key]
                if self._index.get(key) == self._number:
                    del self._index[key]
