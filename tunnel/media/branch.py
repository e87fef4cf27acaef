"""One dialog of a call as its media see it: the state of its offer/answer exchange, and its streams."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from tunnel.media.described import Described
from tunnel.media.exchange import TRANSITIONS, Carriage, Meaning, Side, State, withdrawn
from tunnel.media.streams import Party, Stream

__all__ = ["Branch"]


@dataclass(slots=True)
class Branch:
    """One dialog of the call, early or confirmed."""

    state: State = State.STABLE
    is_previewed: bool = False
    streams: list[Stream] = field(default_factory=list)

    def grow(self, described: Described) -> None:
        """A stream for each m-line; an m-line may change its kind (audio to image) and stays the same stream."""
        for medium, _ in described.media[len(self.streams) :]:
            self.streams.append(Stream(medium.index, medium.kind))
        for stream, (medium, _) in zip(self.streams, described.media, strict=False):
            stream.kind = medium.kind

    def advance(self, side: Side, carriage: Carriage, parties: Sequence[Party]) -> None:
        """Step the exchange and let the words of ``side`` mean what they mean in this state."""
        before = self.state
        self.state, meaning = TRANSITIONS[before, (side, carriage)]
        if carriage is Carriage.OPENING and before in (State.HEARD_IN_REPLY, State.SPOKEN_IN_REPLY):
            self._agree()  # it was a needless copy, or its answer never came by
        for stream, party in zip(self.streams, parties, strict=False):
            if meaning is Meaning.OFFER:
                stream.offers[side] = party
            else:
                stream.take_effect(side, party)
        self.is_previewed = meaning is Meaning.PREVIEW
        if meaning is Meaning.ANSWER:
            self._agree(_other(side))

    def settle(self) -> None:
        """A 2xx came: what was only previewed counts as the answer, for those who do not repeat it."""
        if self.is_previewed and self.state in (State.HEARD, State.SPOKEN):
            self._agree(Side.HEARD if self.state is State.HEARD else Side.SPOKEN)
            self.state = State.STABLE

    def withdraw(self, side: Side) -> None:
        self.state = withdrawn(self.state, side)
        for stream in self.streams:
            stream.withdraw(side)

    def _agree(self, offerer: Side | None = None) -> None:
        for stream in self.streams:
            if offerer is not None:
                stream.offers.pop(offerer, None)
            stream.agree()


def _other(side: Side) -> Side:
    return Side.SPOKEN if side is Side.HEARD else Side.HEARD
