"""[io] The direct carrier: one TCP connection, tuned so that the kernel never holds old sound.

``SO_SNDBUF`` and ``SO_RCVBUF`` are left alone, as setting them would end the kernel's own tuning: what is queued is
bounded by ``room``, and whatever arrives is read at once.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import os
import socket
import sys
from types import TracebackType

import structlog
import trio

from tunnel.address import Address
from tunnel.carriers.base import MAX_ROOM_BYTES, MIN_ROOM_BYTES
from tunnel.errors import CarrierLost

__all__ = ["DirectCarrier", "connect_direct", "why_not_connected"]

# --- numbers of ours -----------------------------------------------------------------------------------------------
_UNSENT_S = 0.020  # how long a byte may wait in the kernel: a quarter of what audio has
_LOW_WATER_BYTES = MIN_ROOM_BYTES  # the kernel says writable below half of it, and then ``room`` is never 0
_USER_TIMEOUT_MS = 5000  # unacknowledged for so long: the kernel itself gives up
_TRAFFIC_CLASS = 0x60  # CS3, signalling that carries sound as well

# --- Linux, <linux/sockios.h> and <linux/tcp.h> --------------------------------------------------------------------
_SIOCOUTQNSD = 0x894B  # bytes in the send queue that were not yet sent
_TCP_INFO_BYTES = 112
_PACING_RATE_AT = 104  # u64, bytes in a second

_log = structlog.get_logger()


async def connect_direct(address: Address, timeout_s: float) -> DirectCarrier:
    """Connect to ``address``, by name or number, whichever of its addresses answers first. Raises CarrierLost."""
    with _Translated(f"cannot connect to {address}"):
        try:
            with trio.fail_after(timeout_s):
                stream = await trio.open_tcp_stream(address.host, address.port)
        except trio.TooSlowError:
            raise CarrierLost(f"cannot connect to {address}: no answer within {timeout_s:g} s") from None
        except OSError as error:
            raise CarrierLost(f"cannot connect to {address}: {why_not_connected(error)}") from None
    return DirectCarrier.adopt(stream, f"direct {address}")


def why_not_connected(error: OSError) -> str:
    """What the kernel said to each attempt of ``trio.open_tcp_stream``, whose own text only repeats the address."""
    causes = error.__cause__.exceptions if isinstance(error.__cause__, BaseExceptionGroup) else [error]
    return "; ".join(dict.fromkeys(_in_words(cause) for cause in causes))


def _in_words(error: BaseException) -> str:
    number = getattr(error, "errno", None)
    return os.strerror(number) if isinstance(number, int) and number > 0 else str(error)


class DirectCarrier:
    """A connected TCP socket."""

    def __init__(self, sock: socket.socket, name: str) -> None:
        sock.setblocking(False)
        self._socket = sock
        self._name = name
        self._unsent = bytearray(4)
        self._translated = _Translated(name)
        with self._translated:
            _tune(sock)

    @classmethod
    def adopt(cls, stream: trio.SocketStream, name: str = "") -> DirectCarrier:
        """Take over the socket of an accepted or connected ``stream``, which is of no use afterwards.

        ``name`` is the peer's address unless given. Raises CarrierLost when the peer is gone already.
        """
        sock = socket.socket(fileno=stream.socket.detach())
        try:
            if not name:
                with _Translated("accepted connection"):
                    host, port = sock.getpeername()[:2]
                name = f"direct {Address(host, port)}"
            return cls(sock, name)
        except CarrierLost:
            sock.close()
            raise

    @property
    def name(self) -> str:
        return self._name

    def room(self) -> int:
        """What goes out in 20 ms at the kernel's own pacing rate, less what it has not sent yet.

        So a fast line gets full records, and a slow one is not buried under sound that will be too old to play.
        """
        with self._translated:
            fcntl.ioctl(self._socket, _SIOCOUTQNSD, self._unsent)
            unsent = int.from_bytes(self._unsent, sys.byteorder)
            info = self._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_BYTES)
        rate = int.from_bytes(info[_PACING_RATE_AT:], sys.byteorder)
        limit = max(MIN_ROOM_BYTES, min(MAX_ROOM_BYTES, int(rate * _UNSENT_S)))
        if unsent > limit // 2:
            return 0
        return max(MIN_ROOM_BYTES, limit - unsent)

    def try_send(self, data: bytes | memoryview) -> int:
        with self._translated:
            try:
                return self._socket.send(data)
            except BlockingIOError:
                return 0

    def try_receive(self, max_bytes: int) -> bytes | None:
        with self._translated:
            try:
                return self._socket.recv(max_bytes)
            except BlockingIOError:
                return None

    async def wait_readable(self) -> None:
        with self._translated:
            await trio.lowlevel.wait_readable(self._socket)

    async def wait_writable(self) -> None:
        with self._translated:
            await trio.lowlevel.wait_writable(self._socket)

    def close(self) -> None:
        if self._socket.fileno() != -1:
            trio.lowlevel.notify_closing(self._socket)
            self._socket.close()


def _tune(sock: socket.socket) -> None:
    """Options of a socket that carries sound. Congestion control matters most: cubic collapses at 1 to 2 % loss."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _LOW_WATER_BYTES)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _USER_TIMEOUT_MS)
    with contextlib.suppress(OSError):
        if sock.family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_TCLASS, _TRAFFIC_CLASS)
        else:
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, _TRAFFIC_CLASS)
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"bbr")
    except OSError as error:
        _say_bbr_refused(str(error))


@functools.cache
def _say_bbr_refused(reason: str) -> None:
    """Once in a process: it is a matter of the host, not of the connection."""
    _log.warning("link.bbr_refused", reason=reason, hint="modprobe tcp_bbr on both ends; without it loss hurts sound")


class _Translated:
    """Says in our words what the kernel said; a class because it is entered for each batch of packets."""

    __slots__ = ("_what",)

    def __init__(self, what: str) -> None:
        self._what = what

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if isinstance(error, OSError):
            raise CarrierLost(f"{self._what}: {error.strerror or error}") from error
        if isinstance(error, (trio.ClosedResourceError, ValueError)):  # ValueError: a closed socket has no number
            raise CarrierLost(f"{self._what}: closed") from error
