"""One stream connection of a face: bytes in become messages, messages out wait in a bounded queue. [io]

Its two tasks never raise: whatever ends the connection becomes ``reason``, and nobody else notices.
"""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeAlias

import trio

from tunnel.counters import Counters
from tunnel.errors import BadPacket
from tunnel.sip.flow import NOT_VERIFIED, Flow
from tunnel.sip.framing import KeepAlive, StreamFramer

__all__ = ["Connection", "Deliver", "StreamLimits"]

Deliver: TypeAlias = Callable[[bytes, Flow], None]
Opener: TypeAlias = Callable[[], Awaitable[trio.abc.Stream]]

READ_BYTES = 16 * 1024  # number of ours: one TLS record, several messages


@dataclass(frozen=True, slots=True)
class StreamLimits:
    """What one stream connection, one source and all of them together may cost us. All numbers are ours."""

    connect_s: float = 4.0
    """A connection of ours, TLS included, is up by then; a caller waits for it."""

    handshake_s: float = 5.0
    """A peer's TLS handshake is done by then."""

    first_message_s: float = 32.0
    """A peer that connected has sent a whole message by then."""

    idle_s: float = 3_900.0
    """Silence after which a connection is closed: more than the hour that phones register for."""

    write_s: float = 30.0
    """What waits to be written is taken by the peer by then."""

    queue_bytes: int = 128 * 1024
    """What may wait for one peer that reads slowly, two messages of the largest size; beyond it the connection is closed."""

    per_source: int = 64
    """Connections from one IPv4 address or one IPv6 /64: an office of phones behind one NAT."""

    total: int = 2_048
    """Connections from everybody; a file descriptor each."""


class Connection:
    """``flow`` names it. ``run`` opens it by ``opener`` and lives as long as it does; ``send`` and ``close`` never wait."""

    def __init__(
        self,
        flow: Flow,
        opener: Opener,
        open_within_s: float,
        limits: StreamLimits,
        deliver: Deliver,
        counters: Counters,
        *,
        accepted: bool,
    ) -> None:
        self.flow = flow
        self.accepted = accepted
        self.reason = ""
        self.not_verified = ""
        """Why the peer's certificate was not believed, if that is what ended it."""
        self.is_open = False
        self.is_in_use = not accepted
        """Whether somebody may count on it: it is one of ours, or something came by it whose sender was not hung up on."""
        self._opener = opener
        self._open_within_s = open_within_s
        self._limits = limits
        self._deliver = deliver
        self._counters = counters
        self._scope = trio.CancelScope()
        self._queue: list[bytes] = []
        self._queued_bytes = 0  # what is being written included
        self._wake = trio.Event()

    def send(self, data: bytes) -> None:
        """Queue ``data``; a peer that has let too much pile up loses the connection."""
        if self._scope.cancel_called:  # it ends already, which is about to be told
            return
        if self._queued_bytes + len(data) > self._limits.queue_bytes:
            self._counters.bump("sip.stream.overrun")
            self.close("its peer reads too slowly")
            return
        self._queue.append(data)
        self._queued_bytes += len(data)
        self._wake.set()

    def hang_up(self) -> None:
        """End it: what came by it was for nobody here."""
        self.is_in_use = False
        self.close("not allowed here")

    def close(self, reason: str) -> None:
        """End it now; what waits in the queue is lost. The first reason counts."""
        self.reason = self.reason or reason
        self._scope.cancel()

    async def run(self) -> None:
        """Open, then read and write until either fails; afterwards ``reason`` says why it ended."""
        with self._scope:
            stream = await self._open()
            if stream is None:
                return
            self.is_open = True
            try:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._write, stream)
                    await self._read(stream)
            finally:
                await trio.aclose_forcefully(stream)

    async def _open(self) -> trio.abc.Stream | None:
        stream = None
        with trio.move_on_after(self._open_within_s):
            try:
                stream = await self._opener()
            except (OSError, trio.BrokenResourceError) as error:
                if isinstance(error.__cause__, ssl.SSLCertVerificationError):
                    self.not_verified = error.__cause__.verify_message
                    self.reason = self.reason or NOT_VERIFIED
                self.reason = self.reason or str(error.__cause__ or error)
        if stream is None:
            self.reason = self.reason or f"not open after {self._open_within_s:g} s"
        return stream

    async def _read(self, stream: trio.abc.Stream) -> None:
        framer = StreamFramer()
        silence_s = self._limits.first_message_s if self.accepted else self._limits.idle_s
        heard_at = trio.current_time()
        while True:
            with trio.move_on_at(min(heard_at + silence_s, framer.deadline() or float("inf"))) as patience:
                try:
                    data = await stream.receive_some(READ_BYTES)
                except trio.BrokenResourceError as error:
                    return self.close(str(error.__cause__ or error))
            if patience.cancelled_caught:
                self._counters.bump("sip.stream.too_slow")
                return self.close("its peer was silent for too long")
            if not data:
                return self.close("closed by its peer")
            now = trio.current_time()
            try:
                framed = framer.feed_untrusted(bytes(data), now)
            except BadPacket as error:
                self._counters.bump("sip.stream.junk")
                return self.close(error.reason)
            for item in framed:
                if isinstance(item, KeepAlive):
                    self.send(b"\r\n")
                elif not self._scope.cancel_called:  # what stands behind the message that ended it, nobody hears
                    silence_s = self._limits.idle_s
                    self.is_in_use = True
                    self._deliver(item, self.flow)
            if silence_s == self._limits.idle_s:  # before its first message, nothing else buys a peer time
                heard_at = now

    async def _write(self, stream: trio.abc.Stream) -> None:
        while True:
            await self._wake.wait()
            self._wake = trio.Event()
            data = b"".join(self._queue)
            self._queue.clear()
            with trio.move_on_after(self._limits.write_s) as patience:
                try:
                    await stream.send_all(data)
                except trio.BrokenResourceError as error:
                    return self.close(str(error.__cause__ or error))
            if patience.cancelled_caught:
                self._counters.bump("sip.stream.too_slow")
                return self.close("its peer stopped reading")
            self._queued_bytes -= len(data)
