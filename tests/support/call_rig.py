"""[io] Both ends of a call's media with real pumps and sockets, joined without a link: SDP in, RTP through.

    rig = CallRig(nursery); await rig.start()
    phone, trunk = rig.phone(), rig.trunk()
    call = rig.call()
    trunk.hears(call.inside(phone.offer(), Carriage.OPENING, ROOT))   # what left the server
    phone.hears(call.outside(trunk.offer()))
    phone.talk(50); trunk.talk(50)

Each process has loopback addresses of its own, so that several test runs on one host do not meet.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field

import trio

from support.media_pair import ports, sdp
from support.rtp import rtp_packet
from tunnel.address import Address
from tunnel.counters import Counters
from tunnel.link.frames import Sinks, dispatch_untrusted
from tunnel.media.body import SipBody
from tunnel.media.channels import AGENT_CHANNELS, SERVER_CHANNELS, ChannelSpace
from tunnel.media.exchange import Carriage
from tunnel.media.lease import PortLedger
from tunnel.media.offer_answer import ROOT, CallMedia
from tunnel.media.pump import FaceAddress, Pump
from tunnel.media.streams import FaceRules

__all__ = ["Call", "CallRig", "End", "Party", "eventually"]

_NET = f"127.{os.getpid() % 250 + 1}"


async def eventually(condition: Callable[[], object], within_s: float = 3.0) -> None:
    """Return as soon as ``condition`` holds."""
    with trio.fail_after(within_s):
        while not condition():  # noqa: ASYNC110 - what is waited for happens in the kernel
            await trio.sleep(0.002)


class _Wire:
    """One pump's outlet, and the other one's sinks; ``passes`` may lose packets, ``seen`` counts them."""

    def __init__(self) -> None:
        self.sinks: Sinks | None = None
        self.seen = 0
        self.is_up = True

    def send_media(self, frames: bytes, packets: int, now: float) -> None:
        assert self.sinks is not None
        self.seen += packets
        if self.is_up:
            dispatch_untrusted(frames, self.sinks)

    def flush(self) -> None:
        pass

    def dropped(self, channel: int) -> int:
        return 0


class End:
    """One end: a face at ``host``; ``near`` is what addresses its parties may use."""

    def __init__(self, host: str, channels: range, near: Iterable[str], *, outside: bool, first_port: int) -> None:
        self.host = host
        prefixes = tuple(near)
        self.counters = Counters()
        self.wire = _Wire()
        self.sinks = Sinks()
        self.ledger = PortLedger(first_port, first_port + 199)
        self.pump = Pump(
            (FaceAddress(host, host),),
            self.ledger,
            self.wire,
            self.sinks,
            self.counters,
            asymmetric=not outside,
            may_speak=lambda ip: not outside and ip.startswith(prefixes),
            shares_host=not outside or ":" in host,  # loopback has but one IPv6 address
        )
        self.channels = ChannelSpace(channels)
        self.trunks: set[str] = set()
        v4, v6 = (None, host) if ":" in host else (host, None)
        self.rules = FaceRules(
            v4,
            v6,
            v4 is None,
            lambda ip: ip.startswith(prefixes),
            lambda ip: not outside or ip in self.trunks,
            lambda ip: ip in self.trunks,
        )


class Party:
    """A user agent at ``host`` with sockets for RTP and RTCP; ``to`` is where the other side's SDP sends it."""

    def __init__(self, host: str, port: int = 0) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        while True:
            self.rtp, self.rtcp = socket.socket(family, socket.SOCK_DGRAM), socket.socket(family, socket.SOCK_DGRAM)
            self.rtp.bind((host, port))
            self.address = Address(*self.rtp.getsockname()[:2])
            with suppress(OSError):
                self.rtcp.bind((host, self.address.port + 1))
                break
            self.close()
        for each in (self.rtp, self.rtcp):
            each.setblocking(False)
        self.host = host
        self.to = Address(host, 9)
        self.sequence = 0

    def close(self) -> None:
        self.rtp.close()
        self.rtcp.close()

    def offer(self, *below: str, proto: str = "RTP/AVP 8 101", kind: str = "audio", version: int = 1) -> bytes:
        """An offer or answer of one stream at this party's port, with lines below its m-line."""
        medium = "|".join([f"{kind} {self.address.port} {proto}", *below])
        return sdp(self.host, medium, version=version)

    def hears(self, body: bytes) -> bytes:
        """The other side's SDP as it reached this party."""
        host = body.partition(b"c=IN IP")[2].partition(b"\r\n")[0].split()[1].decode()
        self.to = Address(host, ports(body)[0])
        return body

    def send(self, packet: bytes, to: Address | None = None) -> None:
        self.rtp.sendto(packet, to or self.to)

    def talk(self, packets: int, ssrc: int = 0) -> list[bytes]:
        """So many packets of 20 ms at once; returns them."""
        said = [rtp_packet(self.sequence + n, ssrc or self.address.port) for n in range(packets)]
        self.sequence += packets
        for packet in said:
            self.send(packet)
        return said

    def heard(self) -> list[tuple[bytes, Address]]:
        """What has come to the RTP port so far, each packet with its source."""
        return _drained(self.rtp)

    def heard_rtcp(self) -> list[tuple[bytes, Address]]:
        return _drained(self.rtcp)


