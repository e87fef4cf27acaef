"""A million mutated messages against both listeners, and a million mutated descriptions against both ends' media.

    bytes -> first bytes or framing -> face -> half proxy -> wall -> half proxy -> what leaves
    SDP   -> heard by one end -> channels -> spoken by the other

Each loop fails on any exception but those that say "refused", on an input that takes over ``MOST_S`` seconds of CPU, on an
inside address in a place that is ours to hide, and on anything left over when all is said. The same seed gives the same
inputs.
"""

from __future__ import annotations

import gc
import random
import re
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from fuzz.mutate import SDP_WORDS, Mutator
from support.calls import INSIDE, OUTSIDE, PBX
from support.faces import AGENT, AGENT6, SERVER, SERVER6
from support.hostile import STRANGER, face_of, real_messages, stop_the_clock, talking
from support.media_pair import MediaPair
from support.messages import refused

from tunnel.address import Address
from tunnel.errors import BadPacket
from tunnel.media.body import SipBody, find_sdp_untrusted
from tunnel.media.exchange import Carriage
from tunnel.media.plane import CannotRelay, LedgerFull
from tunnel.sip.flow import Flow
from tunnel.sip.framing import DatagramKind, StreamFramer, classify_datagram
from tunnel.sip.response import build_response
from tunnel.sip.stun import answer_binding_untrusted

__all__ = ["Outcome", "besiege_media", "besiege_sip"]

MOST_S = 1.0
INPUTS_A_WORLD = 400  # then all of it must be forgotten, and another one begins
HOSTS = [INSIDE, INSIDE, PBX, OUTSIDE, OUTSIDE, STRANGER, "fd00:1::50", "2001:db8::40", "10.9.9.9"]
KINDS = [b"application/sdp"] * 12 + [b"", b"multipart/mixed;boundary=b", b"multipart/mixed;boundary=unique-boundary-1"]
INSIDE_SDP = re.compile(
    rb"(?m)^(?:o=.*[ \t]|c=.*|a=(?:rtcp|candidate|remote-candidates|source-filter|acap:[0-9]+ candidate)[: ].*)"
    rb"10\.1\.0\.[0-9]+[ \t]*\r?$"
)
NAMES = ("example.com", "example.net", "example.org", "registrar.example.com", "host5.example.net", "company.com")

Progress = Callable[["Outcome"], None]


@dataclass
class Outcome:
    """What became of the inputs so far."""

    inputs: int = 0
    slowest_s: float = 0.0
    slowest: bytes = b""
    counts: Counter[str] = field(default_factory=Counter)

    def timed(self, data: bytes, seconds: float) -> None:
        self.inputs += 1
        if seconds > self.slowest_s:
            self.slowest_s, self.slowest = seconds, data
        assert seconds < MOST_S, f"{seconds:.2f} s for {data!r}"

    def add(self, other: Outcome) -> None:
        self.inputs += other.inputs
        self.counts += other.counts
        if other.slowest_s > self.slowest_s:
            self.slowest_s, self.slowest = other.slowest_s, other.slowest


class _Listeners:
    """Both faces of a world, taking what a socket would bring."""

    def __init__(self, outcome: Outcome) -> None:
        self.world, self.calls = talking()
        self.world.names.update(dict.fromkeys(NAMES, OUTSIDE))
        self.outcome = outcome
        self._faces = {outside: face_of(self.world, outside) for outside in (False, True)}

    def seeds(self) -> list[bytes]:
        """What the parties of this world said, and answers to what they got."""
        said = [data for call in self.calls for _, data in call.sent]
        asked = [message for call in self.calls for got in call.got.values() for message in got if message.is_request]
        answers = [
            build_response(message, status, "Odd", b"to%d" % status, [b"Contact: <sip:me@10.1.0.60>"])
            for message in asked
            for status in (180, 200, 302, 401, 486)
        ]
        return [*said, *answers]

    def take(self, host: str, transport: str, data: bytes, rng: random.Random) -> None:
        """One datagram or one connection's bytes."""
        outside = not host.startswith(("10.", "fd00"))
        if outside:  # whatever of ours then shows outside has come from inside
            data = data.replace(b"10.1.", b"10.7.").replace(b"fd00:1:", b"fd00:7:")
        ipv6 = ":" in host
        at = (SERVER6 if ipv6 else SERVER) if outside else (AGENT6 if ipv6 else AGENT)
        flow = Flow(transport, at, Address(host, 5060), 0 if transport == "udp" else rng.randint(1, 3))
        face, listeners = self._faces[outside]
        try:
            if transport == "udp":
                kind = classify_datagram(data)
                self.outcome.counts[f"datagram {kind.value}"] += 1
                if kind is DatagramKind.SIP:
                    face._deliver_untrusted(data, flow)
                elif kind is DatagramKind.STUN:
                    answer_binding_untrusted(data, flow.remote)
            else:
                cut = rng.randrange(len(data) + 1)
                framer = StreamFramer()
                for piece in (data[:cut], data[cut:]):
                    for framed in framer.feed_untrusted(piece, self.world.now):
                        self.outcome.counts["framed"] += 1
                        if isinstance(framed, bytes):
                            face._deliver_untrusted(framed, flow)
                assert framer.buffered_bytes <= 64 * 1024 + len(data)
        except BadPacket:
            self.outcome.counts["refused by the framer"] += 1
        if listeners.sent:
            self.outcome.counts["answered by the face"] += len(listeners.sent)
            listeners.sent.clear()

    def close(self) -> None:
        """Time passes until all is over; nothing is left."""
        world = self.world
        for messages in (world.take_lan(), world.take_public()):
            self.outcome.counts.update(f"sent {message.status or 'request'}" for _, message in messages)
        world.wait(4000)
        for side in (world.lan_side, world.public_side):
            for name, count in side.counters.values.items():
                self.outcome.counts[name] += count
            side.proxy.close(world.now)
            left = [side.plane.held, side.plane.ties, side.channels.in_use, side.proxy.transactions]
            left += [side.index.transactions, side.index.branches, side.index.dialogs]
            assert not any(left), (side.outside, left)


