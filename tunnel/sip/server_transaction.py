"""Server transactions: a request of a peer until its final response has arrived (RFC 3261 section 17.2, RFC 6026).

Besides the RFC's timers it repeats, for its own leg, what elsewhere the user agent repeats end to end: 2xx to INVITE until
the ACK (RFC 3261 section 13.3.1.4) and reliable provisional responses until the PRACK (RFC 3262 section 3), because
retransmissions never cross the wall. Both on reliable transports as well: a hop further on may lose them.

After every change the owner drains ``events()``, ``outgoing()`` (to be sent on the request's flow) and ``deadline()``.
"""

from __future__ import annotations

from dataclasses import dataclass

from tunnel.sip.states import INVITE_SERVER, NON_INVITE_SERVER, Seen, State, Trigger
from tunnel.sip.timers import (
    T1_S,
    T2_S,
    TIMER_H_S,
    TIMER_I_S,
    TIMER_J_S,
    TIMER_L_S,
    TRANSACTION_S,
    RunningTimers,
    Timer,
)
from tunnel.sip.transaction_events import GaveUpWaitingForAck, ServerEvent, Terminated

__all__ = ["ServerTransaction"]


@dataclass(slots=True)
class _Repetition:
    """A response that goes out again and again until somebody says that it arrived."""

    raw: bytes
    next_at: float
    interval_s: float
    longest_s: float  # intervals double up to this
    ends_at: float
    rseq: int = 0


