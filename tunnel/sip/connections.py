"""All stream connections of a face: those that peers made, and those that we made and use again while they live. [io]"""

from __future__ import annotations

import itertools
import ssl
from collections import Counter
from collections.abc import Callable, Sequence
from typing import TypeAlias

import structlog
import trio

from tunnel.address import Address
from tunnel.counters import Counters
from tunnel.seldom import Seldom
from tunnel.sip.connection import Connection, Deliver, StreamLimits
from tunnel.sip.flow import Flow
from tunnel.sip.sockets import is_wildcard, mark_signalling

__all__ = ["Connections", "Failed"]

log = structlog.get_logger()

Failed: TypeAlias = Callable[[str, Address, int, str], None]
_OutgoingKey: TypeAlias = tuple[str, Address, str, ssl.SSLContext | None]

# Our number: a peer whose certificate does not verify fails with every call; one line in a while is enough.
COMPLAIN_EVERY_S = 300.0
HOW_TO_TRUST = (
    "say who vouches for it: lan.tls_ca of an agent, wallpass tenant add --trunk-ca for a trunk, SSL_CERT_FILE for all; "
    "or have it show a certificate for the name or address by which it is reached"
)


class Connections:
    """Opened connections run in ``nursery``. Each of ours that ends or never opened is told to ``failed``, and each of a peer
    by which something was let in: strangers that come and go cost those who wait for answers nothing."""

    def __init__(
        self,
        nursery: trio.Nursery,
        deliver: Deliver,
        failed: Failed,
        counters: Counters,
        limits: StreamLimits,
        server_tls: ssl.SSLContext | None,
        client_tls: ssl.SSLContext | None,
    ) -> None:
        self._nursery = nursery
        self._deliver = deliver
        self._failed = failed
        self._counters = counters
        self._limits = limits
        self._server_tls = server_tls
        self._client_tls = client_tls
        self._numbers = itertools.count(1)
        self._by_number: dict[int, Connection] = {}
        self._outgoing: dict[_OutgoingKey, Connection] = {}
        self._per_source: Counter[str] = Counter()
        self._complaints = Seldom(COMPLAIN_EVERY_S)

    def __len__(self) -> int:
        return len(self._by_number)

    async def accept(self, listener: trio.SocketListener, transport: str, local: Address) -> None:
        """Take connections from ``listener`` until cancelled; those beyond the limits are closed at once."""
        while True:
            try:
                stream = await listener.accept()
            except OSError:  # out of file descriptors or memory: whoever holds them must let go first
                self._counters.bump("sip.stream.accept_errors")
                await trio.sleep(0.1)
                continue
            try:
                peer = stream.socket.getpeername()
            except OSError:  # gone already
                stream.socket.close()
                continue
            source = Address(peer[0], peer[1])
            if len(self) >= self._limits.total or self._per_source[_source(source)] >= self._limits.per_source:
                self._counters.bump("sip.stream.refused")
                stream.socket.close()
                continue
            self._admit(stream, Flow(transport, local, source, next(self._numbers)))

    def send(
        self,
        data: bytes,
        flow: Flow,
        server_name: str,
        bind_host: str,
        trust: ssl.SSLContext | None,
        open_within_s: float | None,
    ) -> int:
        """Send over the connection that ``flow`` names, or over one of ours to its remote; never waits.

        Returns the number of the connection that took it, 0 where ``failed`` is about to be told that none did.
        """
        if flow.connection:
            connection = self._by_number.get(flow.connection)
            if connection is None:
                self.report(flow, "the connection is gone")
                return 0
            connection.send(data)
            return flow.connection
        context = (trust or self._client_tls) if flow.transport == "tls" else None
        if flow.transport == "tls" and context is None:
            self.report(flow, "TLS is not set up")
            return 0
        # Whoever asks for an address may have a connection to it that has proved a name, as route sets name addresses.
        name = "" if server_name == flow.remote.host else server_name
        connection = self._outgoing.get((flow.transport, flow.remote, name, context))
        if connection is None:
            if len(self) >= self._limits.total:
                self._counters.bump("sip.stream.refused")
                self.report(flow, "too many connections")
                return 0
            connection = self._connect(flow, name, bind_host, context, open_within_s or self._limits.connect_s)
        connection.send(data)
        return connection.flow.connection

    def hang_up(self, number: int) -> None:
        """End one connection, if it still lives, by which nothing was let in."""
        connection = self._by_number.get(number)
        if connection is not None:
            connection.hang_up()

    def report(self, flow: Flow, reason: str) -> None:
        """Tell ``failed``, but not from within the caller's own call of ``send``."""

        async def tell() -> None:
            self._failed(flow.transport, flow.remote, flow.connection, reason)

        self._nursery.start_soon(tell)

    def _admit(self, stream: trio.SocketStream, flow: Flow) -> None:
        mark_signalling(stream.socket)

        async def opener() -> trio.abc.Stream:
            if flow.transport != "tls" or self._server_tls is None:
                return stream
            secured = trio.SSLStream(stream, self._server_tls, server_side=True, https_compatible=True)
            return await _shaken(secured)

        connection = Connection(
            flow, opener, self._limits.handshake_s, self._limits, self._deliver, self._counters, accepted=True
        )
        self._per_source[_source(flow.remote)] += 1
        self._start(connection, ())

    def _connect(
        self, flow: Flow, server_name: str, bind_host: str, context: ssl.SSLContext | None, open_within_s: float
    ) -> Connection:
        named = Flow(flow.transport, flow.local, flow.remote, next(self._numbers))

        async def opener() -> trio.abc.Stream:
            stream = await _connected(flow.remote, bind_host)
            if context is None:
                return stream
            hostname = server_name or flow.remote.host
            secured = trio.SSLStream(stream, context, server_hostname=hostname, https_compatible=True)
            return await _shaken(secured)

        connection = Connection(
            named, opener, open_within_s, self._limits, self._deliver, self._counters, accepted=False
        )
        # Who does not say which name it must have, as for a later message of the same transaction, takes any.
        keys = [(flow.transport, flow.remote, name, context) for name in {server_name, ""}]
        for key in keys:
            self._outgoing.setdefault(key, connection)
        self._start(connection, keys)
        return connection

    def _start(self, connection: Connection, keys: Sequence[_OutgoingKey]) -> None:
        self._by_number[connection.flow.connection] = connection
        self._nursery.start_soon(self._live, connection, keys)

    async def _live(self, connection: Connection, keys: Sequence[_OutgoingKey]) -> None:
        flow = connection.flow
        try:
            await connection.run()
        finally:
            del self._by_number[flow.connection]
            if connection.accepted:
                self._release_source(_source(flow.remote))
            for key in keys:
                if self._outgoing.get(key) is connection:
                    del self._outgoing[key]
        if connection.not_verified:
            self._complain(connection)
        if connection.is_in_use:
            self._failed(flow.transport, flow.remote, flow.connection, connection.reason)
        elif not connection.is_open:
            self._counters.bump("sip.stream.handshake_failed")

    def _complain(self, connection: Connection) -> None:
        remote = connection.flow.remote
        self._counters.bump("sip.tls.not_verified")
        if self._complaints.may(remote, trio.current_time()):
            log.warning("tls.not_verified", peer=str(remote), reason=connection.not_verified, mend=HOW_TO_TRUST)

    def _release_source(self, source: str) -> None:
        self._per_source[source] -= 1
        if not self._per_source[source]:
            del self._per_source[source]


def _source(address: Address) -> str:
    """Whom a connection counts for: an IPv4 address, or the /64 in which an IPv6 host may call itself anything."""
    return address.ip.exploded[:19] if address.is_ipv6 else address.host


async def _connected(remote: Address, bind_host: str) -> trio.SocketStream:
    """A TCP connection from ``bind_host``. Raises OSError."""
    family = trio.socket.AF_INET6 if remote.is_ipv6 else trio.socket.AF_INET
    sock = trio.socket.socket(family, trio.socket.SOCK_STREAM)
    try:
        if bind_host and not is_wildcard(bind_host):
            await sock.bind((bind_host, 0))
        await sock.connect(remote)
    except BaseException:
        sock.close()
        raise
    stream = trio.SocketStream(sock)
    mark_signalling(stream.socket)
    return stream


async def _shaken(stream: trio.SSLStream[trio.SocketStream]) -> trio.SSLStream[trio.SocketStream]:
    """The stream after its TLS handshake; closed when that fails or is cancelled."""
    try:
        await stream.do_handshake()
    except BaseException:
        await trio.aclose_forcefully(stream)
        raise
    return stream