def besiege_sip(count: int, seed: int, progress: Progress | None = None) -> Outcome:
    """``count`` mutated messages through the listeners of both ends."""
    rng = random.Random(seed)
    standing = [*real_messages(101), *refused.values()]
    outcome = Outcome()
    listeners: _Listeners
    with pytest.MonkeyPatch.context() as patch:
        stop_the_clock(patch, lambda: listeners.world.now)
        while outcome.inputs < count:
            listeners = _Listeners(outcome)
            mutator = Mutator(rng, [*standing, *listeners.seeds()])
            for _ in range(min(INPUTS_A_WORLD, count - outcome.inputs)):
                host = rng.choice(HOSTS)
                data = mutator.one()
                start = time.thread_time()
                try:
                    listeners.take(host, "udp" if rng.random() < 0.8 else "tcp", data, rng)
                except BaseException as error:
                    error.add_note(f"seed {seed}, input {outcome.inputs}, from {host}: {data!r}")
                    raise
                outcome.timed(data, time.thread_time() - start)
                if rng.random() < 0.1:
                    listeners.world.wait(rng.choice((0.1, 1, 40)))
            listeners.close()
            gc.collect()  # so that it does not count as some input's time
            if progress is not None:
                progress(outcome)
    return outcome


def besiege_media(count: int, seed: int, seeds: list[bytes], progress: Progress | None = None) -> Outcome:
    """``count`` mutated descriptions, heard at one end and spoken by the other, a few to a call."""
    rng = random.Random(seed)
    outcome = Outcome()
    mutator = Mutator(rng, seeds, SDP_WORDS)
    carriages = list(Carriage)
    while outcome.inputs < count:
        pair = MediaPair(public6="2001:db8::10", capacity=40)
        for _ in range(min(rng.randint(1, 12), count - outcome.inputs)):
            body = SipBody(mutator.one(), rng.choice(KINDS), rng.choice((b"", b"", b"", b"", b"gzip")))
            near, far = (pair.agent, pair.server) if rng.random() < 0.5 else (pair.server, pair.agent)
            fork, carriage = rng.choice((b"", b"b1", b"b2")), rng.choice(carriages)
            pair.now += 0.1
            start = time.thread_time()
            try:
                channels = near.media.hear(fork, body, "10.1.0.20", pair.now, carriage)
                spoken = far.media.speak(fork, body, channels, pair.now, carriage)
                outcome.counts["relayed" if channels else "no SDP"] += 1
                if channels and far is pair.server:
                    for found in find_sdp_untrusted(SipBody(spoken, body.content_type)):
                        assert not INSIDE_SDP.search(spoken[found.start : found.end]), spoken
            except (CannotRelay, LedgerFull, BadPacket) as error:
                outcome.counts[f"{type(error).__name__} {getattr(error, 'status', '')}"] += 1
            except BaseException as error:
                error.add_note(f"seed {seed}, input {outcome.inputs}: {body!r}")
                raise
            outcome.timed(body.content, time.thread_time() - start)
            if rng.random() < 0.2:
                pair.settle(fork)
            elif rng.random() < 0.2:
                pair.fail(rng.choice(("inside", "outside")), fork)
        pair.close()
        pair.assert_nothing_left()
        if progress is not None and outcome.inputs % 1000 < 12:
            progress(outcome)
    return outcome
