"""One UDP socket of a face: datagrams in, datagrams out, and never a wait for anybody. [io]"""

from __future__ import annotations

import errno
import socket
import sys
from collections.abc import Callable
from contextlib import suppress

import trio

from tunnel.address import Address
from tunnel.counters import Counters
from tunnel.errors import BadPacket
from tunnel.sip.flow import Flow
from tunnel.sip.framing import DatagramKind, classify_datagram
from tunnel.sip.stun import answer_binding_untrusted

__all__ = ["IP_RECVERR", "UdpListener"]

IP_RECVERR, IPV6_RECVERR = 11, 25  # linux/in.h and in6.h; the socket module does not name them

# Numbers of ours.
DATAGRAM_BYTES = 65_535
DRAIN_DATAGRAMS = 64  # taken without awaiting; then every other task has its turn
SEND_ATTEMPTS = 3  # the first ones may only bring the news of other datagrams
RECEIVE_BUFFER_BYTES = 4 * 1024 * 1024  # a second of a registration storm; the kernel grants what it allows


class UdpListener:
    """A bound socket; ``advertised`` is what stands in our Via for it; ``answer_stun`` and ``refused``: see Listeners.

    Where the kernel can (Linux), it keeps what ICMP says of datagrams that nobody listens for in an error queue.
    """

    def __init__(
        self,
        sock: socket.socket,
        advertised: Address,
        answer_stun: Callable[[Flow], bool] | None,
        counters: Counters,
        refused: Callable[[bytes], None] | None = None,
    ) -> None:
        if refused is not None:
            with suppress(OSError):
                ipv6 = sock.family == socket.AF_INET6
                level, option = (socket.IPPROTO_IPV6, IPV6_RECVERR) if ipv6 else (socket.IPPROTO_IP, IP_RECVERR)
                sock.setsockopt(level, option, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
        self.advertised = advertised
        self._sock = sock
        self._answer_stun = answer_stun
        self._counters = counters
        self._refused = refused

    async def run(self, deliver: Callable[[bytes, Flow], None]) -> None:
        """Receive until cancelled; every SIP message goes to ``deliver``."""
        while True:
            await trio.lowlevel.wait_readable(self._sock)
            for _ in range(DRAIN_DATAGRAMS):
                try:
                    data, source = self._sock.recvfrom(DATAGRAM_BYTES)
                except BlockingIOError:
                    self._take_refusals()  # a queue of errors that is not emptied would wake us for ever
                    break
                except OSError:  # an ICMP error about something sent earlier; the next datagram is behind it
                    self._counters.bump("sip.udp.receive_errors")
                    continue
                self._receive(data, Address(source[0], source[1]), deliver)

    def send(self, data: bytes, remote: Address) -> OSError | None:
        """Send at once; returns the error of a destination that cannot be reached from here.

        A full socket buffer drops the datagram as a network would: the transaction repairs it.
        """
        trouble: OSError | None = None
        for _ in range(SEND_ATTEMPTS):
            try:
                self._sock.sendto(data, remote)
            except BlockingIOError:
                self._counters.bump("sip.udp.send_dropped")
            except OSError as error:  # of this datagram, or the echo of an earlier one to whomever, told but once
                trouble = error
                continue
            return None
        self._counters.bump("sip.udp.send_errors")
        return None if isinstance(trouble, ConnectionRefusedError) else trouble

    def close(self) -> None:
        self._sock.close()

    def _take_refusals(self) -> None:
        """Tell of each datagram of ours that came to a port where nobody listens; RFC 3261 section 18.4 wants that."""
        if self._refused is None:
            return
        for _ in range(DRAIN_DATAGRAMS):
            try:
                quoted, ancillary, *_ = self._sock.recvmsg(DATAGRAM_BYTES, 512, socket.MSG_ERRQUEUE)
            except OSError:  # no more of them
                return
            # struct sock_extended_err begins with the errno. A host or network may come back; a closed port says no.
            if any(int.from_bytes(told[:4], sys.byteorder) == errno.ECONNREFUSED for _, _, told in ancillary):
                self._refused(quoted)

    def _receive(self, data: bytes, source: Address, deliver: Callable[[bytes, Flow], None]) -> None:
        kind = classify_datagram(data)
        flow = Flow("udp", self.advertised, source)
        if kind is DatagramKind.SIP:
            deliver(data, flow)
        elif kind is DatagramKind.STUN and self._answer_stun is not None and self._answer_stun(flow):
            self._answer(data, source)
        else:
            self._counters.bump(f"sip.udp.{kind.value}")

    def _answer(self, data: bytes, source: Address) -> None:
        try:
            answer = answer_binding_untrusted(data, source)
        except BadPacket:
            self._counters.bump("sip.udp.junk")
            return
        self._counters.bump("sip.udp.stun_answered")
        self.send(answer, source)
