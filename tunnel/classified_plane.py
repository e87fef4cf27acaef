"""The media plane as calls see it: the pump's, and what the session must know of each stream to send it in order."""

from __future__ import annotations

from tunnel.link.priority import Priority
from tunnel.link.session import Session
from tunnel.media.plane import Aim, Kind, Lease, MediaPlane

__all__ = ["ClassifiedPlane"]


class ClassifiedPlane:
    """Implements MediaPlane on ``plane``; tells ``session`` the class of each channel (SIP-RULES N2)."""

    def __init__(self, plane: MediaPlane, session: Session) -> None:
        self._plane = plane
        self._session = session

    def take(self, call: int, now: float, ipv6: bool = False) -> Lease:
        return self._plane.take(call, now, ipv6)

    def tie(self, lease: int, channel: int, now: float) -> None:
        self._plane.tie(lease, channel, now)

    def aim(self, lease: int, channel: int, target: Aim, now: float) -> None:
        priority = Priority.AUDIO if target.kind is Kind.AUDIO else Priority.OTHER
        self._session.set_class(channel, priority, target.dtmf)
        self._plane.aim(lease, channel, target, now)

    def untie(self, lease: int, channel: int, now: float) -> None:
        self._session.forget_class(channel)
        self._plane.untie(lease, channel, now)

    def active_at(self, lease: int) -> float | None:
        return self._plane.active_at(lease)

    def release(self, lease: int, linger_s: float, now: float) -> None:
        self._plane.release(lease, linger_s, now)
