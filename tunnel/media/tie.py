"""[io] A channel at a port: whom it hears and speaks to, and what was counted of that."""

from __future__ import annotations

import socket
from collections import deque

from tunnel.address import Address
from tunnel.link.frames import channel_header
from tunnel.media.drain import Tally
from tunnel.media.latch import Allowance, Latch
from tunnel.media.plane import Aim
from tunnel.media.quality import StreamMeter

__all__ = ["EARLY_PACKETS", "Path", "Tie"]

# --- numbers of the rules (I5) -------------------------------------------------------------------------------------
EARLY_PACKETS = 10


class Path:
    """A connected socket; ``remote`` is whom it is connected to, ``is_hairpin`` that this is a lease of our own."""

    __slots__ = ("is_hairpin", "remote", "sock")

    def __init__(self, sock: socket.socket, remote: Address, is_hairpin: bool) -> None:
        self.sock = sock
        self.remote = remote
        self.is_hairpin = is_hairpin


class Tie:
    """A channel at a leg. ``hears`` and ``speaks`` are its paths; they differ for an asymmetric party only."""

    __slots__ = (
        "aim",
        "allowance",
        "channel",
        "header",
        "heard",
        "heard_meter",
        "hears",
        "hosts",
        "latch",
        "sent",
        "sent_meter",
        "speaks",
        "waiting",
    )

    def __init__(self, channel: int) -> None:
        self.channel = channel
        self.header = channel_header(channel)
        self.aim: Aim | None = None
        self.latch: Latch | None = None  # None until aimed
        self.allowance = Allowance()
        self.hosts: set[str] = set()  # where the party has been heard: no allowance needed there
        self.hears: Path | None = None
        self.speaks: Path | None = None
        self.heard = Tally()
        self.sent = Tally()
        self.heard_meter: StreamMeter | None = None
        self.sent_meter: StreamMeter | None = None
        self.waiting: deque[bytes] = deque(maxlen=EARLY_PACKETS)

    @property
    def is_confirmed(self) -> bool:
        return self.latch is not None and self.latch.remote is not None

    @property
    def is_natted(self) -> bool:
        """Whether the party was heard, and is sent to, elsewhere than its SDP says."""
        return (
            self.is_confirmed
            and self.speaks is not None
            and self.latch is not None
            and (self.speaks.remote != self.latch.target)
        )

    def speaks_to(self, asymmetric: bool) -> Address | None:
        """Where its packets go: back to where the party was heard.

        On an ``asymmetric`` face, one without NATs of its own, a party listens where its SDP says, whichever port or
        other host it sends from (S4-15, S3-8); unless a NAT is seen before it, or its SDP names a host that is neither
        where its SIP comes from nor where its media do.
        """
        latch, aim = self.latch, self.aim
        if latch is None or aim is None or latch.remote is None or latch.target is None:
            return None if latch is None else latch.remote or latch.target
        is_elsewhere = latch.remote.host == aim.sip_source != latch.target.host
        return latch.remote if not asymmetric or aim.is_natted or is_elsewhere else latch.target

    def is_at(self, source: Address) -> bool:
        """Whether the aim, or what was learnt, names exactly this address."""
        return self.latch is not None and source in (self.latch.remote, self.latch.target)
