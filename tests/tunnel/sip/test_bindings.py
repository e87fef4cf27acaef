"""How a user agent that showed us a Contact is reached again."""

from __future__ import annotations

from tunnel.address import Address
from tunnel.sip.bindings import Binding, Bindings
from tunnel.sip.flow import Flow

FACE = Address("203.0.113.10", 5060)
BOB = b"owner-01"


def flow(port: int, transport: str = "udp") -> Flow:
    return Flow(transport, FACE, Address("198.51.100.7", port), 0 if transport == "udp" else 9)


def binding(contact: bytes, port: int = 1, until: float = 50.0, *, natted: bool = True, owner: bytes = BOB) -> Binding:
    return Binding(owner, contact, flow(port), natted, until, aor=b"sip:%s@acme.example" % owner)


def test_the_last_message_says_where_a_user_agent_is() -> None:
    bindings = Bindings()
    bindings.note(binding(b"sip:bob@a", 1000))
    bindings.note(binding(b"sip:bob@a", 2000, until=40.0))
    found = bindings.get(binding(b"sip:bob@a").key, 39.0)
    assert found is not None
    assert found.flow == flow(2000)
    assert bindings.get(found.key, 40.0) is None


def test_two_phones_of_one_user_behind_one_router_are_two() -> None:
    bindings = Bindings()
    bindings.register(binding(b"sip:bob@192.168.1.20", 1000))
    bindings.register(binding(b"sip:bob@192.168.1.21", 2000))
    found = [bindings.get(binding(b"sip:bob@192.168.1.2%d" % number).key, 5.0) for number in (0, 1)]
    assert [each.flow for each in found if each is not None] == [flow(1000), flow(2000)]


def test_a_request_that_nobody_accepted_moves_no_registration() -> None:
    bindings = Bindings()
    bindings.register(binding(b"sip:bob@a", 1000))
    bindings.note(binding(b"sip:bob@a", 6666))
    found = bindings.get(binding(b"sip:bob@a").key, 5.0)
    assert found is not None
    assert found.flow == flow(1000)
    bindings.register(binding(b"sip:bob@a", 2000))
    assert list(bindings.keepalive_flows(5.0)) == [flow(2000)]


def test_strangers_never_push_out_who_is_registered() -> None:
    bindings = Bindings(most=10)
    bindings.register(binding(b"sip:bob@a"))
    for number in range(100):
        bindings.note(binding(b"sip:stranger@%d" % number))
    assert bindings.get(binding(b"sip:bob@a").key, 5.0) is not None
    assert len(bindings) == 11
    assert bindings.get(binding(b"sip:stranger@89").key, 5.0) is None
    assert bindings.get(binding(b"sip:stranger@90").key, 5.0) is not None


def test_who_was_not_seen_for_longest_goes_first() -> None:
    bindings = Bindings(most=2)
    for contact in (b"a", b"b", b"a", b"c"):
        bindings.register(binding(contact))
    assert [bindings.get(binding(each).key, 5.0) is not None for each in (b"a", b"b", b"c")] == [True, False, True]


def test_who_deregisters_is_forgotten() -> None:
    bindings = Bindings()
    for contact in (b"a", b"b", b"c"):
        bindings.register(binding(contact))
    bindings.register(binding(b"a", owner=b"owner-02"))
    bindings.forget(BOB, b"a")
    bindings.forget(BOB, b"a")
    assert bindings.registered == 3
    bindings.forget_all(b"sip:%s@acme.example" % BOB)
    assert bindings.registered == 1


def test_keepalives_go_through_foreign_nats_to_registered_user_agents_on_udp() -> None:
    bindings = Bindings()
    bindings.register(binding(b"behind a nat", 1))
    bindings.register(binding(b"at the same flow", 1))
    bindings.register(binding(b"in the open", 2, natted=False))
    bindings.register(Binding(BOB, b"over tcp", flow(3, "tcp"), True, 50.0))
    bindings.note(binding(b"only called once", 4))
    assert list(bindings.keepalive_flows(5.0)) == [flow(1)]
    assert bindings.registered == 4


def test_a_registration_runs_out_though_the_user_agent_is_still_heard() -> None:
    bindings = Bindings()
    bindings.register(binding(b"sip:bob@a", until=50.0))
    bindings.note(binding(b"sip:bob@a", until=3600.0))
    assert list(bindings.keepalive_flows(49.0)) == [flow(1)]
    assert list(bindings.keepalive_flows(50.0)) == []
    assert (bindings.registered, len(bindings)) == (0, 0)
