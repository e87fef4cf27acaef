"""Sockets of a face, made and marked the same way everywhere. [io]"""

from __future__ import annotations

import socket
from contextlib import suppress

import trio

__all__ = ["bound_socket", "is_wildcard", "mark_signalling"]

# RFC 4594 section 3: CS3 for signalling, in the upper six bits of the octet.
SIGNALLING_TOS = 24 << 2

# Numbers of ours.
LISTEN_BACKLOG = 256
KEEPALIVE_IDLE_S = 25  # then the kernel asks a silent TCP peer whether it is still there, before a NAT forgets it
USER_TIMEOUT_MS = 30_000  # what a TCP peer does not acknowledge within this time breaks the connection


def bound_socket(transport: str, host: str, port: int) -> socket.socket:
    """A non-blocking socket bound to an IP address; a listening one unless ``transport`` is ``udp``.

    Raises OSError whose ``filename`` says what could not be bound, as ``udp:10.1.0.2:5060``.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_DGRAM if transport == "udp" else socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if transport != "udp":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        mark_signalling(sock)
        sock.bind((host, port))
        if transport != "udp":
            sock.listen(LISTEN_BACKLOG)
    except OSError as error:
        sock.close()
        where = f"[{host}]" if ":" in host else host
        raise OSError(error.errno, error.strerror, f"{transport}:{where}:{port}") from None
    return sock


def mark_signalling(sock: socket.socket | trio.socket.SocketType) -> None:
    """Set what every signalling socket has; a kernel that refuses costs priority or speed of detection only."""
    with suppress(OSError):
        if sock.family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_TCLASS, SIGNALLING_TOS)
        else:
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, SIGNALLING_TOS)
    if sock.type == socket.SOCK_STREAM:
        with suppress(OSError):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEPALIVE_IDLE_S)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, USER_TIMEOUT_MS)


def is_wildcard(host: str) -> bool:
    """True for an address that binds every interface."""
    return host in ("0.0.0.0", "::")
