"""What a user agent tells its owner."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from tunnel.softphone.leg import Leg
from tunnel.softphone.requester import Exchange

__all__ = ["CallChanged", "CallOffered", "RequestFinished", "UserAgentEvent"]


@dataclass(frozen=True, slots=True)
class CallOffered:
    """Somebody calls."""

    leg: Leg


@dataclass(frozen=True, slots=True)
class CallChanged:
    """A call rings, was answered, talks, changed its media, or ended: ``leg`` says which."""

    leg: Leg


@dataclass(frozen=True, slots=True)
class RequestFinished:
    """A request of ours has its final response, or got none in time."""

    exchange: Exchange


UserAgentEvent: TypeAlias = CallOffered | CallChanged | RequestFinished
