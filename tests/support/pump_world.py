"""[io] A pump between real sockets on loopback and a tunnel that is a list."""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import suppress

import trio

from tunnel.address import Address
from tunnel.counters import Counters
from tunnel.link.frames import MAX_BATCH_BYTES, Sinks, dispatch_untrusted, frame
from tunnel.media.lease import PortLedger
from tunnel.media.plane import Aim, Lease
from tunnel.media.pump import FaceAddress, Pump

__all__ = ["CHANNEL", "ELSEWHERE", "HOST", "Phone", "PumpWorld", "Tunnel"]

HOST = "127.0.0.1"
ELSEWHERE = "127.0.0.2"  # another host, as far as the latch can tell
CHANNEL = 16

PORTS = iter(range(24000, 30000, 40))  # each test has ports of its own: nobody else's late packets


class Tunnel:
    """Takes what the pump sends; ``arrived`` has (channel, packet)."""

    def __init__(self) -> None:
        self.arrived: list[tuple[int, bytes]] = []
        self.batches: list[int] = []
        self.flushed = 0
        self.late: dict[int, int] = {}
        self._news = trio.Event()

    def send_media(self, frames: bytes, packets: int, now: float) -> None:
        class Collector(dict[int, Callable[[bytes], object]]):
            def __missing__(_, channel: int) -> Callable[[bytes], object]:
                return lambda packet: self.arrived.append((channel, packet))

        assert len(frames) <= MAX_BATCH_BYTES
        assert dispatch_untrusted(frames, Collector()) == len(frames)  # type: ignore[arg-type]
        self.batches.append(packets)
        self._news.set()
        self._news = trio.Event()

    def flush(self) -> None:
        self.flushed += 1

    def dropped(self, channel: int) -> int:
        return self.late.get(channel, 0)

    async def wait_for(self, packets: int) -> list[bytes]:
        with trio.fail_after(5):
            while len(self.arrived) < packets:
                await self._news.wait()
        assert len(self.arrived) == packets
        return [packet for _, packet in self.arrived]


class Phone:
    """A UDP socket somewhere."""

    def __init__(self, host: str = HOST, port: int = 0) -> None:
        self.socket = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setblocking(False)
        self.socket.bind((host, port))
        self.address = Address(*self.socket.getsockname()[:2])

    def send(self, packet: bytes, to: Address) -> None:
        self.socket.sendto(packet, to)

    def heard(self) -> list[tuple[bytes, Address]]:
        """What has come so far; loopback delivers at once."""
        packets = []
        with suppress(BlockingIOError):
            while True:
                packet, source = self.socket.recvfrom(4096)
                packets.append((packet, Address(*source[:2])))
        return packets


class PumpWorld:
    def __init__(self, nursery: trio.Nursery, bind: str = HOST, pairs: int = 20, asymmetric: bool = False) -> None:
        self.nursery = nursery
        self.tunnel = Tunnel()
        self.sinks = Sinks()
        self.counters = Counters()
        self.low = next(PORTS)
        self.ledger = PortLedger(self.low, self.low + 2 * pairs - 1)
        faces = (FaceAddress(bind, bind),)
        self.pump = Pump(faces, self.ledger, self.tunnel, self.sinks, self.counters, asymmetric=asymmetric)
        self.phones: list[Phone] = []

    async def start(self) -> None:
        await self.nursery.start(self.pump.run)

    def phone(self, host: str = HOST) -> Phone:
        self.phones.append(Phone(host))
        return self.phones[-1]

    def take(self, channel: int = CHANNEL) -> Lease:
        lease = self.pump.take(1, trio.current_time())
        self.pump.tie(lease.id, channel, trio.current_time())
        return lease

    def aim(
        self,
        lease: Lease,
        rtp: Address | None,
        rtcp: Address | None = None,
        channel: int = CHANNEL,
        sip_source: str = HOST,
        trusted: bool = False,
        mux: bool = False,
    ) -> None:
        target = Aim(rtp, rtcp, mux, sip_source, trusted, True, frozenset({101}))
        self.pump.aim(lease.id, channel, target, trio.current_time())

    def from_tunnel(self, packet: bytes, channel: int = CHANNEL) -> None:
        dispatch_untrusted(frame(channel, packet), self.sinks)

    async def counted(self, name: str, amount: int) -> None:
        with trio.fail_after(5):
            while self.counters[name] < amount:  # noqa: ASYNC110 - counters are plain integers
                await trio.sleep(0.001)
        assert self.counters[name] == amount
