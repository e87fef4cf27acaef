"""One session at one end, with all that belongs to it: link, half proxy, media pump, and what is counted of them. [io]

It carries out what the cores say. Nothing here knows a rule of SIP.
"""

from __future__ import annotations

import contextlib
import math
import ssl
from collections.abc import Callable
from typing import TypeAlias

import structlog
import trio

from tunnel.call_book import CallBook
from tunnel.contained import contained
from tunnel.counters import Counters
from tunnel.errors import BadPacket
from tunnel.link.driver import Link
from tunnel.link.events import SessionDown, SessionEvent, SessionExpired, SessionUp, SignalReceived
from tunnel.link.resume import SignalNotTaken
from tunnel.link.session import Session
from tunnel.media.pump import Pump
from tunnel.sip.half import CallAnswered, CallClosed, Emission, Lookup, RelayEvent, WentInFragments
from tunnel.sip.listener import Listeners
from tunnel.sip.next_hop import Target
from tunnel.sip.policy import FacePolicy
from tunnel.sip.relay import HalfProxy
from tunnel.sip.resolve import ResolveFailed, Resolver
from tunnel.sip.wall import Failed, PeerFacts, RequestCrossed, WallMessage, decode_untrusted, encode

__all__ = ["Seat", "Trust"]

Trust: TypeAlias = Callable[[str, str], ssl.SSLContext]

log = structlog.get_logger()

# Our number: how long a timer that failed for a fault of ours leaves the others alone.
AFTER_FAULT_S = 0.5


