"""What a configuration that was read again changes, and what of that waits for a restart."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

__all__ = ["changed_keys"]


def changed_keys(old: msgspec.Struct, new: msgspec.Struct, applied: frozenset[str] = frozenset()) -> list[str]:
    """The keys, as ``lan.allow``, in which ``new`` differs from ``old``, without those in ``applied``."""
    return [key for key in _changed(old, new, "") if key not in applied]


def _changed(old: msgspec.Struct, new: msgspec.Struct, prefix: str) -> Iterator[str]:
    for name in old.__struct_fields__:
        before, after = getattr(old, name), getattr(new, name)
        if isinstance(before, msgspec.Struct) and isinstance(after, msgspec.Struct):
            yield from _changed(before, after, f"{prefix}{name}.")
        elif before != after:
            yield prefix + name
