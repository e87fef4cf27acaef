"""What both roles of a half proxy share: the face it stands on, its calls, and what it wants done.

A half proxy plays the near role for messages that arrive on its face (near.py) and the far role for messages that come
over the wall and leave by its face (far.py).
"""

from __future__ import annotations

import hashlib
import heapq
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias, TypeVar

from tunnel.address import Address
from tunnel.counters import Counters
from tunnel.errors import BadPacket
from tunnel.media.body import SipBody
from tunnel.media.exchange import Carriage, carriage_of
from tunnel.media.offer_answer import CallMedia
from tunnel.media.plane import CannotRelay, LedgerFull
from tunnel.sip.bindings import Bindings
from tunnel.sip.contacts import BINDING_BYTES, ContactMasks, is_unreachable
from tunnel.sip.dialog import Call, CallTable
from tunnel.sip.flow import Flow
from tunnel.sip.message import Message
from tunnel.sip.name_addr import NameAddr
from tunnel.sip.policy import Answer, FacePolicy
from tunnel.sip.rewrite import Rewriter
from tunnel.sip.transaction_key import ServerKey
from tunnel.sip.uri import SipUri
from tunnel.sip.wall import WallMessage

__all__ = [
    "AFTER_BYE_S",
    "AFTER_FAILURE_S",
    "BYE_GOES_ON",
    "CallAnswered",
    "CallClosed",
    "CallOpened",
    "Emission",
    "FaceAddresses",
    "FaceIndex",
    "Half",
    "Lookup",
    "RelayEvent",
    "cannot_relay",
    "check_lists_untrusted",
    "contact_uri",
    "is_natted",
    "sip_uri",
    "uri_of_value",
]

# Our numbers. How long media leases outlive a call: late packets after BYE, hardly anything after a failure (I6).
AFTER_BYE_S = 5.0
AFTER_FAILURE_S = 2.0
# How long late messages of an ended call still find their way (64 * T1 of RFC 3261 section 17.1.1.1).
LATE_S = 32.0
# A subscription that does not say how long it lasts (most event packages default to an hour or less).
SUBSCRIPTION_S = 3600.0

# Answers to BYE after which the party will send another BYE rather than give up.
BYE_GOES_ON = frozenset({401, 407, 491, 494})

# Where offers and answers travel (RFC 6337 section 2.2); what else bears SDP only talks of media.
_MEDIA_METHODS = frozenset({"INVITE", "ACK", "PRACK", "UPDATE"})
# How RFC 3261 section 21 names the statuses that CannotRelay has.
_CANNOT_RELAY = {400: "Bad Request", 415: "Unsupported Media Type", 488: "Not Acceptable Here", 493: "Undecipherable"}

_LISTS = ("contact", "record-route", "route", "refer-to", "referred-by", "supported")

_Key = TypeVar("_Key")


@dataclass(frozen=True, slots=True)
class Emission:
    """Send ``data`` over ``flow``; ``server_name`` is whom TLS is to prove the peer to be."""

    data: bytes
    flow: Flow
    server_name: str = ""


@dataclass(frozen=True, slots=True)
class Lookup:
    """Resolve ``uri`` (RFC 3263) and call ``resolved`` with ``key``."""

    key: int
    uri: SipUri


@dataclass(frozen=True, slots=True)
class CallOpened:
    """The first request of a call passed. ``outbound``: it came from inside."""

    call: int
    call_id: bytes
    outbound: bool


@dataclass(frozen=True, slots=True)
class CallAnswered:
    """The call was answered, ``setup_s`` after it was opened."""

    call: int
    setup_s: float


@dataclass(frozen=True, slots=True)
class CallClosed:
    """The call is over; ``status`` is its final response where it never was answered, else 0."""

    call: int
    status: int
    seconds: float


RelayEvent: TypeAlias = CallOpened | CallAnswered | CallClosed


class FaceAddresses:
    """The listeners of a face: what stands in Via, Contact and Record-Route, by transport and address family."""

    def __init__(self, bound: list[tuple[str, Address]]) -> None:
        self.bound = tuple(bound)

    def pick(self, transport: str, ipv6: bool) -> Address | None:
        """The first listener of ``transport`` in that family."""
        return next((a for t, a in self.bound if t == transport and a.is_ipv6 is ipv6), None)

    def is_own(self, uri: SipUri) -> bool:
        """Whether ``uri`` names this face itself."""
        default = 5061 if uri.scheme == "sips" or uri.transport == "tls" else 5060
        return any(uri.host == a.host and (uri.port or default) == a.port for _, a in self.bound)