class Seat:
    """``new_proxy`` makes the half proxy of a fresh session; ``on_session`` and ``on_call`` hear of them.

    ``trust(server_name, host)`` gives the TLS context to connect with to that peer. ``book`` is where the calls are
    counted, for an owner whose figures outlive the seat.
    """

    def __init__(
        self,
        *,
        listeners: Listeners,
        resolver: Resolver,
        new_pump: Callable[[Link], Pump],
        session: Session,
        new_proxy: Callable[[Pump], HalfProxy],
        on_session: Callable[[SessionEvent], None],
        on_call: Callable[[RelayEvent], None],
        counters: Counters,
        trust: Trust,
        book: CallBook | None = None,
    ) -> None:
        self.counters = counters
        self.book = CallBook() if book is None else book
        self.link = Link(session, self._session_event)
        self.pump = new_pump(self.link)
        self.proxy = new_proxy(self.pump)
        self.peer_has_pbx = False
        self.draining = False
        self.policy: FacePolicy | None = None
        self._listeners = listeners
        self._resolver = resolver
        self._new_proxy = new_proxy
        self._on_session = on_session
        self._on_call = on_call
        self._trust = trust
        self._lookups: trio.Nursery | None = None
        self._alarm = trio.CancelScope()

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled; then every call of this seat is gone."""
        try:
            async with trio.open_nursery() as nursery:
                self._lookups = nursery
                await nursery.start(self.link.run)
                nursery.start_soon(self.pump.run)
                task_status.started()
                while True:
                    deadline = self.proxy.deadline()
                    with trio.CancelScope(deadline=math.inf if deadline is None else deadline) as self._alarm:
                        await trio.sleep_forever()
                    await self._tick()
        finally:
            self._lookups = None
            self.close()

    def close(self) -> None:
        """Give back every call and port; ``run`` does so itself."""
        with contained(self.counters, "seat.close"):
            self.proxy.close(trio.current_time())
            self._drain_events()
        self.pump.close()

    async def _tick(self) -> None:
        faults = self.counters["internal.errors"]
        with contained(self.counters, "seat.timer"):
            self.proxy.tick(trio.current_time())
            self.settle()
        if self.counters["internal.errors"] != faults:
            await trio.sleep(AFTER_FAULT_S)

    # What happens

    def _session_event(self, event: SessionEvent) -> None:
        with contained(self.counters, "seat.session"):
            self._follow(event, trio.current_time())

    def _follow(self, event: SessionEvent, now: float) -> None:
        if isinstance(event, SignalReceived):
            self._wall(event.payload, now)
        elif isinstance(event, SessionUp):
            self._on_session(event)
            self.proxy.link_came_up()
        elif isinstance(event, SessionDown):
            self.proxy.link_went_down(now)
            self._on_session(event)
        elif isinstance(event, SessionExpired):
            self._start_over(now)
            self._on_session(event)
        else:
            self._on_session(event)
        self.settle()

    def _wall(self, payload: bytes, now: float) -> None:
        try:
            message = decode_untrusted(payload)
        except BadPacket:
            self.counters.bump("sip.dropped.bad_wall_message")
            return
        if isinstance(message, PeerFacts):
            self.peer_has_pbx = message.has_pbx
        else:
            self.proxy.wall(message, now)

    def _start_over(self, now: float) -> None:
        """The session is over: its calls are, too. A new session begins with nothing."""
        self.proxy.close(now)
        self.settle()
        self.proxy = self._new_proxy(self.pump)
        self.proxy.half.draining = self.draining
        if self.policy is not None:
            self.proxy.half.policy = self.policy

    def drain(self, is_draining: bool = True) -> None:
        """Take no new calls from this face from now on, or take them again."""
        self.draining = self.proxy.half.draining = is_draining

    def tell_draining(self, seconds: float) -> None:
        """Ask the other end to bring no new calls for so long."""
        if self.link.session.is_live:
            with contextlib.suppress(SignalNotTaken):  # then our own half proxy refuses them
                self.link.session.drain(seconds, trio.current_time())
            self.link.flush()

    def say_goodbye(self) -> None:
        """This end goes away for good: the other one need not keep the session."""
        self.link.session.bye(trio.current_time())
        self.link.flush()

    def use_policy(self, policy: FacePolicy) -> None:
        """Decide by ``policy`` from now on; live calls go on."""
        self.policy = self.proxy.half.policy = policy

    # What is to be done

    def settle(self) -> None:
        """After each change of the half proxy: carry out what it wants."""
        proxy, now = self.proxy, trio.current_time()
        while crossings := proxy.take_crossings():
            for crossing in crossings:
                self._cross(crossing, now)
        for emission in proxy.take_emissions():
            self._send(emission)
        for lookup in proxy.take_lookups():
            if self._lookups is not None:
                self._lookups.start_soon(self._look_up, lookup, proxy)
        self._drain_events()
        deadline = proxy.deadline()
        if deadline is not None and deadline < self._alarm.deadline:
            self._alarm.deadline = deadline

    def _send(self, emission: Emission) -> None:
        flow, name = emission.flow, emission.server_name
        trust = self._trust(name, flow.remote.host) if flow.transport == "tls" and not flow.connection else None
        connection = self._listeners.send(emission.data, flow, name, trust, emission.open_within_s)
        if connection and emission.branch:
            self.proxy.went_by(emission.branch, connection)

    def tell(self, message: WallMessage) -> None:
        """Say something to the other end besides what the half proxy says."""
        self._cross(message, trio.current_time())

    def _cross(self, message: WallMessage, now: float) -> None:
        try:
            self.link.send_signal(encode(message))
        except SignalNotTaken:
            self.counters.bump("sip.not_taken_by_link")
            if isinstance(message, RequestCrossed) and message.transaction:
                failed = Failed(message.transaction, 503, "Service Unavailable", "the tunnel takes no more", 5)
                self.proxy.wall(failed, now)

    async def _look_up(self, lookup: Lookup, proxy: HalfProxy) -> None:
        targets: list[Target] = []
        with contained(self.counters, "seat.lookup"):
            try:
                listening = {transport for transport, _ in proxy.half.addresses.bound}
                usable = [transport for transport in ("udp", "tcp", "tls") if transport in listening]
                targets = await self._resolver.resolve(lookup.uri, transport_preference=usable)
            except ResolveFailed:
                self.counters.bump("sip.names_not_resolved")
        with contained(self.counters, "seat.resolved"):
            if proxy is self.proxy:
                proxy.resolved(lookup.key, targets, trio.current_time())
                self.settle()

    def _drain_events(self) -> None:
        events = self.proxy.take_events()
        for event in events:
            self.book.note(event)
            self._on_call(event)
            if isinstance(event, CallAnswered):
                log.info("call.answered", call=f"{event.call:x}", setup_s=round(event.setup_s, 3))
            elif isinstance(event, WentInFragments):
                log.warning(
                    "sip.sent_in_fragments", peer=event.peer, reason="more than 1300 bytes, and no SIP over TCP"
                )
            elif isinstance(event, CallClosed):
                log.info("call.closed", call=f"{event.call:x}", status=event.status, seconds=round(event.seconds, 1))
        if events:
            self.link.session.set_busy(len(self.book), trio.current_time())
