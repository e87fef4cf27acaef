"""One stream of one dialog at one face: what the parties said of it, and what the media plane was told.

``Stream`` keeps three versions of the same facts, because an offer can fail: what is *open* (offered, not answered),
what is *in effect* (``terms``), and what was last *agreed*. ``reconcile`` makes the plane follow what is in effect.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from tunnel.address import Address
from tunnel.media.exchange import Side
from tunnel.media.plane import Aim, Kind, Lease, MediaPlane
from tunnel.media.sdp import Connection, Medium

__all__ = ["FaceRules", "Party", "Stream", "StreamView", "Terms"]

_KINDS = {"audio": Kind.AUDIO, "video": Kind.VIDEO, "image": Kind.FAX}


def _nobody(ip: str) -> bool:
    return False


@dataclass(frozen=True, slots=True)
class FaceRules:
    """What a face lets its calls do. At least one of the two addresses is there."""

    ipv4: str | None
    """The advertised IPv4 address."""
    ipv6: str | None
    """The advertised IPv6 address."""
    prefers_ipv6: bool
    """Which of the two stands in o=, and in c= of a first offer: the family of the SIP peer."""
    usable: Callable[[str], bool]
    """Whether media may be aimed at this IP address just because an SDP names it (SIP-RULES L4, L6)."""
    trusted: Callable[[str], bool]
    """Whether the SIP source with this IP address is a configured trunk peer."""
    may_wait: Callable[[str], bool] = _nobody
    """Whether that SIP source may be one that sends no media before it got some (SIP-RULES L7)."""

    @property
    def origin(self) -> str:
        """The constant for o= lines."""
        return self.address(self.prefers_ipv6)

    def address(self, ipv6: bool) -> str:
        """The advertised address of that family, or the only one there is."""
        found = (self.ipv6 or self.ipv4) if ipv6 else (self.ipv4 or self.ipv6)
        assert found is not None
        return found

    def family(self, wanted_ipv6: bool | None) -> bool:
        """Whether to advertise IPv6 to a party that uses that family (None: it has not said)."""
        return ":" in self.address(self.prefers_ipv6 if wanted_ipv6 is None else wanted_ipv6)


@dataclass(frozen=True, slots=True)
class Party:
    """What one party said of a stream. ``rtp`` and ``rtcp`` are None where it gave no address that may be used.

    ``is_closed``: port 0. ``is_bundled``: named in a BUNDLE group. ``leader``: the m-line whose port it shares.
    """

    rtp: Address | None
    rtcp: Address | None
    is_ipv6: bool | None
    mux: bool
    rtp_like: bool
    dtmf: frozenset[int]
    noise: frozenset[int]
    kind: Kind
    is_secure: bool
    is_held: bool
    is_closed: bool
    is_bundled: bool
    leader: int | None
    sip_source: str
    is_natted: bool

    @classmethod
    def heard(
        cls, medium: Medium, sip_source: str, rules: FaceRules, before: Party | None, is_natted: bool = False
    ) -> Party:
        """What the network's party says in ``medium``.

        On hold by a hold address, or with port 0, it still has the addresses that it had ``before``.
        """
        party = replace(cls.spoken(medium, None), sip_source=sip_source, is_natted=is_natted)
        connection = medium.connection
        if connection is not None and not connection.is_hold and medium.port:
            return replace(party, rtp=_usable(medium.rtp, rules), rtcp=_usable(medium.rtcp, rules))
        if before is None:
            return party
        return replace(party, rtp=before.rtp, rtcp=before.rtcp, is_ipv6=before.is_ipv6)

    @classmethod
    def spoken(cls, medium: Medium, leader: int | None) -> Party:
        """What is said to the network's party; the addresses are ours and of no interest here."""
        return cls(
            rtp=None,
            rtcp=None,
            is_ipv6=_family(medium.connection),
            mux=medium.mux,
            rtp_like=medium.is_rtp,
            dtmf=medium.dtmf,
            noise=medium.noise,
            kind=_KINDS.get(medium.kind.lower(), Kind.OTHER),
            is_secure=medium.is_secure,
            is_held=medium.is_held,
            is_closed=not medium.is_active,
            is_bundled=medium.is_bundled,
            leader=leader,
            sip_source="",
            is_natted=False,
        )


@dataclass(frozen=True, slots=True)
class Terms:
    """Both parties' words on one stream, as far as they have spoken."""

    heard: Party | None = None
    spoken: Party | None = None


@dataclass(frozen=True, slots=True)
class StreamView:
    """A stream as ``wallpass status`` shows it; ``remote`` is None while the party's address is to be learnt."""

    fork: bytes
    index: int
    kind: str
    channel: int
    lease: Lease | None
    remote: Address | None
    is_held: bool
    is_closed: bool


