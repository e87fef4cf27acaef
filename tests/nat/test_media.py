"""Two-way audio through NATs: real pumps and sockets at both ends, NATs between them and the parties, an hour in a second."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import pytest
import trio
from support.call_rig import Call, CallRig, Party, eventually
from support.nat import KINDS, PORT_RESTRICTED, SYMMETRIC, Chain, Nat, Router
from support.nat_media import HiddenParty
from support.rtp import rtp_packet
from trio.testing import MockClock

from tunnel.address import Address
from tunnel.media.exchange import Carriage
from tunnel.media.offer_answer import ROOT

# L4 (c): so many packets of a party that is not where its SDP says are lost before it is believed.
LEARNING = 4


@pytest.fixture
async def rig() -> AsyncIterator[CallRig]:
    async with trio.open_nursery() as nursery:
        rig = CallRig(nursery)
        await rig.start()
        yield rig
        nursery.cancel_scope.cancel()
    rig.close()


def router(rig: CallRig, how: str) -> Router:
    if how == "CGN":
        return Chain(Nat("100.64.3.9", **SYMMETRIC), Nat(rig.net_host, **PORT_RESTRICTED, timeout_s=60))
    return Nat(rig.net_host, **KINDS[how])


class WorkerCall:
    """A worker outside behind a NAT calls a phone inside, or the phone calls it; both have each other's SDP."""

    def __init__(self, rig: CallRig, worker: HiddenParty, *, phone: Party | None = None, calls_in: bool = True) -> None:
        self.rig, self.worker = rig, worker
        self.phone = phone or rig.phone()
        self.call: Call = rig.call()
        self.version = 1
        if calls_in:
            self._offer_from_worker(Carriage.OPENING, ROOT)
        else:
            offered = self.call.inside(self.phone.offer(), Carriage.OPENING, ROOT)
            worker.hears(offered)
            self.phone.hears(self.call.outside(worker.offer(), source=worker.host, natted=True))
        self.call.settle()

    def _offer_from_worker(self, carriage: Carriage, fork: bytes, *below: str, answer: tuple[str, ...] = ()) -> None:
        offer = self.worker.offer(*below, version=self.version)
        self.phone.hears(self.call.outside(offer, carriage, fork, source=self.worker.host, natted=True))
        self.worker.hears(self.call.inside(self.phone.offer(*answer, version=self.version)))

    def again(self, *below: str, answer: tuple[str, ...] = ()) -> None:
        """A re-INVITE by the worker."""
        self.version += 1
        self._offer_from_worker(Carriage.OPENING, b"b1", *below, answer=answer)

    async def hears_worker(self, packets: int, lost: int = 0) -> None:
        """The worker says so many packets, one each 20 ms; all arrive but the first ``lost``."""
        self.phone.heard()
        said = []
        for _ in range(packets):
            said += self.worker.talk(1)
            await trio.sleep(0.02)
        await eventually_heard(lambda: [packet for packet, _ in self.phone.heard()], said[lost:])

    async def follows_worker(self) -> None:
        """The worker speaks from elsewhere: heard again within a second, and from then on whole (T17)."""
        self.phone.heard()
        said, got = [], []
        for _ in range(70):
            said += self.worker.talk(1)
            await trio.sleep(0.02)
            got += [packet for packet, _ in self.phone.heard()]
        assert len(got) >= 20
        assert got == said[-len(got) :]

    async def worker_hears(self, packets: int) -> None:
        self.worker.heard()
        await eventually_heard(self.worker.heard, self.phone.talk(packets))

    async def talk(self, lost: int = 0) -> None:
        """Both talk and are heard."""
        await self.hears_worker(20 + lost, lost)
        await self.worker_hears(20)

    def end(self) -> None:
        self.worker.close()
        self.call.close()


async def eventually_heard(heard: Callable[[], list[bytes]], said: list[bytes]) -> None:
    got: list[bytes] = []

    def is_complete() -> bool:
        got.extend(heard())
        return len(got) >= len(said)

    await eventually(is_complete)
    assert got == said


EVERY_KIND = pytest.mark.parametrize("how", [*KINDS, "CGN"])


