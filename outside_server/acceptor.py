"""The tunnel's front door: a connection is an agent with a certificate, somebody with a TOKEN, or nobody. [io]"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import structlog
import trio

from outside_server.join_listener import serve_join
from tunnel.carriers.direct import DirectCarrier
from tunnel.contained import contained
from tunnel.counters import Counters
from tunnel.errors import BadPacket, CarrierLost, WallpassError
from tunnel.link.driver import Link, handshake, refuse
from tunnel.link.identity import AgentIdentity
from tunnel.link.secure import ALPN_JOIN, SecureChannel

__all__ = ["Acceptor"]

log = structlog.get_logger()

# Our number: connections that have not yet proved who they are. Beyond it the oldest of them goes: an attacker who fills
# the hall throws his own out, as an agent needs a few round trips and he needs their time.
MOST_STRANGERS = 512


class Acceptor:
    """``new_channel`` makes the TLS of one connection; ``admit`` says which link serves an agent, or raises Refused;
    ``answer_join`` answers a request to join."""

    def __init__(
        self,
        new_channel: Callable[[], SecureChannel],
        admit: Callable[[AgentIdentity], Link],
        answer_join: Callable[[bytes], bytes],
        counters: Counters,
        most_strangers: int = MOST_STRANGERS,
    ) -> None:
        self._new_channel = new_channel
        self._admit = admit
        self._answer_join = answer_join
        self._counters = counters
        self._most_strangers = most_strangers
        self._strangers: dict[trio.CancelScope, None] = {}

    async def serve(self, stream: trio.SocketStream) -> None:
        """One accepted connection, to its end. Raises nothing that would hurt the others."""
        try:
            carrier = DirectCarrier.adopt(stream)
        except CarrierLost:  # gone before its turn came
            self._counters.bump("tunnel.refused.gone")
            return
        with contained(self._counters, "acceptor"), structlog.contextvars.bound_contextvars(peer=carrier.name):
            try:
                await self._receive(carrier, self._new_channel())
            finally:
                carrier.close()

    async def _receive(self, carrier: DirectCarrier, secure: SecureChannel) -> None:
        is_agent = False
        with self._stranger():
            try:
                await handshake(carrier, secure)
            except WallpassError as error:
                self._counters.bump("tunnel.refused.handshake")
                log.warning("tunnel.refused", reason=str(error))
                return
            is_agent = secure.alpn != ALPN_JOIN
            if not is_agent:
                await self._join(carrier, secure)
        if is_agent:
            await self._agent(carrier, secure)

    @contextmanager
    def _stranger(self) -> Iterator[None]:
        """As long as the block lasts, a newcomer may throw it out."""
        with trio.CancelScope() as scope:
            if len(self._strangers) >= self._most_strangers:
                self._counters.bump("tunnel.refused.too_many_strangers")
                oldest = next(iter(self._strangers))
                del self._strangers[oldest]
                oldest.cancel()
            self._strangers[scope] = None
            try:
                yield
            finally:
                self._strangers.pop(scope, None)

    async def _join(self, carrier: DirectCarrier, secure: SecureChannel) -> None:
        try:
            await serve_join(_SecureStream(carrier, secure), self._answer_join)
        except WallpassError as error:
            self._counters.bump("tunnel.refused.join")
            log.warning("join.failed", reason=str(error))

    async def _agent(self, carrier: DirectCarrier, secure: SecureChannel) -> None:
        try:
            if secure.peer_certificate is None:
                raise BadPacket("no certificate")
            identity = AgentIdentity.from_certificate_untrusted(secure.peer_certificate)
            structlog.contextvars.bind_contextvars(agent=identity.name)
            link = self._admit(identity)
        except WallpassError as error:
            self._counters.bump("tunnel.refused.agent")
            log.warning("tunnel.refused", reason=str(error))
            await refuse(carrier, secure, str(error))
            return
        why = await link.run_carrier(carrier, secure)
        log.info("tunnel.closed", reason=str(why))


class _SecureStream(trio.abc.Stream):
    """A carrier with TLS on it as a stream, for the one exchange of ``join``."""

    def __init__(self, carrier: DirectCarrier, secure: SecureChannel) -> None:
        self._carrier = carrier
        self._secure = secure
        self._received = bytearray()

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        left = self._secure.seal(bytes(data))
        while left:
            left = left[self._carrier.try_send(left) :]
            if left:
                await self._carrier.wait_writable()

    async def wait_send_all_might_not_block(self) -> None:
        await self._carrier.wait_writable()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        while not self._received:
            for record in self._secure.read():
                self._received += record
            if self._received:
                break
            await self._carrier.wait_readable()
            data = self._carrier.try_receive(16384)
            if data == b"":
                raise CarrierLost(f"{self._carrier.name}: the other end closed the connection")
            if data:
                self._secure.feed(data)
        taken = bytes(self._received[:max_bytes])
        del self._received[: len(taken)]
        return taken

    async def aclose(self) -> None:
        self._carrier.close()
        await trio.lowlevel.checkpoint()
