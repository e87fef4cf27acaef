"""The outbox: whole batches while the line is free, classes and deadlines when it is not (N2)."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tunnel.counters import Counters
from tunnel.link.frames import CLOCK, HEADER, MAX_BATCH_BYTES, MAX_RECORD_BYTES, STAMP, clock_frame, frame
from tunnel.link.outbox import MAX_WAITING_BYTES, Outbox
from tunnel.link.priority import Classifier, Priority

NOW = 100.0
AUDIO, VIDEO = 16, 18
DTMF_TYPE = 101


def rtp(size: int = 172, payload_type: int = 0) -> bytes:
    return bytes((0x80, payload_type)).ljust(size, b"x")


def audio(payload_type: int = 0, size: int = 172) -> bytes:
    return frame(AUDIO, rtp(size, payload_type))


def video(size: int = 1000) -> bytes:
    return frame(VIDEO, rtp(size, 96))


DTMF = audio(DTMF_TYPE)
RTCP = frame(AUDIO + 1, bytes((0x81, 200)).ljust(60, b"x"))


def make() -> tuple[Outbox, Counters]:
    classifier, counters = Classifier(), Counters()
    classifier.set_class(AUDIO, Priority.AUDIO, [DTMF_TYPE])
    classifier.set_class(VIDEO, Priority.OTHER, [])
    return Outbox(classifier, counters), counters


def unstamped(record: list[bytes]) -> tuple[list[bytes], list[float]]:
    """The media frames of a record, and for each the arrival that was stamped before it."""
    data, at, stamp = b"".join(record), 0, -1.0
    frames: list[bytes] = []
    stamps: list[float] = []
    while at < len(data):
        channel, length = HEADER.unpack_from(data, at)
        whole = data[at : at + 4 + length]
        at += 4 + length
        if channel == CLOCK:
            stamp = STAMP.unpack_from(whole, 4)[0] / 1000
        else:
            frames.append(whole)
            stamps.append(stamp)
    return frames, stamps


def test_a_batch_leaves_whole_behind_its_clock() -> None:
    outbox, _ = make()
    batch = audio() + RTCP + video()
    outbox.add_media(batch, NOW)
    assert outbox.take_media(MAX_RECORD_BYTES, NOW + 0.001) == [clock_frame(NOW), batch]
    assert outbox.take_media(MAX_RECORD_BYTES, NOW + 0.001) == []
    assert outbox.waiting_bytes == 0


def test_a_full_batch_still_leaves_whole() -> None:
    outbox, _ = make()
    batch = video(MAX_BATCH_BYTES - 4)
    outbox.add_media(batch, NOW)
    assert outbox.take_media(MAX_BATCH_BYTES + 8, NOW)[1] is batch


def test_media_wait_for_a_record_of_their_own_rather_than_squeeze_behind_signalling() -> None:
    outbox, _ = make()
    batch = audio() * 80
    outbox.add_media(batch, NOW)
    assert outbox.take_media(8000, NOW, can_wait=True) == []
    assert outbox.take_media(MAX_RECORD_BYTES, NOW)[1] is batch


def test_under_back_pressure_dtmf_and_rtcp_overtake_audio_and_video() -> None:
    outbox, _ = make()
    outbox.add_media(video(1500) * 20 + audio() * 20, NOW)
    outbox.add_media(audio() + DTMF + RTCP, NOW + 0.02)
    frames, stamps = unstamped(outbox.take_media(3000, NOW + 0.03))
    assert frames[:2] == [DTMF, RTCP]
    assert stamps[:2] == [NOW + 0.02] * 2
    assert frames[2:5] == [audio()] * 3
    assert stamps[2:5] == [NOW] * 3


def test_rtcp_on_the_rtp_port_is_urgent_too() -> None:
    classifier = Classifier()
    classifier.set_class(AUDIO, Priority.AUDIO, [])
    assert classifier.of(AUDIO, 200) is Priority.URGENT
    assert classifier.of(AUDIO, 0x80 | 8) is Priority.AUDIO
    assert classifier.of(AUDIO + 1, 0) is Priority.URGENT
    assert classifier.of(999, 0) is Priority.URGENT
    assert classifier.of(998, 0) is Priority.OTHER


def test_what_is_past_its_deadline_is_dropped_here_and_counted() -> None:
    outbox, counters = make()
    outbox.add_media((audio() * 3 + video() * 2 + DTMF) * 10, NOW)
    frames, _ = unstamped(outbox.take_media(MAX_RECORD_BYTES, NOW + 0.1))
    assert frames[:10] == [DTMF] * 10
    assert audio() not in frames
    assert frames.count(video()) > 0
    assert counters["link.late_dropped.audio"] == 30
    outbox.take_media(MAX_RECORD_BYTES, NOW + 0.13)
    assert counters["link.late_dropped.other"] == 20 - frames.count(video())
    assert outbox.waiting_bytes == 0


def test_an_old_batch_is_taken_apart_even_if_it_fits() -> None:
    outbox, counters = make()
    outbox.add_media(audio() + DTMF, NOW)
    assert unstamped(outbox.take_media(MAX_RECORD_BYTES, NOW + 0.5)) == ([DTMF], [NOW])
    assert counters["link.late_dropped.audio"] == 1


def test_dtmf_has_2_s() -> None:
    outbox, counters = make()
    outbox.add_media(DTMF * 2, NOW)
    assert unstamped(outbox.take_media(300, NOW + 1.99))[0] == [DTMF]
    assert outbox.take_media(300, NOW + 2.0) == []
    assert counters["link.late_dropped.urgent"] == 1


def test_video_that_wants_everything_leaves_audio_three_quarters_and_gets_one() -> None:
    outbox, _ = make()
    for _ in range(20):
        outbox.add_media(audio() * 40 + video() * 10, NOW)
    shares = {AUDIO: 0, VIDEO: 0}
    for _ in range(10):
        for media_frame in unstamped(outbox.take_media(MAX_RECORD_BYTES, NOW + 0.01))[0]:
            shares[HEADER.unpack_from(media_frame)[0]] += len(media_frame)
    assert 2.5 < shares[AUDIO] / shares[VIDEO] < 3.5


def test_without_a_connection_only_dtmf_and_rtcp_are_kept() -> None:
    outbox, counters = make()
    outbox.keep_urgent(audio() * 5 + DTMF + RTCP + video(), NOW)
    assert unstamped(outbox.take_media(MAX_RECORD_BYTES, NOW + 1))[0] == [DTMF, RTCP]
    assert counters["link.dropped_while_down"] == 6


def test_what_waits_is_bounded_and_the_least_urgent_goes_first() -> None:
    outbox, counters = make()
    for _ in range(30):
        outbox.add_media(audio() * 100 + video() * 30 + DTMF, NOW)
    assert outbox.waiting_bytes <= MAX_WAITING_BYTES
    assert counters["link.overflow_dropped.other"] > 0
    assert counters["link.overflow_dropped.audio"] == 0


def test_a_peer_that_asks_and_never_reads_cannot_fill_the_memory() -> None:
    outbox, _ = make()
    for number in range(1000):
        outbox.add_control(b"%d" % number)
    assert outbox.take_control()[-1] == b"999"
    assert outbox.take_control() == []


batches = st.lists(
    st.sampled_from([audio(), DTMF, RTCP, video(), video(2048), audio(size=13)]), min_size=1, max_size=60
)


@given(st.lists(st.tuples(batches, st.floats(0, 0.05), st.integers(0, 3), st.integers(2100, MAX_RECORD_BYTES))))
def test_every_packet_leaves_in_time_or_is_counted(
    script: list[tuple[list[bytes], float, int, int]],
) -> None:
    outbox, counters = make()
    now, added, left = NOW, 0, 0
    for batch, pause, takes, room in script:
        now += pause
        outbox.add_media(b"".join(batch), now)
        added += len(batch)
        for _ in range(takes):
            record = outbox.take_media(room, now)
            assert sum(map(len, record)) <= room
            frames, stamps = unstamped(record)
            left += len(frames)
            for media_frame, stamp in zip(frames, stamps, strict=True):
                limit = {audio(): 0.08, audio(size=13): 0.08, video(): 0.12, video(2048): 0.12}.get(media_frame, 2.0)
                assert now - stamp < limit + 0.002
    for _ in range(300):
        left += len(unstamped(outbox.take_media(MAX_RECORD_BYTES, now))[0])
    assert added == left + sum(counters.values.values())
    assert outbox.waiting_bytes == 0


def test_what_a_stream_lost_by_being_late_is_known_of_that_stream() -> None:
    """L12, N2: late drops are counted by stream, its RTCP included, until the stream is closed."""
    outbox, counters = make()
    outbox.add_media(audio() + video() + RTCP, NOW)
    outbox.add_media(audio(), NOW + 1.0)
    outbox.take_media(10, NOW + 1.05)
    assert (outbox.dropped(AUDIO), outbox.dropped(VIDEO), outbox.dropped(20)) == (1, 1, 0)
    outbox.take_media(10, NOW + 3.0)
    assert outbox.dropped(AUDIO) == 3
    assert counters["link.late_dropped.audio"] + counters["link.late_dropped.urgent"] == 3
    outbox.forget(AUDIO)
    assert outbox.dropped(AUDIO) == 0
