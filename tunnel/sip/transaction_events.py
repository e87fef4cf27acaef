"""What transactions tell their owner (RFC 3261 section 17)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

__all__ = [
    "AckLost",
    "ClientEvent",
    "Final",
    "GaveUpWaitingForAck",
    "Provisional",
    "ServerEvent",
    "Terminated",
    "TimedOut",
    "TimerCFired",
    "TransportFailed",
]


@dataclass(frozen=True, slots=True)
class Provisional:
    """A 101-199 response came that is no retransmission. (A 100 is never told; it only stops our own.)"""

    status: int
    raw: bytes
    to_tag: bytes


@dataclass(frozen=True, slots=True)
class Final:
    """A final response came. INVITE: 2xx with another ``to_tag`` (forks) come as further ones."""

    status: int
    raw: bytes
    to_tag: bytes


@dataclass(frozen=True, slots=True)
class AckLost:
    """A 2xx came again though its ACK was sent: send ``ack`` again to where it went (which is the dialog's next hop,
    not necessarily the INVITE's)."""

    to_tag: bytes
    ack: bytes


@dataclass(frozen=True, slots=True)
class TimedOut:
    """No final response in time: 408 upstream for INVITE; nothing at all for other methods (RFC 4320 section 4.2)."""


@dataclass(frozen=True, slots=True)
class TimerCFired:
    """The callee has been silent for three minutes: the owner cancels (RFC 3261 section 16.8)."""


@dataclass(frozen=True, slots=True)
class TransportFailed:
    """The request could not be delivered: the owner tries the next target or answers 503 (RFC 3261 section 16.9)."""


@dataclass(frozen=True, slots=True)
class GaveUpWaitingForAck:
    """A final response to INVITE, sent for 64*T1, was never acknowledged; after a 2xx the owner ends that dialog."""

    to_tag: bytes


@dataclass(frozen=True, slots=True)
class Terminated:
    """The transaction is over and can be forgotten; always the last event."""


ClientEvent: TypeAlias = Provisional | Final | AckLost | TimedOut | TimerCFired | TransportFailed | Terminated
ServerEvent: TypeAlias = GaveUpWaitingForAck | Terminated
