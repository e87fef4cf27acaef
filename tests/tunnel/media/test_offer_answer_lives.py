"""Any life of a call, legal or not: nothing leaks, ports do not move, and only the allowed spans change (T12, 3-#13)."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import TypeAlias

from hypothesis import given, settings
from hypothesis import strategies as st
from support.media_pair import MediaPair, sdp

from tunnel.errors import WallpassError
from tunnel.media.body import SipBody
from tunnel.media.exchange import Carriage
from tunnel.media.offer_answer import ROOT

FORKS = st.sampled_from([ROOT, b"b1", b"b2", b"b3"])
SIDES = st.sampled_from(["inside", "outside"])
HOSTS = st.sampled_from(
    ["10.1.0.20", "198.51.100.7", "0.0.0.0", "192.168.1.1", "2001:db8::7", "x.invalid", "a.example"]
)
LINES = st.sampled_from(
    [
        "a=sendonly",
        "a=rtcp-mux",
        "a=rtcp:9000",
        "a=mid:0",
        "a=mid:1",
        "a=bundle-only",
        "a=candidate:1 1 UDP 1 10.1.0.20 9 typ host",
    ]
)
MEDIUM = st.builds(
    lambda head, port, lines: "|".join([head.format(port), *lines]),
    st.sampled_from(["audio {} RTP/AVP 0", "video {} RTP/SAVPF 96", "image {} udptl t38", "message {} TCP/MSRP *"]),
    st.sampled_from([0, 0, 4000, 4000, 4002, 4004]),
    st.lists(LINES, max_size=3, unique=True),
)
SDPS = st.builds(
    lambda host, media, session: sdp(host, *media, session=session),
    HOSTS,
    st.lists(MEDIUM, max_size=4),
    st.sampled_from(["", "a=group:BUNDLE 0 1", "a=group:BUNDLE 1 0", "a=inactive"]),
)
STEPS = st.one_of(
    st.tuples(st.just("say"), SIDES, SDPS, st.sampled_from(Carriage), FORKS),
    st.tuples(st.just("say"), SIDES, SDPS, st.sampled_from(Carriage), FORKS),
    st.tuples(st.just("lose"), SIDES, SDPS, st.sampled_from(Carriage), FORKS),
    st.tuples(st.just("settle"), FORKS),
    st.tuples(st.just("fail"), SIDES, FORKS),
    st.tuples(st.just("drop"), FORKS),
    st.tuples(st.just("forget"), SIDES, FORKS),
)
Step: TypeAlias = tuple[object, ...]

_ADDRESS = re.compile(rb"(?m)(?:(?<=^c=IN )|(?<=^o=- 1 1 IN ))IP[46] [^\r\n]*")
_PORT = re.compile(rb"(?m)^(m=\w+ |a=rtcp:)\d+")
_CANDIDATE = re.compile(rb"(?m)^a=candidate:[^\r\n]*\r\n")


def untouchable(body: bytes) -> bytes:
    """The body without the spans that a face may change."""
    return _CANDIDATE.sub(b"", _PORT.sub(rb"\1", _ADDRESS.sub(b"", body)))


def live(pair: MediaPair, step: Step) -> None:
    match step:
        case "say", str(side), bytes(body), Carriage() as carriage, bytes(fork):
            said = getattr(pair, side)(body, carriage, fork)
            assert untouchable(said) == untouchable(body)
        case "lose", str(side), bytes(body), Carriage() as carriage, bytes(fork):
            near = pair.agent if side == "inside" else pair.server  # the message does not reach the other end
            near.media.hear(fork, SipBody(body), "203.0.113.5", pair.now, carriage)
        case "settle", bytes(fork):
            pair.settle(fork)
        case "fail", str(side), bytes(fork):
            pair.fail(side, fork)
        case "drop", bytes(fork):
            for end in (pair.agent, pair.server):
                end.media.drop_fork(fork, 2.0, pair.now)
        case "forget", str(side), bytes(fork):  # the other end has not heard of it yet
            end = pair.agent if side == "inside" else pair.server
            end.media.drop_fork(fork, 2.0, pair.now)


@given(st.lists(STEPS, max_size=25), st.sampled_from([1, 3, 100]))
@settings(max_examples=300, deadline=None)
def test_any_life_ends_with_no_lease_tie_or_channel(steps: list[Step], capacity: int) -> None:
    pair = MediaPair(public6="2001:db8::10", capacity=capacity)
    for step in steps:
        with suppress(WallpassError):
            live(pair, step)
    pair.close()
    pair.assert_nothing_left()


@given(st.lists(STEPS, max_size=15), SIDES, SDPS, FORKS)
@settings(max_examples=200, deadline=None)
def test_the_same_words_again_get_the_same_bytes_and_no_new_port(
    steps: list[Step], side: str, body: bytes, fork: bytes
) -> None:  # I2, I3
    pair = MediaPair()
    for step in steps:
        with suppress(WallpassError):
            live(pair, step)
    with suppress(WallpassError):
        first = getattr(pair, side)(body, Carriage.OPENING, fork)
        held = dict(pair.agent.plane.held), dict(pair.server.plane.held)
        assert getattr(pair, side)(body, Carriage.OPENING, fork) == first
        assert (pair.agent.plane.held, pair.server.plane.held) == held