@dataclass(slots=True)
class FaceIndex:
    """What all half proxies of one face must find each other by; the value is the number of the half proxy."""

    transactions: dict[ServerKey, int] = field(default_factory=dict)
    branches: dict[bytes, int] = field(default_factory=dict)
    dialogs: dict[tuple[bytes, bytes, bytes], int] = field(default_factory=dict)
    registrars: dict[str, dict[int, float]] = field(default_factory=dict)  # peer IP -> half proxy -> until when


class Timed(Protocol):
    """Something with a deadline; equal only to itself."""

    def deadline(self) -> float | None: ...

    def tick(self, now: float) -> None: ...


class Half:
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
        self._timers: list[tuple[float, int, Timed]] = []
        self._order = itertools.count()

    # Timers

    def schedule(self, timed: Timed) -> None:
        """Have ``timed`` ticked at its deadline; to be called after each change of it."""
        at = timed.deadline()
        if at is not None:
            heapq.heappush(self._timers, (at, next(self._order), timed))

    def due(self, now: float) -> list[Timed]:
        """Those whose deadline has come, each once."""
        found: dict[int, Timed] = {}
        while self._timers and self._timers[0][0] <= now:
            timed = heapq.heappop(self._timers)[2]
            at = timed.deadline()
            if at is not None and at <= now:
                found[id(timed)] = timed
        return list(found.values())

    def deadline(self) -> float | None:
        calls = self.calls.deadline()
        timer = self._timers[0][0] if self._timers else None
        return min((at for at in (calls, timer) if at is not None), default=None)

    # Names

    def handle(self) -> int:
        """A fresh handle that nobody can guess: calls, transactions, lookups."""
        return int.from_bytes(self.entropy(8)) >> 1 | 1

    def binding_key(self, message: Message, flow: Flow) -> bytes:
        """The name of the user agent that sent ``message``: who it says it is, where it comes from, and what it calls
        itself there, for one user may have two phones behind one NAT."""
        header = message.header("from" if message.is_request else "to")
        who = b""
        if header is not None:
            try:
                address = NameAddr.parse_untrusted(header.value)
                who = address.uri.text.split(b";")[0] if isinstance(address.uri, SipUri) else address.uri_text
            except BadPacket:
                who = header.value
        contact = contact_uri(message)
        parts = who, flow.remote.host.encode(), contact.hostport if contact is not None else b""
        return hashlib.blake2b(b"\0".join(parts), digest_size=BINDING_BYTES).digest()

    # Media

    def hear(self, call: Call | None, message: Message, flow: Flow, now: float) -> tuple[int, ...]:
        """SDP of this face's party arrived in ``message``: the channel of each m-line. Raises CannotRelay, LedgerFull."""
        if call is None or call.media is None or not _bears_media(message):
            return ()
        return call.media.hear(call.fork_of(message), _body(message), flow.remote.host, now, _carriage(message))

    def speak(self, call: Call | None, message: Message, channels: tuple[int, ...], now: float) -> bytes | None:
        """SDP of the other side is about to leave in ``message``: the body with this face's leases in it, None where
        nothing changes. Raises CannotRelay, LedgerFull."""
        if call is None or call.media is None or not _bears_media(message):
            return None
        return call.media.speak(call.fork_of(message), _body(message), channels, now, _carriage(message))

    # Calls

    def open_call(self, call: Call, outbound: bool) -> None:
        self.calls.add(call)
        if call.method != "INVITE":
            call.expires_at = call.opened_at + SUBSCRIPTION_S + LATE_S
            return
        self.counters.bump("sip.calls_opened")
        self.events.append(CallOpened(call.handle, call.call_id, outbound))

    def index_call(self, call: Call, now: float) -> None:
        """Its parties' requests find the call from now on, and no other one with the same tags."""
        for displaced in self.calls.index(call):
            self.end_call(displaced, now, linger_s=AFTER_FAILURE_S)

    def answer_call(self, call: Call, fork: bytes, now: float) -> None:
        """A 2xx to the INVITE passed: that dialog is confirmed, the other forks' media go."""
        if call.ended:
            return
        call.dialog(fork).confirmed = True
        call.expires_at = None
        if call.media is not None:
            call.media.settle(fork, now)
        if call.answered_at is None:
            call.answered_at = now
            self.events.append(CallAnswered(call.handle, now - call.opened_at))

    def end_dialog(self, call: Call, fork: bytes, now: float) -> None:
        """A BYE ended one dialog. The call is over with the last that was answered; while none was, its INVITE says so."""
        if call.ended or fork not in call.dialogs:
            return
        call.dialogs[fork].confirmed = False
        if call.answered_at is not None and not any(dialog.confirmed for dialog in call.dialogs.values()):
            self.end_call(call, now, linger_s=AFTER_BYE_S)
        elif call.media is not None:
            call.media.drop_fork(fork, AFTER_BYE_S, now)

    def end_call(self, call: Call, now: float, *, linger_s: float, status: int = 0) -> None:
        """Nobody talks any more: media go now, the memory of the call stays for late messages."""
        if call.ended:
            return
        call.ended = True
        call.expires_at = now + LATE_S
        if call.media is not None:
            call.media.close(linger_s, now)
            call.media = None
        if call.method != "INVITE":
            return
        seconds = now - call.answered_at if call.answered_at is not None else 0.0
        self.events.append(CallClosed(call.handle, status, seconds))

    def touch_call(self, call: Call, message: Message, now: float) -> None:
        """A subscription was refreshed: it lives as long as that says."""
        if call.method == "INVITE" or call.ended:
            return
        header = message.header("expires")
        lasts_s = float(header.value) if header is not None and header.value.isdigit() else SUBSCRIPTION_S
        call.expires_at = now + min(lasts_s, 86_400.0) + LATE_S

    def close_call(self, call: Call, now: float) -> None:
        """Forget a call altogether."""
        self.end_call(call, now, linger_s=0.0)
        self.calls.remove(call)

    def forget_everything(self) -> None:
        """The session is over: nothing on the face may lead here any more."""
        _drop_all(self.index.transactions, self.number)
        _drop_all(self.index.branches, self.number)
        _drop_all(self.index.dialogs, self.number)
        for host, registered in list(self.index.registrars.items()):
            registered.pop(self.number, None)
            if not registered:
                del self.index.registrars[host]


