"""How a user agent that showed us a Contact is reached again."""

from __future__ import annotations

from tunnel.address import Address
from tunnel.sip.bindings import MOST_CONTACTS, Bindings
from tunnel.sip.flow import Flow

FACE = Address("203.0.113.10", 5060)


def flow(port: int, transport: str = "udp") -> Flow:
    return Flow(transport, FACE, Address("198.51.100.7", port), 0 if transport == "udp" else 9)


def test_the_last_message_says_where_a_user_agent_is() -> None:
    bindings = Bindings()
    bindings.note(b"bob", flow(1000), True, 50.0)
    bindings.note(b"bob", flow(2000), True, 40.0)
    found = bindings.get(b"bob", 45.0)
    assert found is not None
    assert found.flow == flow(2000)
    assert bindings.get(b"bob", 50.0) is None
    assert len(bindings) == 0


def test_strangers_never_push_out_who_is_registered() -> None:
    bindings = Bindings(most=10)
    bindings.note(b"bob", flow(1), True, 100.0, registered=True)
    for number in range(100):
        bindings.note(b"stranger %d" % number, flow(number), True, 100.0)
    assert bindings.get(b"bob", 5.0) is not None
    assert len(bindings) == 11
    assert bindings.get(b"stranger 89", 5.0) is None
    assert bindings.get(b"stranger 90", 5.0) is not None


def test_who_was_not_seen_for_longest_goes_first() -> None:
    bindings = Bindings(most=2)
    for key in (b"a", b"b", b"a", b"c"):
        bindings.note(key, flow(1), False, 100.0, registered=True)
    assert [bindings.get(key, 5.0) is not None for key in (b"a", b"b", b"c")] == [True, False, True]


def test_a_long_contact_is_found_by_its_digest_as_long_as_its_binding() -> None:
    bindings = Bindings()
    bindings.remember(b"bob", b"digest", b"sip:bob@a")
    assert bindings.by_digest(b"digest", 5.0) is None
    bindings.note(b"bob", flow(1), False, 50.0)
    bindings.remember(b"bob", b"digest", b"sip:bob@a")
    assert bindings.by_digest(b"digest", 5.0) == (b"bob", b"sip:bob@a")
    assert bindings.by_digest(b"other", 5.0) is None
    assert bindings.by_digest(b"digest", 50.0) is None


def test_one_user_agent_has_so_many_contacts_at_most() -> None:
    bindings = Bindings()
    bindings.note(b"bob", flow(1), False, 50.0)
    for number in range(MOST_CONTACTS + 1):
        bindings.remember(b"bob", b"%d" % number, b"sip:%d@a" % number)
    assert bindings.by_digest(b"0", 5.0) is None
    assert bindings.by_digest(b"1", 5.0) == (b"bob", b"sip:1@a")


def test_who_deregisters_is_forgotten() -> None:
    bindings = Bindings()
    bindings.note(b"bob", flow(1), True, 50.0, registered=True)
    bindings.remember(b"bob", b"digest", b"sip:bob@a")
    bindings.forget(b"bob")
    bindings.forget(b"bob")
    assert (bindings.registered, len(bindings)) == (0, 0)
    assert bindings.by_digest(b"digest", 5.0) is None


def test_keepalives_go_through_foreign_nats_to_registered_user_agents_on_udp() -> None:
    bindings = Bindings()
    bindings.note(b"behind a nat", flow(1), True, 50.0, registered=True)
    bindings.note(b"in the open", flow(2), False, 50.0, registered=True)
    bindings.note(b"over tcp", flow(3, "tcp"), True, 50.0, registered=True)
    bindings.note(b"only called once", flow(4), True, 50.0)
    assert bindings.keepalive_flows(5.0) == [flow(1)]
    assert bindings.registered == 3


def test_a_registration_runs_out_though_the_user_agent_is_still_heard() -> None:
    bindings = Bindings()
    bindings.note(b"bob", flow(1), True, 50.0, registered=True)
    bindings.note(b"bob", flow(1), True, 3600.0)
    assert bindings.keepalive_flows(49.0) == [flow(1)]
    assert bindings.keepalive_flows(50.0) == []
    assert bindings.registered == 0
    assert bindings.get(b"bob", 51.0) is not None
