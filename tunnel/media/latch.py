"""Whose packets a stream accepts, and where its own go: restricted latching (SIP-RULES L4-L6, RFC 7362 section 5).

A ``Latch`` serves one component (RTP or RTCP) of one channel at one lease. It begins ``unconfirmed``: the party is
expected at its SDP address, but a NAT may show another. It is ``confirmed`` by packets, by one of three rules:

=============  =====================================================  ==========================================
where from     L4                                                     confirmed by
=============  =====================================================  ==========================================
SDP address    (a) exactly that address and port                      1 packet
SDP host       (b) the same IP, another port                          1 packet
SIP source     (c) another IP, that of the party's SIP messages       5 packets in sequence (3 if not RTP)
neighbour      (c) another IP that may speak for anybody (S3-8)       likewise
anywhere else  (d)                                                    never: dropped and counted
=============  =====================================================  ==========================================

After that only this changes the remote (L5): a new aim; silence of the remote while a new port of the same IP, or of the
IP to which the party's SIP has moved with it, carries the same stream on; or the end of a hold, after which the party may
begin another stream there, as its NAT may have forgotten the old port. A remote that was learnt by (b) or (c) gives way
to the SDP address itself.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Protocol, TypeAlias

from tunnel.address import Address
from tunnel.errors import BadPacket
from tunnel.media.rtp import is_rtcp, peek_rtcp_ssrc_untrusted, peek_rtp_untrusted, sequence_step

__all__ = ["Allowance", "Continuity", "Decision", "Drop", "Forward", "Heard", "Latch", "Latched", "Reason"]

# --- numbers of the rules (L4-L6, L9) ------------------------------------------------------------------------------
_RTP_PACKETS, _OTHER_PACKETS = 5, 3
_STALE_S, _STALE_PACKETS = 0.2, 5
_SILENCE_S, _SEQUENCE_WINDOW = 0.5, 1000
_UNCONFIRMED_PACKETS, _UNCONFIRMED_BYTES = 50, 20_000

# --- numbers of ours -----------------------------------------------------------------------------------------------
_CANDIDATE_STEP = 50  # a second of packets may be lost between two of one candidate
_MAX_CANDIDATES = 4  # ports of one IP that are on trial at the same time; more are an attack


class Reason(Enum):
    """Why a packet was dropped; the value is the last part of the counter's name."""

    FOREIGN = "foreign"
    STALE_SOURCE = "stale_source"
    PRE_LATCH = "pre_latch"


class Continuity(Enum):
    """What tells that two packets are of one stream."""

    RTP = "rtp"  # SSRC and sequence number
    RTCP = "rtcp"  # SSRC of the sender
    NONE = "none"  # opaque datagrams (UDPTL, BFCP, SCTP)


@dataclass(frozen=True, slots=True)
class Forward:
    """The packet is the party's: relay it."""


@dataclass(frozen=True, slots=True)
class Latched:
    """Relay it too; and from now on the party is at ``remote``."""

    remote: Address


@dataclass(frozen=True, slots=True)
class Drop:
    """Not the party's, or not yet known to be."""

    reason: Reason


Decision: TypeAlias = Forward | Latched | Drop

_FORWARD = Forward()
_DROP = {reason: Drop(reason) for reason in Reason}


class Heard(Protocol):
    """What was counted of the stream's packets, those included that went past the latch."""

    @property
    def packets(self) -> int: ...

    @property
    def last(self) -> bytes:
        """The latest of them; empty before the first."""
        ...


@dataclass(slots=True)
class _Candidate:
    last: bytes
    packets: int = 1


def _nobody(host: str) -> bool:
    return False


