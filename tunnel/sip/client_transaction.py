"""Client transactions: a request of ours until its final response (RFC 3261 section 17.1, RFC 6026).

After every change the owner drains ``events()``, ``outgoing()`` (to be sent where the request went) and ``deadline()``,
in that order. Responses are handed in as facts already known (status, To tag), so nothing is parsed twice.
"""

from __future__ import annotations

from collections.abc import Sequence

from tunnel.errors import LocalMisuse
from tunnel.sip.message import parse_untrusted
from tunnel.sip.requests import build_ack_non2xx, build_cancel
from tunnel.sip.states import INVITE_CLIENT, NON_INVITE_CLIENT, Seen, State, Trigger
from tunnel.sip.timers import (
    T1_S,
    T2_S,
    TIMER_B_S,
    TIMER_C_S,
    TIMER_CANCELLED_S,
    TIMER_D_S,
    TIMER_F_S,
    TIMER_K_S,
    TIMER_M_S,
    TRANSACTION_S,
    RunningTimers,
    Timer,
)
from tunnel.sip.transaction_events import (
    AckLost,
    ClientEvent,
    Final,
    Provisional,
    Terminated,
    TimedOut,
    TimerCFired,
    TransportFailed,
)

__all__ = ["ClientTransaction"]

# Number of ours: no honest call rings more branches behind one next hop; what a peer invents beyond it is ignored.
FORKS_LIMIT = 64


