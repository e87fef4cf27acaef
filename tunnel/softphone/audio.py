"""[io] The RTP socket of one call: a mouth that speaks every 20 ms, an ear that hears what comes."""

from __future__ import annotations

import secrets
from collections.abc import Callable

import trio

from tunnel.address import Address
from tunnel.softphone.tune import FRAME_MS, Tune
from tunnel.softphone.voice import Ear, Mouth

__all__ = ["AudioPort"]

MOST_BYTES = 2048


class AudioPort:
    """Bound from the beginning of a call to its end."""

    def __init__(self, socket: trio.socket.SocketType, tune: Tune) -> None:
        self.address = Address(*socket.getsockname()[:2])
        self.mouth = Mouth(tune, secrets.randbits(32), secrets.randbits(15), secrets.randbits(32))
        self.ear = Ear()
        self._socket = socket

    @classmethod
    async def open(cls, host: str, tune: Tune) -> AudioPort:
        """A port of its own on ``host``. Raises OSError."""
        family = trio.socket.AF_INET6 if ":" in host else trio.socket.AF_INET
        socket = trio.socket.socket(family, trio.socket.SOCK_DGRAM)
        try:
            await socket.bind((host, 0))
        except BaseException:
            socket.close()
            raise
        return cls(socket, tune)

    async def hear(self) -> None:
        """Listen until cancelled; then the port is free."""
        with self._socket:
            while True:
                try:
                    packet = await self._socket.recv(MOST_BYTES)
                except OSError:  # an ICMP error of something sent before
                    continue
                self.ear.hear_untrusted(packet, trio.current_time())

    async def speak(self, speak_to: Callable[[], Address | None]) -> None:
        """Speak to whatever ``speak_to`` says at the moment, in silence while it says None, until cancelled.

        The pace is that of the clock: a packet that comes late does not delay those behind it.
        """
        due = trio.current_time()
        while True:
            target = speak_to()
            if target is None:
                self.mouth.skip()
            else:
                await self._send(target)
            due += FRAME_MS / 1000
            await trio.sleep_until(due)

    async def _send(self, target: Address) -> None:
        packet = self.mouth.speak(trio.current_time())
        try:
            await self._socket.sendto(packet, (target.host, target.port))
        except OSError:  # not sent is lost, and shows in the ear of the other phone
            return
