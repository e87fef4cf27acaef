"""Telephone digits as tones (ITU-T Q.23): made, and recognised again."""

from __future__ import annotations

from array import array
from collections.abc import Sequence

from field.rig.audio import goertzel, tone

__all__ = ["digits_in", "digits_out"]

_ROWS_HZ, _COLUMNS_HZ = (697.0, 770.0, 852.0, 941.0), (1209.0, 1336.0, 1477.0)
_KEYS = ("123", "456", "789", "*0#")
_DIGIT_S, _PAUSE_S = 0.12, 0.08
_STEP = 320  # 40 ms, in which any two of the frequencies can be told apart
_SHARE_OF_BOTH = 0.7


def digits_out(digits: str) -> array[int]:
    """Each digit and a pause, 16-bit samples at 8,000 Hz."""
    samples = array("h")
    for digit in digits:
        row = next(number for number, keys in enumerate(_KEYS) if digit in keys)
        low = tone(_ROWS_HZ[row], _DIGIT_S, -18.0)
        high = tone(_COLUMNS_HZ[_KEYS[row].index(digit)], _DIGIT_S, -18.0)
        samples.extend(a + b for a, b in zip(low, high, strict=True))
        samples.extend([0] * int(_PAUSE_S * 8000))
    return samples


def digits_in(samples: Sequence[int]) -> str:
    """The digits that sound in it; one that goes on counts once."""
    heard, before = "", ""
    for at in range(0, len(samples) - _STEP + 1, _STEP // 2):
        digit = _digit(samples[at : at + _STEP])
        if digit != before:
            heard += digit
        before = digit
    return heard


def _digit(step: Sequence[int]) -> str:
    energy = sum(sample * sample for sample in step) / len(step)
    rows = [goertzel(step, frequency) for frequency in _ROWS_HZ]
    columns = [goertzel(step, frequency) for frequency in _COLUMNS_HZ]
    if energy < 1000 or max(rows) + max(columns) < _SHARE_OF_BOTH * energy:
        return ""
    return _KEYS[rows.index(max(rows))][columns.index(max(columns))]
