"""[io] The media plane of one face towards one session: leases, and the task that moves their packets.

::

    network --> sockets --Drain--> one batch of frames --> outlet.send_media, flush --> ==wall==
    ==wall==> session.receive_untrusted --> sinks[channel](packet) --> socket.send --> network

The pump never awaits a write: what the tunnel cannot take, the outlet drops by its age.
"""

from __future__ import annotations

import ipaddress
import itertools
import secrets
from collections.abc import Callable, Iterator, MutableMapping
from dataclasses import dataclass, replace
from typing import Protocol

import trio

from tunnel.address import Address
from tunnel.counters import Counters
from tunnel.errors import LocalMisuse
from tunnel.link.frames import MAX_BATCH_BYTES
from tunnel.media.drain import Drain
from tunnel.media.latch import Continuity
from tunnel.media.lease import PortLedger
from tunnel.media.leg import Leg, Sink
from tunnel.media.nat_keeper import NatKeeper
from tunnel.media.opening import MOST_OPENINGS, opening
from tunnel.media.pace import Pace
from tunnel.media.plane import Aim, Lease, LedgerFull
from tunnel.media.sockets import open_doors
from tunnel.media.survey import StreamStats, Survey
from tunnel.media.tie import Tie

__all__ = ["FaceAddress", "MediaOutlet", "Pump"]

# --- numbers of ours -----------------------------------------------------------------------------------------------
_MAX_BATCHES = 20  # per wake: 5 ms of work, then the other tasks have their turn
_MAX_BINDS = 32  # pairs tried for one lease; so many taken in a row means that the range is somebody else's
_TEND_S = 0.5


class MediaOutlet(Protocol):
    """Where packets from the network go; no call may block or raise."""

    def send_media(self, frames: bytes, packets: int, now: float) -> object:
        """A batch of whole frames, at most MAX_BATCH_BYTES, that arrived at ``now``."""
        ...

    def flush(self) -> object:
        """Send what waits as far as it goes."""
        ...

    def dropped(self, channel: int) -> int:
        """How many packets of the stream were dropped for being late, RTCP included."""
        ...


@dataclass(frozen=True, slots=True)
class FaceAddress:
    """One address of a face: where its media sockets are bound, and what stands for that in SDP."""

    bind: str
    advertised: str


@dataclass(slots=True)
class _Held:
    """A lease with its sockets; ``until`` is when it is to be closed, None while the call has it."""

    lease: Lease
    call: int
    pair: int
    rtp: Leg
    rtcp: Leg
    until: float | None = None
    openings: int = 0


def _nobody(host: str) -> bool:
    return False


