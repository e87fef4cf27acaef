"""The timers of SIP transactions (RFC 3261 section 17 and table 4, RFC 6026) and a small set that holds running ones."""

from __future__ import annotations

from enum import Enum

__all__ = [
    "T1_S",
    "T2_S",
    "T4_S",
    "TIMER_B_S",
    "TIMER_CANCELLED_S",
    "TIMER_C_S",
    "TIMER_D_S",
    "TIMER_F_S",
    "TIMER_H_S",
    "TIMER_I_S",
    "TIMER_J_S",
    "TIMER_K_S",
    "TIMER_L_S",
    "TIMER_M_S",
    "TRANSACTION_S",
    "RunningTimers",
    "Timer",
]

# Numbers of the RFCs, all in seconds.
T1_S = 0.5  # estimate of the round trip; first interval of every retransmission
T2_S = 4.0  # longest interval between retransmissions of non-INVITE requests and of INVITE responses
T4_S = 5.0  # longest time a message stays in the network
TRANSACTION_S = 64 * T1_S
TIMER_B_S = TRANSACTION_S  # INVITE client gives up
TIMER_C_S = 181.0  # a proxy's wait for a final response: "MUST be larger than 3 minutes" (section 16.6 step 11)
TIMER_D_S = 32.0  # INVITE client absorbs failure responses, unreliable transport; at least 32 s
TIMER_F_S = TRANSACTION_S  # non-INVITE client gives up
TIMER_H_S = TRANSACTION_S  # INVITE server waits for the ACK of a failure
TIMER_I_S = T4_S  # INVITE server absorbs ACKs, unreliable transport
TIMER_J_S = TRANSACTION_S  # non-INVITE server absorbs requests, unreliable transport
TIMER_K_S = T4_S  # non-INVITE client absorbs responses, unreliable transport
TIMER_L_S = TRANSACTION_S  # INVITE server accepts further 2xx and absorbs requests (RFC 6026)
TIMER_M_S = TRANSACTION_S  # INVITE client accepts further 2xx (RFC 6026)
TIMER_CANCELLED_S = TRANSACTION_S  # INVITE client waits for a final response after its CANCEL (section 9.1)


class Timer(Enum):
    """Every timer of the four machines; the letter is the RFC's."""

    A = "re-send INVITE"
    B = "INVITE unanswered"
    C = "no final response to INVITE"
    D = "stop absorbing failures of INVITE"
    E = "re-send request"
    F = "request unanswered"
    G = "re-send failure of INVITE"
    H = "failure of INVITE not acknowledged"
    I = "stop absorbing ACK"  # noqa: E741 (the RFC's letter)
    J = "stop absorbing request"
    K = "stop absorbing responses"
    L = "stop absorbing accepted INVITE"
    M = "stop expecting 2xx"
    CANCELLED = "no final response after CANCEL"


class RunningTimers:
    """The timers that run, each with the time at which it fires."""

    __slots__ = ("_due",)

    def __init__(self) -> None:
        self._due: dict[Timer, float] = {}

    def start(self, timer: Timer, at: float) -> None:
        """Let ``timer`` fire at ``at``; one that runs already is moved."""
        self._due[timer] = at

    def stop(self, *timers: Timer) -> None:
        for timer in timers:
            self._due.pop(timer, None)

    def stop_all(self) -> None:
        self._due.clear()

    def deadline(self) -> float | None:
        """When the next one fires; None when none runs."""
        return min(self._due.values(), default=None)

    def take_due(self, now: float) -> Timer | None:
        """The earliest timer that is due, which stops; None when none is."""
        timer = min(self._due, key=self._due.__getitem__, default=None)
        if timer is None or self._due[timer] > now:
            return None
        del self._due[timer]
        return timer
