"""[io] Drives a session over carriers: reads, hands to the core, carries out what it says.

Nobody ever waits for a write while reading: ``flush`` sends what goes out without waiting and keeps the unsent tail,
a task of its own waits for room, and no record is made while a tail is pending, so that what has not left yet can
still be overtaken by signalling or dropped for its age.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable

import trio

from tunnel.carriers.base import Carrier
from tunnel.errors import CarrierLost, Refused, WallpassError
from tunnel.link import control
from tunnel.link.events import STOPPED, PeerRefused, SessionEvent
from tunnel.link.frames import LINK, TLS_OVERHEAD_BYTES, Sinks, frame
from tunnel.link.secure import SecureChannel
from tunnel.link.session import Session
from tunnel.link.states import State

__all__ = ["HANDSHAKE_TIMEOUT_S", "Link", "handshake", "refuse"]

# --- numbers of ours -----------------------------------------------------------------------------------------------
HANDSHAKE_TIMEOUT_S = 10.0
_RECEIVE_BYTES = 262144  # everything that the kernel has, in one call
_LAST_WORDS_S = 1.0  # how long an ended session may take to say why


async def handshake(carrier: Carrier, secure: SecureChannel) -> None:
    """Bring ``secure`` up over ``carrier``. Raises CarrierLost, PeerMisbehaved or Refused; the carrier stays open."""
    with trio.move_on_after(HANDSHAKE_TIMEOUT_S):
        while True:
            await _send(carrier, secure.drain_ciphertext())
            if secure.established:
                return
            await carrier.wait_readable()
            data = carrier.try_receive(_RECEIVE_BYTES)
            if data is None:
                continue
            try:
                secure.feed(data)
            except WallpassError:
                with contextlib.suppress(CarrierLost):
                    carrier.try_send(secure.drain_ciphertext())
                raise
    raise CarrierLost(f"{carrier.name}: no TLS handshake within {HANDSHAKE_TIMEOUT_S:g} s")


async def refuse(carrier: Carrier, secure: SecureChannel, reason: str) -> None:
    """Tell a peer that has shaken hands why it is not wanted, and close the carrier."""
    try:
        await _send_last(carrier, secure, frame(LINK, control.encode(control.Refusal(reason))))
    finally:
        carrier.close()


async def _send(carrier: Carrier, data: bytes) -> None:
    while data:
        data = data[carrier.try_send(data) :]
        if data:
            await carrier.wait_writable()


async def _send_last(carrier: Carrier, secure: SecureChannel, plaintext: bytes, tail: bytes = b"") -> None:
    """Send, say that no more will come, and read until the peer has closed: a socket that is closed with something
    unread in it resets the connection, and the last words with it. Gives up after a while, and when all is lost.
    """
    with trio.move_on_after(_LAST_WORDS_S), contextlib.suppress(WallpassError):
        await _send(carrier, tail)
        await _send(carrier, (secure.seal(plaintext) if plaintext else b"") + secure.close())
        while carrier.try_receive(_RECEIVE_BYTES) != b"":
            await carrier.wait_readable()


class _Connection:
    """A carrier and its TLS while they serve the session."""

    def __init__(self, carrier: Carrier, secure: SecureChannel) -> None:
        self.carrier = carrier
        self.secure = secure
        self.tail = b""  # of a record that the carrier took in part
        self.stalled = trio.Event()
        self.scope = trio.CancelScope()
        self.why: WallpassError | None = None  # set once: the connection is of no more use

    def fail(self, why: WallpassError) -> None:
        """Give it up; its ``run_carrier`` returns ``why``."""
        if self.why is None:
            self.why = why
            self.scope.cancel()


class Link:
    """A session with the carrier of the moment; ``deliver`` is called with each event, and must not raise.

    ``run`` keeps its time and is to run for as long as the link lives; ``run_carrier`` serves it by one carrier. The
    clock is ``trio.current_time()``: what is told to the session elsewhere must be of the same clock.
    """

    def __init__(self, session: Session, deliver: Callable[[SessionEvent], None]) -> None:
        self.session = session
        self._deliver = deliver
        self._delivering = False
        self._refused = ""
        self._connection: _Connection | None = None
        self._alarm = trio.CancelScope(deadline=math.inf)

    @property
    def sinks(self) -> Sinks:
        """Where the packets of each media channel go."""
        return self.session.sinks

    @property
    def carrier_name(self) -> str:
        """The carrier of the moment, for people; empty without one."""
        return self._connection.carrier.name if self._connection else ""

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keep the session's time, connected or not; runs until cancelled."""
        task_status.started()
        while True:
            with trio.CancelScope(deadline=self.session.deadline()) as self._alarm:
                await trio.sleep_forever()
            if self._connection is not None:
                self._receive(self._connection)  # judge silence by what has arrived, not by what we have got round to
            self.session.tick(trio.current_time())
            self._settle()

    async def run_carrier(self, carrier: Carrier, secure: SecureChannel) -> WallpassError:
        """Serve the session by ``carrier`` until it is lost, and return why: CarrierLost, PeerMisbehaved or Refused.

        Makes the TLS handshake if it is not done yet. The carrier is closed at the end, also on cancellation; a carrier
        that served before is replaced as soon as this one is authenticated.
        """
        try:
            if not secure.established:
                await handshake(carrier, secure)
        except WallpassError as why:
            carrier.close()
            return why
        except BaseException:
            carrier.close()
            raise
        connection = self._replace(carrier, secure)
        try:
            with connection.scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._write, connection)
                    await self._read(connection)
            if self._connection is connection and self.session.state is State.ENDING:
                last_words = self.session.outgoing(trio.current_time())
                await _send_last(carrier, secure, last_words, connection.tail)
        finally:
            self._let_go(connection)
        return connection.why or CarrierLost(f"{carrier.name}: lost")

    def flush(self) -> None:
        """Send what waits, as far as it goes without waiting; to be called after each change of the session.

        Never waits, never delivers events, never raises for what happened to the carrier.
        """
        connection = self._connection
        if connection is None or connection.why is not None:
            return
        try:
            self._send_records(connection)
        except WallpassError as error:
            connection.fail(error)
            return
        if self.session.finished is not None:
            connection.fail(self._verdict())
        self._set_alarm()

    def send_signal(self, payload: bytes) -> None:
        """Deliver ``payload`` to the other end's user. Raises SignalNotTaken, see ``Session.send_signal``."""
        self.session.send_signal(payload, trio.current_time())
        self.flush()

    # --- writing -----------------------------------------------------------------------------------------------------

    def _send_records(self, connection: _Connection) -> None:
        now = trio.current_time()
        while not connection.tail:
            room = connection.carrier.room()
            if not room:
                break
            plaintext = self.session.outgoing(now, room - TLS_OVERHEAD_BYTES)
            if not plaintext:
                return
            record = connection.secure.seal(plaintext)
            connection.tail = record[connection.carrier.try_send(record) :]
        connection.stalled.set()

    async def _write(self, connection: _Connection) -> None:
        """Wait for room when there is none, and go on."""
        try:
            while True:
                await connection.stalled.wait()
                await connection.carrier.wait_writable()
                connection.tail = connection.tail[connection.carrier.try_send(connection.tail) :]
                if not connection.tail:
                    connection.stalled = trio.Event()
                    self.flush()
        except WallpassError as error:
            connection.fail(error)

    # --- reading -----------------------------------------------------------------------------------------------------

    async def _read(self, connection: _Connection) -> None:
        self._take_plaintext(connection)  # the first frames may have come with the end of the handshake
        while True:
            try:
                await connection.carrier.wait_readable()
            except CarrierLost as error:
                connection.fail(error)
            self._receive(connection)

    def _receive(self, connection: _Connection) -> None:
        """Read once and hand on; a peer that sends without end gets its turn again after everybody else's."""
        if connection.why is not None:
            return
        try:
            data = connection.carrier.try_receive(_RECEIVE_BYTES)
            if data is None:
                return
            if not data:
                raise CarrierLost(f"{connection.carrier.name}: the other end closed the connection")
            connection.secure.feed(data)
        except WallpassError as error:
            connection.fail(error)
            return
        self._take_plaintext(connection)

    def _take_plaintext(self, connection: _Connection) -> None:
        now = trio.current_time()
        session = self.session
        try:
            while session.finished is None and (records := connection.secure.read()):
                for record in records:
                    more = session.receive_untrusted(record, now)
                    self._deliver_events()
                    while more:
                        more = session.receive_untrusted(b"", now)
                        self._deliver_events()
        except WallpassError as error:
            connection.fail(error)
        self._settle()

    # --- keeping up --------------------------------------------------------------------------------------------------

    def _settle(self) -> None:
        """After each change of the session."""
        self._deliver_events()
        self.flush()
        self._set_alarm()

    def _deliver_events(self) -> None:
        """In order, also when a receiver of events causes others."""
        if self._delivering:
            return
        self._delivering = True
        try:
            while events := self.session.events():
                for event in events:
                    if isinstance(event, PeerRefused):
                        self._refused = event.reason
                    self._deliver(event)
        finally:
            self._delivering = False

    def _set_alarm(self) -> None:
        deadline = self.session.deadline()
        if deadline < self._alarm.deadline:
            self._alarm.deadline = deadline

    def _verdict(self) -> WallpassError:
        return Refused(self._refused) if self._refused else CarrierLost(self.session.finished or "lost")

    def _replace(self, carrier: Carrier, secure: SecureChannel) -> _Connection:
        old, self._connection = self._connection, _Connection(carrier, secure)
        if old is not None:
            old.fail(CarrierLost("replaced by a newer connection"))
        self._refused = ""
        self.session.attach(trio.current_time())
        self._settle()
        return self._connection

    def _let_go(self, connection: _Connection) -> None:
        connection.carrier.close()
        if self._connection is connection:
            self._connection = None
            self.session.detach(trio.current_time(), str(connection.why or STOPPED))
            self._deliver_events()
            self._set_alarm()