class Pump:
    """Implements MediaPlane; ``run`` moves the packets, and closes every socket when it ends.

    ``faces``: one address, or one IPv4 and one IPv6. ``ledger`` may be shared by the pumps of a face. ``sinks`` is the
    table by which the session hands out media packets. ``asymmetric``, ``may_speak``: see ``Leg``. ``shares_host``:
    whether other programs at our own addresses may be parties (a PBX beside the agent). ``clock`` is that of ``now``.
    """

    def __init__(
        self,
        faces: tuple[FaceAddress, ...],
        ledger: PortLedger,
        outlet: MediaOutlet,
        sinks: MutableMapping[int, Sink],
        counters: Counters,
        *,
        asymmetric: bool = False,
        may_speak: Callable[[str], bool] = _nobody,
        shares_host: bool = True,
        clock: Callable[[], float] = trio.current_time,
    ) -> None:
        self._faces = {":" in face.bind: face for face in faces}
        self._ledger = ledger
        self._outlet = outlet
        self._sinks = sinks
        self._counters = counters
        self._asymmetric = asymmetric
        self._may_speak = may_speak
        self._shares_host = shares_host
        self._at_home = {face.advertised: _within(face.bind) for face in faces}
        self._at_home |= {host: host for host in self._at_home.values()}
        self._clock = clock
        self._drain = Drain(counters)
        self._survey = Survey()
        self._nat_keeper = NatKeeper()
        self._ids = itertools.count(1)
        self._held: dict[int, _Held] = {}
        self._taken = trio.Event()  # a lease: until then there is nothing to tend
        self._closed = False

    # --- MediaPlane --------------------------------------------------------------------------------------------------

    def take(self, call: int, now: float, ipv6: bool = False) -> Lease:
        """See MediaPlane. Also raises LedgerFull when the system gives no more sockets."""
        if self._closed:
            raise LedgerFull("the media sockets of this session are closed")
        face = self._faces.get(ipv6) or next(iter(self._faces.values()))
        for _ in range(_MAX_BINDS):
            pair = self._ledger.take(call, now)
            try:
                doors = open_doors(face.bind, pair)
            except OSError as error:
                self._ledger.bind_failed(pair, now)
                self._counters.bump("media.no_socket")
                raise LedgerFull(f"no media socket at {face.bind} port {pair}: {error}") from error
            if doors is None:
                self._ledger.bind_failed(pair, now)
                self._counters.bump("media.port_taken")
                continue
            rtp, rtcp = (
                Leg(
                    door,
                    face.bind,
                    self._drain,
                    self._sinks,
                    self._counters,
                    self._clock,
                    self._asymmetric,
                    self._may_speak,
                    self._is_lease,
                )
                for door in doors
            )
            rtp.sibling, rtcp.sibling = rtcp, rtp
            lease = Lease(next(self._ids), Address(face.advertised, pair), Address(face.advertised, pair + 1))
            self._held[lease.id] = _Held(lease, call, pair, rtp, rtcp)
            self._taken.set()
            return lease
        raise LedgerFull(f"{_MAX_BINDS} media port pairs in a row are taken by somebody else")

    def tie(self, lease: int, channel: int, now: float) -> None:
        held = self._find(lease)
        if held is None:
            return
        held.rtp.tie(channel)
        held.rtcp.tie(channel + 1)

    def aim(self, lease: int, channel: int, target: Aim, now: float) -> None:
        held = self._find(lease)
        if held is None:
            return
        if channel not in held.rtp.ties:
            raise LocalMisuse(f"channel {channel} is not tied to lease {lease}")
        self._drain.now = now
        target = replace(target, rtp=self._reachable(held, target.rtp), rtcp=self._reachable(held, target.rtcp))
        continuity = Continuity.RTP if target.rtp_like else Continuity.NONE
        held.rtp.aim(channel, target.rtp, continuity, target, now)
        if target.mux or not target.rtp_like:
            held.rtcp.rest(channel + 1)
        else:
            held.rtcp.aim(channel + 1, target.rtcp, Continuity.RTCP, target, now)
        if self._drain.has_parts:
            trio.lowlevel.current_trio_token().run_sync_soon(self._send_kept)
        if target.waits_for_rtp:
            self._open_up(held, channel, target)

    def untie(self, lease: int, channel: int, now: float) -> None:
        held = self._find(lease)
        if held is None:
            return
        held.rtp.untie(channel)
        held.rtcp.untie(channel + 1)

    def active_at(self, lease: int) -> float | None:
        held = self._find(lease)
        return None if held is None else self._survey.active_at(tie for _, tie in _ties(held))

    def release(self, lease: int, linger_s: float, now: float) -> None:
        held = self._find(lease)
        if held is None:
            return
        held.rtp.retire()
        held.rtcp.retire()
        held.until = now + linger_s

    # --- for status and the tests ------------------------------------------------------------------------------------

    @property
    def leases(self) -> int:
        """How many leases are with calls; those that linger apart."""
        return sum(held.until is None for held in self._held.values())

    @property
    def sockets(self) -> int:
        """How many sockets are open."""
        return self._drain.sockets

    def stats(self) -> list[StreamStats]:
        """Each channel at each port of the leases that calls have."""
        return [
            self._survey.describe(held.lease.id, held.call, leg, tie, self._outlet.dropped(tie.channel))
            for held in self._held.values()
            for leg, tie in _ties(held)
        ]

    # --- running -----------------------------------------------------------------------------------------------------

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Move packets until cancelled; then every socket is closed and every lease is given back."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._tend)
                task_status.started()
                await self._move()
        finally:
            self.close()

    async def _move(self) -> None:
        pace = Pace(self._clock())
        tick_s = 0.0
        while True:
            if tick_s:
                await trio.sleep(tick_s)
            else:
                await trio.lowlevel.wait_readable(self._drain.fileno())
            now = self._clock()
            tick_s = pace.observe(self._empty(now), now)

    async def _tend(self) -> None:
        while True:
            if not self._held:
                self._taken = trio.Event()
                await self._taken.wait()
            await trio.sleep(_TEND_S)
            self.tend(self._clock())

    def tend(self, now: float) -> None:
        """Close what has lingered long enough, and survey the rest."""
        for lease, held in list(self._held.items()):
            if held.until is not None and held.until <= now:
                self._close(lease, now)
        self._survey.look((each for held in self._held.values() for each in _ties(held)), now)
        self._nat_keeper.look((each for held in self._held.values() for each in _ties(held)), now)

    def close(self) -> None:
        """Close every socket and give every lease back; without effect the second time."""
        if self._closed:
            return
        now = self._clock()
        for lease, held in list(self._held.items()):
            held.rtp.retire()
            held.rtcp.retire()
            self._close(lease, now)
        self._drain.close()
        self._closed = True

    # --- parties that are ourselves, and parties that wait --------------------------------------------------------------

    def _is_lease(self, remote: Address) -> bool:
        return remote.host in self._at_home and self._ledger.is_held(remote.port)

    def _reachable(self, held: _Held, remote: Address | None) -> Address | None:
        """``remote`` as our sockets reach it, None if nothing is to be sent there (L6): of our own addresses only
        leases are (a call came round by a switch of this side), and programs beside us where there may be any."""
        if remote is None or remote.host not in self._at_home:
            return remote
        here = Address(self._at_home[remote.host], remote.port)
        is_other_lease = self._is_lease(here) and not held.pair <= remote.port <= held.pair + 1
        if is_other_lease or (self._shares_host and not self._ledger.covers(remote.port)):
            return here
        self._counters.bump("media.own_address")
        return None

    def _open_up(self, held: _Held, channel: int, target: Aim) -> None:
        for leg, of_leg, packet in zip(
            (held.rtp, held.rtcp), (channel, channel + 1), opening(target, secrets.token_bytes), strict=True
        ):
            if packet is not None and held.openings < MOST_OPENINGS:
                held.openings += leg.open_up(of_leg, packet)

    # --- steps -------------------------------------------------------------------------------------------------------

    def _empty(self, now: float) -> int:
        """Send on all that waits in the sockets: how many packets it was."""
        self._drain.now = now
        packets = 0
        for _ in range(_MAX_BATCHES):
            parts, more = self._drain.drain()
            packets += self._send(parts, now)
            if not more:
                break
        return packets

    def _send(self, parts: list[bytes], now: float) -> int:
        """Three parts for each packet: first half of the header, second half, packet."""
        if not parts:
            return 0
        batch = b"".join(parts)
        packets = len(parts) // 3
        if len(batch) <= MAX_BATCH_BYTES:
            self._outlet.send_media(batch, packets, now)
            self._outlet.flush()
        else:
            half = packets // 2 * 3
            self._send(parts[:half], now)
            self._send(parts[half:], now)
        return packets

    def _send_kept(self) -> None:
        """Send on what had come before an aim: after the message that brought it, for the other end needs that first."""
        self._send(self._drain.take(), self._clock())

    def _find(self, lease: int) -> _Held | None:
        """None once everything is closed: calls that end after their session find nothing left to do."""
        if self._closed:
            return None
        held = self._held.get(lease)
        if held is None or held.until is not None:
            raise LocalMisuse(f"there is no lease {lease}")
        return held

    def _close(self, lease: int, now: float) -> None:
        held = self._held.pop(lease)
        held.rtp.close()
        held.rtcp.close()
        self._ledger.release(held.pair, now)


def _within(bind: str) -> str:
    """The address by which a socket bound to ``bind`` is reached on this host."""
    if not ipaddress.ip_address(bind).is_unspecified:
        return bind
    return "::1" if ":" in bind else "127.0.0.1"


def _ties(held: _Held) -> Iterator[tuple[Leg, Tie]]:
    for leg in (held.rtp, held.rtcp):
        for tie in leg.ties.values():
            yield leg, tie
