"""A middlebox on the firewall: carries TCP connections on, and ends all of them politely (FIN both ways) on SIGUSR1.

Run as a program of its own: `python polite_relay.py LISTEN_PORT TARGET_HOST TARGET_PORT`. It prints `carrying` once it
listens. The kernel cannot be asked to end somebody else's connection with FIN; a proxy that goes idle does just that.
"""

from __future__ import annotations

import contextlib
import signal
import socket
import sys
import threading

__all__ = ["main"]

_carried: set[socket.socket] = set()


def main(listen_port: int, target: tuple[str, int]) -> None:
    signal.signal(signal.SIGUSR1, lambda *_: _end_politely())
    with socket.create_server(("", listen_port)) as listener:
        print("carrying", flush=True)
        while True:
            near, _ = listener.accept()
            far = socket.create_connection(target, timeout=5)
            far.settimeout(None)
            _carried.update((near, far))
            for one, other in ((near, far), (far, near)):
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                threading.Thread(target=_carry, args=(one, other), daemon=True).start()


def _carry(one: socket.socket, other: socket.socket) -> None:
    """Until `one` ends. What comes after our own FIN is read and thrown away: unread octets would turn it into RST."""
    with contextlib.suppress(OSError):
        while data := one.recv(65536):
            with contextlib.suppress(BrokenPipeError):
                other.sendall(data)
        other.shutdown(socket.SHUT_WR)
    _carried.discard(one)


def _end_politely() -> None:
    for carried in tuple(_carried):
        with contextlib.suppress(OSError):
            carried.shutdown(socket.SHUT_WR)


if __name__ == "__main__":
    main(int(sys.argv[1]), (sys.argv[2], int(sys.argv[3])))
