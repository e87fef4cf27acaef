"""What a session tells its user.

Each ``SessionUp`` is followed by one ``SessionDown``. After that comes ``SessionUp(resumed=True)``, or
``SessionExpired`` when what the session held is lost on this end.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

__all__ = [
    "GOODBYE_HEARD",
    "GOODBYE_SAID",
    "STOPPED",
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


STOPPED, GOODBYE_SAID, GOODBYE_HEARD = "stopped", "this end said goodbye", "the other end said goodbye"
ORDERLY = frozenset({STOPPED, GOODBYE_SAID, GOODBYE_HEARD})


@dataclass(frozen=True, slots=True)
class SessionDown:
    """The connection is gone; signalling is kept for the next one, media are dropped."""

    reason: str

    @property
    def is_orderly(self) -> bool:
        """Somebody meant it: nothing that an operator has to look into."""
        return self.reason in ORDERLY


@dataclass(frozen=True, slots=True)
class SessionExpired:
    """The session is over; ``lost_signals`` messages of this end were never acknowledged."""

    reason: str
    lost_signals: int

    @property
    def is_orderly(self) -> bool:
        """Somebody meant it, and nothing was lost."""
        return self.reason in ORDERLY and not self.lost_signals


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
