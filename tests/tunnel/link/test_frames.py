"""Frames: what goes in comes out, whatever the cuts; any bytes are harmless."""

from __future__ import annotations

import functools

from hypothesis import given
from hypothesis import strategies as st

from tunnel.link.frames import (
    CLOCK,
    CLOCK_FRAME_BYTES,
    FIRST_MEDIA_CHANNEL,
    HEADER,
    LENGTHS,
    LINK,
    MAX_PACKET_BYTES,
    STAMP,
    Sinks,
    channel_header,
    clock_frame,
    dispatch_untrusted,
    frame,
)

channels = st.integers(FIRST_MEDIA_CHANNEL, 65535)


class Ear:
    """Sinks for every channel that write down what they hear."""

    def __init__(self) -> None:
        self.heard: list[tuple[int, bytes]] = []
        self.sinks = Sinks()

    def listen(self, *wanted: int) -> Sinks:
        for channel in wanted:
            self.sinks[channel] = functools.partial(self._hear, channel)
        return self.sinks

    def _hear(self, channel: int, packet: bytes) -> None:
        self.heard.append((channel, packet))


def test_media_frames_reach_their_sinks_in_order() -> None:
    """N1: a channel and a length before each packet, nothing else."""
    ear = Ear()
    sinks = ear.listen(16, 17)
    buffer = frame(16, b"one") + frame(17, b"") + frame(16, b"three")
    assert dispatch_untrusted(buffer, sinks) == len(buffer)
    assert ear.heard == [(16, b"one"), (17, b""), (16, b"three")]


def test_dispatch_stops_before_a_frame_that_is_not_media() -> None:
    ear = Ear()
    media = frame(16, b"one")
    assert dispatch_untrusted(media + frame(LINK, b"control") + media, ear.listen(16)) == len(media)
    assert ear.heard == [(16, b"one")]


def test_packets_of_an_unknown_channel_are_counted_and_the_rest_goes_on() -> None:
    ear = Ear()
    sinks = ear.listen(18)
    dispatch_untrusted(frame(16, b"?") + frame(18, b"!") + frame(16, b"?"), sinks)
    assert ear.heard == [(18, b"!")]
    assert sinks.unknown == 2


def test_a_sink_that_the_kernel_refuses_loses_its_packet_only() -> None:
    ear = Ear()
    sinks = ear.listen(18)

    def refuse(packet: bytes) -> None:
        raise ConnectionRefusedError

    sinks[16] = refuse
    dispatch_untrusted(frame(16, b"lost") + frame(18, b"heard"), sinks)
    assert ear.heard == [(18, b"heard")]
    assert sinks.failed == 1


def test_ready_made_header_halves_make_the_same_frame() -> None:
    for packet in (b"", b"x" * 172, b"y" * MAX_PACKET_BYTES):
        assert channel_header(300) + LENGTHS[len(packet)] + packet == frame(300, packet)


def test_a_clock_frame_holds_milliseconds_modulo_2_to_the_32() -> None:
    whole = clock_frame(2**32 / 1000 + 1.5)
    assert len(whole) == CLOCK_FRAME_BYTES
    assert HEADER.unpack_from(whole) == (CLOCK, 4)
    assert STAMP.unpack_from(whole, 4) == (1500,)


@given(st.lists(st.tuples(channels, st.binary(max_size=40))), st.integers(1, 50))
def test_frames_survive_any_cutting_of_the_stream(packets: list[tuple[int, bytes]], size: int) -> None:
    ear = Ear()
    sinks = ear.listen(*{channel for channel, _ in packets})
    stream = b"".join(frame(channel, packet) for channel, packet in packets)
    rest = b""
    for start in range(0, len(stream), size):
        rest += stream[start : start + size]
        rest = rest[dispatch_untrusted(rest, sinks) :]
    assert rest == b""
    assert ear.heard == packets


@given(st.binary(max_size=300), st.integers(0, 310))
def test_any_bytes_are_harmless(data: bytes, at: int) -> None:
    sinks = Sinks()
    assert at <= dispatch_untrusted(data, sinks, at) <= max(at, len(data))
