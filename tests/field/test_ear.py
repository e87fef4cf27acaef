"""The ear plays RTP as a phone would: in its place by timestamp, late audio late or never, gaps as long as they were."""

from __future__ import annotations

import struct
from collections.abc import Iterable

from field.rig.audio import listen, to_ulaw, tone
from field.rig.capture import Packet
from field.rig.ear import play, rtp_streams

FIRST_NUMBER, FIRST_STAMP = 65530, 2**32 - 1000  # both wrap within the stream
VOICE = to_ulaw(tone(440, 4.0))


def rtp(index: int, at: float, port: int = 20000, ssrc: int = 7) -> Packet:
    """Packet `index` of a stream of 20 ms packets, arriving at `at`."""
    number, stamp = (FIRST_NUMBER + index) % 2**16, (FIRST_STAMP + 160 * index) % 2**32
    payload = struct.pack("!BBHII", 0x80, 0, number, stamp, ssrc) + VOICE[index * 160 : index * 160 + 160]
    return Packet(at, "203.0.113.10", port, "203.0.113.40", 16000, 17, payload, b"")


def gap_ms(packets: Iterable[Packet]) -> float:
    (stream,) = rtp_streams(packets)
    return listen(play(stream), 440).longest_gap_ms


def test_steady_stream_is_heard_whole() -> None:
    (stream,) = rtp_streams(rtp(n, n * 0.02) for n in range(150))
    assert listen(play(stream), 440).right_s == 3.0
    assert gap_ms(rtp(n, n * 0.02) for n in range(150)) == 0


def test_jitter_within_the_buffer_is_not_heard() -> None:
    assert gap_ms(rtp(n, n * 0.02 + (n % 3) * 0.02) for n in range(150)) == 0


def test_lost_packets_are_a_gap_of_their_length() -> None:
    assert gap_ms(rtp(n, n * 0.02) for n in range(150) if not 50 <= n < 75) == 500


def test_held_back_audio_is_a_gap_until_it_comes() -> None:
    """A path that stops for 400 ms and then delivers everything at once: what a phone's buffer cannot take is not heard."""
    arrivals = [rtp(n, max(n * 0.02, 1.4) if n >= 50 else n * 0.02) for n in range(150)]
    assert 340 <= gap_ms(arrivals) <= 480


def test_lasting_delay_is_heard_after_one_gap() -> None:
    arrivals = [rtp(n, n * 0.02 + (0.2 if n >= 50 else 0)) for n in range(150)]
    (stream,) = rtp_streams(arrivals)
    hearing = listen(play(stream), 440)
    assert 180 <= hearing.longest_gap_ms <= 260
    assert hearing.right_s >= 2.9


def test_duplicates_and_disorder_are_heard_once() -> None:
    order = [n ^ 1 for n in range(150)]
    arrivals = [packet for place, n in enumerate(order) for packet in (rtp(n, place * 0.02), rtp(n, place * 0.02))]
    (stream,) = rtp_streams(arrivals)
    assert 2.9 <= listen(play(stream), 440).right_s <= 3.0


def test_streams_are_told_apart_by_address_port_and_ssrc() -> None:
    mixed = [rtp(0, 0.0), rtp(0, 0.0, port=20002), rtp(0, 0.0, ssrc=8), rtp(1, 0.02)]
    assert [(s.source[1], s.ssrc, len(s.packets)) for s in rtp_streams(mixed)] == [
        (20000, 7, 2),
        (20002, 7, 1),
        (20000, 8, 1),
    ]
    assert rtp_streams(mixed, source="203.0.113.99") == []
    assert rtp_streams(mixed, target="203.0.113.99") == []


def test_what_is_not_pcmu_is_not_audio() -> None:
    packet = rtp(0, 0.0)
    others = [b"", b"INVITE sip:a@b SIP/2.0\r\n", b"\x80\xc8" + bytes(20), b"\x80\x65" + bytes(20)]
    assert rtp_streams(Packet(0.0, "a", 1, "b", 2, 17, payload, b"") for payload in others) == []
    assert rtp_streams([Packet(0.0, "a", 1, "b", 2, 6, packet.payload, b"")]) == []
