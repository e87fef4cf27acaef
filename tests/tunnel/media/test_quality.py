"""Quality figures: those of the interval, those of the truth, and none where nothing was measured (3-#14, T25)."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.rtp import rtcp_packet, rtp_packet

from tunnel.media.quality import StreamMeter, mos, r_factor


def feed(meter: StreamMeter, sequences: list[int], jitter_ms: float = 0.0, ssrc: int = 1) -> None:
    dice = random.Random(1)
    for sequence in sequences:
        late = dice.uniform(0, jitter_ms) / 1000
        meter.receive_untrusted(rtp_packet(sequence, ssrc), 50.0 + sequence * 0.02 + late)


def test_a_clean_stream() -> None:
    meter = StreamMeter(50.0, clock_hz=8000)
    feed(meter, list(range(100)))
    interval = meter.read(52.0)
    assert (interval.packets, interval.lost, interval.reordered, interval.duplicates) == (100, 0, 0, 0)
    assert interval.loss == 0.0
    assert interval.jitter_ms == pytest.approx(0.0, abs=0.01)
    assert interval.payload_bytes == 17200


def test_loss_is_of_the_interval_and_passes() -> None:
    meter = StreamMeter(50.0)
    feed(meter, [n for n in range(200) if n % 20])
    first = meter.read(54.0)
    assert first.lost == 9  # the loss of the very first packet cannot be seen
    feed(meter, list(range(200, 300)))
    assert meter.read(56.0).loss == 0.0


def test_loss_between_two_intervals_belongs_to_the_second() -> None:
    meter = StreamMeter(50.0)
    feed(meter, list(range(10)))
    assert meter.read(50.2).lost == 0
    feed(meter, list(range(15, 20)))
    assert meter.read(50.4).lost == 5


def test_nothing_heard_is_not_loss_and_has_no_mos() -> None:
    interval = StreamMeter(0.0).read(5.0)
    assert interval.loss is None
    assert mos(100, interval.loss) is None


def test_reordered_and_duplicate_packets() -> None:
    meter = StreamMeter(50.0)
    feed(meter, [0, 1, 3, 2, 4, 4, 5])
    interval = meter.read(51.0)
    assert (interval.packets, interval.lost, interval.reordered, interval.duplicates) == (6, 0, 1, 1)


def test_the_sequence_wraps() -> None:
    meter = StreamMeter(50.0)
    feed(meter, list(range(65500, 65600)))
    assert meter.read(52.0).lost == 0


def test_a_new_ssrc_is_a_new_beginning_and_not_loss() -> None:
    meter = StreamMeter(50.0)
    feed(meter, list(range(50)))
    feed(meter, list(range(3000, 3050)), ssrc=2)
    interval = meter.read(52.0)
    assert (interval.packets, interval.lost) == (100, 0)


def test_jitter_is_that_of_rfc_3550() -> None:
    meter = StreamMeter(50.0, clock_hz=8000)
    feed(meter, list(range(500)), jitter_ms=30.0)
    jitter = meter.read(60.0).jitter_ms
    assert jitter is not None
    assert jitter == pytest.approx(10.0, abs=3.0)  # the mean difference of two uniform 0-30 ms delays


@pytest.mark.parametrize("jitter_ms", [0.0, 30.0])
def test_the_clock_rate_is_found_out(jitter_ms: float) -> None:
    known, unknown = StreamMeter(50.0, clock_hz=8000), StreamMeter(50.0)
    feed(known, list(range(500)), jitter_ms)
    feed(unknown, list(range(500)), jitter_ms)
    assert unknown.read(60.0).jitter_ms == pytest.approx(known.read(60.0).jitter_ms, abs=0.1)


def test_rtcp_on_the_same_port_is_not_counted() -> None:
    meter = StreamMeter(50.0)
    meter.receive_untrusted(rtcp_packet(), 50.0)
    assert meter.read(51.0).packets == 0


@given(st.lists(st.binary(max_size=40)))
def test_any_packets_are_survived(packets: list[bytes]) -> None:
    meter = StreamMeter(0.0)
    for packet in packets:
        meter.receive_untrusted(packet, 0.0)
        meter.receive_untrusted(b"\x80\x00" + packet, 0.0)
    assert meter.read(1.0).lost >= 0


def test_the_e_model_at_its_defaults() -> None:
    assert r_factor(0, 0) == pytest.approx(93.2, abs=0.05)
    assert r_factor(100, 0) == pytest.approx(90.7, abs=0.05)
    assert mos(0, 0.0) == pytest.approx(4.41, abs=0.01)
    assert mos(140, 0.05) == pytest.approx(3.78, abs=0.01)
    assert mos(400, 0.02) == pytest.approx(2.85, abs=0.01)
    assert mos(400, 1.0) == 1.0


@given(st.floats(0, 2000), st.floats(0, 1))
def test_a_mos_is_between_1_and_4_5_and_falls_with_loss(delay_ms: float, loss: float) -> None:
    value, worse = mos(delay_ms, loss), mos(delay_ms, min(1.0, loss + 0.05))
    assert value is not None
    assert worse is not None
    assert 1.0 <= worse <= value <= 4.5


# --- T25: the figures are those of the truth -----------------------------------------------------------------------

PACKET_S = 0.02


def reference_jitter_ms(arrivals: list[tuple[float, int]]) -> float:
    """RFC 3550 section 6.4.1 to the letter: in order of arrival, whatever the sequence."""
    jitter = 0.0
    for (at, number), (before, previous) in zip(arrivals[1:], arrivals, strict=False):
        jitter += (abs(at - before - (number - previous) * PACKET_S) * 1000 - jitter) / 16
    return jitter


def arrive(
    meter: StreamMeter, loss: float, delay_s: Callable[[int], float], packets: int = 1500
) -> list[tuple[float, int]]:
    """A minute's half of a stream that loses and delays; returns when which packet arrived."""
    dice = random.Random(7)
    sent = [(50.0 + n * PACKET_S + delay_s(n), n) for n in range(packets) if n == 0 or dice.random() >= loss]
    for at, number in sorted(sent):
        meter.receive_untrusted(rtp_packet(number), at)
    return sorted(sent)


