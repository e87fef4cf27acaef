"""From a TOML file to frozen structs.

`load_toml` reads, `build` converts: a struct's field names are the keys, its field types say how a value is read.
Unknown keys are refused. Every error is one BadConfig with file, key, value, and what would be right.
"""

from __future__ import annotations

import difflib
import re
import tomllib
import types
from pathlib import Path
from typing import Literal, TypeVar, Union, get_args, get_origin

import msgspec

from tunnel.config import READERS
from tunnel.errors import BadConfig, BadPacket

__all__ = ["build", "load_toml"]

T = TypeVar("T")


class _NotSet:
    def __repr__(self) -> str:
        return "(not set)"


def load_toml(path: Path) -> dict[str, object]:
    """The tables of the file. Raises BadConfig when it cannot be read or is not TOML."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadConfig(str(path), "--config", str(path), f"{error.strerror}: name a file that can be read") from None
    except UnicodeDecodeError:
        raise BadConfig(str(path), "--config", str(path), "save the file as UTF-8 text") from None
    except tomllib.TOMLDecodeError as error:
        place = re.search(r"at line (\d+)", str(error))
        number = int(place[1]) if place else 0
        line = path.read_text(encoding="utf-8").splitlines()[number - 1] if number else _NotSet()
        raise BadConfig(str(path), f"line {number}" if number else "end", _shown(line), f"not TOML: {error}") from None


def build(cls: type[T], table: dict[str, object], path: Path) -> T:
    """The struct ``cls`` from the tables of the file ``path``; a field ``file`` gets its name. Raises BadConfig.

    Paths in the file are relative to the directory the file is in.
    """
    try:
        return _Builder(path).struct(cls, table, "")
    except BadConfig as error:
        raise BadConfig(str(path), error.key, _shown(error.value), error.mend) from None


class _Builder:
    def __init__(self, path: Path) -> None:
        self.path = path

    def struct(self, cls: type[T], table: dict[str, object], prefix: str) -> T:
        fields = {field.name: field for field in msgspec.structs.fields(cls) if field.name != "file"}  # type: ignore[arg-type]
        for name, value in table.items():
            if name not in fields:
                raise self.bad(prefix + name, value, _unknown(name, list(fields)))
        values = {name: self.value(fields[name].type, value, prefix + name) for name, value in table.items()}
        for name, field in fields.items():
            if field.required and name not in values:
                raise self.bad(prefix + name, _NotSet(), f"must be set: {_wanted(field.type)}")
        if "file" in cls.__annotations__:
            values["file"] = str(self.path)
        return cls(**values)

    def value(self, kind: object, value: object, key: str) -> object:
        """``value`` read as the type ``kind`` asks."""
        kind = _without_none(kind)
        if kind in READERS:
            reader = READERS[kind]
            try:
                return reader.read(value)
            except (ValueError, BadPacket) as error:
                raise self.bad(key, value, f"{error}; {reader.wanted}" if str(error) else reader.wanted) from None
        if kind is Path and isinstance(value, str) and value:
            return self.path.parent / value
        if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
            if not isinstance(value, dict):
                raise self.bad(key, value, f"a table: write it as [{key}]")
            return self.struct(kind, value, f"{key}.")
        if get_origin(kind) is tuple:
            if not isinstance(value, list):
                raise self.bad(key, value, f"a list in brackets, each {_wanted(get_args(kind)[0])}")
            return tuple(self.value(get_args(kind)[0], item, key) for item in value)
        try:
            return msgspec.convert(value, kind)
        except msgspec.ValidationError as error:
            raise self.bad(key, value, _wanted(kind) or str(error)) from None

    def bad(self, key: str, value: object, mend: str) -> BadConfig:
        return BadConfig(str(self.path), key, value, mend)


def _unknown(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, 1)
    meant = f'did you mean "{near[0]}"? ' if near else ""
    return f"there is no such key; {meant}known here: {', '.join(sorted(known))}"


def _without_none(kind: object) -> object:
    if get_origin(kind) in (Union, types.UnionType) and types.NoneType in get_args(kind):
        (kind,) = (part for part in get_args(kind) if part is not types.NoneType)
    return kind


def _wanted(kind: object) -> str:
    """What would be right for a field of that type."""
    kind = _without_none(kind)
    if kind in READERS:
        return READERS[kind].wanted
    if get_origin(kind) is Literal:
        return "one of " + ", ".join(f'"{choice}"' for choice in get_args(kind))
    if get_origin(kind) is tuple:
        return f"a list, each {_wanted(get_args(kind)[0])}"
    if kind is Path:
        return "a path, for example /var/lib/wallpass"
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return f"a table with {', '.join(kind.__struct_fields__)}"
    return "a number from 0 to 86400"


def _shown(value: object) -> object:
    """The value as an error may print it: without the password of a URL."""
    return re.sub(r"(?<=://)[^/@]*@", "***@", value) if isinstance(value, str) else value
