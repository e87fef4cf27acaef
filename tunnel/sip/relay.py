"""The half proxy: one session's SIP on one face (RFC 3261 section 16, cut in two at the wall).

After each change the owner drains ``events``, ``emissions``, ``crossings`` and ``lookups`` (``take_*``) and looks at
``deadline``. Nothing here reads a clock or a socket.
"""

from __future__ import annotations

from collections.abc import Sequence

from tunnel.address import Address
from tunnel.errors import BadPacket
from tunnel.sip.dialog import Call
from tunnel.sip.far import Far
from tunnel.sip.flow import Flow
from tunnel.sip.half import Emission, Half, Lookup, RelayEvent
from tunnel.sip.message import Message
from tunnel.sip.near import Near
from tunnel.sip.next_hop import Target
from tunnel.sip.policy import Admit
from tunnel.sip.wall import (
    CancelCrossed,
    Failed,
    RequestCrossed,
    ResponseCrossed,
    WallMessage,
)

__all__ = ["HalfProxy"]


class HalfProxy:
    """Both roles on the shared state ``half``."""

    def __init__(self, half: Half) -> None:
        self.half = half
        self._far = Far(half)
        self._near = Near(half, self._far.came_back)

    # In

    def request(self, message: Message, flow: Flow, admission: Admit, now: float) -> None:
        """A request that the face let in."""
        try:
            self._near.request(message, flow, admission, now)
        except BadPacket:
            self.half.counters.bump("sip.dropped.bad_request")

    def response(self, message: Message, flow: Flow, now: float) -> None:
        """A response from this face's network."""
        try:
            self._far.response(message, flow, now)
        except BadPacket:
            self.half.counters.bump("sip.dropped.bad_response")

    def wall(self, message: WallMessage, now: float) -> None:
        """A message of the other half proxy."""
        try:
            if isinstance(message, RequestCrossed):
                self._far.wall_request(message, now)
            elif isinstance(message, ResponseCrossed):
                self._near.wall_response(message, now)
            elif isinstance(message, CancelCrossed):
                self._far.wall_cancel(message, now)
            elif isinstance(message, Failed):
                self._near.wall_failed(message, now)
        except BadPacket as error:
            self.half.counters.bump("sip.dropped.bad_wall_message")
            if isinstance(message, RequestCrossed) and message.transaction:
                self.half.crossings.append(Failed(message.transaction, error.status, "Bad Request", ""))

    def resolved(self, key: int, targets: Sequence[Target] | None, now: float) -> None:
        """The answer to a Lookup."""
        self._far.resolved(key, targets, now)

    def went_by(self, branch: bytes, connection: int) -> None:
        """An Emission with that ``branch`` was taken by that stream connection."""
        self._far.went_by(branch, connection)

    def transport_failed(self, transport: str, remote: Address, connection: int, now: float, why: str = "") -> None:
        """A connection could not be made or is gone; ``why`` is for the Warning of an answer, if it is worth one."""
        self._near.transport_failed(transport, remote, connection, now)
        self._far.transport_failed(transport, remote, connection, now, why)

    def refused(self, branch: bytes, now: float) -> None:
        """Nobody listens where the request with ``branch`` was sent by UDP."""
        self._far.refused(branch, now)

    def link_came_up(self) -> None:
        """The session has a carrier."""
        self.half.link_up = True
        self.half.link_down_since = None
        self._near.link_came_up()

    def link_went_down(self, now: float) -> None:
        """The session lost its carrier; it lives on for a while."""
        self.half.link_up = False
        self.half.link_down_since = now

    def tick(self, now: float) -> None:
        """Whatever is due at ``now``."""
        for timed in self.half.due(now):
            if isinstance(timed, Call):
                self.half.close_call(timed, now)
            elif timed is self.half.orphans:
                timed.tick(now)
                self.half.schedule(timed)
            elif not self._near.tick(timed, now):
                self._far.tick(timed, now)

    # Out

    def take_events(self) -> list[RelayEvent]:
        events, self.half.events = self.half.events, []
        return events

    def take_emissions(self) -> list[Emission]:
        emissions, self.half.emissions = self.half.emissions, []
        return emissions

    def take_crossings(self) -> list[WallMessage]:
        crossings, self.half.crossings = self.half.crossings, []
        return crossings

    def take_lookups(self) -> list[Lookup]:
        lookups, self.half.lookups = self.half.lookups, []
        return lookups

    def deadline(self) -> float | None:
        return self.half.deadline()

    @property
    def transactions(self) -> int:
        """How many transactions are open."""
        return len(self._near) + len(self._far)

    def close(self, now: float) -> None:
        """The session is over for good: every call goes, with its ports."""
        self._near.close(now)
        self._far.close(now)
        for call in self.half.calls:
            self.half.close_call(call, now)
        self.half.forget_everything()
