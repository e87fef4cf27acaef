"""The media of one call at one face: SDP in, SDP out, and the media plane kept in step (SIP-RULES I).

    own network --SDP--> hear() --channels, with the message--> ==wall==> speak() --SDP--> other network

The near end **hears** what its network's party says and names a channel for each m-line; the far end **speaks** it to
its own network with its own ports in it. So each end knows, for each stream, its lease (since it spoke the m-line), the
channel, and its party's address (since it heard it). Ports and channels stay for the dialog's life.

A **fork** is the to-tag of the dialog's answerer; b"" stands for the initial INVITE before any answer. What b"" offered
is the root of every fork: at the end that spoke the offer all forks share its leases, and the first fork heard there
inherits its channels.
"""

from __future__ import annotations

from collections.abc import Sequence

from tunnel.counters import Counters
from tunnel.errors import LocalMisuse
from tunnel.media.body import SipBody, replace_sdp
from tunnel.media.branch import Branch
from tunnel.media.channels import AGENT_CHANNELS, SERVER_CHANNELS, ChannelSpace
from tunnel.media.described import Described
from tunnel.media.exchange import Carriage, Side, State
from tunnel.media.plane import CannotRelay, Lease, MediaPlane
from tunnel.media.sdp import Medium
from tunnel.media.sdp_edit import rewrite
from tunnel.media.streams import FaceRules, Party, Stream, StreamView

__all__ = ["LOSER_LINGER_S", "ROOT", "CallMedia"]

ROOT = b""

LOSER_LINGER_S = 2.0
"""How long a lease that lost its purpose (a losing fork, another address family) still drains (SIP-RULES I4)."""


