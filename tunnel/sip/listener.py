"""The SIP sockets of one face: UDP, TCP and TLS listeners, and the connections it opens itself. [io]

A message takes this way::

    UdpListener.run | Connection._read -> deliver(data, flow) ... send(data, flow) -> UdpListener.send | Connection.send
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeAlias

import trio

from tunnel.address import Address
from tunnel.counters import Counters
from tunnel.errors import LocalMisuse
from tunnel.sip.connection import Deliver, StreamLimits
from tunnel.sip.connections import Connections, Failed
from tunnel.sip.flow import Flow
from tunnel.sip.sockets import bound_socket
from tunnel.sip.udp_listener import UdpListener

__all__ = ["Bound", "ListenSpec", "Listeners", "StreamLimits"]

Bound: TypeAlias = tuple[str, Address]


@dataclass(frozen=True, slots=True)
class ListenSpec:
    """One listener to be: ``transport`` (``udp``, ``tcp``, ``tls``), the IP address and port to bind, and the address
    that stands in our Via for it, which takes over the bound port when ``port`` is 0."""

    transport: str
    host: str
    port: int
    advertised: Address


@dataclass(frozen=True, slots=True)
class _StreamListener:
    socket: trio.SocketListener
    transport: str
    advertised: Address


class Listeners:
    """The listeners of one face.

    ``deliver(data, flow)`` gets each SIP message, ``failed(transport, remote, connection, reason)`` each stream
    connection that ended or did not come up, but for those of strangers, and each datagram that had no way to go; both are
    called one after the other in our tasks, must not block and must not raise. ``connection`` is the number of the flow, 0
    where there was none yet. ``refused(quoted)`` gets what ICMP quoted of each datagram that came to a port where nobody
    listens: its beginning, from whoever forged that ICMP perhaps; None: such news are ignored.

    ``answer_stun`` says who gets an answer to a STUN Binding request (RFC 5626 section 4.4.2); None: nobody.
    """

    def __init__(
        self,
        specs: Iterable[ListenSpec],
        *,
        deliver: Deliver,
        failed: Failed,
        counters: Counters,
        refused: Callable[[bytes], None] | None = None,
        server_tls: ssl.SSLContext | None = None,
        client_tls: ssl.SSLContext | None = None,
        answer_stun: Callable[[Flow], bool] | None = None,
        limits: StreamLimits | None = None,
    ) -> None:
        self._specs = tuple(specs)
        if server_tls is None and any(spec.transport == "tls" for spec in self._specs):
            raise LocalMisuse("a TLS listener needs a certificate")
        self._deliver = deliver
        self._failed = failed
        self._refused = refused
        self._counters = counters
        self._server_tls = server_tls
        self._client_tls = client_tls
        self._answer_stun = answer_stun
        self._limits = limits or StreamLimits()
        self._udp: dict[Address, UdpListener] = {}
        self._streams: list[_StreamListener] = []
        self._connections: Connections | None = None
        self.bound: list[Bound] = []
        """Transport and advertised address of each listener, in the order of the specs."""

    def bind(self) -> list[Bound]:
        """Open and bind every socket. Raises OSError, with ``filename`` naming the listener, and then has opened none."""
        try:
            for spec in self._specs:
                self._bind(spec)
        except OSError:
            self.close()
            raise
        return self.bound

    async def run(self, task_status: trio.TaskStatus[list[Bound]] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled; starts with ``bound``. Binds first unless ``bind`` was called."""
        if not self.bound:
            self.bind()
        try:
            async with trio.open_nursery() as nursery:
                self._connections = connections = Connections(
                    nursery,
                    self._deliver,
                    self._failed,
                    self._counters,
                    self._limits,
                    self._server_tls,
                    self._client_tls,
                )
                for udp in self._udp.values():
                    nursery.start_soon(udp.run, self._deliver)
                for listener in self._streams:
                    nursery.start_soon(connections.accept, listener.socket, listener.transport, listener.advertised)
                task_status.started(self.bound)
        finally:
            self._connections = None
            self.close()

    def close(self) -> None:
        """Close the listening sockets; ``run`` does so itself."""
        for udp in self._udp.values():
            udp.close()
        for listener in self._streams:
            listener.socket.socket.close()
        self._udp.clear()
        self._streams.clear()
        self.bound = []

    def send(
        self,
        data: bytes,
        flow: Flow,
        server_name: str = "",
        trust: ssl.SSLContext | None = None,
        open_within_s: float | None = None,
    ) -> int:
        """Send one whole message on its way; never blocks. What cannot be sent is told to ``failed`` later.

        Returns the number of the stream connection that took it, else 0.

        ``flow.local`` picks the socket. A stream flow with ``connection`` 0 uses or makes a connection of ours to
        ``flow.remote``; for TLS ``server_name`` is the name its certificate must have, else the address itself, and
        ``trust`` the context to connect with, else ``client_tls``. A connection that is made now is up after
        ``open_within_s`` or has failed; by default after ``connect_s`` of the limits.
        """
        if self._connections is None:
            raise LocalMisuse("the listeners do not run")
        if flow.transport != "udp":
            return self._connections.send(data, flow, server_name, self._bind_host(flow), trust, open_within_s)
        listener = self._udp.get(flow.local)
        if listener is None:
            self._connections.report(flow, "no UDP listener there")
            return 0
        error = listener.send(data, flow.remote)
        if error is not None:
            self._connections.report(flow, error.strerror or "not sent")
        return 0

    def hang_up(self, flow: Flow) -> None:
        """Close the connection of a peer that may not talk to us; UDP has none to close."""
        if self._connections is not None and flow.connection:
            self._connections.hang_up(flow.connection)

    @property
    def open_connections(self) -> int:
        """How many stream connections there are, in both directions."""
        return 0 if self._connections is None else len(self._connections)

    def _bind(self, spec: ListenSpec) -> None:
        sock = bound_socket(spec.transport, spec.host, spec.port)
        advertised = spec.advertised
        if not spec.port:
            advertised = advertised._replace(port=sock.getsockname()[1])
        if spec.transport == "udp":
            self._udp[advertised] = UdpListener(sock, advertised, self._answer_stun, self._counters, self._refused)
        else:
            listener = trio.SocketListener(trio.socket.from_stdlib_socket(sock))
            self._streams.append(_StreamListener(listener, spec.transport, advertised))
        self.bound.append((spec.transport, advertised))

    def _bind_host(self, flow: Flow) -> str:
        """The address of this host that a connection of ours leaves from: the one its listener is bound to."""
        for spec in self._specs:
            if spec.advertised.host == flow.local.host and (":" in spec.host) == flow.remote.is_ipv6:
                return spec.host
        return ""
