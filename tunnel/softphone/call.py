"""[io] One call of a scripted phone: wait for it, talk, hold, hang up, and ask afterwards what was heard."""

from __future__ import annotations

import trio

from tunnel.errors import LocalMisuse, WallpassError
from tunnel.softphone.audio import AudioPort
from tunnel.softphone.engine import Engine
from tunnel.softphone.leg import Leg, LegEnd, LegState
from tunnel.softphone.tune import Tune
from tunnel.softphone.voice import Ear, Mouth

__all__ = ["Call", "CallFailed"]


class CallFailed(WallpassError):
    """A call did not come about, or a change of it was refused: the other side's status says why."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(f"{status} {reason}")
        self.status = status
        self.reason = reason


class Call:
    """A call of ours, or one that came; ``leg`` says how far it is and when each thing happened.

    Its tasks, hearing and speaking, live in ``nursery`` and end with the call.
    """

    def __init__(
        self, engine: Engine, nursery: trio.Nursery, host: str, leg: Leg, audio: AudioPort | None = None
    ) -> None:
        self.leg = leg
        self._engine = engine
        self._nursery = nursery
        self._host = host
        self._audio = audio
        self._silence = trio.CancelScope()
        if audio is not None:
            nursery.start_soon(self._live, audio)

    @property
    def ear(self) -> Ear:
        """What has been heard; there is one as soon as the call has been made or answered."""
        return self._opened().ear

    @property
    def mouth(self) -> Mouth:
        """What has been said."""
        return self._opened().mouth

    @property
    def end(self) -> LegEnd | None:
        """How the call ended; None while it lives."""
        return self.leg.end

    # A call that came.

    async def ring(self) -> None:
        """Say 180."""
        self._engine.agent.ring(self.leg, trio.current_time())
        self._engine.carry_out()

    async def answer(self, tune: Tune) -> None:
        """Say 200, hear from now on and speak ``tune``; returns when the caller has acknowledged. Raises CallFailed."""
        self._audio = await AudioPort.open(self._host, tune)
        self._nursery.start_soon(self._live, self._audio)
        self._engine.agent.answer(self.leg, self._audio.address, trio.current_time())
        self._engine.carry_out()
        await self.answered()

    async def reject(self, status: int = 486) -> None:
        """Refuse with that status."""
        self._engine.agent.reject(self.leg, status, trio.current_time())
        self._engine.carry_out()

    # Any call.

    async def ringing(self) -> None:
        """Wait until it rings, or is answered without. Raises CallFailed when it ends instead."""
        await self._engine.until(lambda: self.leg.state is not LegState.CALLING)
        self._check_alive()

    async def answered(self) -> None:
        """Wait until both can talk. Raises CallFailed when the call ends instead."""
        await self._engine.until(lambda: self.leg.state in (LegState.TALKING, LegState.ENDED))
        self._check_alive()

    async def talk(self, seconds: float) -> None:
        """Let the call go on for so long, or until it ends."""
        with trio.move_on_after(seconds):
            await self.ended()

    def fall_silent(self) -> None:
        """Say no more; what is on its way can still arrive before somebody hangs up."""
        self._silence.cancel()

    async def hold(self) -> None:
        """Ask the peer to be silent. Raises CallFailed when it refuses."""
        await self._change(on_hold=True)

    async def resume(self) -> None:
        """Ask the peer to speak again. Raises CallFailed when it refuses."""
        await self._change(on_hold=False)

    async def hang_up(self) -> None:
        """End the call, call it off, or refuse it, whatever its state asks for; returns when it is over."""
        self._engine.agent.hang_up(self.leg, trio.current_time())
        self._engine.carry_out()
        await self.ended()

    async def ended(self) -> LegEnd:
        """Wait until it is over; says how it ended."""
        await self._engine.until(lambda: self.leg.state is LegState.ENDED)
        assert self.leg.end is not None
        return self.leg.end

    async def _live(self, audio: AudioPort) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(audio.hear)
            nursery.start_soon(self._speak, audio)
            await self.ended()
            nursery.cancel_scope.cancel()

    async def _speak(self, audio: AudioPort) -> None:
        await self._engine.until(lambda: self.leg.speak_to is not None)
        with self._silence:
            await audio.speak(lambda: self.leg.speak_to)

    async def _change(self, *, on_hold: bool) -> None:
        exchange = self._engine.agent.hold(self.leg, on_hold, trio.current_time())
        self._engine.carry_out()
        await self._engine.until(lambda: exchange.finished)
        response = exchange.response
        if response is None or response.status >= 300:
            raise CallFailed(*(408, "no answer") if response is None else (response.status, response.reason.decode()))

    def _check_alive(self) -> None:
        if self.leg.end is not None:
            raise CallFailed(self.leg.end.status, self.leg.end.reason)

    def _opened(self) -> AudioPort:
        if self._audio is None:
            raise LocalMisuse("a call that came has no audio before it is answered")
        return self._audio
