"""What a call asks of the media plane: port pairs, ties to channels, and where packets go.

The pump implements ``MediaPlane``; ``CallMedia`` is its only caller. Everything here is synchronous and never blocks.
A **lease** is a port pair on one face, a **channel** is one stream inside the session (even id = RTP, the next id =
RTCP), a **tie** joins the two, an **aim** says where the tied channel's packets are sent and whose packets it accepts.
A lease may be tied to several channels (the forks of one call); a channel is tied to one lease on each face.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import Protocol

from tunnel.address import Address
from tunnel.errors import BadPacket, WallpassError

__all__ = ["Aim", "CannotRelay", "Kind", "Lease", "LedgerFull", "MediaPlane"]


class LedgerFull(WallpassError):
    """No media port pair or channel is free (or the high-water mark is reached): the call gets 503 with Retry-After."""


class CannotRelay(BadPacket):
    """The body asks for media that cannot be relayed; ``status`` and ``warning`` are for the SIP response."""

    def __init__(self, status: int, warning: str) -> None:
        super().__init__(warning, status)
        self.warning = warning


class Kind(Enum):
    """What a stream carries, as its m-line says: what it may push aside, and how its packets are marked."""

    AUDIO = auto()
    VIDEO = auto()
    FAX = auto()
    OTHER = auto()


@dataclass(frozen=True, slots=True)
class Lease:
    """A media port pair held for one stream on one face.

    ``rtp`` and ``rtcp`` are the addresses to advertise; both sockets are bound when the lease is given out, ``rtp`` on
    an even port and ``rtcp`` on the next one.
    """

    id: int
    rtp: Address
    rtcp: Address


@dataclass(frozen=True, slots=True)
class Aim:
    """Whom a channel of a lease talks to (SIP-RULES L4-L6).

    ``rtp`` is the party's usable SDP address. None: it gave none (private, foreign to the face, 0.0.0.0 or a name), so
    nothing is sent until packets have come, and packets are learnt from the IP ``sip_source`` only (L4c).
    ``rtcp`` likewise; with ``mux`` it equals ``rtp`` and RTCP travels on the RTP ports and the even channel.
    ``trusted`` parties (configured trunks) are exempt from the limit on packets to an unconfirmed address (L6).
    ``rtp_like`` False: opaque datagrams (UDPTL, BFCP, SCTP), no SSRC rules and no RTCP (L9).
    ``dtmf``: the payload types of telephone-event that either party declared.
    ``waits_for_rtp``: the party may send nothing before it got a packet, so it gets one now (L7). ``noise``: the payload
    type of comfort noise, where both may send it. ``is_secure``: nobody but the parties can make a valid packet.
    ``is_natted``: its SIP came through a NAT, so its media are sent to where they come from. ``is_held``: one of the
    parties has the other on hold; when that ends, another stream may come from another port (its NAT forgot the old one).
    """

    rtp: Address | None
    rtcp: Address | None
    mux: bool
    sip_source: str
    trusted: bool
    rtp_like: bool
    dtmf: frozenset[int]
    kind: Kind = Kind.AUDIO
    waits_for_rtp: bool = False
    noise: int | None = None
    is_secure: bool = False
    is_natted: bool = False
    is_held: bool = False


class MediaPlane(Protocol):
    """The ports of one face. ``now`` is monotonic seconds; ids are those of ``Lease`` and of the session's channels."""

    def take(self, call: int, now: float, ipv6: bool = False) -> Lease:
        """A bound port pair for ``call``; a face of one address family gives that one. Raises LedgerFull."""
        ...

    def tie(self, lease: int, channel: int, now: float) -> None:
        """Packets of the lease go to the channel (RTCP: ``channel + 1``), the channel's packets leave from the lease.

        Until it is aimed, a tied channel keeps at most ten packets per direction. Of several channels of one lease, a
        packet goes to the one whose aim matches its source; if several match, to the one aimed last.
        """
        ...

    def aim(self, lease: int, channel: int, target: Aim, now: float) -> None:
        """Set or change the party of a tied channel; called only when something changed."""
        ...

    def untie(self, lease: int, channel: int, now: float) -> None:
        """Forget the tie and its aim; packets of that channel are dropped from now on."""
        ...

    def active_at(self, lease: int) -> float | None:
        """When a packet last came or left by the lease, give or take half a second; None if none did."""
        ...

    def release(self, lease: int, linger_s: float, now: float) -> None:
        """Give the lease back, with any ties left: it stays bound and draining for ``linger_s``, then rests."""
        ...
