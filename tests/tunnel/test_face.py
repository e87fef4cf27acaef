"""Which stream connections a face closes: a stranger's at once, and never one by which something was let in."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import trio
from support.face_sockets import options

from tunnel.address import Address
from tunnel.counters import Counters
from tunnel.face import Face
from tunnel.sip.flow import Flow
from tunnel.sip.half import FaceIndex
from tunnel.sip.policy import Admit, Answer, Drop, Purpose

LOCAL, PEER = Address("203.0.113.2", 5060), Address("203.0.113.40", 40000)
DROP = Drop("sip.dropped.unknown_source")
LET_IN = [Answer(480, "Temporarily Unavailable"), Admit(Purpose.TRUNK)]


class Bench:
    """A face with listeners that only note which connections they should close."""

    def __init__(self) -> None:
        self.verdict: Admit | Answer | Drop = DROP
        self.hung_up: list[int] = []
        self.counters = Counters()
        ignore = SimpleNamespace(request=lambda *_: None, response=lambda *_: None, transport_failed=lambda *_: None)
        seat: Any = SimpleNamespace(proxy=ignore, settle=lambda: None)
        self.index = FaceIndex()
        self.face = Face(
            index=self.index,
            gate=lambda message, flow, now: (seat, self.verdict),
            seat=lambda number: seat,
            known=lambda flow: False,
            counters=self.counters,
            entropy=bytes,
        )
        listeners: Any = SimpleNamespace(
            hang_up=lambda flow: self.hung_up.append(flow.connection), send=lambda data, flow: None
        )
        self.face.use(listeners)

    def hear(self, data: bytes, connection: int = 7, transport: str = "tcp") -> None:
        self.face.deliver(data, Flow(transport, LOCAL, PEER, connection))
        assert self.counters["internal.errors"] == 0


@pytest.fixture
async def bench() -> Bench:
    await trio.lowlevel.checkpoint()
    return Bench()


async def test_a_stranger_is_hung_up_on(bench: Bench) -> None:
    bench.hear(options())
    assert bench.hung_up == [7]


async def test_nonsense_from_a_stranger_ends_its_connection(bench: Bench) -> None:
    bench.hear(b"GET / HTTP/1.1\r\n\r\n")
    assert bench.hung_up == [7]


@pytest.mark.parametrize("verdict", LET_IN)
async def test_a_connection_by_which_something_was_let_in_stays(bench: Bench, verdict: Admit | Answer) -> None:
    bench.verdict = verdict
    bench.hear(options(1))
    bench.verdict = DROP
    bench.hear(options(2))
    bench.hear(b"GET / HTTP/1.1\r\n\r\n")
    assert bench.hung_up == []
    bench.hear(options(3), connection=8)
    assert bench.hung_up == [8]


async def test_a_connection_by_which_we_were_answered_stays(bench: Bench) -> None:
    bench.index.branches[b"z9hG4bKours"] = 1
    head = options().split(b"\r\n", 1)[1].replace(b"z9hG4bK1", b"z9hG4bKours")
    bench.hear(b"SIP/2.0 100 Trying\r\n" + head)
    bench.hear(options())
    assert bench.hung_up == []


async def test_what_a_connection_was_is_forgotten_with_it(bench: Bench) -> None:
    bench.verdict = LET_IN[0]
    bench.hear(options(1))
    bench.face.failed("tcp", PEER, 7, "closed")
    bench.verdict = DROP
    bench.hear(options(2))
    assert bench.hung_up == [7]