class ClientTransaction:
    """One request on its way to one target.

    ``request`` is the whole message as it is emitted; it is sent at once. ``reliable`` says that the transport repairs
    losses. Its CANCEL runs inside it: hand responses with CSeq method CANCEL to ``receive_cancel_response``.
    """

    def __init__(self, invite: bool, request: bytes, reliable: bool, now: float) -> None:
        machine = INVITE_CLIENT if invite else NON_INVITE_CLIENT
        self.invite = invite
        self.request = request
        self.reliable = reliable
        self.state = machine.initial
        self._table = machine.table
        self._timers = RunningTimers()
        self._interval_s = T1_S
        self._outgoing: list[bytes] = [request]
        self._events: list[ClientEvent] = []
        self._provisionals: dict[bytes, tuple[bytes, float]] = {}  # To tag -> what was passed up, and when
        self._accepted: dict[bytes, bytes] = {}  # To tag of a 2xx -> its ACK, b"" while there is none
        self._failure_ack = b""
        self._cancel_reasons: Sequence[bytes] | None = None  # not None: to be cancelled
        self._cancel: ClientTransaction | None = None
        if invite:
            self._timers.start(Timer.B, now + TIMER_B_S)
            self._timers.start(Timer.C, now + TIMER_C_S)
        else:
            self._timers.start(Timer.F, now + TIMER_F_S)
        if not reliable:
            self._timers.start(Timer.A if invite else Timer.E, now + T1_S)

    @property
    def cancelling(self) -> bool:
        """True once ``cancel`` was called, whether or not the CANCEL could be sent yet."""
        return self._cancel_reasons is not None

    # What happens to it.

    def receive(self, status: int, raw: bytes, to_tag: bytes, now: float) -> None:
        """A response to the request came. One that no longer matters is absorbed."""
        if self.state is State.TERMINATED:
            return
        before = self.state
        waiting = before in (State.CALLING, State.TRYING, State.PROCEEDING)
        if status < 200:
            self._move(Seen.PROVISIONAL)
            if waiting:
                self._receive_provisional(status, raw, to_tag, now)
            return
        success = status < 300
        self._move(Seen.SUCCESS if success else Seen.FAILURE)
        if waiting:
            self._timers.stop_all()
            self._cancel = None
            self._events.append(Final(status, raw, to_tag))
            if not self.invite:
                self._linger(Timer.K, TIMER_K_S, now)
            elif success:
                self._accepted[to_tag] = b""
                self._timers.start(Timer.M, now + TIMER_M_S)
            else:
                self._failure_ack = build_ack_non2xx(parse_untrusted(self.request), parse_untrusted(raw))
                self._outgoing.append(self._failure_ack)
                self._linger(Timer.D, TIMER_D_S, now)
        elif before is State.ACCEPTED and success:
            self._receive_success_again(status, raw, to_tag)
        elif before is State.COMPLETED and self.invite and not success:
            self._outgoing.append(self._failure_ack)

    def receive_cancel_response(self, status: int, now: float) -> None:
        """A response to the CANCEL came: it is not repeated any more. The INVITE's own response is still awaited."""
        if self._cancel is not None:
            self._cancel.receive(status, b"", b"", now)

    def acknowledge(self, to_tag: bytes, ack: bytes) -> None:
        """The owner sent ``ack`` for the 2xx with ``to_tag``; a 2xx that comes again yields AckLost from now on."""
        if to_tag in self._accepted:
            self._accepted[to_tag] = ack

    def cancel(self, now: float, reasons: Sequence[bytes] = ()) -> None:
        """Send a CANCEL as soon as a provisional response allows it (RFC 3261 section 9.1); too late is no error.

        ``reasons``: whole Reason header lines without CRLF. Without a final response within 64*T1 it ends in TimedOut.
        """
        if not self.invite:
            raise LocalMisuse("only an INVITE is cancelled")
        if self.cancelling or self.state not in (State.CALLING, State.PROCEEDING):
            return
        self._cancel_reasons = reasons
        if self.state is State.PROCEEDING:
            self._send_cancel(now)

    def transport_failed(self, now: float) -> None:
        """The request could not be sent, or the connection it went over is gone."""
        if self.state is State.TERMINATED:
            return
        before = self.state
        if self._move(Seen.TRANSPORT_ERROR) is State.TERMINATED:
            if before is not State.COMPLETED:
                self._events.append(TransportFailed())
            self._terminate()

    def tick(self, now: float) -> None:
        """Let every timer that is due at ``now`` fire."""
        if self._cancel is not None:
            self._cancel.tick(now)
        while (timer := self._timers.take_due(now)) is not None:
            self._fire(timer, now)

    # What comes out.

    def events(self) -> list[ClientEvent]:
        """What happened since the last call."""
        events, self._events = self._events, []
        return events

    def outgoing(self) -> list[bytes]:
        """Messages to send now, to where the request goes."""
        outgoing, self._outgoing = self._outgoing, []
        if self._cancel is not None:
            outgoing += self._cancel.outgoing()
        return outgoing

    def deadline(self) -> float | None:
        """When ``tick`` is due; None when nothing is awaited."""
        own = self._timers.deadline()
        cancel = None if self._cancel is None else self._cancel.deadline()
        return min((at for at in (own, cancel) if at is not None), default=None)

    # Steps.

    def _move(self, trigger: Trigger) -> State:
        self.state = self._table[self.state, trigger]
        return self.state

    def _receive_provisional(self, status: int, raw: bytes, to_tag: bytes, now: float) -> None:
        self._timers.stop(Timer.A, Timer.B)
        if self.invite and status > 100 and not self.cancelling:
            self._timers.start(Timer.C, now + TIMER_C_S)
        if not self.invite and not self.reliable:
            self._interval_s = T2_S
            self._timers.start(Timer.E, now + T2_S)
        if self.cancelling and self._cancel is None:
            self._send_cancel(now)
        if status > 100 and self._is_news(raw, to_tag, now):
            self._events.append(Provisional(status, raw, to_tag))

    def _is_news(self, raw: bytes, to_tag: bytes, now: float) -> bool:
        """False for a copy within 64*T1 (RFC 3262 section 3); a later one says "still ringing" (RFC 3261 13.3.1.1)."""
        seen = self._provisionals.get(to_tag)
        if seen is not None and seen[0] == raw and now - seen[1] < TRANSACTION_S:
            return False
        if seen is None and len(self._provisionals) >= FORKS_LIMIT:
            return False
        self._provisionals[to_tag] = (raw, now)
        return True

    def _receive_success_again(self, status: int, raw: bytes, to_tag: bytes) -> None:
        ack = self._accepted.get(to_tag)
        if ack:
            self._events.append(AckLost(to_tag, ack))
        elif ack is None and len(self._accepted) < FORKS_LIMIT:
            self._accepted[to_tag] = b""
            self._events.append(Final(status, raw, to_tag))

    def _send_cancel(self, now: float) -> None:
        cancel = build_cancel(parse_untrusted(self.request), self._cancel_reasons or ())
        self._cancel = ClientTransaction(False, cancel, self.reliable, now)
        self._timers.stop(Timer.C)
        self._timers.start(Timer.CANCELLED, now + TIMER_CANCELLED_S)

    def _linger(self, timer: Timer, for_s: float, now: float) -> None:
        """Stay to absorb retransmissions; a reliable transport brings none."""
        if self.reliable:
            self._fire(timer, now)
        else:
            self._timers.start(timer, now + for_s)

    def _fire(self, timer: Timer, now: float) -> None:
        self._move(timer)
        if timer in (Timer.A, Timer.E):
            self._interval_s = self._interval_s * 2 if timer is Timer.A else min(self._interval_s * 2, T2_S)
            self._timers.start(timer, now + self._interval_s)
            self._outgoing.append(self.request)
        elif timer is Timer.C:
            self._events.append(TimerCFired())
        else:
            if timer in (Timer.B, Timer.F, Timer.CANCELLED):
                self._events.append(TimedOut())
            self._terminate()

    def _terminate(self) -> None:
        self._timers.stop_all()
        self._cancel = None
        self._events.append(Terminated())
