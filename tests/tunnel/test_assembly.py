from __future__ import annotations

import socket
from pathlib import Path

import msgspec
import pytest
from support.both_ends import agent_toml, server_toml

import inside_agent
import outside_server
from tunnel.address import Address
from tunnel.assembly import bind_listeners, listen_specs
from tunnel.config import FaceConfig, PortRange
from tunnel.counters import Counters
from tunnel.errors import BadConfig
from tunnel.sip.listener import Listeners

NOT_OURS = "192.0.2.1"


def bind(face: FaceConfig) -> BadConfig:
    """What is wrong with ``face``."""
    listeners = Listeners(listen_specs(face), deliver=lambda *_: None, failed=lambda *_: None, counters=Counters())
    with pytest.raises(BadConfig) as failure:
        bind_listeners(listeners, face, "the.toml")
    return failure.value


def public(directory: Path, old: str = "", new: str = "", **more: str) -> FaceConfig:
    path = server_toml(directory, **more)
    path.write_text(path.read_text().replace(old, new) if old else path.read_text())
    return outside_server.load(path).public


def test_a_foreign_public_address_is_the_addresss_fault(tmp_path: Path) -> None:
    error = bind(public(tmp_path, 'address = "127.0.0.1"', f'address = "{NOT_OURS}"'))
    assert (error.key, error.value) == ("public.address", NOT_OURS)
    assert 'set public.bind = "0.0.0.0"' in error.mend


def test_the_one_foreign_address_of_two_is_named(tmp_path: Path) -> None:
    error = bind(public(tmp_path, 'address = "127.0.0.1"', 'address = ["127.0.0.1", "2001:db8::1"]'))
    assert (error.key, error.value) == ("public.address", "2001:db8::1")


def test_a_foreign_bind_is_the_fault_of_bind(tmp_path: Path) -> None:
    error = bind(public(tmp_path, public=f'bind = "{NOT_OURS}"'))
    assert (error.key, error.value) == ("public.bind", NOT_OURS)


def test_a_foreign_lan_address_is_the_addresss_fault(tmp_path: Path) -> None:
    path = agent_toml(tmp_path, server=Address("203.0.113.10", 443))
    path.write_text(path.read_text().replace('address = "127.0.0.1"', f'address = "{NOT_OURS}"'))
    error = bind(inside_agent.load(path).lan)
    assert (error.key, error.value) == ("lan.address", NOT_OURS)


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_a_taken_sip_port_names_the_listener(tmp_path: Path, transport: str) -> None:
    kind = socket.SOCK_DGRAM if transport == "udp" else socket.SOCK_STREAM
    with socket.socket(type=kind) as taken:
        taken.bind(("127.0.0.1", 0))
        if transport == "tcp":
            taken.listen()
        port = taken.getsockname()[1]
        error = bind(public(tmp_path, sip=f'["{transport}:{port}"]'))
    assert (error.key, error.value) == ("public.sip", f"{transport}:127.0.0.1:{port}")


def test_media_ports_that_are_all_taken(tmp_path: Path) -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        low = taken.getsockname()[1] & ~1
        error = bind(msgspec.structs.replace(public(tmp_path), media_ports=PortRange(low, low + 1)))
    assert (error.key, error.value) == ("public.media_ports", f"{low}-{low + 1}")


def test_some_media_ports_that_are_taken_are_no_fault(tmp_path: Path) -> None:
    face = public(tmp_path)
    with socket.socket(type=socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", face.media_ports.low))
        listeners = Listeners(listen_specs(face), deliver=lambda *_: None, failed=lambda *_: None, counters=Counters())
        assert bind_listeners(listeners, face, "the.toml").bound
        listeners.close()