def _drained(sock: socket.socket) -> list[tuple[bytes, Address]]:
    packets = []
    with suppress(BlockingIOError):
        while True:
            packet, source = sock.recvfrom(4096)
            packets.append((packet, Address(*source[:2])))
    return packets


@dataclass
class Call:
    """The media of one call at both ends."""

    rig: CallRig
    number: int
    agent: CallMedia = field(init=False)
    server: CallMedia = field(init=False)

    def __post_init__(self) -> None:
        for name in ("agent", "server"):
            end: End = getattr(self.rig, name)
            setattr(self, name, CallMedia(self.number, end.pump, end.channels, end.rules, end.counters))

    def inside(
        self,
        body: bytes,
        carriage: Carriage = Carriage.REPLY,
        fork: bytes = b"b1",
        source: str = "",
        natted: bool = False,
    ) -> bytes:
        """The LAN's party says ``body``; what leaves the server."""
        return self._pass(self.agent, self.server, body, carriage, fork, source or self.rig.lan_host, natted)

    def outside(
        self,
        body: bytes,
        carriage: Carriage = Carriage.REPLY,
        fork: bytes = b"b1",
        source: str = "",
        natted: bool = False,
    ) -> bytes:
        """The internet's party says ``body``; what leaves the agent."""
        return self._pass(self.server, self.agent, body, carriage, fork, source or self.rig.net_host, natted)

    def _pass(
        self, near: CallMedia, far: CallMedia, body: bytes, carriage: Carriage, fork: bytes, source: str, natted: bool
    ) -> bytes:
        now = trio.current_time()
        channels = near.hear(fork, SipBody(body), source, now, carriage, natted)
        return far.speak(fork, SipBody(body), channels, now, carriage)

    def settle(self, fork: bytes = b"b1") -> None:
        for media in (self.agent, self.server):
            media.settle(fork, trio.current_time())

    def close(self, linger_s: float = 0.0) -> None:
        for media in (self.agent, self.server):
            media.close(linger_s, trio.current_time())


class CallRig:
    """An agent and a server; phones at ``lan_host`` and like it, trunks at ``net_host``."""

    def __init__(self, nursery: trio.Nursery, *, ipv6: bool = False) -> None:
        self._nursery = nursery
        agent, server = ("::1", "::1") if ipv6 else (f"{_NET}.1.1", f"{_NET}.2.1")
        self.lan_host, self.net_host = ("::1", "::1") if ipv6 else (f"{_NET}.1.50", f"{_NET}.3.7")
        self.foreign_host = f"{_NET}.9.9"
        lan, net = (("::1",), ("::1",)) if ipv6 else ((f"{_NET}.1.",), (f"{_NET}.2.", f"{_NET}.3."))
        self.agent = End(agent, AGENT_CHANNELS, lan, outside=False, first_port=30000)
        self.server = End(server, SERVER_CHANNELS, net, outside=True, first_port=20000)
        self.agent.wire.sinks, self.server.wire.sinks = self.server.sinks, self.agent.sinks
        self._parties: list[Party] = []
        self._calls = 0

    async def start(self) -> None:
        for end in (self.agent, self.server):
            await self._nursery.start(end.pump.run)

    def close(self) -> None:
        for party in self._parties:
            party.close()

    def party(self, host: str, port: int = 0) -> Party:
        self._parties.append(Party(host, port))
        return self._parties[-1]

    def phone(self) -> Party:
        """A phone on the LAN."""
        return self.party(self.lan_host)

    def trunk(self) -> Party:
        """A party on the internet."""
        return self.party(self.net_host)

    def call(self) -> Call:
        self._calls += 1
        return Call(self, self._calls)

    def answered(self, phone: Party, trunk: Party, *below: str, **how: str) -> Call:
        """A call from the phone to the trunk, with offer and answer exchanged."""
        call = self.call()
        trunk.hears(call.inside(phone.offer(*below, **how), Carriage.OPENING, ROOT))  # type: ignore[arg-type]
        phone.hears(call.outside(trunk.offer(*below, **how)))  # type: ignore[arg-type]
        call.settle()
        return call
