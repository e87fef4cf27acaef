"""One UDP socket of a face: datagrams in, datagrams out, and never a wait for anybody. [io]"""

from __future__ import annotations

import socket
from collections.abc import Callable

import trio

from tunnel.address import Address
from tunnel.counters import Counters
from tunnel.errors import BadPacket
from tunnel.sip.flow import Flow
from tunnel.sip.framing import DatagramKind, classify_datagram
from tunnel.sip.stun import answer_binding_untrusted

__all__ = ["UdpListener"]

# Numbers of ours.
DATAGRAM_BYTES = 65_535
DRAIN_DATAGRAMS = 64  # taken without awaiting; then every other task has its turn
RECEIVE_BUFFER_BYTES = 4 * 1024 * 1024  # a second of a registration storm; the kernel grants what it allows


class UdpListener:
    """A bound socket; ``advertised`` is what stands in our Via for it; ``answer_stun``: see Listeners."""

    def __init__(
        self,
        sock: socket.socket,
        advertised: Address,
        answer_stun: Callable[[Flow], bool] | None,
        counters: Counters,
    ) -> None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
        self.advertised = advertised
        self._sock = sock
        self._answer_stun = answer_stun
        self._counters = counters

    async def run(self, deliver: Callable[[bytes, Flow], None]) -> None:
        """Receive until cancelled; every SIP message goes to ``deliver``."""
        while True:
            await trio.lowlevel.wait_readable(self._sock)
            for _ in range(DRAIN_DATAGRAMS):
                try:
                    data, source = self._sock.recvfrom(DATAGRAM_BYTES)
                except BlockingIOError:
                    break
                except OSError:  # an ICMP error about something sent earlier; the next datagram is behind it
                    self._counters.bump("sip.udp.receive_errors")
                    continue
                self._receive(data, Address(source[0], source[1]), deliver)

    def send(self, data: bytes, remote: Address) -> OSError | None:
        """Send at once; returns the error of a destination that cannot be reached from here.

        A full socket buffer drops the datagram as a network would: the transaction repairs it.
        """
        try:
            self._sock.sendto(data, remote)
        except BlockingIOError:
            self._counters.bump("sip.udp.send_dropped")
        except ConnectionRefusedError:  # the echo of an earlier datagram to whomever
            self._counters.bump("sip.udp.send_errors")
        except OSError as error:
            self._counters.bump("sip.udp.send_errors")
            return error
        return None

    def close(self) -> None:
        self._sock.close()

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
