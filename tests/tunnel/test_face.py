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
        self.is_known = False
        self.hung_up: list[int] = []
        self.sent: list[bytes] = []
        self.failed: list[tuple[str, Address, int]] = []
        self.refused: list[bytes] = []
        self.counters = Counters()
        proxy = SimpleNamespace(
            request=lambda *_: None,
            response=lambda *_: None,
            refused=lambda branch, now: self.refused.append(branch),
            transport_failed=lambda *failure: self.failed.append(failure[:3]),
        )
        seat: Any = SimpleNamespace(proxy=proxy, settle=lambda: None)
        self.index = FaceIndex()
        self.face = Face(
            index=self.index,
            gate=lambda message, flow, now: (seat, self.verdict),
            seat=lambda number: seat,
            known=lambda flow: self.is_known,
            counters=self.counters,
            entropy=bytes,
        )
        listeners: Any = SimpleNamespace(
            hang_up=lambda flow: self.hung_up.append(flow.connection), send=lambda data, flow: self.sent.append(data)
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


async def test_a_stranger_gets_no_answer_to_its_keepalives(bench: Bench) -> None:
    """A5: STUN is answered for those who were let in, and shows nobody else that there is a SIP port."""
    way = Flow("udp", LOCAL, PEER)
    bench.hear(options(), connection=0, transport="udp")
    assert not bench.face.welcomes(way)
    bench.verdict = LET_IN[1]
    bench.hear(options(), connection=0, transport="udp")
    assert bench.face.welcomes(way)
    assert not bench.face.welcomes(Flow("udp", LOCAL, Address(PEER.host, 40001)))


async def test_a_request_that_comes_again_gets_the_same_answer(bench: Bench) -> None:
    """RFC 3261 section 8.2.7: an answer without a transaction has the same To tag each time."""
    bench.verdict = LET_IN[0]
    for number in (1, 1, 2):
        bench.hear(options(number), connection=0, transport="udp")
    first, again, _ = bench.sent
    assert first == again
    tags = [data.partition(b"\r\nTo: ")[2].partition(b"\r\n")[0].partition(b";tag=")[2] for data in bench.sent]
    assert tags[0] == tags[1] != tags[2] != b""


async def test_a_connection_that_is_gone_is_told_to_those_who_wait_for_an_answer_by_it(bench: Bench) -> None:
    """B7, RFC 3261 section 18.2.2: the half proxy that holds the transaction has to find another way."""
    bench.index.transactions[b"key", 1] = 5
    bench.face.failed("tcp", PEER, 7, "closed")
    assert bench.failed == [("tcp", PEER, 7)]


@pytest.mark.parametrize(
    ("change", "status", "counter"),
    [
        ((b"CSeq: 1 ", b"CSeq: x "), b"400", "bad_syntax"),
        ((b"CSeq: 1 OPTIONS", b"CSeq: 1 OPTIONS\r\nX: " + b"y" * 70_000), b"413", "too_big"),
    ],
)
async def test_a_known_peer_is_told_what_is_wrong_with_its_message(
    bench: Bench, change: tuple[bytes, bytes], status: bytes, counter: str
) -> None:
    """K: bad syntax 400, too big 413, each with a Warning and counted; a stranger hears nothing."""
    data = options().replace(*change)
    assert data != options()
    bench.hear(data, 0, "udp")
    assert bench.sent == []
    bench.is_known = True
    bench.hear(data, 0, "udp")
    (answer,) = bench.sent
    assert answer.startswith(b"SIP/2.0 " + status)
    assert b'\r\nWarning: 399 wallpass "' in answer
    assert bench.counters[f"sip.refused.{counter}"] == 1


@pytest.mark.parametrize(
    ("quoted", "proves"),
    [
        (
            b"INVITE sip:a@b SIP/2.0\r\nVia: SIP/2.0/UDP 203.0.113.2:5060;rport;branch=z9hG4bKours\r\nFrom: <sip:c@d",
            True,
        ),
        (
            b"INVITE sip:a@b SIP/2.0\r\nVia: SIP/2.0/UDP 203.0.113.2:5060;rport;branch=z9hG4bKguess\r\nFrom: <sip:",
            False,
        ),
        (b"INVITE sip:a@b SIP/2.0\r\nVia: SIP/2.0/UDP 203.0.113.2:5060;rport;branch=z9hG4bKou", False),
        (b"INVITE sip:a@b SIP/2.0\r\nVia: SIP/2.0/UDP x;branch=z9hG4bKx\r\nVia: a;branch=z9hG4bKours\r\n", False),
        (b"\xff\x00" * 500, False),
        (b"", False),
    ],
    ids=["ours", "a guess", "cut short", "not the top one", "junk", "nothing"],
)
async def test_only_our_branch_proves_that_a_port_refused(bench: Bench, quoted: bytes, proves: bool) -> None:
    """M1: ICMP can be forged by anybody; what it quotes must hold what nobody else knows."""
    bench.index.branches[b"z9hG4bKours"] = 1
    bench.face.refused(quoted)
    assert bench.refused == ([b"z9hG4bKours"] if proves else [])
    assert bench.counters["internal.errors"] == 0