@dataclass(slots=True)
class Stream:
    """The m-line ``index`` of one dialog. ``channel`` 0: none yet. ``is_hushed``: another early dialog is listened to."""

    index: int
    kind: str
    channel: int = 0
    lease: Lease | None = None
    offers: dict[Side, Party] = field(default_factory=dict)
    terms: Terms = field(default_factory=Terms)
    agreed: Terms = field(default_factory=Terms)
    is_hushed: bool = False
    _muxed: bool = False
    _tied: tuple[int, int] | None = None
    _aimed: Aim | None = None

    def take_effect(self, side: Side, party: Party) -> None:
        """``party`` of ``side`` holds from now on, and with it the open offer of the other side."""
        if side is Side.HEARD:
            self.terms = Terms(party, self.offers.get(Side.SPOKEN, self.terms.spoken))
        else:
            self.terms = Terms(self.offers.get(Side.HEARD, self.terms.heard), party)

    def agree(self) -> None:
        """What is in effect is what a failed exchange falls back to; once multiplexed, RTCP stays so (RFC 5761 5.1)."""
        self.agreed = self.terms
        self._muxed = self._muxed or self._both_mux()

    def withdraw(self, side: Side) -> None:
        """The offer of ``side`` failed: back to what was agreed, if anything was."""
        self.offers.pop(side, None)
        if self.agreed.heard is not None:
            self.terms = self.agreed

    @property
    def is_in_effect(self) -> bool:
        """Whether anything that a party said of it holds: an offer alone does not."""
        return self.terms != Terms()

    def hand_over(self, heir: Stream) -> None:
        """Give channel, tie and aim to the same m-line of another dialog."""
        heir.channel, heir._tied, heir._aimed = self.channel, self._tied, self._aimed
        self.channel, self._tied, self._aimed = 0, None, None

    @property
    def is_secure(self) -> bool:
        """Whether only its parties can make its packets."""
        return self.terms.heard is not None and self.terms.heard.is_secure

    @property
    def leader(self) -> int | None:
        """The m-line whose port was said to the party for this one, if it is in a bundle."""
        spoken = self._spoken()
        return spoken.leader if spoken is not None else None

    def reconcile(self, plane: MediaPlane, rules: FaceRules, bundle: Lease | None, now: float) -> None:
        """Tell the plane what changed since the last time; ``bundle`` is the lease of the leader, if there is one.

        A bundled stream travels on its leader's channel; when the party took it out of the bundle, its packets still
        arrive at the leader's port, and go to its own channel.
        """
        heard = self.terms.heard
        travels_along = self.leader is not None and (heard is None or heard.is_closed or heard.is_bundled)
        lease = self.lease if self.leader is None else bundle
        is_silent = travels_along or self.is_hushed or not self.channel
        wanted = (lease.id, self.channel) if lease is not None and not is_silent else None
        if wanted != self._tied:
            self.untie(plane, now)
            if wanted is not None:
                plane.tie(*wanted, now)
            self._tied = wanted
        if lease is None or wanted is None:
            return
        target = self._target(rules, lease)
        if target is not None and target != self._aimed:
            plane.aim(*wanted, target, now)
            self._aimed = target

    def untie(self, plane: MediaPlane, now: float) -> None:
        """Take the stream out of the plane."""
        if self._tied is not None:
            plane.untie(*self._tied, now)
        self._tied, self._aimed = None, None

    def view(self, fork: bytes) -> StreamView:
        parties = [party for party in (self.terms.heard, self.terms.spoken) if party is not None]
        return StreamView(
            fork=fork,
            index=self.index,
            kind=self.kind,
            channel=self.channel,
            lease=self.lease,
            remote=self._aimed.rtp if self._aimed is not None else None,
            is_held=any(party.is_held for party in parties),
            is_closed=any(party.is_closed for party in parties),
        )

    def _spoken(self) -> Party | None:
        return self.terms.spoken or self.offers.get(Side.SPOKEN)

    def _both_mux(self) -> bool:
        heard, spoken = self.terms.heard, self._spoken()
        return heard is not None and spoken is not None and heard.mux and spoken.mux

    def _target(self, rules: FaceRules, lease: Lease) -> Aim | None:
        heard, spoken = self.terms.heard, self._spoken()
        if heard is None or (heard.is_closed and heard.rtp is None):
            return None
        mux = self._muxed or self._both_mux()
        rtp, rtcp = (_reachable(address, lease) for address in (heard.rtp, heard.rtp if mux else heard.rtcp))
        return Aim(
            rtp=rtp,
            rtcp=rtcp,
            mux=mux,
            sip_source=heard.sip_source,
            trusted=rules.trusted(heard.sip_source),
            rtp_like=heard.rtp_like,
            dtmf=heard.dtmf | (spoken.dtmf if spoken is not None else frozenset()),
            kind=heard.kind,
            waits_for_rtp=rules.may_wait(heard.sip_source),
            noise=min(heard.noise & spoken.noise, default=None) if spoken is not None else None,
            is_secure=heard.is_secure,
            is_natted=heard.is_natted,
            is_held=heard.is_held or (spoken is not None and spoken.is_held),
        )


def _reachable(address: Address | None, lease: Lease) -> Address | None:
    return address if address is not None and address.is_ipv6 == lease.rtp.is_ipv6 else None


def _family(connection: Connection | None) -> bool | None:
    ip = connection.ip if connection is not None else None
    return None if ip is None else ip.version == 6


def _usable(address: Address | None, rules: FaceRules) -> Address | None:
    """The address if media may be sent there: an IP (names are not resolved for media) that the face allows."""
    if address is None or not address.port:
        return None
    try:
        text = str(address.ip)
    except ValueError:
        return None
    return Address(text, address.port) if rules.usable(text) else None
