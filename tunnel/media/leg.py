"""[io] One port of a lease: its door, its paths, and the channels tied to it.

A packet from the network::

    path of a confirmed remote ------------------------------------> batch      (drain.py, nothing here is asked)
    path not yet confirmed, door --> latch of each channel in turn --> batch, or dropped and counted
    nobody is aimed yet -----------> ten are kept

A packet from the tunnel goes to the channel's sink: the bound ``send`` of its path, counted; the same with an allowance
while nobody was heard at that address; or a queue of ten while there is no address.
"""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Callable, MutableMapping
from contextlib import suppress
from functools import partial

from tunnel.address import Address
from tunnel.counters import Counters
from tunnel.media.drain import ONE_PACKET, Drain, Receive, Tally
from tunnel.media.hairpin import Once
from tunnel.media.latch import Allowance, Continuity, Drop, Latch, Latched
from tunnel.media.plane import Aim
from tunnel.media.quality import StreamMeter
from tunnel.media.sockets import Stray, mark, open_path, receive_stray
from tunnel.media.tie import EARLY_PACKETS, Path, Tie

__all__ = ["Leg", "Sink"]

Sink = Callable[[bytes], object]


class Leg:
    """``asymmetric``: see ``Tie.speaks_to``. ``may_speak``: the hosts that any party's media may come from, besides its own.
    ``is_lease``: whether an address is that of a lease of our own face.
    """

    def __init__(
        self,
        door: socket.socket,
        bind: str,
        drain: Drain,
        sinks: MutableMapping[int, Sink],
        counters: Counters,
        clock: Callable[[], float],
        asymmetric: bool,
        may_speak: Callable[[str], bool],
        is_lease: Callable[[Address], bool],
    ) -> None:
        self.ties: dict[int, Tie] = {}  # in the order in which they were aimed
        self.sibling: Leg | None = None  # the other port of the pair; its channels are ours, one off
        self.port: int = door.getsockname()[1]
        self._door = door
        self._bind = bind
        self._drain = drain
        self._sinks = sinks
        self._counters = counters
        self._clock = clock
        self._asymmetric = asymmetric
        self._may_speak = may_speak
        self._is_lease = is_lease
        self._paths: dict[Address, Path] = {}
        self._early: deque[Stray] = deque(maxlen=EARLY_PACKETS)
        self._strays: list[Stray] = []
        drain.watch(door, self._answer_door, b"", Tally())

    # --- what the call asks for --------------------------------------------------------------------------------------

    def tie(self, channel: int) -> None:
        """The channel's packets leave by this port, and the other way round, as soon as it is aimed."""
        tie = self.ties[channel] = Tie(channel)
        self._choose_sink(tie)

    def aim(
        self,
        channel: int,
        target: Address | None,
        continuity: Continuity,
        aim: Aim,
        now: float,
    ) -> None:
        """The channel's party is at ``target``, or unknown but for where its SIP comes from; whoever is aimed last wins."""
        tie = self.ties.pop(channel)
        self.ties[channel] = tie
        before, tie.aim = tie.aim, aim
        if tie.latch is None:
            tie.latch = Latch(target, aim.sip_source, continuity, self._may_speak)
            for host in tie.hosts:
                tie.latch.vouch(host)
        else:
            if target != tie.latch.target:
                tie.allowance = Allowance()
            tie.latch.aim(target, aim.sip_source, continuity, now)
            if before is not None and before.is_held and not aim.is_held:
                tie.latch.resume(tie.heard)
        self._arrange(tie)
        early = list(self._early)
        self._early.clear()
        for source, packet in early:
            self._judge(source, packet, now)

    def rest(self, channel: int) -> None:
        """The channel stays tied, and its party does not use this port (multiplexed RTCP, or no RTCP at all)."""
        tie = self.ties[channel]
        if tie.latch is not None:
            tie.latch = tie.hears = tie.speaks = None
            self._choose_sink(tie)
            self._settle()

    def untie(self, channel: int) -> None:
        """The channel's packets are dropped from now on."""
        if self.ties.pop(channel, None) is not None:
            self._sinks.pop(channel, None)
            self._settle()

    def retire(self) -> None:
        """The call is over: whatever still comes is counted and not sent."""
        for channel in list(self.ties):
            self.untie(channel)
        self._early.clear()
        self._drain.watch(self._door, self._count_late, b"", Tally())

    def close(self) -> None:
        """Give the port back to the system."""
        self._drain.forget(self._door)
        self._door.close()

    def vouch(self, channel: int, host: str) -> None:
        """The channel's party was heard at ``host``, by the other port of the pair."""
        tie = self.ties.get(channel)
        if tie is None or host in tie.hosts:
            return
        tie.hosts.add(host)
        if tie.latch is not None:
            tie.latch.vouch(host)
            self._choose_sink(tie)

    def open_up(self, channel: int, packet: bytes) -> bool:
        """Send a packet of our own to a party that was not heard yet; False where there is nobody to send it to."""
        tie = self.ties[channel]
        if tie.speaks is None or tie.is_confirmed:
            return False
        self._counters.bump("media.openings_sent")
        self._send_own(tie.speaks, packet)
        return True

    def keep_open(self, tie: Tie) -> None:
        """Send an empty datagram, for the NAT on the way."""
        if tie.speaks is not None:
            self._counters.bump("media.keepalives_sent")
            self._send_own(tie.speaks, b"")

    def _send_own(self, path: Path, packet: bytes) -> None:
        try:
            path.sock.send(packet)
        except OSError:
            self._counters.bump("media.socket_errors")

    def measure(self, tie: Tie, heard: StreamMeter | None, sent: StreamMeter | None) -> None:
        """Let the meters see each packet of the tie from now on, or no longer."""
        tie.heard_meter, tie.sent_meter = heard, sent
        self._choose_sink(tie)
        self._settle()

    # --- packets that need thought -----------------------------------------------------------------------------------

    def _answer_door(self, size: int) -> bytes:
        source, packet = receive_stray(self._door)
        self._judge(source, packet, self._drain.now)
        raise BlockingIOError

    def _answer_path(self, path: Path, size: int) -> bytes:
        self._judge(path.remote, path.sock.recv(size), self._drain.now)
        raise BlockingIOError

    def _count_late(self, size: int) -> bytes:
        self._door.recv(size)
        self._counters.bump("media.dropped.late")
        raise BlockingIOError

    def _judge(self, source: Address, packet: bytes, now: float) -> None:
        """Give a packet to the channel whose party sent it: an exact match first, then whoever was aimed last."""
        dropped: Drop | None = None
        unaimed = not self.ties
        for tie in sorted(reversed(self.ties.values()), key=lambda tie: not tie.is_at(source)):
            if tie.latch is None:
                unaimed = True
                continue
            decision = tie.latch.receive(source, packet, tie.heard, now)
            if isinstance(decision, Drop):
                dropped = dropped or decision
                continue
            tie.heard.add(packet)
            self._drain.pass_on(tie.header, packet)
            if isinstance(decision, Latched):
                self._confirm(tie, decision.remote)
            return
        if unaimed:
            if len(self._early) == EARLY_PACKETS:
                self._counters.bump("media.dropped.early")
            self._early.append((source, packet))
        elif dropped is not None:
            self._counters.bump(f"media.dropped.{dropped.reason.value}")

    def _confirm(self, tie: Tie, remote: Address) -> None:
        self._counters.bump("media.latched")
        tie.hosts.add(remote.host)
        self._arrange(tie)
        if self.sibling is not None:
            self.sibling.vouch(tie.channel ^ 1, remote.host)

    # --- paths -------------------------------------------------------------------------------------------------------

    def _arrange(self, tie: Tie) -> None:
        """Bring the tie's paths in line with its latch."""
        latch = tie.latch
        assert latch is not None
        tie.hears = self._reach(latch.remote or latch.target)
        tie.speaks = self._reach(tie.speaks_to(self._asymmetric))
        if tie.speaks is not None and tie.aim is not None:
            mark(tie.speaks.sock, tie.aim.kind)
        self._choose_sink(tie)
        self._settle()
        while self._strays:
            source, packet = self._strays.pop(0)
            self._judge(source, packet, self._drain.now)

    def _reach(self, remote: Address | None) -> Path | None:
        """The path to ``remote``, made if there is none; None if there can be none."""
        if remote is None or remote == (self._bind, self.port):
            return None
        path = self._paths.get(remote)
        if path is None:
            try:
                sock, strays = open_path(self._bind, self.port, remote)
            except OSError:
                self._counters.bump("media.unreachable")
                return None
            path = self._paths[remote] = Path(sock, remote, self._is_lease(remote))
            self._strays += strays
        return path

    def _settle(self) -> None:
        """Close the paths that nobody uses, and let the others be drained for whoever hears by them."""
        for path in list(self._paths.values()):
            users = [tie for tie in self.ties.values() if path in (tie.hears, tie.speaks)]
            if not users:
                self._drain.forget(path.sock)
                path.sock.close()
                del self._paths[path.remote]
                continue
            last = users[-1]
            if last.hears is path and last.is_confirmed:
                receive = _measured(path.sock.recv, last.heard_meter, self._clock)
                self._drain.watch(path.sock, receive, last.header, last.heard)
            else:
                self._drain.watch(path.sock, partial(self._answer_path, path), b"", last.heard)

    # --- sinks -------------------------------------------------------------------------------------------------------

    def _choose_sink(self, tie: Tie) -> None:
        path = tie.speaks
        if path is None:
            self._sinks[tie.channel] = partial(self._keep, tie.waiting)
            return
        sink = _counted(path.sock.send, tie, self._clock)
        if path.is_hairpin:
            sink = partial(self._send_once, Once(), sink)
        if not ((tie.aim is not None and tie.aim.trusted) or tie.is_confirmed or path.remote.host in tie.hosts):
            sink = partial(self._send_within, tie.allowance, sink)
        self._sinks[tie.channel] = sink
        while tie.waiting:
            with suppress(OSError):
                sink(tie.waiting.popleft())

    def _keep(self, waiting: deque[bytes], packet: bytes) -> None:
        if len(waiting) == EARLY_PACKETS:
            self._counters.bump("media.dropped.early")
        waiting.append(packet)

    def _send_once(self, once: Once, sink: Sink, packet: bytes) -> None:
        if once.admits(packet, self._clock()):
            sink(packet)
        else:
            self._counters.bump("media.dropped.loop")

    def _send_within(self, allowance: Allowance, sink: Sink, packet: bytes) -> None:
        if allowance.admits(len(packet)):
            sink(packet)
        else:
            self._counters.bump("media.dropped.unconfirmed")


def _counted(send: Sink, tie: Tie, clock: Callable[[], float]) -> Sink:
    """Sends and counts. Raises OSError like ``send``: the loop that hands packets out counts those."""
    sent = tie.sent

    def sink(packet: bytes) -> None:
        try:
            send(packet)
        except ConnectionRefusedError:  # ICMP about an earlier packet: the kernel tells it here instead of sending
            send(packet)
        sent.count += ONE_PACKET + len(packet)

    return sink if tie.sent_meter is None else _measured_sink(sink, tie.sent_meter, clock)


def _measured_sink(sink: Sink, meter: StreamMeter, clock: Callable[[], float]) -> Sink:
    def measured(packet: bytes) -> None:
        meter.receive_untrusted(packet, clock())
        sink(packet)

    return measured


def _measured(receive: Receive, meter: StreamMeter | None, clock: Callable[[], float]) -> Receive:
    """``receive`` itself while nobody measures."""
    if meter is None:
        return receive

    def measured(size: int) -> bytes:
        packet = receive(size)
        meter.receive_untrusted(packet, clock())
        return packet

    return measured
