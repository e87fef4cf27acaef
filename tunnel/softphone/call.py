"""[io] One call of a scripted phone: wait for it, talk, hold, hang up, and ask afterwards what was heard."""

from __future__ import annotations

from typing import Protocol

from tunnel.errors import WallpassError
from tunnel.softphone.audio import AudioPort
from tunnel.softphone.leg import Leg
from tunnel.softphone.requester import Exchange
from tunnel.softphone.tune import Tune

__all__ = ["Call", "CallFailed", "Desk"]


class CallFailed(WallpassError):
    """A call did not come about, or a change of it was refused: the other side's status says why."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(f"{status} {reason}")
        self.status = status
        self.reason = reason


class Desk(Protocol):
    """What a call needs of its phone."""

    def ring(self, leg: Leg) -> None: ...
    def answer(self, leg: Leg, audio: AudioPort) -> None: ...
    def reject(self, leg: Leg, status: int) -> None: ...
    def hang_up(self, leg: Leg) -> None: ...
    def hold(self, leg: Leg, on_hold: bool) -> Exchange: ...
    async def finished(self, exchange: Exchange) -> None: ...
    async def open_audio(self, tune: Tune) -> AudioPort: ...
    async def changed(self) -> None: ...
"""placeholder"""
