from __future__ import annotations

import trio

from tunnel.call_book import CallBook
from tunnel.sip.half import CallAnswered, CallClosed, CallOpened


def test_calls_are_counted_by_direction() -> None:
    book = CallBook()
    book.note(CallOpened(1, b"a", outbound=True))
    book.note(CallOpened(2, b"b", outbound=False))
    book.note(CallAnswered(1, 0.5))
    assert book.active == book.total == {"outbound": 1, "inbound": 1}
    book.note(CallClosed(1, 0, 10.0))
    assert (book.active, book.total) == ({"inbound": 1}, {"outbound": 1, "inbound": 1})
    assert (len(book), book.answered) == (1, 1)


def test_a_close_that_comes_twice_counts_once() -> None:
    book = CallBook()
    book.note(CallOpened(1, b"a", outbound=True))
    book.note(CallClosed(1, 0, 1.0))
    book.note(CallClosed(1, 0, 1.0))
    assert len(book) == 0


async def test_everybody_who_waits_for_the_end_is_told() -> None:
    book = CallBook()
    book.note(CallOpened(1, b"a", outbound=True))
    told: list[int] = []

    async def wait(number: int) -> None:
        await book.wait_empty()
        told.append(number)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait, 1)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(wait, 2)
        await trio.testing.wait_all_tasks_blocked()
        assert not told
        book.note(CallClosed(1, 0, 1.0))
    assert sorted(told) == [1, 2]


async def test_without_a_call_nobody_waits() -> None:
    with trio.fail_after(1):
        await CallBook().wait_empty()
