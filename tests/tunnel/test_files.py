from __future__ import annotations

import errno
import os
import stat
import threading
from pathlib import Path

import pytest

from tunnel import files
from tunnel.errors import BadConfig, LocalMisuse
from tunnel.files import bind_error, check_data_dir, create_private, ephemeral_ports, locked, read_file, write_atomic


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def failing(code: int) -> OSError:
    return OSError(code, os.strerror(code))


def test_a_secret_is_private_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        write_atomic(tmp_path / "key", b"secret")
        write_atomic(tmp_path / "open", b"public", mode=0o644)
        create_private(tmp_path / "db")
    finally:
        os.umask(before)
    assert [mode(tmp_path / name) for name in ("key", "open", "db")] == [0o600, 0o644, 0o600]


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "key"
    write_atomic(path, b"old and long")
    write_atomic(path, b"new")
    assert read_file(path) == b"new"
    assert [each.name for each in tmp_path.iterdir()] == ["key"]


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_write_that_fails_leaves_the_old_bytes_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    path = tmp_path / "key"
    write_atomic(path, b"old")

    def full(*_: object) -> None:
        raise failing(errno.ENOSPC)

    monkeypatch.setattr(os, step, full)
    with pytest.raises(LocalMisuse, match="the disk is full"):
        write_atomic(path, b"new")
    monkeypatch.undo()
    assert read_file(path) == b"old"
    assert [each.name for each in tmp_path.iterdir()] == ["key"]


def test_what_a_crash_left_half_written_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / f".key.{os.getpid()}.new").write_bytes(b"torn and rather long")
    write_atomic(tmp_path / "key", b"whole")
    assert read_file(tmp_path / "key") == b"whole"


def test_no_file_is_none_and_an_unreadable_one_an_error(tmp_path: Path) -> None:
    assert read_file(tmp_path / "absent") is None
    with pytest.raises(LocalMisuse, match="cannot read"):
        read_file(tmp_path)


def test_a_lock_lets_one_in_at_a_time(tmp_path: Path) -> None:
    inside: list[int] = []
    most: list[int] = []

    def enter() -> None:
        with locked(tmp_path / "lock"):
            inside.append(1)
            most.append(len(inside))
            inside.pop()

    threads = [threading.Thread(target=enter) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1] * 16


def test_the_data_dir_is_made_for_its_owner_only(tmp_path: Path) -> None:
    check_data_dir("server.toml", tmp_path / "a" / "b")
    assert mode(tmp_path / "a" / "b") == 0o700
    check_data_dir("server.toml", tmp_path / "a" / "b")
    assert list((tmp_path / "a" / "b").iterdir()) == []


@pytest.mark.parametrize("below", ["", "data"])
def test_a_file_in_the_way_of_the_data_dir(tmp_path: Path, below: str) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(BadConfig, match=r"server\.toml: data_dir = .*: there is a file in the way"):
        check_data_dir("server.toml", tmp_path / "file" / below)


def test_a_data_dir_that_cannot_be_written_to() -> None:
    with pytest.raises(BadConfig, match="name a directory that this user"):
        check_data_dir("server.toml", Path("/proc/wallpass"))


@pytest.mark.parametrize(
    ("key", "code", "mend"),
    [
        ("public.sip", errno.EADDRINUSE, "taken by another program"),
        ("public.address", errno.EADDRNOTAVAIL, 'set public.bind = "0.0.0.0" if a cloud NAT maps it here'),
        ("lan.address", errno.EADDRNOTAVAIL, "use one that `ip address` lists"),
        ("tunnel.listen", errno.EADDRNOTAVAIL, "listen on 0.0.0.0 if a cloud NAT maps it here"),
        ("tunnel.listen", errno.EACCES, "CAP_NET_BIND_SERVICE"),
        ("admin.listen", errno.ENOBUFS, "No buffer space available"),
    ],
)
def test_what_cannot_be_bound_comes_with_its_mend(key: str, code: int, mend: str) -> None:
    error = bind_error("server.toml", key, "udp:203.0.113.10:5060", failing(code))
    assert str(error).startswith(f"server.toml: {key} = 'udp:203.0.113.10:5060': ")
    assert mend in str(error)


def test_the_kernels_own_ports(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(files, "PORT_RANGE_FILE", tmp_path / "range")
    assert ephemeral_ports() is None
    (tmp_path / "range").write_text("32768\t60999\n")
    assert ephemeral_ports() == (32768, 60999)