@EVERY_KIND
@pytest.mark.parametrize("calls_in", [True, False])
async def test_a_worker_with_a_private_address_in_its_sdp(
    rig: CallRig, autojump_clock: MockClock, how: str, calls_in: bool
) -> None:
    """S3-4, S3-13: media go back to where they come from, whatever the NAT does with ports."""
    call = WorkerCall(rig, HiddenParty(rig, router(rig, how)), calls_in=calls_in)
    await call.talk(LEARNING)
    call.end()


@pytest.mark.parametrize(
    ("host", "port", "lost", "why"),
    [
        ("3.7", 41000, 0, "STUN told it the right address and a port that a symmetric NAT uses for nobody else"),
        ("3.99", 6000, LEARNING, "a static external address that was true last year"),
        ("2.1", 6000, LEARNING, "the server's own address"),
        ("9.9", 6000, LEARNING, "an address that media are never sent to"),
    ],
)
async def test_a_worker_that_found_out_wrongly_where_it_is(
    rig: CallRig, autojump_clock: MockClock, host: str, port: int, lost: int, why: str
) -> None:
    """S3-7, S4-17: STUN, UPnP and settings that are not true: two-way audio all the same."""
    net = rig.net_host.rsplit(".", 2)[0]
    worker = HiddenParty(rig, Nat(rig.net_host, **SYMMETRIC), claims=Address(f"{net}.{host}", port))
    call = WorkerCall(rig, worker)
    await call.talk(lost)
    call.end()


async def test_a_nat_that_changes_its_port_in_the_middle(rig: CallRig, autojump_clock: MockClock) -> None:
    """T17, S3-6: the router was restarted; the stream goes on from another port and is followed within a second."""
    home = Nat(rig.net_host, **SYMMETRIC)
    call = WorkerCall(rig, HiddenParty(rig, home))
    await call.talk(LEARNING)
    home.reboot()
    await call.follows_worker()
    await call.worker_hears(20)
    call.end()


async def test_a_nat_that_gets_another_address_in_the_middle(rig: CallRig, autojump_clock: MockClock) -> None:
    """S3-13: the worker's re-INVITE comes from there, and then its media do."""
    home = Nat(rig.net_host, **SYMMETRIC)
    call = WorkerCall(rig, HiddenParty(rig, home))
    await call.talk(LEARNING)
    home.reboot(f"{rig.net_host[:-1]}8")
    call.again()
    await call.follows_worker()
    await call.worker_hears(20)
    call.end()


@pytest.mark.parametrize("new_stream", [False, True])
@pytest.mark.parametrize("direction", ["inactive", "sendonly"])
async def test_a_hold_that_lasts_longer_than_the_nat_remembers(
    rig: CallRig, autojump_clock: MockClock, direction: str, new_stream: bool
) -> None:
    """S3-6, T16: two hours on hold, and the NAT forgets after 30 s; both hear each other after it."""
    answer = "inactive" if direction == "inactive" else "recvonly"
    call = WorkerCall(rig, HiddenParty(rig, Nat(rig.net_host, **SYMMETRIC)))
    await call.talk(LEARNING)
    call.again(f"a={direction}", answer=(f"a={answer}",))
    await trio.sleep(7200)
    call.again("a=sendrecv")
    if new_stream:
        call.worker.ssrc, call.worker.sequence = 0x99, 30_000
    await call.talk(LEARNING if new_stream else 0)
    call.end()


async def test_music_on_hold_reaches_a_worker_whose_nat_counts_it(rig: CallRig, autojump_clock: MockClock) -> None:
    """S3-6, L8: the worker says nothing for 10 minutes; most NATs are kept open by what comes in, and when nothing does,
    by a packet of ours."""
    home = Nat(rig.net_host, **PORT_RESTRICTED, inbound_refreshes=True)
    call = WorkerCall(rig, HiddenParty(rig, home))
    await call.talk(LEARNING)
    empty = 0
    for _ in range(600):
        await trio.sleep(1)
        empty += len([packet for packet in call.worker.heard() if not packet])
    assert 24 <= empty <= 40, "each 15 to 25 seconds"
    await call.worker_hears(20)
    call.end()


