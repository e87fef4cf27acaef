"""Names that this host knows by itself (hosts(5)); they come before the DNS. [io]"""

from __future__ import annotations

import ipaddress
from pathlib import Path

__all__ = ["HostsFile"]


class HostsFile:
    """A hosts file, read again whenever it changed; one that cannot be read knows no names."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp: tuple[int, int] = (0, 0)
        self._names: dict[str, list[str]] = {}

    def addresses(self, name: str) -> list[str]:
        """The IP addresses of ``name``, in the order of the file; empty if it is not there."""
        try:
            stat = self._path.stat()
            stamp = (stat.st_mtime_ns, stat.st_size)
            if stamp != self._stamp:
                self._names = _parse(self._path.read_text(encoding="utf-8", errors="replace"))
                self._stamp = stamp
        except OSError:
            return []
        return self._names.get(name.lower().rstrip("."), [])


def _parse(text: str) -> dict[str, list[str]]:
    names: dict[str, list[str]] = {}
    for line in text.splitlines():
        fields = line.partition("#")[0].split()
        if len(fields) < 2 or not _is_ip(fields[0]):
            continue
        for name in fields[1:]:
            addresses = names.setdefault(name.lower().rstrip("."), [])
            if fields[0] not in addresses:
                addresses.append(fields[0])
    return names


def _is_ip(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return "%" not in text
