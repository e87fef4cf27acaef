"""Phones inside that register outside: what the registrar sees, what the phone sees, who reaches whom afterwards."""

from __future__ import annotations

import pytest
from support.ladders import Talk, answered, assert_all_is_forgotten, hang_up, phones, register
from support.pair import World
from support.scripted_phone import ScriptedPhone, contact_uri, values

AUTHORIZATION = (
    b'Authorization: Digest username="alice", realm="r", nonce="n", uri="sip:203.0.113.20",\r\n'
    b' response="0123456789abcdef0123456789abcdef"'
)


@pytest.fixture
def world() -> World:
    return World()


def test_a_challenged_registration(world: World) -> None:
    alice, registrar = phones(world)
    alice.register()
    first = registrar.expect("REGISTER")
    registrar.answer(first, 401, more=[b'WWW-Authenticate: Digest realm="r", nonce="n", qop="auth,auth-int"'])
    challenge = alice.expect(401)
    assert values(challenge, "www-authenticate")[-1] == b'qop="auth"'
    assert not challenge.all("contact")

    alice.register(more=[AUTHORIZATION], cseq=2)
    second = registrar.expect("REGISTER")
    assert AUTHORIZATION in second.raw
    assert contact_uri(second) == contact_uri(first)
    assert b"10.1.0." not in second.all("via")[0].value + second.all("contact")[0].value
    assert second.request_uri == b"sip:203.0.113.20"

    registrar.answer(second, 200, more=[b"Contact: <%s>;expires=300" % contact_uri(second)])
    assert values(alice.expect(200), "contact") == [b"<sip:alice@10.1.0.50:5060>;expires=300"]
    assert_all_is_forgotten(world)


def test_a_refresh_shows_the_same_contact_to_the_registrar(world: World) -> None:
    alice, registrar = phones(world)
    before = register(alice, registrar)
    world.wait(3000)
    assert register(alice, registrar) == before


def test_parameters_of_a_contact_are_kept(world: World) -> None:
    alice, registrar = phones(world)
    alice.register(contacts=[b'"A" <sip:alice@10.1.0.50:5060;ob;line=7>;q=0.5;reg-id=1;+sip.instance="<urn:uuid:1>"'])
    request = registrar.expect("REGISTER")
    (shown,) = values(request, "contact")
    assert shown.startswith(b'"A" <sip:alice@203.0.113.10:5060;ob;line=7;wp=')
    assert shown.endswith(b'>;q=0.5;+sip.instance="<urn:uuid:1>"')
    registrar.answer(request, 200, more=[b"Contact: " + shown])
    assert values(alice.expect(200), "contact") == [
        b'"A" <sip:alice@10.1.0.50:5060;ob;line=7>;q=0.5;+sip.instance="<urn:uuid:1>"'
    ]


def test_several_contacts_and_those_of_somebody_else(world: World) -> None:
    alice, registrar = phones(world)
    mine = [b"<sip:alice@10.1.0.50:5060>", b"<sip:alice@10.1.0.50:5070;transport=tcp>;q=0.1"]
    alice.register(contacts=mine)
    request = registrar.expect("REGISTER")
    shown = values(request, "contact")
    assert len(set(shown)) == 2
    foreign = [b"<sip:alice@192.168.7.7:5060>;expires=60", b"<sip:alice@198.51.100.9>;expires=60"]
    registrar.answer(request, 200, more=[b"Contact: " + b", ".join([foreign[0], *shown]), b"Contact: " + foreign[1]])
    assert values(alice.expect(200), "contact") == [foreign[0], *mine, foreign[1]]


def test_all_contacts_are_taken_back(world: World) -> None:
    alice, registrar = phones(world)
    register(alice, registrar)
    alice.register(contacts=[b"*"], more=[b"Expires: 0"], cseq=2)
    request = registrar.expect("REGISTER")
    assert values(request, "contact") == [b"*"]
    assert request.all("expires")[0].value == b"0"
    registrar.answer(request, 200)
    assert not alice.expect(200).all("contact")


def test_a_query_shows_what_is_registered_and_takes_nothing_back(world: World) -> None:
    alice, registrar = phones(world)
    long = b"<sip:alice@10.1.0.50:5060;x=%s>" % (b"y" * 150)
    alice.register(contacts=[long])
    request = registrar.expect("REGISTER")
    registrar.answer(request, 200, more=request.lines("contact"))
    alice.expect(200)
    mask = values(request, "contact")[0]

    alice.register(contacts=[], cseq=2)
    query = registrar.expect("REGISTER")
    assert not query.all("contact")
    registrar.answer(query, 200, more=[b"Contact: " + mask + b";expires=99"])
    assert values(alice.expect(200), "contact") == [long + b";expires=99"]

    registrar.invite(contact_uri(request))
    assert alice.expect("INVITE").request_uri == long[1:-1]


@pytest.mark.parametrize("length", [0, 150], ids=["short", "long"])
def test_a_call_to_the_mask_arrives_at_the_exact_contact(world: World, length: int) -> None:
    _, registrar = phones(world)
    contact = "sip:alice%2A@10.1.0.50:5060;ob;line=" + "z" * (3 + length)
    alice = ScriptedPhone(world, "lan", "10.1.0.50:5060", "alice", contact=f"<{contact}>")
    caller = registrar.invite(register(alice, registrar))
    registrar.expect(100)
    invite = alice.expect("INVITE")
    assert invite.request_uri == contact.encode()
    talk_callee = alice.pick_up(invite)
    talk_callee.respond(486)
    caller.ack_failure(registrar.expect(486))
    assert_all_is_forgotten(world)


def test_a_mask_that_was_never_given_out_leads_nowhere(world: World) -> None:
    alice, registrar = phones(world)
    mask = register(alice, registrar)
    ScriptedPhone(world, "public", "198.51.100.66:5060", "mallory").invite(mask[:-4] + b"AAAA")
    assert world.take_lan() == []
    assert world.take_public() == []


def test_a_rejected_registration_passes(world: World) -> None:
    alice, registrar = phones(world)
    alice.register(more=[b"Expires: 5"])
    registrar.answer(registrar.expect("REGISTER"), 423, "Interval Too Brief", more=[b"Min-Expires: 60"])
    assert alice.expect(423).all("min-expires")[0].value == b"60"
    assert_all_is_forgotten(world)


def test_options_to_the_agent_itself_are_not_relayed(world: World) -> None:
    alice, _ = phones(world)
    alice.send(alice.request("OPTIONS", b"sip:10.1.0.2", to=b"<sip:10.1.0.2>", tag=b"o", call_id=b"o1", cseq=1))
    assert world.crossed == []
    assert world.lan_side.counters.values["answered.200"] == 1


def test_a_phone_on_tcp_is_called_over_its_own_connection(world: World) -> None:
    _, registrar = phones(world)
    alice = ScriptedPhone(world, "lan", "10.1.0.50:49152", "alice", transport="tcp", connection=5)
    alice.contact = b"<sip:alice@10.1.0.50:5060;transport=tcp>"
    caller = registrar.invite(register(alice, registrar))
    registrar.expect(100)
    invite = alice.expect("INVITE")
    assert world.lan_side.half.bindings.registered == 1
    callee = alice.pick_up(invite)
    answered(Talk(world, caller, callee))
    hang_up(caller, callee)
    assert_all_is_forgotten(world)