@pytest.mark.parametrize("percent", [0, 1, 3, 5])
def test_injected_loss_is_reported_within_half_a_point(percent: int) -> None:
    """T25, 3-#14: 0, 1, 3 and 5 % of the packets lost on the way to this point, with jitter beside it."""
    meter = StreamMeter(50.0)
    arrived = arrive(meter, percent / 100, lambda n: (n % 3) * 0.004)
    interval = meter.read(80.0)
    truth = 1 - len(arrived) / 1500
    assert interval.loss is not None
    assert interval.loss == pytest.approx(truth, abs=0.005)
    assert interval.packets == len(arrived)


@pytest.mark.parametrize("jitter_ms", [0, 5, 20, 50])
def test_injected_jitter_is_reported_within_two_milliseconds(jitter_ms: int) -> None:
    """T25, 3-#14: every other packet late by so much, also when that changes their order."""
    meter = StreamMeter(50.0, clock_hz=8000)
    arrived = arrive(meter, 0.0, lambda n: n % 2 * jitter_ms / 1000)
    interval = meter.read(80.0)
    assert interval.jitter_ms == pytest.approx(reference_jitter_ms(arrived), abs=2.0)
    if jitter_ms < 20:  # else they overtake one another, and consecutive arrivals differ by more
        assert interval.jitter_ms == pytest.approx(jitter_ms, abs=2.0)
    assert interval.lost == 0


def test_random_jitter_and_loss_together() -> None:
    """T25: as networks are; the clock rate is found out, not told."""
    dice = random.Random(3)
    meter = StreamMeter(50.0)
    arrived = arrive(meter, 0.03, lambda n: dice.uniform(0, 0.05))
    interval = meter.read(80.0)
    assert interval.jitter_ms == pytest.approx(reference_jitter_ms(arrived), abs=2.0)
    assert interval.reordered > 0


def test_loss_is_seen_behind_the_segment_that_lost_and_nowhere_before() -> None:
    """T25, 3-#14: what the tunnel lost shows after it; the LAN leg before it stays clean."""
    before, after = StreamMeter(50.0), StreamMeter(50.0)
    arrive(before, 0.0, lambda n: 0.0)
    arrive(after, 0.05, lambda n: 0.0)
    assert before.read(80.0).loss == 0.0
    lost = after.read(80.0).loss
    assert lost is not None
    assert lost == pytest.approx(0.05, abs=0.02)


def test_there_is_no_score_before_there_is_a_measurement() -> None:
    """T25: no MOS of 1 or 4.5 for a stream that nobody has heard: none at all."""
    interval = StreamMeter(50.0).read(55.0)
    assert (interval.loss, interval.jitter_ms, mos(20.0, interval.loss)) == (None, None, None)
    meter = StreamMeter(50.0)
    arrive(meter, 0.0, lambda n: 0.0, packets=250)
    measured = mos(20.0, meter.read(55.0).loss)
    assert measured is not None
    assert measured == pytest.approx(4.4, abs=0.1)
