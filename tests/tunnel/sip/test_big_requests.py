from __future__ import annotations

from tunnel.address import Address
from tunnel.sip.big_requests import FAILS_S, MOST_PEERS, WORKS_S, BigRequests

PEER = Address("198.51.100.20", 5060)


def test_an_unknown_peer_is_asked_but_not_by_what_nobody_would_miss() -> None:
    """M2: a probe is the message itself, unless nobody would say that it was lost."""
    big = BigRequests()
    assert big.by_tcp(PEER, 0.0, surely=False)
    assert not big.by_tcp(PEER, 0.0, surely=True)
    big.worked(PEER, 0.0)
    assert big.by_tcp(PEER, WORKS_S - 1, surely=True)
    assert not big.by_tcp(PEER, WORKS_S, surely=True)


def test_a_peer_without_tcp_is_left_alone_for_a_while_and_told_of_once() -> None:
    big = BigRequests()
    assert [big.failed(PEER, 0.0), big.failed(PEER, 1.0)] == [True, False]
    assert not big.by_tcp(PEER, FAILS_S, surely=False)
    assert big.by_tcp(PEER, FAILS_S + 1, surely=False)
    assert big.failed(PEER, FAILS_S + 1), "news again"
    big.worked(PEER, FAILS_S + 2)
    assert big.failed(PEER, FAILS_S + 3)


def test_what_is_known_is_bounded() -> None:
    big = BigRequests()
    for port in range(MOST_PEERS + 1):
        big.failed(Address("198.51.100.20", port), 0.0)
    assert big.by_tcp(Address("198.51.100.20", 0), 1.0, surely=False)
    assert not big.by_tcp(Address("198.51.100.20", MOST_PEERS), 1.0, surely=False)
