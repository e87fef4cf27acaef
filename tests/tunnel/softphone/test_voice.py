"""What an ear makes of a stream: content, time, gaps; whatever the network did to it."""

from __future__ import annotations

import random
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunnel.softphone.tune import FRAME_SAMPLES, Tune
from tunnel.softphone.voice import Ear, Mouth

FRAME_S = 0.02


def speak(seconds: float, tune: int = 1234, timestamp: int = 0) -> tuple[Mouth, list[bytes]]:
    mouth = Mouth(Tune(tune), ssrc=0xCAFE, sequence=5, timestamp=timestamp)
    return mouth, [mouth.speak(index * FRAME_S) for index in range(round(seconds / FRAME_S))]


def hear(packets: list[bytes]) -> Ear:
    ear = Ear()
    for index, packet in enumerate(packets):
        ear.hear_untrusted(packet, index * FRAME_S)
    return ear


@pytest.mark.parametrize("timestamp", [0, 2**32 - 800, 2**32 - 7])
def test_whole_stream_is_heard_to_the_last_frame(timestamp: int) -> None:
    _, packets = speak(2.0, timestamp=timestamp)
    verdict = hear(packets).verdict()
    assert verdict.tune == 1234
    assert verdict.tune_s == pytest.approx(2.0)
    assert verdict.foreign_s == 0
    assert verdict.longest_gap_ms == pytest.approx(0, abs=0.01)


def test_stream_that_lost_a_fifth_and_came_out_of_order_is_still_its_tune() -> None:
    dice = random.Random(3)
    _, packets = speak(3.0)
    kept = [packet for packet in packets if dice.random() > 0.2]
    for index in range(0, len(kept) - 1, 7):
        kept[index], kept[index + 1] = kept[index + 1], kept[index]
    verdict = hear(kept).verdict()
    assert verdict.tune == 1234
    assert verdict.tune_s == pytest.approx(len(kept) * FRAME_S)


def test_gap_is_what_is_missing_between_two_packets() -> None:
    _, packets = speak(2.0)
    ear = Ear()
    for index, packet in enumerate(packets):
        if not 30 <= index < 50:
            ear.hear_untrusted(packet, index * FRAME_S)
    assert ear.verdict().longest_gap_ms == pytest.approx(400)


def test_duplicates_are_counted_and_heard_once() -> None:
    _, packets = speak(1.0)
    ear = hear([packet for packet in packets for _ in range(2)])
    assert ear.duplicates == len(packets)
    assert len(ear.arrivals) == len(packets)
    assert ear.verdict().tune_s == pytest.approx(1.0)


def test_silence_and_the_tune_of_somebody_else_are_foreign() -> None:
    _, ours = speak(2.0)
    stranger = Mouth(Tune(9), ssrc=1, sequence=0, timestamp=0)
    theirs = [stranger.speak(0) for _ in range(30)]
    silence = [struct.pack("!BBHII", 0x80, 0, index, index * 160, 2) + b"\xff" * 160 for index in range(10)]
    verdict = hear(ours + theirs + silence).verdict()
    assert verdict.tune == 1234
    assert verdict.foreign_s == pytest.approx(0.8)


def test_nothing_heard_is_no_tune() -> None:
    verdict = Ear().verdict()
    assert (verdict.tune, verdict.tune_s, verdict.foreign_s) == (None, 0, 0)


def test_logs_of_both_sides_agree_beyond_65536_packets() -> None:
    mouth = Mouth(Tune(0), ssrc=1, sequence=32767, timestamp=0)
    ear = Ear()
    for index in range(70_000):
        packet = mouth.speak(index * FRAME_S)
        if index > 2:
            ear.hear_untrusted(packet, index * FRAME_S)
    assert ear.arrivals.keys() == set(list(mouth.departures)[3:])
    assert ear.duplicates == 0


def test_skipped_frames_leave_no_packet_and_keep_the_time() -> None:
    mouth = Mouth(Tune(50), ssrc=1, sequence=0, timestamp=0)
    packets = [mouth.speak(0)]
    for _ in range(10):
        mouth.skip()
    packets.append(mouth.speak(0.22))
    first, second = (struct.unpack_from("!BBHII", packet) for packet in packets)
    assert second[3] - first[3] == 11 * FRAME_SAMPLES
    assert len(mouth.departures) == 2


def test_jitter_of_an_even_stream_is_none_and_of_an_uneven_one_some() -> None:
    _, packets = speak(2.0)
    assert hear(packets).jitter_ms == pytest.approx(0, abs=0.001)
    ear = Ear()
    for index, packet in enumerate(packets):
        ear.hear_untrusted(packet, index * FRAME_S + (index % 2) * 0.008)
    assert ear.jitter_ms == pytest.approx(8, rel=0.1)


@given(st.lists(st.binary(max_size=400), max_size=30))
def test_any_datagrams_are_borne(datagrams: list[bytes]) -> None:
    ear = Ear()
    for datagram in datagrams:
        ear.hear_untrusted(datagram, 0.0)
        ear.hear_untrusted(b"\x80\x00" + datagram, 0.0)
    ear.verdict()
