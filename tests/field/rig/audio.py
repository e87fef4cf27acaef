"""Tones made, coded, and recognised again: what a party plays, and what an ear heard. Plain Python, 8,000 Hz mono.

A recording is judged in steps of 20 ms. A step holds the right tone, a wrong tone, something else, or silence; what it
holds is measured with Goertzel's algorithm, which gives the strength of one frequency without a whole spectrum.
"""

from __future__ import annotations

import math
import wave
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

__all__ = [
    "RATE_HZ",
    "Hearing",
    "from_ulaw",
    "goertzel",
    "is_finished",
    "listen",
    "read_wav",
    "to_ulaw",
    "tone",
    "write_wav",
]

RATE_HZ = 8000
STEP_SAMPLES = 160  # 20 ms, one RTP packet: a lost packet is a lost step

# Ours. A pure tone keeps over nine tenths of its energy within one Goertzel bin of a 20 ms step wherever it lies;
# G.711 adds noise at -38 dB; half leaves room for a packet that joins two pieces of the tone.
_SHARE_OF_TONE = 0.5
_SILENCE_DBFS = -45.0
_FULL_SCALE = 32768.0


@dataclass(frozen=True, slots=True)
class Hearing:
    """What an ear heard. Seconds of each kind; the level of the right tone's steps; and its gaps.

    `longest_gap_ms` is the longest stretch without the right tone between its first and its last step; `gap_at_s` is
    where it began. `first_s` and `last_s` bound the right tone in the recording (0 and 0 if it never sounded).
    """

    right_s: float
    wrong_s: float
    other_s: float
    silent_s: float
    level_dbfs: float
    longest_gap_ms: float
    gap_at_s: float
    first_s: float
    last_s: float


def tone(frequency_hz: float, duration_s: float, level_dbfs: float = -12.0) -> array[int]:
    """A sine of that frequency whose effective (RMS) level is `level_dbfs`, as 16-bit samples."""
    peak = _FULL_SCALE * math.sqrt(2) * 10 ** (level_dbfs / 20)
    step = 2 * math.pi * frequency_hz / RATE_HZ
    return array("h", (round(peak * math.sin(step * n)) for n in range(int(duration_s * RATE_HZ))))


def goertzel(samples: Sequence[int], frequency_hz: float) -> float:
    """The mean energy per sample, in squared sample units, that `samples` hold at `frequency_hz`."""
    coefficient = 2 * math.cos(2 * math.pi * frequency_hz / RATE_HZ)
    before = last = 0.0
    for sample in samples:
        before, last = last, sample + coefficient * last - before
    power = before * before + last * last - coefficient * before * last
    return 2 * power / (len(samples) ** 2)


def listen(samples: Sequence[int], right_hz: float, wrong_hz: Sequence[float] = ()) -> Hearing:
    """Judge a recording: where `right_hz` sounds, where any of `wrong_hz` does, and how long the right one is missing."""
    steps = [samples[at : at + STEP_SAMPLES] for at in range(0, len(samples) - STEP_SAMPLES + 1, STEP_SAMPLES)]
    kinds = [_kind(step, right_hz, wrong_hz) for step in steps]
    seconds = {kind: kinds.count(kind) * STEP_SAMPLES / RATE_HZ for kind in ("right", "wrong", "other", "silent")}
    right_energies = [_energy(step) for step, kind in zip(steps, kinds, strict=True) if kind == "right"]
    first = kinds.index("right") if right_energies else 0
    last = len(kinds) - kinds[::-1].index("right") if right_energies else 0
    gap_steps, gap_at = _longest_gap(kinds[first:last])
    return Hearing(
        right_s=seconds["right"],
        wrong_s=seconds["wrong"],
        other_s=seconds["other"],
        silent_s=seconds["silent"],
        level_dbfs=_dbfs(sum(right_energies) / len(right_energies)) if right_energies else -math.inf,
        longest_gap_ms=gap_steps * STEP_SAMPLES * 1000 / RATE_HZ,
        gap_at_s=(first + gap_at) * STEP_SAMPLES / RATE_HZ,
        first_s=first * STEP_SAMPLES / RATE_HZ,
        last_s=last * STEP_SAMPLES / RATE_HZ,
    )


def _kind(step: Sequence[int], right_hz: float, wrong_hz: Sequence[float]) -> str:
    energy = _energy(step)
    if _dbfs(energy) < _SILENCE_DBFS:
        return "silent"
    if any(goertzel(step, frequency) > _SHARE_OF_TONE * energy for frequency in wrong_hz):
        return "wrong"
    return "right" if goertzel(step, right_hz) > _SHARE_OF_TONE * energy else "other"


def _longest_gap(kinds: Sequence[str]) -> tuple[int, int]:
    """Length and place, in steps, of the longest run without the right tone."""
    longest, place, at = 0, 0, 0
    for is_right, run in groupby(kinds, lambda kind: kind == "right"):
        length = len(list(run))
        if not is_right and length > longest:
            longest, place = length, at
        at += length
    return longest, place


def _energy(step: Sequence[int]) -> float:
    return sum(sample * sample for sample in step) / len(step)


def _dbfs(energy: float) -> float:
    return 10 * math.log10(max(energy, 1e-9) / _FULL_SCALE**2)


def write_wav(path: Path, samples: array[int]) -> None:
    with wave.open(str(path), "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(RATE_HZ)
        out.writeframes(samples.tobytes())


def read_wav(path: Path) -> array[int]:
    """The samples of a 16-bit mono recording at 8,000 Hz; `ValueError` for any other.

    The length fields are not believed: a recorder that was ended by a signal never came to fill them in.
    """
    data = path.read_bytes()
    if len(data) < 44 or data[:4] != b"RIFF":
        raise ValueError(f"{path}: not a wave file")
    channels, rate = int.from_bytes(data[22:24], "little"), int.from_bytes(data[24:28], "little")
    if (channels, rate, int.from_bytes(data[34:36], "little")) != (1, RATE_HZ, 16):
        raise ValueError(f"{path}: {channels} channels at {rate} Hz")
    start = data.index(b"data", 12) + 8
    return array("h", data[start : len(data) - (len(data) - start) % 2])


def is_finished(path: Path) -> bool:
    """Whether the recorder has filled in the lengths, which it does last."""
    data = path.read_bytes()
    return len(data) >= 44 and int.from_bytes(data[4:8], "little") == len(data) - 8


def _ulaw_to_linear(code: int) -> int:
    code = ~code & 0xFF
    magnitude = ((((code & 0x0F) << 3) + 0x84) << ((code & 0x70) >> 4)) - 0x84
    return -magnitude if code & 0x80 else magnitude


def _linear_to_ulaw(sample: int) -> int:
    magnitude = min(abs(sample), 32635) + 0x84
    exponent = magnitude.bit_length() - 8
    code = (0x80 if sample < 0 else 0) | exponent << 4 | magnitude >> (exponent + 3) & 0x0F
    return ~code & 0xFF


_LINEAR = array("h", (_ulaw_to_linear(code) for code in range(256)))


def from_ulaw(payload: bytes) -> array[int]:
    """G.711 mu-law octets to 16-bit samples."""
    return array("h", (_LINEAR[code] for code in payload))


def to_ulaw(samples: Sequence[int]) -> bytes:
    return bytes(_linear_to_ulaw(sample) for sample in samples)
