"""What a SIP phone does, without its sockets (RFC 3261): its asking half, its answering half, and their common clock.

The contract of every core object: change it (a command, ``receive_untrusted``, ``tick``), then drain ``events()``,
``outgoing()`` and ``deadline()``. How a message travels:

    receive_untrusted -> Responder -> Callee -> Leg     what peers ask
    command -> Caller -> Requester                      what we ask
    receive_untrusted -> Requester -> Caller -> Leg     what they answer
"""

from __future__ import annotations

from collections.abc import Callable

from tunnel.address import Address
from tunnel.sip.message import parse_untrusted
from tunnel.softphone.account import Account, contact_of
from tunnel.softphone.callee import Callee, HangUpDue
from tunnel.softphone.caller import Caller
from tunnel.softphone.digest import Credentials
from tunnel.softphone.leg import Leg, LegState
from tunnel.softphone.registrar import Registrar
from tunnel.softphone.requester import Exchange, Requester, Sent
from tunnel.softphone.responder import Responder
from tunnel.softphone.user_agent_events import UserAgentEvent

__all__ = ["UserAgent"]


class UserAgent:
    """One phone at ``local`` on ``transport`` ("udp" or "tcp"); a ``registrar`` lets others register with it."""

    def __init__(
        self,
        account: Account,
        local: Address,
        transport: str,
        entropy: Callable[[int], bytes],
        registrar: Registrar | None = None,
    ) -> None:
        legs: list[Leg] = []
        contact = contact_of(account, local, transport)
        credentials = Credentials(account.user, account.password)
        self._requester = Requester(transport, local, credentials, entropy)
        self._responder = Responder(transport)
        self._caller = Caller(account, contact, transport, self._requester, legs, entropy)
        self._callee = Callee(contact, self._responder, registrar, legs, entropy)
        self._events: list[UserAgentEvent] = []

    # Commands. Those that send to an address of somebody's choice raise BadPacket when it cannot be used.

    def register(self, expires_s: int, now: float) -> Exchange:
        """Bind our contact to the account for that many seconds; 0 removes it (section 10.2)."""
        return self._caller.register(expires_s, now)

    def ask_options(self, uri: bytes, now: float) -> Exchange:
        """Is anybody there? (section 11)"""
        return self._caller.ask_options(uri, now)

    def call(self, uri: bytes, audio: Address, now: float) -> Leg:
        """Call ``uri``; we hear at ``audio``."""
        return self._caller.call(uri, audio, now)

    def ring(self, leg: Leg, now: float) -> None:
        """Say 180 to a call that came."""
        self._callee.ring(leg, now)

    def answer(self, leg: Leg, audio: Address, now: float) -> None:
        """Say 200 to a call that came; we hear at ``audio``."""
        self._callee.answer(leg, audio, now)
        self._settle(now)

    def reject(self, leg: Leg, status: int, now: float) -> None:
        """Refuse a call that came, with 486, 603 or another failure."""
        self._callee.reject(leg, status, now)
        self._settle(now)

    def hang_up(self, leg: Leg, now: float) -> None:
        """End the call in the way that its state asks for: BYE, CANCEL or 480, at once or as soon as it is possible."""
        if leg.incoming and leg.state in (LegState.CALLING, LegState.RINGING):
            self._callee.reject(leg, 480, now)
        elif leg.state is not LegState.ENDED and not leg.unwanted:
            self._caller.hang_up(leg, now)
        self._settle(now)

    def hold(self, leg: Leg, on_hold: bool, now: float) -> Exchange:
        """Ask the peer to be silent, or to speak again, by a re-INVITE (RFC 3264 section 8.4). Raises LocalMisuse."""
        return self._caller.hold(leg, on_hold, now)

    # What comes in, and what comes out.

    def receive_untrusted(self, data: bytes, source: Address, now: float) -> None:
        """Take one message. Raises BadPacket when it is none, or one that cannot be followed."""
        message = parse_untrusted(data)
        if message.is_request:
            self._responder.receive_untrusted(message, source, now)
        else:
            self._requester.receive_untrusted(message, now)
        self._settle(now)

    def tick(self, now: float) -> None:
        """Let every timer that is due at ``now`` fire."""
        self._requester.tick(now)
        self._responder.tick(now)
        self._settle(now)

    def events(self) -> list[UserAgentEvent]:
        """What happened since the last call."""
        events, self._events = self._events, []
        return events

    def outgoing(self) -> list[Sent]:
        """Messages to send now, and where to."""
        return self._responder.outgoing() + self._requester.outgoing()

    def deadline(self) -> float | None:
        """When ``tick`` is due; None when nothing is awaited."""
        deadlines = (self._requester.deadline(), self._responder.deadline())
        return min((at for at in deadlines if at is not None), default=None)

    def _settle(self, now: float) -> None:
        self._callee.settle(now)
        for event in self._callee.events():
            if isinstance(event, HangUpDue):
                self._caller.hang_up(event.leg, now)
            else:
                self._events.append(event)
        self._caller.settle(now)
        self._events += self._caller.events()