class Latch:
    """``target`` is the party's usable SDP address or None, ``sip_source`` the IP its SIP messages come from.

    ``may_speak``: the hosts that anybody's media may come from (on a LAN: those that the agent talks to).
    """

    __slots__ = (
        "_believed",
        "_candidates",
        "_continuity",
        "_may_speak",
        "_moved_to",
        "_quiet_since",
        "_resumed_at",
        "_seen",
        "_sip_source",
        "_stale",
        "_stale_left",
        "_stale_until",
        "dropped",
        "remote",
        "target",
    )

    def __init__(
        self,
        target: Address | None,
        sip_source: str,
        continuity: Continuity,
        may_speak: Callable[[str], bool] = _nobody,
    ) -> None:
        self.target = target
        self.remote: Address | None = None
        self.dropped: Counter[Reason] = Counter()
        self._sip_source = sip_source
        self._may_speak = may_speak
        self._continuity = continuity
        self._believed = _hosts(target)  # hosts whose every port is believed at once
        self._candidates: dict[Address, _Candidate] = {}
        self._seen = -1  # packets heard, when it was last asked whether the remote is silent
        self._quiet_since = 0.0
        self._moved_to = ""  # where the SIP of a party comes from by now whose media came from where its SIP did
        self._resumed_at = -1  # packets heard when a hold ended
        self._stale: Address | None = None
        self._stale_left = 0
        self._stale_until = 0.0

    def aim(self, target: Address | None, sip_source: str, continuity: Continuity, now: float) -> None:
        """The party said anew where it is. Only another address than before un-confirms it (L5 i)."""
        if sip_source != self._sip_source and self.remote is not None and self.remote.host == self._sip_source:
            self._moved_to = sip_source
        self._sip_source = sip_source
        changed = target != self.target or continuity is not self._continuity
        self._continuity = continuity
        if not changed:
            return
        self._candidates.clear()
        self.target = target
        self._believed = _hosts(target)
        if self.remote is not None and self.remote != target:
            self._stale, self._stale_left, self._stale_until = self.remote, _STALE_PACKETS, now + _STALE_S
            self.remote = None
        elif self._stale == target:
            self._stale = None

    def resume(self, heard: Heard) -> None:
        """A hold is over: until the remote is heard again, it need not be the one that goes on."""
        self._resumed_at = heard.packets
        self._candidates.clear()

    def vouch(self, host: str) -> None:
        """The other component of the stream was confirmed at ``host``: its ports are as good as the SDP host's."""
        self._believed.add(host)

    def receive(self, source: Address, packet: bytes, heard: Heard, now: float) -> Decision:
        """Judge a packet; ``heard`` does not count it yet, and has to if it is not dropped."""
        decision = self._judge(source, packet, heard, now)
        if isinstance(decision, Drop):
            self.dropped[decision.reason] += 1
        return decision

    def _judge(self, source: Address, packet: bytes, heard: Heard, now: float) -> Decision:
        if source == self.remote:
            return _FORWARD
        if source == self.target:
            return self._confirm(source)
        if self.remote is not None:
            return self._judge_other(source, packet, heard, now)
        if source == self._stale and self._is_stale(now):
            return _DROP[Reason.STALE_SOURCE]
        if source.host in self._believed:
            return self._confirm(source)
        if source.host == self._sip_source or self._may_speak(source.host):
            return self._try(source, packet)
        return _DROP[Reason.FOREIGN]

    def _confirm(self, source: Address) -> Decision:
        self.remote = source
        self._resumed_at = -1
        self._candidates.clear()
        if source == self._stale:
            self._stale = None
        return Latched(source)

    def _is_stale(self, now: float) -> bool:
        """A stray packet of the old source must not win; a party that really stayed there may, in the end (T1)."""
        if now >= self._stale_until and self._stale_left <= 0:
            return False
        self._stale_left -= 1
        return True

    def _judge_other(self, source: Address, packet: bytes, heard: Heard, now: float) -> Decision:
        """A packet from elsewhere while the remote is confirmed (L5 ii)."""
        assert self.remote is not None
        refusal = _DROP[Reason.STALE_SOURCE if source == self._stale else Reason.FOREIGN]
        if source.host not in (self.remote.host, self._moved_to):
            return refusal
        has_resumed = heard.packets == self._resumed_at
        if not has_resumed and not self._is_silent(heard, now):
            return refusal
        carries_on = self._carries_on(heard.last, packet, _SEQUENCE_WINDOW)
        if carries_on and self._continuity is not Continuity.NONE:
            return self._confirm(source)
        return self._try(source, packet) if carries_on or has_resumed else refusal

    def _is_silent(self, heard: Heard, now: float) -> bool:
        """Asked only when somebody else speaks, so the relay need not time every packet."""
        if heard.packets != self._seen:
            self._seen, self._quiet_since = heard.packets, now
        return now - self._quiet_since >= _SILENCE_S

    def _try(self, source: Address, packet: bytes) -> Decision:
        """One more packet of a candidate (L4 c, L9); the packets of the trial itself are lost."""
        if self._continuity is Continuity.RTP and is_rtcp(packet):
            return _DROP[Reason.PRE_LATCH]
        candidate = self._candidates.get(source)
        if candidate is None:
            if len(self._candidates) == _MAX_CANDIDATES:
                del self._candidates[next(iter(self._candidates))]
            self._candidates[source] = _Candidate(packet)
            return _DROP[Reason.PRE_LATCH]
        candidate.packets = candidate.packets + 1 if self._carries_on(candidate.last, packet, _CANDIDATE_STEP) else 1
        candidate.last = packet
        if candidate.packets >= (_RTP_PACKETS if self._continuity is Continuity.RTP else _OTHER_PACKETS):
            return self._confirm(source)
        return _DROP[Reason.PRE_LATCH]

    def _carries_on(self, before: bytes, packet: bytes, window: int) -> bool:
        """Whether ``packet`` is of the same stream as ``before``, at most ``window`` packets on."""
        if self._continuity is Continuity.NONE:
            return True
        try:
            if self._continuity is Continuity.RTCP:
                return peek_rtcp_ssrc_untrusted(before) == peek_rtcp_ssrc_untrusted(packet)
            new = peek_rtp_untrusted(packet)
            if is_rtcp(before):  # multiplexed, and it happened to be the last of the old port
                return peek_rtcp_ssrc_untrusted(before) == new.ssrc
            old = peek_rtp_untrusted(before)
        except BadPacket:
            return False
        return old.ssrc == new.ssrc and 0 < sequence_step(old.sequence, new.sequence) <= window


def _hosts(target: Address | None) -> set[str]:
    return set() if target is None else {target.host}


class Allowance:
    """What may be sent to an address that has not been heard from (L6): nobody may be flooded by naming him in SDP."""

    __slots__ = ("_bytes", "_packets")

    def __init__(self) -> None:
        self._packets = _UNCONFIRMED_PACKETS
        self._bytes = _UNCONFIRMED_BYTES

    def admits(self, size: int) -> bool:
        """Whether a packet of ``size`` bytes may go; if so it is taken off."""
        if self._packets < 1 or self._bytes < size:
            return False
        self._packets -= 1
        self._bytes -= size
        return True
