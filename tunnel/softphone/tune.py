"""What a phone says: a tune of five notes that spells a number, so that an ear can tell it from anything else.

A tune is one marking note and four notes that are the digits of its number, base 7. Each note lasts 100 ms, five
packets of 20 ms; the tune repeats every half second. All notes are multiples of 50 Hz: a 20 ms frame of a note then has
the same 160 bytes, so that speaking is a table look-up and hearing is a cached Goertzel filter.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache, reduce

from tunnel.errors import LocalMisuse

__all__ = [
    "FRAMES_PER_TUNE",
    "FRAME_MS",
    "FRAME_SAMPLES",
    "SAMPLES_PER_S",
    "TUNES",
    "Tune",
    "decode_tune",
    "note_of_frame",
]

# RFC 3551 sections 4.2 and 4.5.14: PCMU, 8000 samples a second, one byte each.
SAMPLES_PER_S = 8000
FRAME_MS = 20
FRAME_SAMPLES = SAMPLES_PER_S * FRAME_MS // 1000
ULAW_BIAS = 0x84
ULAW_CLIP = 32635

# Ours: inside the telephone band, none a multiple of another, at least 250 Hz apart (20 ms tell 50 Hz apart).
NOTES_HZ = (450, 700, 950, 1250, 1550, 1850, 2150, 2500)
MARK = 0
DIGITS = 4
BASE = len(NOTES_HZ) - 1
TUNES: int = BASE**DIGITS
FRAMES_PER_NOTE = 5
NOTES_PER_TUNE = 1 + DIGITS
FRAMES_PER_TUNE = FRAMES_PER_NOTE * NOTES_PER_TUNE
# Ours: a tone of a quarter of full scale, as loud as speech; a note counts when it carries most of the frame's energy.
AMPLITUDE = 8000
NOTE_SHARE = 0.6
SILENCE_POWER = 100.0**2


@dataclass(frozen=True, slots=True)
class Tune:
    """The tune that spells ``number``, 0 to ``TUNES - 1``."""

    number: int

    def __post_init__(self) -> None:
        if not 0 <= self.number < TUNES:
            raise LocalMisuse(f"there is no tune {self.number}: they are numbered from 0 to {TUNES - 1}")

    @property
    def notes(self) -> tuple[int, ...]:
        """Which of ``NOTES_HZ`` follow one another, the mark first."""
        return (MARK, *(1 + self.number // BASE**place % BASE for place in reversed(range(DIGITS))))

    def frame(self, index: int) -> bytes:
        """The PCMU payload of the frame with this index since the tune began."""
        return note_frame(self.notes[index // FRAMES_PER_NOTE % NOTES_PER_TUNE])


def decode_tune(heard: Mapping[int, Counter[int]]) -> int | None:
    """The number a tune spells, or None when it is not one.

    ``heard`` counts, for each frame of the 25 of a tune and from an arbitrary start, which notes were heard there.
    """
    frames = [heard[slot].most_common(1)[0][0] if heard.get(slot) else None for slot in range(FRAMES_PER_TUNE)]
    for start in range(FRAMES_PER_TUNE):
        turned = frames[start:] + frames[:start]
        runs = [set(turned[first : first + FRAMES_PER_NOTE]) for first in range(0, FRAMES_PER_TUNE, FRAMES_PER_NOTE)]
        notes = [run.pop() for run in runs if len(run) == 1]
        digits = [note - 1 for note in notes[1:] if note is not None and note != MARK]
        if len(notes) == NOTES_PER_TUNE and notes[0] == MARK and len(digits) == DIGITS:
            return reduce(lambda number, digit: number * BASE + digit, digits)
    return None


@lru_cache(maxsize=len(NOTES_HZ))
def note_frame(note: int) -> bytes:
    """20 ms of this note as PCMU."""
    step = 2 * math.pi * NOTES_HZ[note] / SAMPLES_PER_S
    return bytes(encode_ulaw(round(AMPLITUDE * math.sin(step * sample))) for sample in range(FRAME_SAMPLES))


@lru_cache(maxsize=1024)
def note_of_frame(payload: bytes) -> int | None:
    """Which note these 160 bytes of PCMU are; None for silence and for anything else."""
    samples = [ULAW_LEVELS[byte] for byte in payload]
    energy = sum(sample * sample for sample in samples)
    if len(samples) != FRAME_SAMPLES or energy < SILENCE_POWER * FRAME_SAMPLES:
        return None
    # A pure tone of energy E puts E * N / 2 into its own bin.
    shares = [goertzel(samples, hertz) / (energy * FRAME_SAMPLES / 2) for hertz in NOTES_HZ]
    loudest = max(range(len(shares)), key=shares.__getitem__)
    return loudest if shares[loudest] >= NOTE_SHARE else None


def goertzel(samples: list[int], hertz: int) -> float:
    """The squared magnitude of one bin of the discrete Fourier transform."""
    factor = 2 * math.cos(2 * math.pi * hertz / SAMPLES_PER_S)
    before = last = 0.0
    for sample in samples:
        before, last = last, sample + factor * last - before
    return before * before + last * last - factor * before * last


def encode_ulaw(level: int) -> int:
    """ITU-T G.711 mu-law of a 16-bit sample."""
    sign = 0x80 if level < 0 else 0
    magnitude = min(abs(level), ULAW_CLIP) + ULAW_BIAS
    exponent = magnitude.bit_length() - 8
    return ~(sign | exponent << 4 | magnitude >> exponent + 3 & 0x0F) & 0xFF


def decode_ulaw(byte: int) -> int:
    """The 16-bit sample behind a mu-law byte."""
    flipped = ~byte & 0xFF
    magnitude = ((flipped & 0x0F) << 3 | ULAW_BIAS) << (flipped >> 4 & 0x07)
    return ULAW_BIAS - magnitude if flipped & 0x80 else magnitude - ULAW_BIAS


ULAW_LEVELS = tuple(decode_ulaw(byte) for byte in range(256))
