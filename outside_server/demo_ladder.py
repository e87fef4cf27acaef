"""A SIP ladder, drawn line by line as two phones see messages pass.

    inside phone          agent         server         outside phone
         │── INVITE ───────▶│              │                    │
         │                  │═════════════▶│── INVITE ─────────▶│

It knows nothing of the inner life of the pair: a message that one phone received and the other had sent came through the
wall; a 100, and the ACK of a failure, never do (RFC 3261 sections 8.2.6.1 and 17.1.1.3), so the near end made them.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from tunnel.softphone.passage import Passage

__all__ = ["Ladder", "Rung", "Side"]

# Ours: the time and the three ways between four lines fit a terminal.
TERMINAL_WIDTH = 80
LEG_WIDTH = 24
WALL_WIDTH = 14
TIME_WIDTH = 8
HEADINGS = ("inside phone", "agent", "server", "outside phone")


class Side(Enum):
    INSIDE = "inside"
    OUTSIDE = "outside"


@dataclass(frozen=True, slots=True)
class Rung:
    """One line of a ladder; ``status`` is that of the message, 0 for a request."""

    text: str
    status: int


class Ladder:
    """One story, a registration or a call; its time begins with its first message."""

    def __init__(self) -> None:
        self._begun_at: float | None = None
        self._refused: set[tuple[bytes, int]] = set()

    def heading(self) -> str:
        """The line above the first one: who the four lines are."""
        middle, line = TIME_WIDTH + 3, ""
        for title, width in zip(HEADINGS, (LEG_WIDTH, WALL_WIDTH, LEG_WIDTH, 0), strict=True):
            line = line.ljust(min(middle - len(title) // 2, TERMINAL_WIDTH - len(title))) + title
            middle += width + 1
        return line

    def draw(self, side: Side, passage: Passage) -> Rung:
        """The line for a message that the phone on ``side`` sent or received."""
        if self._begun_at is None:
            self._begun_at = passage.at
        if passage.method == "INVITE" and passage.status >= 300:
            self._refused.add((passage.call_id, passage.cseq))
        to_the_right = passage.sent is (side is Side.INSIDE)
        leg = arrow(passage.title, LEG_WIDTH, to_the_right=to_the_right)
        crossed = not passage.sent and not self._is_hop_by_hop(passage)
        wall = arrow("", WALL_WIDTH, to_the_right=to_the_right, line="═") if crossed else " " * WALL_WIDTH
        empty = " " * LEG_WIDTH
        legs = (leg, wall, empty) if side is Side.INSIDE else (empty, wall, leg)
        milliseconds = (passage.at - self._begun_at) * 1000
        return Rung(f"{milliseconds:{TIME_WIDTH}.1f}   │{'│'.join(legs)}│", passage.status)

    def _is_hop_by_hop(self, passage: Passage) -> bool:
        if passage.method == "ACK":
            return (passage.call_id, passage.cseq) in self._refused
        return passage.status == 100


def arrow(title: str, width: int, *, to_the_right: bool, line: str = "─") -> str:
    """A titled arrow that fills ``width``; a title that does not fit is cut."""
    room = width - 6
    label = f" {title if len(title) <= room else title[: room - 1] + '…'} " if title else ""
    shaft = f"{line}{line}{label}".ljust(width - 1, line)
    return f"{shaft}▶" if to_the_right else f"◀{shaft}"
