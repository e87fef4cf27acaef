"""Every tune can be told from every other, from silence and from noise."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunnel.errors import LocalMisuse
from tunnel.softphone.tune import (
    FRAME_SAMPLES,
    FRAMES_PER_TUNE,
    TUNES,
    Tune,
    decode_tune,
    decode_ulaw,
    encode_ulaw,
    note_of_frame,
)

numbers = st.integers(0, TUNES - 1)


def listen(frames: list[bytes]) -> int | None:
    heard: dict[int, Counter[int]] = {}
    for slot, frame in enumerate(frames):
        note = note_of_frame(frame)
        if note is not None:
            heard.setdefault(slot % FRAMES_PER_TUNE, Counter())[note] += 1
    return decode_tune(heard)


@given(number=numbers, start=st.integers(0, 200))
def test_tune_is_recognised_wherever_one_begins_to_listen(number: int, start: int) -> None:
    tune = Tune(number)
    assert listen([tune.frame(start + index) for index in range(FRAMES_PER_TUNE)]) == number


def test_less_than_a_whole_tune_is_none() -> None:
    tune = Tune(100)
    assert listen([tune.frame(index) for index in range(FRAMES_PER_TUNE - 1)]) is None


@given(number=numbers)
def test_tune_is_recognised_at_a_tenth_of_its_loudness_and_with_hiss(number: int) -> None:
    dice = random.Random(number)
    tune = Tune(number)
    frames = [
        bytes(encode_ulaw(decode_ulaw(byte) // 10 + dice.randint(-150, 150)) for byte in tune.frame(index))
        for index in range(FRAMES_PER_TUNE)
    ]
    assert listen(frames) == number


@pytest.mark.parametrize("frame", [b"\xff" * FRAME_SAMPLES, b"\x00" * FRAME_SAMPLES, b"", b"\xff" * 80])
def test_silence_and_odd_sizes_are_no_note(frame: bytes) -> None:
    assert note_of_frame(frame) is None


def test_noise_is_no_note() -> None:
    dice = random.Random(5)
    assert not any(note_of_frame(dice.randbytes(FRAME_SAMPLES)) is not None for _ in range(200))


def test_two_tunes_at_once_are_neither() -> None:
    one, other = Tune(311), Tune(1822)
    mixed = [
        bytes(
            encode_ulaw(decode_ulaw(a) + decode_ulaw(b)) for a, b in zip(one.frame(i), other.frame(i + 7), strict=True)
        )
        for i in range(FRAMES_PER_TUNE)
    ]
    assert listen(mixed) not in (311, 1822)


def test_mu_law_round_trip_keeps_every_byte() -> None:
    negative_zero = 0x7F
    assert all(encode_ulaw(decode_ulaw(byte)) == byte for byte in range(256) if byte != negative_zero)
    assert decode_ulaw(negative_zero) == 0


@pytest.mark.parametrize("number", [-1, TUNES])
def test_there_is_no_such_tune(number: int) -> None:
    with pytest.raises(LocalMisuse, match=str(number)):
        Tune(number)
