"""What a session tells its user.

Each ``SessionUp`` is followed by one ``SessionDown``. After that comes ``SessionUp(resumed=True)``, or
``SessionExpired`` when what the session held is lost on this end.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

__all__ = [
    "PeerDraining",
    "PeerRefused",
    "RenewRequested",
    "RenewalReceived",
    "SessionDown",
    "SessionEvent",
    "SessionExpired",
    "SessionUp",
    "SignalReceived",
]


@dataclass(frozen=True, slots=True)
class SessionUp:
    """Both ends agree. ``resumed`` False: the other end knows nothing of what was. ``greeting`` is the server's."""

    resumed: bool
    greeting: bytes


@dataclass(frozen=True, slots=True)
class SessionDown:
    """The connection is gone; signalling is kept for the next one, media are dropped."""

    reason: str


@dataclass(frozen=True, slots=True)
class SessionExpired:
    """The session is over; ``lost_signals`` messages of this end were never acknowledged."""

    reason: str
    lost_signals: int


@dataclass(frozen=True, slots=True)
class SignalReceived:
    """A message of the other end's user, whole, exactly once and in order."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class PeerDraining:
    """The other end takes no new calls; come back after ``retry_after_s``."""

    retry_after_s: float


@dataclass(frozen=True, slots=True)
class PeerRefused:
    """The other end said no for good."""

    reason: str


@dataclass(frozen=True, slots=True)
class RenewRequested:
    """The agent asks for a new certificate (``csr`` as it made it)."""

    csr: bytes


@dataclass(frozen=True, slots=True)
class RenewalReceived:
    """The server sent the new certificate ``chain``."""

    chain: bytes


SessionEvent: TypeAlias = (
    SessionUp
    | SessionDown
    | SessionExpired
    | SignalReceived
    | PeerDraining
    | PeerRefused
    | RenewRequested
    | RenewalReceived
)
