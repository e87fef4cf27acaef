"""[io] A party of a ``CallRig`` behind a simulated NAT (nat.py): real packets, which the NAT maps, lets in, or drops.

    home = Nat(rig.net_host, **SYMMETRIC)
    worker = HiddenParty(rig, home)
    rig.answered(...)                      # as with any party
    worker.talk(50); worker.heard()        # what came through the NAT

Time is trio's, for the NAT as well: with ``autojump_clock`` an hour passes in no time.
"""

from __future__ import annotations

import socket
from contextlib import suppress

import trio

from support.call_rig import CallRig
from support.media_pair import ports, sdp
from support.nat import Router
from support.rtp import rtp_packet
from tunnel.address import Address

__all__ = ["HiddenParty"]

INSIDE = Address("192.168.77.10", 6000)


class HiddenParty:
    """At ``INSIDE``; its SDP says ``claims``, by default the truth, which helps nobody."""

    def __init__(self, rig: CallRig, router: Router, *, claims: Address = INSIDE) -> None:
        self.rig = rig
        self.router = router
        self.claims = claims
        self.to = Address("", 0)
        self.sequence = 0
        self.ssrc = 0x77
        self._sockets: dict[Address, socket.socket] = {}

    def close(self) -> None:
        for sock in self._sockets.values():
            sock.close()

    @property
    def host(self) -> str:
        """Where its SIP comes from."""
        return self.router.public

    def offer(self, *below: str, proto: str = "RTP/AVP 8 101", kind: str = "audio", version: int = 1) -> bytes:
        medium = "|".join([f"{kind} {self.claims.port} {proto}", *below])
        return sdp(self.claims.host, medium, version=version)

    def hears(self, body: bytes) -> bytes:
        host = body.partition(b"c=IN IP")[2].partition(b"\r\n")[0].split()[1].decode()
        self.to = Address(host, ports(body)[0])
        return body

    def talk(self, packets: int) -> list[bytes]:
        """So many packets of 20 ms at once; returns them."""
        said = [rtp_packet(self.sequence + n, self.ssrc) for n in range(packets)]
        self.sequence += packets
        for packet in said:
            self._send(packet)
        return said

    def heard(self) -> list[bytes]:
        """What came in through the NAT since the last call; other packets were dropped by it."""
        packets = []
        for at, sock in self._sockets.items():
            with suppress(BlockingIOError):
                while True:
                    packet, source = sock.recvfrom(4096)
                    if self.router.inwards(Address(*source[:2]), at, trio.current_time()) == INSIDE:
                        packets.append(packet)
        return packets

    def _send(self, packet: bytes) -> None:
        seen = self.router.outwards(INSIDE, self.to, trio.current_time())
        if seen not in self._sockets:
            sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            sock.bind(seen)
            sock.setblocking(False)
            self._sockets[seen] = sock
        self._sockets[seen].sendto(packet, self.to)
