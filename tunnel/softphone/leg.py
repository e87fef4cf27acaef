"""A phone's side of one call: what has been said so far, from the first INVITE to the end."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from tunnel.address import Address
from tunnel.errors import BadPacket
from tunnel.sip.message import Message
from tunnel.sip.transaction_key import ServerKey
from tunnel.softphone.dialogue import Dialogue
from tunnel.softphone.offer import AudioDescription, Direction, build_sdp, read_sdp_untrusted

__all__ = ["Leg", "LegEnd", "LegState"]


class LegState(StrEnum):
    CALLING = "calling"  # our INVITE is out, or a peer's has come and does not ring yet
    RINGING = "ringing"
    ANSWERED = "answered"  # our 200 is out, the ACK has not come yet
    TALKING = "talking"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class LegEnd:
    """How a call ended: 200 after a talk, 487 when called off, else the status that refused it; 408: no answer."""

    by_us: bool
    status: int
    reason: str


@dataclass(slots=True, eq=False)
class Leg:
    """One call; times are those of the ``now`` that the user agent was given, None until they come."""

    incoming: bool
    call_id: bytes
    peer: bytes
    """The URI of the other party: what was dialled, or what the From said."""
    begun_at: float
    session: int
    """The number of our SDP session."""
    state: LegState = LegState.CALLING
    dialogue: Dialogue | None = None
    invite: Message | None = None
    """The INVITE that came, when it is an incoming call."""
    ringing_at: float | None = None
    answered_at: float | None = None
    """When the 200 was sent or received."""
    end: LegEnd | None = None
    unwanted: bool = False
    """We want it over, and it is not yet possible, or not yet done."""
    changing: bool = False
    """A re-INVITE of ours is under way."""
    unacknowledged: dict[int, ServerKey] = field(default_factory=dict)
    """INVITEs of the peer that we answered with 200, by CSeq, until the ACK."""

    audio: Address | None = None
    """Where we hear."""
    theirs: AudioDescription | None = None
    """What the peer's last offer or answer said."""
    on_hold: bool = False
    """We do not want to hear."""
    sdp_version: int = 0

    @property
    def speak_to(self) -> Address | None:
        """Where our audio goes now; None while there is nowhere to send it or nobody wants it."""
        if self.state in (LegState.ANSWERED, LegState.TALKING) and self.theirs is not None and self.theirs.hears:
            return self.theirs.audio
        return None

    def write_offer(self) -> bytes:
        """What we want, as a new version of our session. ``audio`` must be set."""
        return self._write(Direction.of(sends=True, receives=not self.on_hold))

    def write_answer(self, invite: Message) -> bytes:
        """What we can give to what ``invite`` asks for (RFC 3264 section 6.1); an offer when it asks for nothing."""
        if not invite.body or self.theirs is None:
            return self.write_offer()
        wanted = self.theirs.direction
        return self._write(Direction.of(sends=wanted.receives, receives=wanted.sends and not self.on_hold))

    def read_untrusted(self, message: Message) -> None:
        """Take note of the SDP of a message, if it has one. Raises BadPacket (488) when there is no common ground."""
        if not message.body:
            return
        kind = message.header("content-type")
        if kind is None or kind.value.partition(b";")[0].strip().lower() != b"application/sdp":
            raise BadPacket("the body is no SDP", status=488)
        self.theirs = read_sdp_untrusted(message.body)

    def finish(self, end: LegEnd) -> None:
        """The call is over."""
        self.state = LegState.ENDED
        self.end = end

    def _write(self, direction: Direction) -> bytes:
        assert self.audio is not None
        self.sdp_version += 1
        return build_sdp(self.session, self.sdp_version, self.audio, direction)
