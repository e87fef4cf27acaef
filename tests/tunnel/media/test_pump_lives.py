"""Many lives of calls with real sockets on a virtual clock: whatever happens in them, no port and no socket is left."""

from __future__ import annotations

import os
import random
import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from support.media_pair import sdp
from support.pump_world import Tunnel

from tunnel.counters import Counters
from tunnel.errors import WallpassError
from tunnel.link.frames import Sinks
from tunnel.media.body import SipBody
from tunnel.media.channels import AGENT_CHANNELS, SERVER_CHANNELS, ChannelSpace
from tunnel.media.exchange import Carriage, Side
from tunnel.media.lease import QUARANTINE_S, PortLedger
from tunnel.media.offer_answer import ROOT, CallMedia
from tunnel.media.plane import LedgerFull
from tunnel.media.pump import FaceAddress, Pump
from tunnel.media.streams import FaceRules

LIVES = 1000  # 20,000 take a minute or two and find no more
NET = f"127.{os.getpid() % 250 + 1}"
PAIRS = 40


class Ledger(PortLedger):
    """Tells when a port comes back too early, or is refused too late."""

    def __init__(self, low: int) -> None:
        super().__init__(low, low + 2 * PAIRS - 1)
        self.rests_since: dict[int, float] = {}
        self.refused = 0

    def take(self, call: int, now: float) -> int:
        try:
            pair = super().take(call, now)
        except LedgerFull:
            self.refused += 1
            assert self.held + self.resting >= PAIRS * 0.9, "refused though there is room"
            raise
        assert now >= self.rests_since.get(pair, -QUARANTINE_S) + QUARANTINE_S, "a port was reused within 30 s"
        return pair

    def release(self, pair: int, now: float) -> None:
        super().release(pair, now)
        self.rests_since[pair] = now


class End:
    def __init__(self, host: str, channels: range, low: int, clock: Callable[[], float]) -> None:
        self.host = host
        self.ledger = Ledger(low)
        self.sinks = Sinks()
        self.counters = Counters()
        faces = (FaceAddress(host, host),)
        self.pump = Pump(faces, self.ledger, Tunnel(), self.sinks, self.counters, clock=clock)
        self.channels = ChannelSpace(channels)
        self.rules = FaceRules(host, None, False, lambda ip: ip.startswith("127."), lambda ip: False)


class Lives:
    """Calls that live at the same time, each a pair of CallMedia, and chance."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        self.now = 1000.0
        low = 40000 + seed * 1000
        self.agent = End(f"{NET}.1.1", AGENT_CHANNELS, low, lambda: self.now)
        self.server = End(f"{NET}.2.1", SERVER_CHANNELS, low + 500, lambda: self.now)
        self.ends = (self.agent, self.server)
        self.calls: list[tuple[CallMedia, CallMedia]] = []
        self.begun = 0
        self.squatter: socket.socket | None = None

    def step(self) -> None:
        self.now += self.dice.expovariate(1.0)
        what = self.dice.random()
        if what < 0.25:
            self.begin()
        elif what < 0.80 and self.calls:
            self.say(self.dice.choice(self.calls))
        elif what < 0.95 and self.calls:
            self.end(self.calls.pop(self.dice.randrange(len(self.calls))))
        elif what < 0.97:
            self.squat()
        for end in self.ends:
            end.pump.tend(self.now)

    def begin(self) -> None:
        """An INVITE from either side; some are never answered."""
        self.begun += 1
        call = tuple(CallMedia(self.begun, end.pump, end.channels, end.rules, end.counters) for end in self.ends)
        self.calls.append((call[0], call[1]))
        self.pass_on(self.calls[-1], ROOT, Carriage.OPENING, self.dice.random() < 0.5)

    def say(self, call: tuple[CallMedia, CallMedia]) -> None:
        """Previews, answers, forks, re-INVITEs, failures of them, 199, and answers that nobody expected."""
        fork = self.dice.choice([ROOT, b"b1", b"b1", b"b2"])
        chance = self.dice.random()
        if chance < 0.7:
            self.pass_on(call, fork, self.dice.choice(list(Carriage)), self.dice.random() < 0.5)
        elif chance < 0.8:
            for media in call:
                media.settle(fork, self.now)
        elif chance < 0.9:
            for media, side in zip(call, self.dice.sample(list(Side), 2), strict=True):
                media.roll_back(fork, side, self.now)
        else:
            self.dice.choice(call).drop_fork(fork, 2.0, self.now)

    def pass_on(self, call: tuple[CallMedia, CallMedia], fork: bytes, carriage: Carriage, outbound: bool) -> None:
        near, far = call if outbound else call[::-1]
        media = [f"{self.dice.choice(['audio', 'video'])} {self.dice.choice([0, 6000, 6002])} RTP/AVP 0"] * (
            self.dice.choice([1, 1, 2])
        )
        host = self.dice.choice([f"{NET}.3.7", "10.9.9.9", "0.0.0.0", f"{NET}.2.1"])
        body = SipBody(sdp(host, *media, session=self.dice.choice(["", "", "a=inactive"])))
        with suppress(WallpassError):
            channels = near.hear(fork, body, host, self.now, carriage)
            if self.dice.random() < 0.95:  # else the message is lost with its link
                far.speak(fork, body, channels, self.now, carriage)

    def end(self, call: tuple[CallMedia, CallMedia]) -> None:
        """BYE, CANCEL, failure; or at one end only, and the other notices much later."""
        linger_s = self.dice.choice([5.0, 2.0, 0.0])
        first, second = self.dice.sample(call, 2)
        first.close(linger_s, self.now)
        if self.dice.random() < 0.3:
            self.now += self.dice.uniform(0, 10)
        second.close(linger_s, self.now)

    def squat(self) -> None:
        """Somebody else has an odd port of the range for a while."""
        if self.squatter is not None:
            self.squatter.close()
            self.squatter = None
            return
        low = min(self.server.ledger.rests_since, default=0)
        if low:
            self.squatter = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            with suppress(OSError):
                self.squatter.bind((self.server.host, low + 1))

    def finish(self) -> None:
        """The session ends: calls whose BYE was lost go with it."""
        for call in self.calls:
            for media in call:
                media.close(0.0, self.now)
        if self.squatter is not None:
            self.squatter.close()
        self.now += 10.0
        for end in self.ends:
            end.pump.tend(self.now)


@pytest.mark.parametrize("seed", range(2))
async def test_lives_of_calls_leave_no_port_and_no_socket(seed: int) -> None:
    """3-#13, T12, T13: any life ends with 0 leases and 0 sockets; no port comes back within 30 s; refused in time."""
    before = len(os.listdir(Path("/proc/self/fd")))
    lives = Lives(seed)
    opened = len(os.listdir(Path("/proc/self/fd"))) - before  # the two epoll sets
    while lives.begun < LIVES // 2:
        lives.step()
    lives.finish()
    for end in lives.ends:
        assert (end.pump.leases, end.pump.sockets, end.ledger.held, end.channels.in_use) == (0, 0, 0, 0)
        assert not end.sinks
    assert len(os.listdir(Path("/proc/self/fd"))) == before + opened
    for end in lives.ends:
        end.pump.close()
    assert len(os.listdir(Path("/proc/self/fd"))) == before
    assert lives.server.ledger.refused > 0
    assert lives.server.counters["media.port_taken"] > 0
