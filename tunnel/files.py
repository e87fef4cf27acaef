"""[io] Files of an end, and what only the host can tell about a configuration.

Everything in ``data_dir`` is written atomically: a reader sees the old bytes or the new ones, a full disk or a power
cut leaves the old ones. Secrets are 0600 from their first byte. A command run by root leaves files that the owner of
``data_dir`` can use.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tunnel.errors import BadConfig, LocalMisuse

__all__ = [
    "bind_error",
    "check_data_dir",
    "create_private",
    "ephemeral_ports",
    "locked",
    "read_file",
    "write_atomic",
]

PRIVATE = 0o600
PORT_RANGE_FILE = Path("/proc/sys/net/ipv4/ip_local_port_range")


# --- reading and writing --------------------------------------------------------------------------------------------


def read_file(path: Path) -> bytes | None:
    """The bytes of the file, None when there is no such file. Raises LocalMisuse."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise LocalMisuse(f"cannot read {path}: {_why(error)}") from None


def write_atomic(path: Path, data: bytes, mode: int = PRIVATE) -> None:
    """Replace ``path`` by ``data``, on the disk when this returns. Raises LocalMisuse and then leaves it as it was."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, mode), "wb") as file:
            os.fchmod(file.fileno(), mode)
            _give_to_owner_of(path.parent, file.fileno())
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        _sync_directory(path.parent)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise LocalMisuse(f"cannot write {path}: {_why(error)}") from None


def create_private(path: Path) -> None:
    """Make sure that ``path`` is a file of mode 0600; its bytes stay. Raises LocalMisuse."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, PRIVATE)
        try:
            os.fchmod(descriptor, PRIVATE)
            _give_to_owner_of(path.parent, descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise LocalMisuse(f"cannot write {path}: {_why(error)}") from None


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock file ``path`` against every other process and thread; ends with the process at the latest."""
    create_private(path)
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _give_to_owner_of(directory: Path, descriptor: int) -> None:
    if os.geteuid() == 0:
        owner = os.stat(directory)
        os.fchown(descriptor, owner.st_uid, owner.st_gid)


def _why(error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "the disk is full; make room and try again"
    if error.errno in (errno.EACCES, errno.EPERM):
        return "permission denied; run as the owner of the directory or change the owner"
    return error.strerror or str(error)


# --- what only the host can tell about a setting --------------------------------------------------------------------


def check_data_dir(file: str, path: Path) -> None:
    """Make ``data_dir`` (0700) if it is absent and try whether it takes a file. Raises BadConfig."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        mend = f"{error.strerror}: name a directory that this user (uid {os.geteuid()}) may write to"
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            mend = _why(error)
        elif error.errno in (errno.EEXIST, errno.ENOTDIR):
            mend = "there is a file in the way; name a directory"
        raise BadConfig(file, "data_dir", str(path), mend) from None


def bind_error(file: str, key: str, value: str, error: OSError) -> BadConfig:
    """Why ``value`` (an address, or a listener such as ``udp:203.0.113.10:5060``) could not be bound, and the mend.

    For an address that is not this host's, ``key`` should be the key of the address, for example ``public.address``.
    """
    if error.errno == errno.EADDRINUSE:
        mend = "taken by another program: stop that one or choose another port (ss -lnptu names it)"
    elif error.errno == errno.EADDRNOTAVAIL and key.startswith("public."):
        mend = 'not an address of this host: set public.bind = "0.0.0.0" if a cloud NAT maps it here'
    elif error.errno == errno.EADDRNOTAVAIL and key == "tunnel.listen":
        mend = "not an address of this host: listen on 0.0.0.0 if a cloud NAT maps it here"
    elif error.errno == errno.EADDRNOTAVAIL:
        mend = "not an address of this host: use one that `ip address` lists"
    elif error.errno in (errno.EACCES, errno.EPERM):
        mend = "this user may not bind it: ports below 1024 need CAP_NET_BIND_SERVICE"
    else:
        mend = f"cannot be bound: {error.strerror or error}"
    return BadConfig(file, key, value, mend)


def ephemeral_ports() -> tuple[int, int] | None:
    """First and last port that the kernel gives to outgoing connections, None where it does not say."""
    try:
        low, high = PORT_RANGE_FILE.read_text().split()
    except (OSError, ValueError):
        return None
    return int(low), int(high)
