"""Doors and paths: who shares a port with whom, and which of them hears a packet."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tunnel.address import Address
from tunnel.media.sockets import open_doors, open_path, raise_file_limit, receive_stray

HOST = "127.0.0.1"


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def even_port(stack: ExitStack) -> tuple[int, socket.socket, socket.socket]:
    for port in range(23000, 23400, 2):
        doors = open_doors(HOST, port)
        if doors is not None:
            for door in doors:
                stack.enter_context(door)
            return port, *doors
    raise AssertionError("no free ports")


def peer(stack: ExitStack) -> socket.socket:
    bound = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    bound.bind((HOST, 0))
    return bound


def test_a_pair_in_use_is_not_shared_with_another_end(stack: ExitStack) -> None:
    """L1: a pair in use is not shared with another end."""
    port, _, _ = even_port(stack)
    assert open_doors(HOST, port) is None


def test_an_odd_port_in_use_leaves_the_even_one_free(stack: ExitStack) -> None:
    """T12: an odd port in use leaves the even one free (rtpengine#2164)."""
    port, rtp, rtcp = even_port(stack)
    rtp.close()
    assert open_doors(HOST, port) is None
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind((HOST, port))
    rtcp.close()


def test_an_address_of_another_host_is_an_error(stack: ExitStack) -> None:
    with pytest.raises(OSError, match="assign"):
        open_doors("203.0.113.1", 23400)


def test_a_path_hears_its_remote_and_the_door_everybody_else(stack: ExitStack) -> None:
    port, door, _ = even_port(stack)
    friend, stranger = peer(stack), peer(stack)
    path, strays = open_path(HOST, port, Address(*friend.getsockname()))
    stack.enter_context(path)
    assert strays == []
    friend.sendto(b"friend", (HOST, port))
    stranger.sendto(b"stranger", (HOST, port))
    assert path.recv(100) == b"friend"
    assert receive_stray(door) == (Address(*stranger.getsockname()), b"stranger")
    with pytest.raises(BlockingIOError):
        path.recv(100)
    path.send(b"back")
    assert friend.recvfrom(100) == (b"back", (HOST, port))


def test_several_paths_share_a_port(stack: ExitStack) -> None:
    port, _, _ = even_port(stack)
    friends = [peer(stack) for _ in range(4)]
    paths = [stack.enter_context(open_path(HOST, port, Address(*each.getsockname()))[0]) for each in friends]
    for number, friend in enumerate(friends):
        friend.sendto(b"%d" % number, (HOST, port))
    assert [path.recv(10) for path in paths] == [b"0", b"1", b"2", b"3"]


def test_what_comes_before_the_path_is_connected_does_not_pass_for_its_remote(stack: ExitStack) -> None:
    port, _, _ = even_port(stack)
    friend, stranger = peer(stack), peer(stack)
    source = Address(*stranger.getsockname())
    done = threading.Event()

    def flood() -> None:
        while not done.is_set():
            stranger.sendto(b"stranger", (HOST, port))

    flooder = threading.Thread(target=flood)
    flooder.start()
    try:
        for _ in range(100):
            path, strays = open_path(HOST, port, Address(*friend.getsockname()))
            with path:
                assert set(strays) <= {(source, b"stranger")}
                with pytest.raises(BlockingIOError):
                    path.recv(100)
    finally:
        done.set()
        flooder.join()


def test_the_limit_of_open_files_is_what_the_system_allows() -> None:
    assert raise_file_limit() == raise_file_limit() > 0
