"""One session between an agent and the server: greeting, liveness, signalling that survives reconnects, media.

The contract: change it (``attach``, ``receive_untrusted``, ``send_signal``, ``tick`` ...), then drain ``events()``,
then ``outgoing(now)`` until it is empty, then ask ``deadline()``. When ``finished`` is set, send what is left and close
the connection. The server keeps one Session for each agent identity, so a ticket is only ever compared with that
agent's own.
"""

from __future__ import annotations

import hmac
import math
from collections.abc import Callable, Iterable, Sequence
from enum import Enum

from tunnel.counters import Counters
from tunnel.errors import BadPacket
from tunnel.link import control, events
from tunnel.link.events import SessionEvent
from tunnel.link.frames import ACKNOWLEDGE_ROOM_BYTES, CLOCK, HEADER, LINK, MAX_RECORD_BYTES, SIGNAL, frame
from tunnel.link.inbox import Inbox
from tunnel.link.keepalive import Keepalive
from tunnel.link.outbox import Outbox
from tunnel.link.priority import Classifier, Priority
from tunnel.link.resume import NoSession, Reliable
from tunnel.link.states import ATTACHED_STATES, LIVE_STATES, Happening, State, Timer, next_state

__all__ = ["GRACE_S", "GREETING_TIMEOUT_S", "Role", "Session"]

# --- numbers of the rules (N5) -------------------------------------------------------------------------------------
GRACE_S = 60.0

# --- numbers of ours -----------------------------------------------------------------------------------------------
GREETING_TIMEOUT_S = 5.0  # TLS is done by then, so this is two round trips of the worst path
_ACKNOWLEDGE_FRAMES = 32  # 64 KiB at most: a quarter of what the other end keeps for us
_ACKNOWLEDGE_S = 0.1  # long enough that media or a ping of a busy link take the acknowledgement along
_TICKET_BYTES = 32


class Role(Enum):
    """Which end this is."""

    AGENT = "agent"
    SERVER = "server"