class ServerTransaction:
    """One request that came, and the responses we send to it. ``reliable``: its flow's transport repairs losses."""

    def __init__(self, invite: bool, reliable: bool, now: float) -> None:
        machine = INVITE_SERVER if invite else NON_INVITE_SERVER
        self.invite = invite
        self.reliable = reliable
        self.state = machine.initial
        self.last_status = 0  # of the response sent last; 0 while none was
        self._table = machine.table
        self._timers = RunningTimers()
        self._interval_s = T1_S
        self._last_response = b""
        self._final_to_tag = b""
        self._successes: dict[bytes, _Repetition | None] = {}  # To tag of each 2xx; None once acknowledged
        self._reliable_provisionals: dict[bytes, _Repetition] = {}  # by To tag: RFC 3262 allows one at a time
        self._outgoing: list[bytes] = []
        self._events: list[ServerEvent] = []

    # What happens to it.

    def receive_retransmission(self, now: float) -> None:
        """The request came again: the last response goes out again, where the state calls for it."""
        if self.state is State.TERMINATED:
            return
        self._move(Seen.REQUEST)
        if self.state in (State.PROCEEDING, State.COMPLETED) and self._last_response:
            self._outgoing.append(self._last_response)

    def respond(self, raw: bytes, status: int, to_tag: bytes, now: float, rseq: int = 0) -> None:
        """Send a response. After a final one only a 2xx to INVITE with another ``to_tag`` still goes out.

        ``rseq``: the RSeq number of a reliable provisional response, repeated until ``pracked``; 0 for all others.
        """
        if self.state is State.TERMINATED:
            return
        before = self.state
        self._move(Seen.PROVISIONAL if status < 200 else Seen.SUCCESS if status < 300 else Seen.FAILURE)
        if self.state is State.ACCEPTED:
            if 200 <= status < 300 and to_tag not in self._successes:
                self._reliable_provisionals.clear()
                self._send(raw, status)
                self._successes[to_tag] = _Repetition(raw, now + T1_S, T1_S, T2_S, now + TRANSACTION_S)
                self._timers.start(Timer.L, now + TIMER_L_S)
        elif self.state is State.PROCEEDING:
            self._send(raw, status)
            if rseq:
                ends_at = now + TRANSACTION_S
                self._reliable_provisionals[to_tag] = _Repetition(raw, now + T1_S, T1_S, TRANSACTION_S, ends_at, rseq)
        elif before in (State.TRYING, State.PROCEEDING):
            self._reliable_provisionals.clear()
            self._final_to_tag = to_tag
            self._send(raw, status)
            self._complete(now)

    def receive_ack(self, now: float) -> None:
        """The hop-by-hop ACK of a failure came. (In state ACCEPTED an ACK belongs to a 2xx: see ``acknowledged``.)"""
        if not self.invite or self.state is State.TERMINATED:
            return
        before = self.state
        self._move(Seen.ACK)
        if before is State.COMPLETED:
            self._timers.stop(Timer.G, Timer.H)
            self._linger(Timer.I, TIMER_I_S, now)

    def acknowledged(self, to_tag: bytes) -> None:
        """The end-to-end ACK of the 2xx with ``to_tag`` came: that 2xx is not repeated any more."""
        if to_tag in self._successes:
            self._successes[to_tag] = None

    def pracked(self, to_tag: bytes, rseq: int) -> None:
        """A PRACK for the reliable provisional response ``rseq`` of the fork ``to_tag`` came."""
        repetition = self._reliable_provisionals.get(to_tag)
        if repetition is not None and repetition.rseq == rseq:
            del self._reliable_provisionals[to_tag]

    def tick(self, now: float) -> None:
        """Let every timer that is due at ``now`` fire."""
        for to_tag, repetition in list(self._successes.items()):
            if repetition is not None and not self._repeat(repetition, now):
                self._successes[to_tag] = None
                self._events.append(GaveUpWaitingForAck(to_tag))
        for to_tag, repetition in list(self._reliable_provisionals.items()):
            if not self._repeat(repetition, now):
                del self._reliable_provisionals[to_tag]
        while (timer := self._timers.take_due(now)) is not None:
            self._fire(timer, now)

    # What comes out.

    def events(self) -> list[ServerEvent]:
        """What happened since the last call."""
        events, self._events = self._events, []
        return events

    def outgoing(self) -> list[bytes]:
        """Responses to send now, on the flow the request came on."""
        outgoing, self._outgoing = self._outgoing, []
        return outgoing

    def deadline(self) -> float | None:
        """When ``tick`` is due; None when nothing is awaited."""
        due = [min(r.next_at, r.ends_at) for r in self._successes.values() if r is not None]
        due += [min(r.next_at, r.ends_at) for r in self._reliable_provisionals.values()]
        own = self._timers.deadline()
        if own is not None:
            due.append(own)
        return min(due, default=None)

    # Steps.

    def _move(self, trigger: Trigger) -> None:
        self.state = self._table[self.state, trigger]

    def _send(self, raw: bytes, status: int) -> None:
        self._last_response = raw
        self.last_status = status
        self._outgoing.append(raw)

    def _complete(self, now: float) -> None:
        if not self.invite:
            self._linger(Timer.J, TIMER_J_S, now)
            return
        self._timers.start(Timer.H, now + TIMER_H_S)
        if not self.reliable:
            self._timers.start(Timer.G, now + T1_S)

    def _repeat(self, repetition: _Repetition, now: float) -> bool:
        """Send it again if it is time; False when it was sent for long enough."""
        if now >= repetition.ends_at:
            return False
        if now >= repetition.next_at:
            self._outgoing.append(repetition.raw)
            repetition.interval_s = min(repetition.interval_s * 2, repetition.longest_s)
            repetition.next_at = now + repetition.interval_s
        return True

    def _linger(self, timer: Timer, for_s: float, now: float) -> None:
        """Stay to absorb retransmissions; a reliable transport brings none."""
        if self.reliable:
            self._fire(timer, now)
        else:
            self._timers.start(timer, now + for_s)

    def _fire(self, timer: Timer, now: float) -> None:
        self._move(timer)
        if timer is Timer.G:
            self._interval_s = min(self._interval_s * 2, T2_S)
            self._timers.start(Timer.G, now + self._interval_s)
            self._outgoing.append(self._last_response)
            return
        if timer is Timer.H:
            self._events.append(GaveUpWaitingForAck(self._final_to_tag))
        self._timers.stop_all()
        self._events.append(Terminated())
