"""[io] The sockets of a media port: one door, and a path for each remote.

The **door** is bound to the port and hears everybody. A **path** is a second socket on the same port (SO_REUSEPORT)
that is connected to one remote: the kernel gives it that remote's packets and nobody else's, and sending by it costs
least. What no path claims comes to the door.
"""

from __future__ import annotations

import contextlib
import errno
import resource
import socket
from typing import TypeAlias

from tunnel.address import Address
from tunnel.media.plane import Kind

__all__ = ["Stray", "mark", "open_doors", "open_path", "raise_file_limit", "receive_stray"]

Stray: TypeAlias = tuple[Address, bytes]  # a packet with its source, for the latch to judge

# --- numbers of ours -----------------------------------------------------------------------------------------------
RECEIVE_BYTES = 2049  # one more than may be relayed (L11): a longer packet shows by its length
_MAX_STRAYS = 512  # what a socket's receive buffer holds by default

# --- numbers of the rules (L10) ------------------------------------------------------------------------------------
_EF, _AF41 = 46 << 2, 34 << 2  # DSCP, in the place of the TOS byte
_MARKS = {Kind.AUDIO: _EF, Kind.FAX: _EF, Kind.VIDEO: _AF41, Kind.OTHER: _AF41}  # fax: RFC 4594 section 4.1


def open_doors(bind: str, port: int) -> tuple[socket.socket, socket.socket] | None:
    """The doors of ``port`` and the next one, None when somebody has one of the two. Raises OSError otherwise.

    Shared use is allowed only after the bind, and so only to our own paths: the door of another end with the same range
    is refused by the kernel.
    """
    doors: list[socket.socket] = []
    try:
        for number in (port, port + 1):
            door = _open(bind)
            doors.append(door)
            door.bind((bind, number))
            door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    except OSError as error:
        for door in doors:
            door.close()
        if error.errno == errno.EADDRINUSE:
            return None
        raise
    return doors[0], doors[1]


def open_path(bind: str, port: int, remote: Address) -> tuple[socket.socket, list[Stray]]:
    """A path from ``port`` to ``remote``, and what came to it from anybody before it was connected. Raises OSError."""
    path = _open(bind)
    try:
        path.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        path.bind((bind, port))
        path.connect((remote.host, remote.port))
    except OSError:
        path.close()
        raise
    strays: list[Stray] = []
    with contextlib.suppress(OSError):
        while len(strays) < _MAX_STRAYS:
            strays.append(receive_stray(path))
    return path, strays


def mark(sock: socket.socket, kind: Kind) -> None:
    """Have packets sent by ``sock`` marked for what they carry; without the permission they go unmarked."""
    with contextlib.suppress(OSError):
        if sock.family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_TCLASS, _MARKS[kind])
        else:
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, _MARKS[kind])


def receive_stray(sock: socket.socket) -> Stray:
    """The next packet with its source. Raises BlockingIOError when there is none, OSError."""
    packet, source = sock.recvfrom(RECEIVE_BYTES)
    return Address(source[0].partition("%")[0], source[1]), packet


def raise_file_limit() -> int:
    """Let this process open as many files as the system allows, about four for each stream; returns how many."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def _open(bind: str) -> socket.socket:
    family = socket.AF_INET6 if ":" in bind else socket.AF_INET
    opened = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    if family == socket.AF_INET6:
        opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    return opened
