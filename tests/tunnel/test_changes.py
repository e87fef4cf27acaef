from __future__ import annotations

import msgspec

from tunnel.changes import changed_keys


class Face(msgspec.Struct, frozen=True):
    address: str = "10.1.0.2"
    pbx: str | None = None


class Config(msgspec.Struct, frozen=True):
    data_dir: str = "/var/lib"
    lan: Face = Face()
    admin: Face | None = None


def test_what_differs_is_named_as_in_the_file() -> None:
    new = Config(data_dir="/srv", lan=Face(pbx="sip:10.1.0.5"))
    assert changed_keys(Config(), new) == ["data_dir", "lan.pbx"]


def test_what_is_applied_is_left_out() -> None:
    assert changed_keys(Config(), Config(lan=Face(pbx="x")), frozenset({"lan.pbx"})) == []


def test_a_table_that_comes_or_goes_is_one_change() -> None:
    assert changed_keys(Config(), Config(admin=Face())) == ["admin"]


def test_nothing_changed() -> None:
    assert changed_keys(Config(), Config()) == []
