"""The analyser hears what is there: right tone, wrong tone, silence, gaps, level; and G.711 does not confuse it."""

from __future__ import annotations

import random
from array import array
from pathlib import Path

import pytest
from field.rig.audio import from_ulaw, goertzel, is_finished, listen, read_wav, to_ulaw, tone, write_wav
from field.rig.voices import VOICES_HZ, assert_heard


def silence(duration_s: float) -> array[int]:
    return array("h", [0] * int(duration_s * 8000))


@pytest.mark.parametrize("speaker", VOICES_HZ)
def test_each_voice_is_heard_as_itself_and_nobody_else(speaker: str) -> None:
    assert_heard(from_ulaw(to_ulaw(tone(VOICES_HZ[speaker], 1.0))), speaker, 1.0, longest_gap_ms=0)


@pytest.mark.parametrize("speaker", VOICES_HZ)
def test_two_voices_at_once_are_not_one(speaker: str) -> None:
    other = next(name for name in VOICES_HZ if name != speaker)
    mixed = array("h", (a + b for a, b in zip(tone(VOICES_HZ[speaker], 1.0), tone(VOICES_HZ[other], 1.0), strict=True)))
    with pytest.raises(AssertionError):
        assert_heard(mixed, speaker, 0.9)


def test_wrong_tone_is_told_from_silence_and_noise() -> None:
    noise = random.Random(1)
    recording = tone(440, 1.0) + tone(680, 0.5) + silence(0.4)
    recording += array("h", (noise.randrange(-9000, 9000) for _ in range(1600)))
    hearing = listen(recording, 440, [680])
    assert hearing.right_s == 1.0
    assert hearing.wrong_s == 0.5
    assert hearing.silent_s == pytest.approx(0.4)
    assert hearing.other_s == pytest.approx(0.2)


def test_longest_gap_is_between_first_and_last_sound_only() -> None:
    hearing = listen(silence(2) + tone(440, 1) + silence(0.3) + tone(440, 1) + silence(0.5) + tone(440, 1), 440)
    assert hearing.longest_gap_ms == 500
    assert hearing.gap_at_s == pytest.approx(4.3)
    assert hearing.first_s == 2.0
    assert hearing.last_s == pytest.approx(5.8)


def test_gap_within_a_step_counts_as_that_step() -> None:
    recording = tone(440, 1)
    recording[4000:4160] = array("h", [0] * 160)
    assert listen(recording, 440).longest_gap_ms == 20


@pytest.mark.parametrize("level_dbfs", [-30.0, -12.0, -3.1])
def test_level_is_the_effective_value(level_dbfs: float) -> None:
    assert listen(tone(440, 1, level_dbfs), 440).level_dbfs == pytest.approx(level_dbfs, abs=0.1)


def test_nothing_heard_is_no_right_tone() -> None:
    assert listen(array("h"), 440).right_s == 0
    hearing = listen(silence(1), 440)
    assert (hearing.right_s, hearing.silent_s, hearing.longest_gap_ms) == (0, 1.0, 0)


def test_goertzel_measures_one_frequency() -> None:
    step = tone(450, 0.02)
    energy = sum(sample * sample for sample in step) / len(step)
    assert goertzel(step, 450) == pytest.approx(energy, rel=0.01)
    assert goertzel(step, 1000) < energy / 100


def test_ulaw_keeps_every_code_but_the_second_zero() -> None:
    codes = [code for code in range(256) if code != 0x7F]
    assert to_ulaw(from_ulaw(bytes(codes))) == bytes(codes)
    assert from_ulaw(b"\x7f\xff") == array("h", [0, 0])
    assert from_ulaw(b"\x00\x80") == array("h", [-32124, 32124])


def test_recording_without_its_lengths_is_read(tmp_path: Path) -> None:
    path = tmp_path / "heard.wav"
    write_wav(path, tone(440, 0.5))
    assert read_wav(path) == tone(440, 0.5)
    assert is_finished(path)
    data = bytearray(path.read_bytes())
    data[4:8] = data[40:44] = bytes(4)
    path.write_bytes(data)
    assert not is_finished(path)
    assert read_wav(path) == tone(440, 0.5)
    path.write_bytes(b"nothing")
    with pytest.raises(ValueError, match="not a wave file"):
        read_wav(path)
