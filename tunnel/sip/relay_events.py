"""What a half proxy wants done, and what it tells of its calls."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from tunnel.sip.flow import Flow
from tunnel.sip.uri import SipUri

__all__ = ["CallAnswered", "CallClosed", "CallOpened", "Emission", "Lookup", "RelayEvent", "WentInFragments"]


@dataclass(frozen=True, slots=True)
class Emission:
    """Send ``data`` over ``flow``; ``server_name`` is whom TLS is to prove the peer to be.

    With a ``branch``, the half proxy wants to be told by which stream connection it went (``went_by``). A connection
    that is made for it is up after ``open_within_s``, or has failed; None: after what is usual.
    """

    data: bytes
    flow: Flow
    server_name: str = ""
    branch: bytes = b""
    open_within_s: float | None = None


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


@dataclass(frozen=True, slots=True)
class WentInFragments:
    """``peer`` takes requests that are too big for one datagram by UDP only: some may get lost on the way."""

    peer: str


RelayEvent: TypeAlias = CallOpened | CallAnswered | CallClosed | WentInFragments