def _drop_all(table: dict[_Key, int], number: int) -> None:
    for key in [key for key, owner in table.items() if owner == number]:
        del table[key]


def _bears_media(message: Message) -> bool:
    return bool(message.body) and message.cseq[1] in _MEDIA_METHODS


def cannot_relay(error: CannotRelay | LedgerFull) -> Answer:
    """The answer to a request whose media this end cannot relay."""
    if isinstance(error, LedgerFull):
        return Answer(503, "Service Unavailable", "no media port is free", 2)
    return Answer(error.status, _CANNOT_RELAY.get(error.status, "Not Acceptable Here"), error.warning)


def _body(message: Message) -> SipBody:
    kind, encoding = message.header("content-type"), message.header("content-encoding")
    return SipBody(message.body, kind.value if kind else b"", encoding.value if encoding else b"")


def _carriage(message: Message) -> Carriage:
    return carriage_of(message.method, message.status, message.header("rseq") is not None)


def check_lists_untrusted(message: Message) -> None:
    """Read the lists that relaying reads, before anything is done. Raises BadPacket when a quote or bracket is open."""
    for name in _LISTS:
        message.values(name)


def contact_uri(message: Message) -> SipUri | None:
    """The URI of the first Contact, None where there is none that can be read."""
    values = message.values("contact")
    return uri_of_value(values[0].text) if values else None


def uri_of_value(value: bytes) -> SipUri | None:
    """The SIP URI in a name-addr or addr-spec value; None where there is none that can be read."""
    try:
        uri = NameAddr.parse_untrusted(value).uri
    except BadPacket:
        return None
    return uri if isinstance(uri, SipUri) else None


def sip_uri(text: bytes) -> SipUri | None:
    """The SIP URI ``text``; None where it is none."""
    try:
        return SipUri.parse_untrusted(text)
    except BadPacket:
        return None


def is_natted(message: Message, flow: Flow) -> bool:
    """Whether the sender of ``message`` sits behind a NAT that it does not know of (FIELD-NOTES S3-1).

    A request's top Via names the address its sender thinks it has; a response has only its Contact to compare.
    """
    if message.is_request:
        host = message.top_via.host
    else:
        contact = contact_uri(message)
        host = contact.host if contact is not None and is_unreachable(contact.host) else ""
    try:
        return bool(host) and Address(host, 0).ip != flow.remote.ip
    except ValueError:
        return False
