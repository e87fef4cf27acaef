"""What both roles of a half proxy share: the face it stands on, its calls, and what it wants done.

A half proxy plays the near role for messages that arrive on its face (near.py) and the far role for messages that come
over the wall and leave by its face (far.py).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tunnel.address import Address
from tunnel.counters import Counters
from tunnel.media.exchange import Side
from tunnel.media.offer_answer import CallMedia
from tunnel.sip.agenda import Agenda, Timed
from tunnel.sip.bindings import Binding, Bindings
from tunnel.sip.bodies import bears_media, body_of, carriage, without_media
from tunnel.sip.contacts import NOBODY, ContactMasks, without_headers
from tunnel.sip.dialog import Call, CallTable
from tunnel.sip.event_bodies import without_masks
from tunnel.sip.face_index import FaceAddresses, FaceIndex
from tunnel.sip.flow import Flow
from tunnel.sip.message import Message
from tunnel.sip.orphans import OrphanWatch
from tunnel.sip.policy import FacePolicy
from tunnel.sip.relay_events import (
    CallAnswered,
    CallClosed,
    CallOpened,
    Emission,
    Lookup,
    RelayEvent,
    WentInFragments,
)
from tunnel.sip.rewrite import Rewriter
from tunnel.sip.sender import contact_uri, is_natted, is_out_of_reach, owner_of, registration_of, sip_uri, uri_of_value
from tunnel.sip.wall import WallMessage

__all__ = [
    "DIALOG_FORMING",
    "NEEDS_DIALOG",
    "TARGET_REFRESH",
    "CallAnswered",
    "CallClosed",
    "CallOpened",
    "Conclusion",
    "Emission",
    "FaceAddresses",
    "FaceIndex",
    "Half",
    "Lookup",
    "RelayEvent",
    "Sender",
    "Timed",
    "WentInFragments",
    "contact_uri",
    "is_natted",
    "sip_uri",
]

# RFC 3261 section 12.1, RFC 6665, RFC 3515; and the requests whose Contact moves a dialog (12.2, RFC 3311).
DIALOG_FORMING = frozenset({"INVITE", "SUBSCRIBE", "REFER"})
TARGET_REFRESH = frozenset({"INVITE", "UPDATE", "SUBSCRIBE", "NOTIFY", "REFER"})
# Requests that are nothing without their dialog; others find their way by their Request-URI alone (F6).
NEEDS_DIALOG = frozenset({"INVITE", "UPDATE", "PRACK"})

# Our numbers. How long media leases outlive a call: late packets after BYE, hardly anything after a failure (I6).
AFTER_BYE_S = 5.0
AFTER_FAILURE_S = 2.0
# How long late messages of an ended call still find their way (64 * T1 of RFC 3261 section 17.1.1.1).
LATE_S = 32.0
# How long a Contact in a message that registers nothing is remembered.
PASSING_S = 3600.0

# Answers to BYE after which the party will send another BYE rather than give up.
BYE_GOES_ON = frozenset({401, 407, 491, 494})


@dataclass(frozen=True, slots=True)
class Sender:
    """Who sent a message: its name for bindings, and whether it sits behind a NAT of its own."""

    owner: bytes
    natted: bool


@dataclass(frozen=True, slots=True)
class Conclusion:
    """A final answer: its status, and the dialog (the answerer's tag) it belongs to."""

    status: int
    fork: bytes


class Half(Agenda):
    """The shared state of one half proxy. ``number`` is unique on its face; ``outside`` says which face this is."""

    def __init__(
        self,
        *,
        number: int,
        outside: bool,
        addresses: FaceAddresses,
        index: FaceIndex,
        policy: FacePolicy,
        masks: ContactMasks,
        bindings: Bindings,
        rewriter: Rewriter,
        new_media: Callable[[int], CallMedia],
        entropy: Callable[[int], bytes],
        counters: Counters,
        hide_full: bool,
    ) -> None:
        super().__init__()
        self.number = number
        self.outside = outside
        self.addresses = addresses
        self.index = index
        self.policy = policy
        self.masks = masks
        self.bindings = bindings
        self.rewriter = rewriter
        self.new_media = new_media
        self.entropy = entropy
        self.counters = counters
        self.hide_full = hide_full
        self.calls = CallTable(index.dialogs, number)
        self.emissions: list[Emission] = []
        self.crossings: list[WallMessage] = []
        self.lookups: list[Lookup] = []
        self.events: list[RelayEvent] = []
        self.link_up = False
        self.link_down_since: float | None = None
        self.draining = False
        self.orphans = OrphanWatch(self.calls, self._close_orphan)

    # Names

    def handle(self) -> int:
        """A fresh handle that nobody can guess: calls, transactions, lookups."""
        return int.from_bytes(self.entropy(8)) >> 1 | 1

    # Senders

    def note_sender(self, message: Message, flow: Flow, now: float, path: tuple[bytes, ...] = ()) -> Sender:
        """Who sent ``message``; its Contacts lead back to it from now on. Raises BadPacket."""
        owner = None
        if message.is_request and message.method == "REGISTER":  # the masks of a phone that moves stay what they are
            owner = self.bindings.owner_of(registration_of(message))
        owner = owner or owner_of(message, flow)
        natted = message.is_request and is_natted(message, flow)
        if not natted and not self._has_proxies(message) and is_out_of_reach(message, flow, self.policy.may_send):
            self.counters.bump("sip.contacts_out_of_reach")
            natted = True
        for value in message.values("contact"):
            uri = uri_of_value(value.text)
            if uri is not None:
                self.bindings.note(Binding(owner, without_headers(uri), flow, natted, now + PASSING_S, path))
        for name in ("refer-to", "referred-by"):
            for value in message.values(name):
                uri = uri_of_value(value.text)
                if uri is not None:
                    self.bindings.note(Binding(NOBODY, without_headers(uri), None, False, now + PASSING_S))
        return Sender(owner, natted)

    def _has_proxies(self, message: Message) -> bool:
        """Whether proxies of this side want to stay between us and the sender; redirects and registrars are no party."""
        if message.status >= 300 or (message.status and message.cseq_method == "REGISTER"):
            return True
        return bool(self.foreign_record_routes(message))

    def foreign_record_routes(self, message: Message) -> list[bytes]:
        """The Record-Route values of the proxies between us and the sender.

        In a response they stand above the value that we put into the request: the last one of ours, for a request that
        came round to us again on its way (a hairpin) has another above it.
        """
        values = [value.text for value in message.values("record-route")]
        own = [n for n, value in enumerate(values) if (uri := uri_of_value(value)) and self.addresses.is_own(uri)]
        return values if message.is_request or not own else values[: own[-1]]

    # Media

    def hear(
        self, call: Call | None, message: Message, flow: Flow, now: float, *, natted: bool = False
    ) -> tuple[int, ...]:
        """SDP of this face's party, ``natted`` or not, arrived in ``message``: the channel of each m-line. Raises
        CannotRelay, LedgerFull."""
        if call is not None:
            call.saw(message, now)
        if call is None or call.media is None or not bears_media(message):
            return ()
        fork, source = call.fork_of(message), flow.remote.host
        return call.media.hear(fork, body_of(message), source, now, carriage(message), natted)

    def speak(
        self, call: Call | None, message: Message, channels: tuple[int, ...], to: Address, now: float
    ) -> bytes | None:
        """SDP of the other side is about to leave in ``message`` for ``to``: the body with this face's leases in it, None
        where nothing changes. Raises CannotRelay, LedgerFull."""
        if call is not None:
            call.saw(message, now)
        if message.method == "NOTIFY":
            return without_masks(message, self.masks, now)
        if call is None or call.media is None or not bears_media(message):
            return without_media(message, self.addresses.bound[0][1].host)
        call.media.peer_is_ipv6 = to.is_ipv6
        return call.media.speak(call.fork_of(message), body_of(message), channels, now, carriage(message))

    # Calls

    def open_call(self, call: Call, request: Message, outbound: bool) -> None:
        """A dialog-forming request passes."""
        self.calls.add(call)
        if call.method != "INVITE":
            self.note_subscription(call, request, call.opened_at)
            return
        call.media = self.new_media(call.handle)
        if not self.orphans.is_armed:
            self.orphans.arm(call.opened_at)
            self.schedule(self.orphans)
        self.counters.bump("sip.calls_opened")
        self.events.append(CallOpened(call.handle, call.call_id, outbound))

    def conclude(self, call: Call, request: Message, response: Conclusion, offerer: Side, now: float) -> None:
        """What the final answer to ``request`` means for its call. ``offerer``: who sent it, seen from this face."""
        method, status = request.method, response.status
        if method in ("SUBSCRIBE", "REFER") and status >= 300:
            call.subscriptions.refused(request, now)
            self._outlive(call, now)
        if call.ended:
            return
        if status < 300:
            if method == "INVITE":
                self._answer_call(call, response.fork, now)
            elif method == "BYE":
                self._end_dialog(call, response.fork, now)
        elif not request.to_tag:
            self.end_call(call, now, linger_s=AFTER_FAILURE_S, status=status)
        elif method in ("INVITE", "UPDATE"):
            if call.media is not None and request.body:
                call.media.roll_back(response.fork, offerer, now)
        elif method == "BYE" and status not in BYE_GOES_ON:
            self._end_dialog(call, response.fork, now)

    def _answer_call(self, call: Call, fork: bytes, now: float) -> None:
        """A 2xx to the INVITE passed: that dialog is confirmed, the other forks' media go."""
        call.dialog(fork).confirmed = True
        call.expires_at = None
        if call.media is not None:
            call.media.settle(fork, now)
        if call.answered_at is None:
            call.answered_at = now
            self.events.append(CallAnswered(call.handle, now - call.opened_at))

    def _end_dialog(self, call: Call, fork: bytes, now: float) -> None:
        """A BYE ended one dialog; the call goes on while it has another one, or while it still rings elsewhere."""
        if call.method != "INVITE":
            return
        call.dialog(fork).ended = True
        lives_on = any(dialog.confirmed and not dialog.ended for dialog in call.dialogs.values())
        if call.answered_at is not None and not lives_on:
            self.end_call(call, now, linger_s=AFTER_BYE_S)
        elif call.media is not None:
            call.media.drop_fork(fork, AFTER_BYE_S, now)

    def drop_early(self, call: Call, fork: bytes, now: float) -> None:
        """A 199 said that one early dialog is over (RFC 6228): its media go at once."""
        if call.media is not None and not call.dialog(fork).confirmed:
            call.media.drop_fork(fork, AFTER_FAILURE_S, now)

    def end_call(self, call: Call, now: float, *, linger_s: float, status: int = 0) -> None:
        """Nobody talks any more: media go now, the memory of the call stays for late messages."""
        if call.ended:
            return
        call.ended = True
        self._outlive(call, now)
        if call.media is not None:
            call.media.close(linger_s, now)
            call.media = None
        if call.method != "INVITE":
            return
        seconds = now - call.answered_at if call.answered_at is not None else 0.0
        self.events.append(CallClosed(call.handle, status, seconds))

    def never_acknowledged(self, call: Call, now: float) -> None:
        """No ACK came for an answer of ``call``: unless one comes yet, its callee will give it up (13.3.1.4).

        Of a re-INVITE that is for the callee to say: if it says no BYE, the two talk on.
        """
        self.counters.bump("sip.never_acknowledged")
        if not call.ended and not call.acknowledged:
            self.expire(call, now + LATE_S, now)

    def acknowledge(self, call: Call) -> None:
        """An ACK passed."""
        if not call.ended and call.method == "INVITE":
            call.acknowledged = True
            call.expires_at = None

    def note_subscription(self, call: Call, request: Message, now: float, answer: Message | None = None) -> None:
        """A SUBSCRIBE, REFER or NOTIFY of ``call`` passes, or the 2xx ``answer`` to one of the first two."""
        if answer is not None:
            call.subscriptions.accepted(request, answer, now)
        elif request.method == "NOTIFY":
            call.subscriptions.notified(request, now)
        else:
            call.subscriptions.asked(request, now)
        self._outlive(call, now)

    def _outlive(self, call: Call, now: float) -> None:
        """What is not a call, or is none any more, is remembered as long as its subscriptions last."""
        if call.method != "INVITE" or call.ended:
            self.expire(call, max(now, call.subscriptions.until or now) + LATE_S, now)

    def index_call(self, call: Call, now: float) -> None:
        """Its parties' requests find the call from now on, and no other one with the same tags."""
        for displaced in self.calls.index(call):
            self.end_call(displaced, now, linger_s=AFTER_FAILURE_S)

    def _close_orphan(self, call: Call, now: float) -> None:
        """Nothing was heard of its parties for hours."""
        self.counters.bump("sip.orphaned_calls")
        self.end_call(call, now, linger_s=AFTER_BYE_S)

    def close_call(self, call: Call, now: float) -> None:
        """Forget a call altogether."""
        self.end_call(call, now, linger_s=0.0)
        call.expires_at = None
        self.calls.remove(call)

    def forget_everything(self) -> None:
        """The session is over: nothing on the face may lead here any more."""
        self.index.forget(self.number)
        self.clear()