class CallMedia:
    """One call at one face. ``call`` is its number in the plane's books.

    Every method may be called in any order that SIP messages may come in; after ``close`` none but ``close``.
    """

    def __init__(
        self, call: int, plane: MediaPlane, channels: ChannelSpace, rules: FaceRules, counters: Counters
    ) -> None:
        self._call = call
        self._plane = plane
        self._channels = channels
        self._rules = rules
        self._counters = counters
        self.peer_is_ipv6: bool | None = None
        """The address family that this face's party uses for SIP, for the first offer to it; None: not known."""
        self._branches: dict[bytes, Branch] = {}
        self._settled: set[bytes] = set()
        self._holders: dict[Lease, int] = {}
        self._is_closed = False

    def hear(
        self,
        fork: bytes,
        body: SipBody,
        sip_source: str,
        now: float,
        carriage: Carriage = Carriage.REPLY,
        is_natted: bool = False,
    ) -> tuple[int, ...]:
        """A body arrived from this face's network, from the IP address ``sip_source``, through a NAT if ``is_natted``.

        Returns the channel of each m-line (0: none needed), to travel with the message; () without SDP. Raises
        CannotRelay and LedgerFull, and has then changed nothing.
        """
        described = self._read_untrusted(body)
        if described is None:
            return ()
        if carriage is Carriage.OPENING:
            described.refuse_if_nothing_is_relayed()
        branch = self._branch(fork, Side.HEARD)
        branch.grow(described)
        self._allocate(branch, described)
        self._branches[fork] = branch
        parties = [
            Party.heard(medium, sip_source, self._rules, stream.terms.heard, is_natted)
            for stream, (medium, _) in zip(branch.streams, described.media, strict=False)
        ]
        if any(party.rtp is None and not (party.is_closed or party.is_held) for party in parties):
            self._counters.bump("media.unusable_address")
        branch.advance(Side.HEARD, carriage, parties)
        if carriage is not Carriage.OPENING:
            self._listen_to(fork, now)
        self._reconcile(branch, now)
        return tuple(stream.channel for stream in branch.streams[: len(described.media)])

    def speak(
        self, fork: bytes, body: SipBody, channels: Sequence[int], now: float, carriage: Carriage = Carriage.REPLY
    ) -> bytes:
        """A body is about to leave by this face; ``channels`` is what ``hear`` returned at the other end.

        Returns the body's content with this face's addresses and ports in it. Raises CannotRelay (also when the
        channels do not fit the body) and LedgerFull, and has then taken nothing.
        """
        described = self._read_untrusted(body)
        if described is None:
            return body.content
        branch = self._branch(fork, Side.SPOKEN)
        branch.grow(described)
        ipv6 = self._family(branch)
        own = described.own_leases
        _check_channels(channels, own)
        self._take(branch, own, ipv6, now)
        self._branches[fork] = branch
        for stream, channel in zip(branch.streams, channels, strict=False):
            self._adopt_channel(stream, channel, now)
        branch.advance(Side.SPOKEN, carriage, [Party.spoken(medium, leader) for medium, leader in described.media])
        self._reconcile(branch, now)
        leases = [_lease_of(branch, *entry) for entry in described.media]
        address = next((lease.rtp.host for lease in leases if lease is not None), self._rules.address(ipv6))
        copies = [rewrite(sdp, leases[: len(sdp.media)], address, self._rules.origin) for sdp in described.sdps]
        return replace_sdp(body, described.found, copies)

    def settle(self, fork: bytes, now: float) -> None:
        """A 2xx to an INVITE passed in ``fork``: its early rivals are dropped; other forks with a 2xx live on."""
        self._settled.add(fork)
        winner = self._branches.get(fork)
        if winner is None:
            return
        winner.settle()
        self._hush(winner, False, now)
        for rival in set(self._branches) - self._settled - {ROOT}:
            self.drop_fork(rival, LOSER_LINGER_S, now)

    def roll_back(self, fork: bytes, offerer: Side, now: float) -> None:
        """A re-INVITE or UPDATE whose offer this face heard or spoke failed: back to the last agreement (F7)."""
        branch = self._branches.get(fork)
        if branch is not None:
            branch.withdraw(offerer)
            self._reconcile(branch, now)

    def drop_fork(self, fork: bytes, linger_s: float, now: float) -> None:
        """End one dialog of the call (199, BYE to one of several); what it shares with others stays."""
        self._settled.discard(fork)
        branch = self._branches.pop(fork, None)
        if branch is None:
            return
        self._untie(branch, now)
        for stream in branch.streams:
            self._channels.free(stream.channel)
            if stream.lease is not None:
                self._let_go(stream.lease, linger_s, now)
        early = [each for name, each in self._branches.items() if name != ROOT and name not in self._settled]
        if early and not self._settled and all(stream.is_hushed for each in early for stream in each.streams):
            self._hush(early[-1], False, now)

    def close(self, linger_s: float, now: float) -> None:
        """End the call: every lease is released to drain for ``linger_s``, every channel freed. May be called twice."""
        self._is_closed = True
        for fork in list(self._branches):
            self.drop_fork(fork, linger_s, now)

    def streams(self) -> tuple[StreamView, ...]:
        """Every stream of every dialog as it stands."""
        return tuple(stream.view(fork) for fork, branch in self._branches.items() for stream in branch.streams)

    @property
    def is_held(self) -> bool:
        """Whether every stream of each dialog is on hold or closed, so that silence says nothing.

        A stream that was only ever offered, and refused, is none.
        """
        streams = [stream for fork, branch in self._branches.items() if fork != ROOT for stream in branch.streams]
        views = [stream.view(ROOT) for stream in streams if stream.is_in_effect]
        return bool(views) and all(view.is_held or view.is_closed for view in views)

    def active_at(self) -> float | None:
        """When a packet of this face last came or left, see MediaPlane."""
        known = (at for lease in self._holders if (at := self._plane.active_at(lease.id)) is not None)
        return max(known, default=None)

    def _read_untrusted(self, body: SipBody) -> Described | None:
        if self._is_closed:
            raise LocalMisuse(f"the media of call {self._call} is closed")
        described = Described.read_untrusted(body)
        if described is not None and any(medium.port and not medium.is_relayed for medium, _ in described.media):
            self._counters.bump("media.refused_transport")
        return described

    def _branch(self, fork: bytes, side: Side) -> Branch:
        """The dialog of ``fork``; a new one begins with what the initial INVITE offered."""
        root = self._branches.get(ROOT)
        if fork in self._branches or root is None:
            return self._branches.get(fork) or Branch()
        branch = Branch(root.state if root.state in (State.HEARD, State.SPOKEN) else State.STABLE)
        for source in root.streams:
            stream = Stream(source.index, source.kind, lease=source.lease, offers=dict(source.offers))
            if side is Side.HEARD and root.state is State.SPOKEN:
                source.hand_over(stream)
            if stream.lease is not None:
                self._holders[stream.lease] += 1
            branch.streams.append(stream)
        self._branches[fork] = branch
        return branch

    def _listen_to(self, fork: bytes, now: float) -> None:
        """Of the early dialogs of one offer that this face spoke, the one whose answer came last is heard (I4).

        Encrypted streams are left alone: the caller tells them apart by their keys, and DTLS must not wait for an answer.
        """
        root = self._branches.get(ROOT)
        if fork == ROOT or self._settled or root is None or root.state is not State.SPOKEN:
            return
        for name, branch in self._branches.items():
            if name != ROOT:
                self._hush(branch, name != fork, now)

    def _hush(self, branch: Branch, is_hushed: bool, now: float) -> None:
        changed = [
            stream
            for stream in branch.streams
            if stream.is_hushed is not is_hushed and not (is_hushed and stream.is_secure)
        ]
        for stream in changed:
            stream.is_hushed = is_hushed
        if changed:
            self._reconcile(branch, now)

    def _allocate(self, branch: Branch, described: Described) -> None:
        """A channel for each m-line that wants one and has none; all or nothing."""
        fresh: list[Stream] = []
        try:
            for stream, (medium, _) in zip(branch.streams, described.media, strict=False):
                if not stream.channel and medium.is_active and medium.is_relayed:
                    stream.channel = self._channels.allocate()
                    fresh.append(stream)
        except Exception:
            for stream in fresh:
                self._channels.free(stream.channel)
                stream.channel = 0
            raise

    def _take(self, branch: Branch, own: Sequence[bool], ipv6: bool, now: float) -> None:
        """A lease for each m-line that needs its own and has none of that address family; all or nothing."""
        needy = [
            stream
            for stream, needs in zip(branch.streams, own, strict=False)
            if needs and (stream.lease is None or stream.lease.rtp.is_ipv6 != ipv6)
        ]
        taken: list[Lease] = []
        try:
            for _ in needy:
                taken.append(self._plane.take(self._call, now, ipv6))
        except Exception:
            for lease in taken:
                self._plane.release(lease.id, 0.0, now)
            raise
        if any(stream.lease is not None for stream in needy):
            self._untie(branch, now)
        for stream, lease in zip(needy, taken, strict=True):
            if stream.lease is not None:
                self._let_go(stream.lease, LOSER_LINGER_S, now)
            stream.lease = lease
            self._holders[lease] = 1

    def _let_go(self, lease: Lease, linger_s: float, now: float) -> None:
        self._holders[lease] -= 1
        if not self._holders[lease]:
            del self._holders[lease]
            self._plane.release(lease.id, linger_s, now)

    def _adopt_channel(self, stream: Stream, channel: int, now: float) -> None:
        """Use the channel that came with the message; whichever stream of the call had it hands it over.

        When both ends named one for a new m-line at the same time, the lower number (the agent's) wins at both.
        """
        if not channel or (stream.channel and stream.channel <= channel):
            return
        everybody = (each for branch in self._branches.values() for each in branch.streams)
        holder = next((each for each in everybody if each.channel == channel), None)
        if holder is None and self._channels.owns(channel):
            self._counters.bump("media.freed_channel")  # the dialog ended here while the message was on its way
            return
        if holder is None and not self._channels.adopt(channel):
            self._counters.bump("media.stolen_channel")  # another call has it: this stream stays silent
            return
        stream.untie(self._plane, now)
        self._channels.free(stream.channel)
        if holder is None:
            stream.channel = channel
        else:
            holder.hand_over(stream)

    def _family(self, branch: Branch) -> bool:
        """Whether to advertise IPv6: as the party does, if it has said, else as it does SIP."""
        heard = (stream.offers.get(Side.HEARD) or stream.terms.heard for stream in branch.streams)
        said = (party.is_ipv6 for party in heard if party is not None and party.is_ipv6 is not None)
        return self._rules.family(next(said, self.peer_is_ipv6))

    def _untie(self, branch: Branch, now: float) -> None:
        for stream in branch.streams:
            stream.untie(self._plane, now)

    def _reconcile(self, branch: Branch, now: float) -> None:
        for stream in branch.streams:
            leader = None if stream.leader is None else branch.streams[stream.leader]
            stream.reconcile(self._plane, self._rules, None if leader is None else leader.lease, now)


def _check_channels(channels: Sequence[int], own: Sequence[bool]) -> None:
    given = [*channels, *[0] * len(own)]
    if any(needs and not channel for needs, channel in zip(own, given, strict=False)):
        raise CannotRelay(488, "the other end gave no channel for this media")
    if any(channel and channel not in AGENT_CHANNELS and channel not in SERVER_CHANNELS for channel in channels):
        raise CannotRelay(488, "the other end gave a channel that is none for media")


def _lease_of(branch: Branch, medium: Medium, leader: int | None) -> Lease | None:
    """The lease whose port stands in the m-line: its own, its bundle's, or none."""
    if not medium.port or not medium.is_relayed:
        return None
    return branch.streams[medium.index if leader is None else leader].lease
