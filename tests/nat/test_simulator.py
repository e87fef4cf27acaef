"""The simulated NAT does what RFC 4787 says such a NAT does: every other test here rests on that."""

from __future__ import annotations

import pytest
from support.nat import FULL_CONE, KINDS, PORT_RESTRICTED, RESTRICTED, SYMMETRIC, Chain, Kind, Nat

from tunnel.address import Address

PHONE = Address("192.168.77.10", 5060)
SERVER = Address("203.0.113.10", 5060)
SAME_HOST = Address("203.0.113.10", 20000)
STRANGER = Address("203.0.113.66", 5060)
PUBLIC = "198.51.100.7"


@pytest.mark.parametrize(
    ("kind", "let_in"),
    [
        (FULL_CONE, {SERVER, SAME_HOST, STRANGER}),
        (RESTRICTED, {SERVER, SAME_HOST}),
        (PORT_RESTRICTED, {SERVER}),
        (SYMMETRIC, {SERVER}),
    ],
    ids=list(KINDS),
)
def test_who_may_answer(kind: Kind, let_in: set[Address]) -> None:
    nat = Nat(PUBLIC, **kind)
    seen = nat.outwards(PHONE, SERVER, 0.0)
    heard = {source for source in (SERVER, SAME_HOST, STRANGER) if nat.inwards(source, seen, 1.0) == PHONE}
    assert heard == let_in
    assert nat.dropped == 3 - len(let_in)


@pytest.mark.parametrize("kind", KINDS.values(), ids=list(KINDS))
def test_only_a_symmetric_one_shows_each_peer_another_port(kind: Kind) -> None:
    nat = Nat(PUBLIC, **kind)
    ports = {nat.outwards(PHONE, to, 0.0).port for to in (SERVER, SAME_HOST, STRANGER)}
    assert len(ports) == (3 if kind == SYMMETRIC else 1)
    assert nat.outwards(PHONE._replace(port=6000), SERVER, 0.0).port not in ports


@pytest.mark.parametrize(("inbound_refreshes", "is_open"), [(False, False), (True, True)])
def test_a_mapping_lasts_as_long_as_it_is_used_from_inside(inbound_refreshes: bool, is_open: bool) -> None:
    nat = Nat(PUBLIC, **FULL_CONE, timeout_s=30, inbound_refreshes=inbound_refreshes)
    seen = nat.outwards(PHONE, SERVER, 0.0)
    assert nat.outwards(PHONE, SERVER, 29.0) == seen
    assert nat.inwards(SERVER, seen, 58.0) == PHONE
    assert (nat.inwards(SERVER, seen, 59.5) == PHONE) is is_open
    assert (nat.outwards(PHONE, SERVER, 60.0) == seen) is is_open


def test_a_router_that_keeps_ports_does_so_while_they_are_free() -> None:
    nat = Nat(PUBLIC, **PORT_RESTRICTED, keeps_ports=True)
    assert nat.outwards(PHONE, SERVER, 0.0) == Address(PUBLIC, 5060)
    assert nat.outwards(PHONE._replace(host="192.168.77.11"), SERVER, 0.0).port != 5060


def test_two_in_series_are_as_good_as_the_stricter() -> None:
    home, carrier = Nat("100.64.3.9", **FULL_CONE), Nat(PUBLIC, **PORT_RESTRICTED)
    both = Chain(home, carrier)
    seen = both.outwards(PHONE, SERVER, 0.0)
    assert seen.host == PUBLIC
    assert both.inwards(SERVER, seen, 1.0) == PHONE
    assert both.inwards(STRANGER, seen, 1.0) is None
    home.reboot()
    assert both.inwards(SERVER, seen, 2.0) is None