class Session:
    """``entropy(n)`` gives n random bytes; ``greeting`` (server) goes with each welcome, at most 4096 bytes.

    ``sinks`` says where media packets go, by channel. ``finished`` says why the connection of the moment is to be
    closed, None while it is wanted.
    """

    def __init__(self, role: Role, counters: Counters, entropy: Callable[[int], bytes], greeting: bytes = b"") -> None:
        self.greeting = greeting
        self.state = State.FRESH
        self.finished: str | None = None
        self.down_since: float | None = None  # when the session that still lives lost its connection
        self.keepalive = Keepalive()
        self._role = role
        self._counters = counters
        self._entropy = entropy
        self._classifier = Classifier()
        self._outbox = Outbox(self._classifier, counters)
        self._reliable = Reliable(counters)
        self._inbox = Inbox(self._classifier, counters)
        self.sinks = self._inbox.sinks
        self.dropped = self._outbox.dropped  # media packets of a stream that this end kept from the link
        self.forget_class = self._outbox.forget  # the stream is closed
        self._ticket = b""
        self._rest = b""  # received and not yet looked at
        self._acknowledge_now = False
        self._grace_end = math.inf
        self._timers: dict[Timer, float] = {}
        self._events: list[SessionEvent] = []

    # --- draining ----------------------------------------------------------------------------------------------------

    def events(self) -> list[SessionEvent]:
        """What happened since the last call."""
        drained, self._events = self._events, []
        return drained

    def deadline(self) -> float:
        """When ``tick`` is wanted next; inf when never."""
        return min(self._timers.values(), default=math.inf)

    def outgoing(self, now: float, room: int = MAX_RECORD_BYTES) -> bytes:
        """Whole frames for one TLS record, the most urgent first; empty when nothing is to be sent.

        Take it only when the carrier can have it, and tell how much ``room`` it has if less than a record: what is not
        taken can still be overtaken or dropped for its age.
        """
        parts = self._outbox.take_control()
        if self.state is State.UP:
            is_free = room >= MAX_RECORD_BYTES
            room = min(room, MAX_RECORD_BYTES) - ACKNOWLEDGE_ROOM_BYTES - sum(map(len, parts))
            signals = self._reliable.take(room)
            if signals:
                parts += signals
                room -= sum(map(len, signals))
            parts += self._outbox.take_media(room, now, can_wait=is_free and bool(parts))
            if self._reliable.unconfirmed and (parts or self._acknowledge_now):
                parts.append(frame(LINK, control.encode(control.Ack(self._confirm()))))
        return b"".join(parts)

    # --- connections -------------------------------------------------------------------------------------------------

    def attach(self, now: float) -> None:
        """A new authenticated connection to the same peer; it replaces the one there may be."""
        self.detach(now, "replaced by a newer connection")
        self._happen(Happening.ATTACHED)
        self.finished = None
        self._timers = {Timer.GREETING: now + GREETING_TIMEOUT_S}
        if self._role is Role.AGENT:
            self._say(control.Hello(control.VERSION, self._ticket, self._confirm()))

    def detach(self, now: float, reason: str) -> None:
        """The connection is gone; without one, nothing happens."""
        if self.state not in ATTACHED_STATES:
            return
        was_up = self.state is State.UP
        self._happen(Happening.DETACHED)
        self._outbox.drop_control()
        self._inbox.close()
        self._rest = b""
        self._timers.clear()
        if was_up:
            self._grace_end = now + GRACE_S
            self.down_since = now
            self._events.append(events.SessionDown(reason))
        if self.state is State.AWAY:
            self._timers[Timer.GRACE] = self._grace_end

    @property
    def is_up(self) -> bool:
        """Both ends agree, and media flow."""
        return self.state is State.UP

    @property
    def is_live(self) -> bool:
        """There is a session, connected or not: signalling is taken and will arrive unless the session expires."""
        return self.state in LIVE_STATES

    # --- sending -----------------------------------------------------------------------------------------------------

    def send_signal(self, payload: bytes, now: float) -> None:
        """Deliver ``payload`` (at most 1 MiB) to the other end's user, exactly once and in order, reconnects included.

        Raises NoSession or SignallingFull (both SignalNotTaken), and then nothing of it was sent.
        """
        self._send_reliable(payload, is_control=False)

    def send_media(self, frames: bytes | Sequence[bytes], packets: int, now: float) -> None:
        """Media frames with their headers, as one batch that reached this end now: best at most MAX_BATCH_BYTES.

        Without a connection all but DTMF and RTCP are dropped and counted; without a session those too.
        """
        batch = frames if isinstance(frames, bytes) else b"".join(frames)
        if self.state is State.UP:
            self._outbox.add_media(batch, now)
        elif self.state in LIVE_STATES:
            self._outbox.keep_urgent(batch, now)
        else:
            self._counters.bump("link.dropped_while_down", packets)

    def set_class(self, channel: int, priority: Priority, dtmf_payload_types: Iterable[int] = ()) -> None:
        """Say what the RTP ``channel`` carries, on both ends; a channel nobody spoke of counts as OTHER."""
        self._classifier.set_class(channel, priority, dtmf_payload_types)

    def set_busy(self, calls: int, now: float) -> None:
        """How many calls are up: with any, a dead connection is noticed within 2 s, else within 12 s."""
        self.keepalive.set_busy(calls > 0, now)
        if self.state is State.UP:
            self._arm_keepalive()

    def request_renewal(self, csr: bytes, now: float) -> None:
        """Agent: ask for a new certificate. Raises SignalNotTaken."""
        self._send_reliable(control.encode(control.Renew(csr)), is_control=True)

    def answer_renewal(self, chain: bytes, now: float) -> None:
        """Server: the certificate that was asked for. Raises SignalNotTaken."""
        self._send_reliable(control.encode(control.Renewed(chain)), is_control=True)

    def drain(self, retry_after_s: float, now: float) -> None:
        """Tell the other end to bring no new calls before ``retry_after_s``. Raises SignalNotTaken."""
        self._send_reliable(control.encode(control.Drain(retry_after_s)), is_control=True)

    def refuse(self, reason: str, now: float) -> None:
        """Server: this agent is not wanted any more; it is told why, and the session is over."""
        self._end(reason, control.Refusal(reason))

    def bye(self, now: float) -> None:
        """This end goes away for good; the other end need not keep the session."""
        self._end(events.GOODBYE_SAID, control.Bye())

    # --- time --------------------------------------------------------------------------------------------------------

    def tick(self, now: float) -> None:
        """Do what is due at ``now``; being early is harmless."""
        for timer in [timer for timer, due in self._timers.items() if due <= now]:
            match timer:
                case Timer.GREETING:
                    self._hang_up(now, f"no greeting within {GREETING_TIMEOUT_S:g} s")
                case Timer.SILENCE if self.keepalive.dead_at <= now:
                    self._counters.bump("link.silent")
                    self._hang_up(now, "the other end fell silent")
                case Timer.PING if self.state is State.UP:
                    self._say(control.Ping(self.keepalive.ping(now), self._confirm()))
                case Timer.ACKNOWLEDGE:
                    self._acknowledge_now = True
                    self._timers.pop(timer, None)
                case Timer.GRACE:
                    self._timers.clear()
                    self._happen(Happening.GRACE_ENDED)
                    self._expire(f"nobody came back within {GRACE_S:g} s")
        if self.state is State.UP:
            self._arm_keepalive()

    def _arm_keepalive(self) -> None:
        self._timers[Timer.PING] = self.keepalive.next_ping
        self._timers[Timer.SILENCE] = self.keepalive.dead_at

    # --- receiving ---------------------------------------------------------------------------------------------------

    def receive_untrusted(self, plaintext: bytes, now: float) -> bool:
        """Bytes from the connection of the moment. Raises BadPacket; the session is over then.

        Media go straight to the sinks. True: a message for the user stopped it half-way, so that media behind it find
        the streams that it opens; drain ``events()`` and call again with b"".
        """
        self.keepalive.heard(now)
        buffer = self._rest + plaintext if self._rest else plaintext
        at = 0
        try:
            while self.state in ATTACHED_STATES and self.finished is None:
                at = self._inbox.dispatch_untrusted(buffer, at)
                if len(buffer) - at < HEADER.size:
                    break
                channel, length = HEADER.unpack_from(buffer, at)
                start = at + HEADER.size
                if start + length > len(buffer):
                    break
                at = start + length
                if channel == CLOCK:
                    self._inbox.hear_clock_untrusted(buffer[start:at], now)
                elif self._hear(channel, buffer[start:at], now):
                    self._rest = buffer[at:]
                    return True
        except BadPacket as error:
            self._end(error.reason)
            raise
        finally:
            self._inbox.report()
        self._rest = buffer[at:] if self.finished is None else b""
        return False

    def _hear(self, channel: int, payload: bytes, now: float) -> bool:
        """A frame that is not media; True when it gave the user something to do first."""
        if channel == LINK:
            self._hear_link(control.parse_link_untrusted(payload), now)
            return False
        if channel != SIGNAL:
            raise BadPacket(f"a frame came on the reserved channel {channel}")
        if self.state is not State.UP:
            raise BadPacket("signalling came before the greeting")
        message = self._reliable.receive_untrusted(payload)
        self._timers.setdefault(Timer.ACKNOWLEDGE, now + _ACKNOWLEDGE_S)
        self._acknowledge_now |= self._reliable.unconfirmed >= _ACKNOWLEDGE_FRAMES
        if message is None:
            return False
        if message.is_control:
            self._hear_reliable(control.parse_reliable_untrusted(message.payload))
        else:
            self._events.append(events.SignalReceived(message.payload))
        return True

    def _hear_link(self, message: control.LinkMessage, now: float) -> None:
        match message:
            case control.Hello() if self._role is Role.SERVER:
                self._greet(message, now)
            case control.Welcome() if self._role is Role.AGENT:
                self._welcome(message, now)
            case control.Refusal(reason):
                self._events.append(events.PeerRefused(reason))
                self._end(reason)
            case control.Bye():
                self._end(events.GOODBYE_HEARD)
            case control.Ping(stamp_us, received) if self.state is State.UP:
                self._reliable.acknowledge_untrusted(received)
                self._inbox.lateness.observe(stamp_us // 1000 & 0xFFFFFFFF, now)
                self._say(control.Pong(stamp_us, self._confirm()))
            case control.Pong(stamp_us, received) if self.state is State.UP:
                self._reliable.acknowledge_untrusted(received)
                self.keepalive.pong(stamp_us, now)
                if self.keepalive.least_rtt_s is not None:
                    self._inbox.lateness.allow_for(self.keepalive.least_rtt_s)
            case control.Ack(received) if self.state is State.UP:
                self._reliable.acknowledge_untrusted(received)
            case _:
                raise BadPacket(f"{type(message).__name__.lower()} came to the {self._role.value} out of place")

    def _hear_reliable(self, message: control.ReliableMessage) -> None:
        match message:
            case control.Drain(retry_after_s):
                self._events.append(events.PeerDraining(retry_after_s))
            case control.Renew(csr):
                self._events.append(events.RenewRequested(csr))
            case control.Renewed(chain):
                self._events.append(events.RenewalReceived(chain))

    # --- greeting ----------------------------------------------------------------------------------------------------

    def _greet(self, hello: control.Hello, now: float) -> None:
        """Server: answer the agent's first message."""
        if self.state not in (State.GREETING, State.RESUMING):
            raise BadPacket("hello came twice")
        if hello.version != control.VERSION:
            self.refuse(f"this server speaks version {control.VERSION} of the link, not {hello.version}", now)
            return
        resumed = self.state is State.RESUMING and hmac.compare_digest(hello.ticket, self._ticket)
        self._agree(resumed, hello.received, now)
        if not resumed:
            self._ticket = self._entropy(_TICKET_BYTES)
        self._say(control.Welcome(self._ticket, resumed, self._confirm(), self.greeting))

    def _welcome(self, welcome: control.Welcome, now: float) -> None:
        """Agent: the server's answer."""
        if self.state not in (State.GREETING, State.RESUMING):
            raise BadPacket("welcome came twice")
        if welcome.resumed and (self.state is State.GREETING or welcome.ticket != self._ticket):
            raise BadPacket("the server resumes a session that this agent does not have")
        self.greeting = welcome.greeting
        self._agree(welcome.resumed, welcome.received, now)
        self._ticket = welcome.ticket

    def _agree(self, resumed: bool, received: int, now: float) -> None:
        if resumed:
            self._reliable.resume_untrusted(received)
        elif self.state is State.RESUMING:
            self._expire("the other end had nothing to resume")
        self._happen(Happening.RESUMED if resumed else Happening.GREETED)
        self._counters.bump("link.resumed" if resumed else "link.greeted")
        self.down_since = None
        self._timers.clear()
        self.keepalive.start(now)
        self._inbox.open()
        self._arm_keepalive()
        self._events.append(events.SessionUp(resumed, self.greeting))

    # --- endings -----------------------------------------------------------------------------------------------------

    def _hang_up(self, now: float, reason: str) -> None:
        """Give up the connection, not the session."""
        self.detach(now, reason)
        self.finished = reason

    def _end(self, reason: str, last_word: control.LinkMessage | None = None) -> None:
        """Give up the session; ``last_word`` still goes out by the connection, if there is one."""
        was_up, was_live = self.is_up, self.is_live
        self._happen(Happening.ENDED)
        self._timers.clear()
        if was_up:
            self._events.append(events.SessionDown(reason))
        if was_live:
            self._expire(reason)
        self._rest = b""
        if self.state is State.ENDING:
            self.finished = reason
            if last_word is not None:
                self._say(last_word)

    def _expire(self, reason: str) -> None:
        """Forget the session."""
        self._events.append(events.SessionExpired(reason, self._reliable.unacknowledged_messages))
        self._counters.bump("link.expired")
        self._reliable = Reliable(self._counters)
        self._outbox.clear_media()
        self._ticket = b""
        self.down_since = None

    # --- helpers -----------------------------------------------------------------------------------------------------

    def _happen(self, happening: Happening) -> None:
        self.state = next_state(self.state, happening)

    def _say(self, message: control.LinkMessage) -> None:
        self._outbox.add_control(frame(LINK, control.encode(message)))

    def _send_reliable(self, payload: bytes, *, is_control: bool) -> None:
        if self.state not in LIVE_STATES:
            raise NoSession("there is no session with the other end")
        self._reliable.send(payload, control=is_control)

    def _confirm(self) -> int:
        self._acknowledge_now = False
        self._timers.pop(Timer.ACKNOWLEDGE, None)
        return self._reliable.confirm()
