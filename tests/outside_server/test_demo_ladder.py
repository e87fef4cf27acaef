"""The ladder: who says what to whom, and what goes through the wall."""

from __future__ import annotations

from outside_server.demo_ladder import Ladder, Side
from tunnel.softphone.passage import Passage


def passage(title: str, *, sent: bool, at: float = 5.0, method: str = "INVITE", cseq: int = 1) -> Passage:
    status, _, reason = title.partition(" ")
    if status.isdigit():
        return Passage(at, sent, method, int(status), reason, b"c", cseq)
    return Passage(at, sent, title, 0, "", b"c", cseq)


def draw(*story: tuple[Side, Passage]) -> list[str]:
    ladder = Ladder()
    return [ladder.draw(side, each).text for side, each in story]


def test_call_that_is_challenged_answered_and_hung_up() -> None:
    inside, outside = Side.INSIDE, Side.OUTSIDE
    refused = "407 Proxy Authentication Required"
    lines = draw(
        (inside, passage("INVITE", sent=True)),
        (inside, passage("100 Trying", sent=False, at=5.001)),
        (outside, passage("INVITE", sent=False, at=5.002)),
        (outside, passage(refused, sent=True, at=5.003)),
        (inside, passage(refused, sent=False, at=5.004)),
        (inside, passage("ACK", sent=True, at=5.005)),
        (outside, passage("ACK", sent=False, at=5.006)),
        (outside, passage("200 OK", sent=True, at=5.007, cseq=2)),
        (inside, passage("200 OK", sent=False, at=5.008, cseq=2)),
        (inside, passage("ACK", sent=True, at=5.009, cseq=2)),
        (outside, passage("ACK", sent=False, at=5.010, cseq=2)),
        (outside, passage("BYE", sent=True, at=8.0, cseq=1)),
    )
    assert lines == [
        "     0.0   │── INVITE ─────────────▶│              │                        │",
        "     1.0   │◀── 100 Trying ─────────│              │                        │",
        "     2.0   │                        │═════════════▶│── INVITE ─────────────▶│",
        "     3.0   │                        │              │◀── 407 Proxy Authent… ─│",
        "     4.0   │◀── 407 Proxy Authent… ─│◀═════════════│                        │",
        "     5.0   │── ACK ────────────────▶│              │                        │",
        "     6.0   │                        │              │── ACK ────────────────▶│",
        "     7.0   │                        │              │◀── 200 OK ─────────────│",
        "     8.0   │◀── 200 OK ─────────────│◀═════════════│                        │",
        "     9.0   │── ACK ────────────────▶│              │                        │",
        "    10.0   │                        │═════════════▶│── ACK ────────────────▶│",
        "  3000.0   │                        │              │◀── BYE ────────────────│",
    ]


def test_every_line_has_one_width_and_fits_a_terminal() -> None:
    titles = ["INVITE", "100 Trying", "503 Service Unavailable", "x" * 60]
    rungs = draw(*((side, passage(title, sent=sent)) for title in titles for side in Side for sent in (True, False)))
    assert {len(rung) for rung in rungs} == {77}
    assert len(Ladder().heading()) <= 80


def test_heading_stands_above_the_four_lines() -> None:
    heading = Ladder().heading()
    (line,) = draw((Side.INSIDE, passage("INVITE", sent=True)))
    assert line[heading.index("inside phone") :][:12].count("│") == 1
    assert line[heading.index("agent") :][:5].count("│") == 1
    assert line[heading.index("server") :][:6].count("│") == 1
    assert line[heading.index("outside phone") :][:13].count("│") == 1


def test_status_of_the_message_comes_with_the_line() -> None:
    ladder = Ladder()
    assert ladder.draw(Side.INSIDE, passage("INVITE", sent=True)).status == 0
    assert ladder.draw(Side.INSIDE, passage("486 Busy Here", sent=False)).status == 486
