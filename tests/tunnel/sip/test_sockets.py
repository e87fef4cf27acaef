"""What every signalling socket has."""

from __future__ import annotations

import socket

from tunnel.sip.sockets import bound_socket


def test_a_silent_connection_is_kept_open_through_nats() -> None:
    """S3-6, S4-6: some forget a TCP connection after 60 s; the kernel asks the peer before, and its ACK goes out."""
    with bound_socket("tcp", "127.0.0.1", 0) as listening, socket.create_connection(listening.getsockname()):
        listening.setblocking(True)
        accepted, _ = listening.accept()
        with accepted:
            assert accepted.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) <= 30
