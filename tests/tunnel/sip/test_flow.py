"""Flows as keys."""

from __future__ import annotations

from tunnel.address import Address
from tunnel.sip.flow import Flow

LOCAL = Address("203.0.113.2", 5060)
REMOTE = Address("2001:db8::9", 5070)


def test_equal_flows_are_one_key() -> None:
    assert len({Flow("udp", LOCAL, REMOTE), Flow("udp", LOCAL, REMOTE, 0), Flow("tcp", LOCAL, REMOTE, 1)}) == 2


def test_only_udp_loses_messages() -> None:
    assert [Flow(transport, LOCAL, REMOTE).reliable for transport in ("udp", "tcp", "tls")] == [False, True, True]


def test_a_flow_prints_as_the_way_to_its_peer() -> None:
    assert str(Flow("tls", LOCAL, REMOTE, 3)) == "tls:[2001:db8::9]:5070"