async def test_who_is_where_it_says_gets_no_packet_of_ours(rig: CallRig, autojump_clock: MockClock) -> None:
    """S3-5, L8: no NAT, no keep-alive: 0 packets in 10 minutes, on either side."""
    phone, trunk = rig.phone(), rig.trunk()
    call = rig.answered(phone, trunk)
    for one, other in ((phone, trunk), (trunk, phone)):
        said = one.talk(5)
        await eventually_heard(lambda other=other: [packet for packet, _ in other.heard()], said)  # type: ignore[misc]
    await trio.sleep(600)
    assert (phone.heard(), trunk.heard(), phone.heard_rtcp(), trunk.heard_rtcp()) == ([], [], [], [])
    call.close()


# On the LAN


def lan_call(rig: CallRig, offer: bytes, *, source: str = "", natted: bool = False) -> tuple[Call, Party, Address]:
    """A call from inside with that offer: the trunk, and where the agent wants the phone's media."""
    trunk, call = rig.trunk(), rig.call()
    trunk.hears(call.inside(offer, Carriage.OPENING, ROOT, source=source, natted=natted))
    answer = call.outside(trunk.offer())
    host = answer.partition(b"c=IN IP4 ")[2].partition(b"\r\n")[0].decode()
    call.settle()
    return call, trunk, Address(host, int(answer.partition(b"m=audio ")[2].split()[0]))


@pytest.mark.parametrize(("speaks_at", "lost"), [("1.50", 0), ("1.60", LEARNING)])
async def test_a_phone_that_speaks_from_elsewhere_than_it_listens(
    rig: CallRig, autojump_clock: MockClock, speaks_at: str, lost: int
) -> None:
    """S4-15, S3-8: from another port, or from another host that the agent talks to: heard, and sent to where it listens."""
    net = rig.lan_host.rsplit(".", 2)[0]
    listens, speaks = rig.phone(), rig.party(f"{net}.{speaks_at}")
    call, trunk, speaks.to = lan_call(rig, listens.offer())
    said = speaks.talk(20)
    await eventually_heard(lambda: [packet for packet, _ in trunk.heard()], said[lost:])
    said = trunk.talk(60)
    await eventually_heard(lambda: [packet for packet, _ in listens.heard()], said)
    assert speaks.heard() == []
    call.close()


async def test_a_phone_that_speaks_from_a_host_that_is_not_allowed(rig: CallRig, autojump_clock: MockClock) -> None:
    """S3-8: dropped and counted, however long it speaks."""
    listens, speaks = rig.phone(), rig.party(rig.foreign_host)
    call, trunk, speaks.to = lan_call(rig, listens.offer())
    speaks.talk(50)
    await eventually(lambda: rig.agent.counters["media.dropped.foreign"] == 50)
    assert trunk.heard() == []
    call.close()


@pytest.mark.parametrize(
    ("claims", "lost"),
    [
        (("192.168.77.10", 6000), LEARNING),  # the truth, which helps nobody
        (("203.0.113.1", 40000), LEARNING),  # the firewall's address, by STUN
        (("1.99", 6000), 0),  # the inner router's address with the port that STUN or a setting named
    ],
)
async def test_a_phone_behind_a_second_nat(
    rig: CallRig, autojump_clock: MockClock, claims: tuple[str, int], lost: int
) -> None:
    """S3-4, S3-7, S4-17: a symmetric NAT inside the LAN: it hears what is sent to where it was heard."""
    net = rig.lan_host.rsplit(".", 2)[0]
    host = claims[0] if claims[0].count(".") == 3 else f"{net}.{claims[0]}"
    inner = Nat(f"{net}.1.99", **SYMMETRIC)
    phone = HiddenParty(rig, inner, claims=Address(host, claims[1]))
    call, trunk, phone.to = lan_call(rig, phone.offer(), source=inner.public, natted=True)
    said = phone.talk(20)
    await eventually_heard(lambda: [packet for packet, _ in trunk.heard()], said[lost:])
    said = trunk.talk(60)
    await eventually_heard(phone.heard, said)
    phone.close()
    call.close()


async def test_a_stranger_on_the_way_is_heard_by_nobody(rig: CallRig, autojump_clock: MockClock) -> None:
    """T14: packets from another host to the port that a NAT hides a worker behind change nothing."""
    call = WorkerCall(rig, HiddenParty(rig, Nat(rig.net_host, **SYMMETRIC)))
    stranger = rig.party(rig.foreign_host)
    for n in range(50):
        stranger.send(rtp_packet(n), call.worker.to)
    await eventually(lambda: rig.server.counters["media.dropped.foreign"] == 50)
    await call.talk(LEARNING)
    call.end()
