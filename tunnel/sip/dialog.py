"""Calls as one end sees them: who is on this face, how to reach them, and which dialogs have formed (RFC 3261 section 12).

Each end knows only the party on its own side of the wall, because only there does that party's Contact, Record-Route
and source address arrive. Both ends know a call by the same handle.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from tunnel.media.offer_answer import CallMedia
from tunnel.sip.flow import Flow
from tunnel.sip.message import Message

__all__ = ["Call", "CallTable", "Dialog", "DialogKey", "Party"]

DialogKey = tuple[bytes, bytes, bytes]  # Call-ID, tag of the party on this face, tag of the party beyond the wall


@dataclass(slots=True)
class Party:
    """The user agent on this face: its remote target (exact Contact bytes), the route set towards it, its flow."""

    target: bytes = b""
    route_set: tuple[bytes, ...] = ()
    flow: Flow | None = None
    natted: bool = False


@dataclass(slots=True)
class Dialog:
    """One dialog of a call: the tag its answerer chose, and the party of this face in it."""

    answerer_tag: bytes
    party: Party
    confirmed: bool = False


@dataclass(slots=True)
class Call:
    """What began with one dialog-forming request: early dialogs, one per fork, of which usually one is confirmed."""

    handle: int
    method: str
    call_id: bytes
    caller_tag: bytes
    caller_here: bool
    opened_at: float
    caller: Party = field(default_factory=Party)
    dialogs: dict[bytes, Dialog] = field(default_factory=dict)
    media: CallMedia | None = None
    answered_at: float | None = None
    ended: bool = False
    expires_at: float | None = None

    def fork_of(self, message: Message) -> bytes:
        """The answerer's tag in ``message``, whichever way it travels; empty while there is none."""
        return message.to_tag if message.from_tag == self.caller_tag else message.from_tag

    def party(self, fork: bytes) -> Party | None:
        """The party of this face in the dialog ``fork``; None where that dialog is not known."""
        if self.caller_here:
            return self.caller
        dialog = self.dialogs.get(fork)
        return dialog.party if dialog else None

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

    def __len__(self) -> int:
        return len(self._by_handle)

    def __iter__(self) -> Iterator[Call]:
        return iter(list(self._by_handle.values()))

    def get(self, handle: int) -> Call | None:
        return self._by_handle.get(handle)

    def add(self, call: Call) -> None:
        self._by_handle[call.handle] = call

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
            self._index[key] = self._number
        return displaced

    def find(self, request: Message) -> Call | None:
        """The call in whose dialog the party on this face sent ``request``."""
        return self._by_dialog.get((request.call_id, request.from_tag, request.to_tag))

    def remove(self, call: Call) -> None:
        self._by_handle.pop(call.handle, None)
        for key in call.dialog_keys():
            if self._by_dialog.get(key) is call:
                del self._by_dialog[key]
                self._index.pop(key, None)

    def expired(self, now: float) -> list[Call]:
        """The calls whose time is over."""
        return [call for call in self._by_handle.values() if call.expires_at is not None and call.expires_at <= now]

    def deadline(self) -> float | None:
        """When the next call's time is over."""
        return min((c.expires_at for c in self._by_handle.values() if c.expires_at is not None), default=None)
