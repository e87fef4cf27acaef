"""Way A, registering: a phone inside, a registrar outside (SIP-RULES C, D5, F2, H)."""

from __future__ import annotations

import pytest
from support.faces import SERVER
from support.ladder import Phone, uri_in
from support.pair import World

from tunnel.sip.message import Message
from tunnel.sip.name_addr import NameAddr

REGISTRAR = "203.0.113.20:5060"
CHALLENGE = 'WWW-Authenticate: Digest realm="registrar.example", nonce="abc", qop="auth-int,auth", algorithm=SHA-256'
CREDENTIALS = 'Authorization: Digest username="alice", uri="sip:registrar.example", response="0123", qop=auth'


@pytest.fixture
def world() -> World:
    made = World()
    made.names["registrar.example"] = "203.0.113.20"
    return made


@pytest.fixture
def registrar(world: World) -> Phone:
    return Phone(world, REGISTRAR, "registrar")


def phone(world: World, **more: str) -> Phone:
    contact = '"A, B" <sip:alice@10.1.0.50:5060;ob;line=x7>;q=0.5;+sip.instance="<urn:uuid:0-1>"'
    return Phone(world, "10.1.0.50:5060", "alice", contact=more.pop("contact", contact), **more)


def contacts(message: Message) -> list[bytes]:
    return [value.text for value in message.values("contact")]


def accept(registrar: Phone, request: Message, *contacts: bytes, headers: tuple[str, ...] = ()) -> None:
    registrar.answer(request, 200, headers=[*(f"Contact: {each.decode()}" for each in contacts), *headers])


def test_the_registrar_sees_a_mask_and_the_phone_its_own_bytes(world: World, registrar: Phone) -> None:
    alice = phone(world)
    alice.register("sip:registrar.example", headers=["Expires: 600"])
    request = registrar.got("REGISTER")
    assert request.request_uri == b"sip:registrar.example"
    shown = NameAddr.parse_untrusted(contacts(request)[0])
    assert shown.text.startswith(b'"A, B" <sip:alice@203.0.113.10:5060;ob;line=x7;wp=')
    assert shown.text.endswith(b'>;q=0.5;+sip.instance="<urn:uuid:0-1>"')
    assert request.header("expires").value == b"600"  # type: ignore[union-attr]
    accept(registrar, request, contacts(request)[0] + b";expires=300")
    answer = alice.got(200)
    assert contacts(answer) == [alice.contact.encode() + b";expires=300"]
    assert answer.lines("via")[0].startswith(b"Via: SIP/2.0/UDP 10.1.0.50:5060;rport=5060")


def test_the_same_contact_has_the_same_mask_at_each_refresh(world: World, registrar: Phone) -> None:
    alice = phone(world)
    seen = set()
    for cseq in range(1, 4):
        alice.register("sip:registrar.example", call_id="r1", cseq=cseq)
        request = registrar.got("REGISTER")
        seen.add(contacts(request)[0])
        accept(registrar, request, contacts(request)[0] + b";expires=60")
        world.wait(50)
    assert len(seen) == 1


def test_the_challenge_passes_without_auth_int_and_the_credentials_untouched(world: World, registrar: Phone) -> None:
    alice = phone(world)
    alice.register("sip:registrar.example", call_id="r1")
    registrar.answer(registrar.got("REGISTER"), 401, headers=[CHALLENGE])
    challenge = alice.got(401).lines("www-authenticate")
    assert challenge == [CHALLENGE.replace("auth-int,auth", "auth").encode()]
    alice.register("sip:registrar.example", call_id="r1", cseq=2, headers=[CREDENTIALS])
    assert registrar.got("REGISTER").lines("authorization") == [CREDENTIALS.encode()]


def test_several_contacts_and_a_foreign_one(world: World, registrar: Phone) -> None:
    alice = phone(world)
    own = ["<sip:alice@10.1.0.50>;expires=60", "<sip:alice@10.1.0.51:5070;transport=tcp>"]
    alice.register("sip:registrar.example", own)
    request = registrar.got("REGISTER")
    masked = contacts(request)
    assert all(b"203.0.113.10:5060" in each for each in masked)
    assert b"transport=tcp" not in masked[1]
    foreign = b"<sip:alice@198.51.100.9:5060>;expires=99"
    accept(registrar, request, masked[1] + b";expires=120", foreign, masked[0])
    assert contacts(alice.got(200)) == [own[1].encode() + b";expires=120", foreign, own[0].encode()]


def test_a_query_shows_own_bindings_unmasked(world: World, registrar: Phone) -> None:
    alice = phone(world)
    alice.register("sip:registrar.example")
    request = registrar.got("REGISTER")
    mask = contacts(request)[0]
    accept(registrar, request, mask)
    alice.got(200)
    alice.register("sip:registrar.example", [])
    query = registrar.got("REGISTER")
    assert contacts(query) == []
    accept(registrar, query, mask + b";expires=7")
    assert contacts(alice.got(200)) == [alice.contact.encode() + b";expires=7"]


def test_423_and_its_min_expires_pass(world: World, registrar: Phone) -> None:
    alice = phone(world)
    alice.register("sip:registrar.example")
    registrar.answer(registrar.got("REGISTER"), 423, headers=["Min-Expires: 1800"])
    assert alice.got(423).lines("min-expires") == [b"Min-Expires: 1800"]


def register(alice: Phone, registrar: Phone, answer: str = ";expires=300", **more: object) -> bytes:
    alice.register("sip:registrar.example", **more)  # type: ignore[arg-type]
    request = registrar.got("REGISTER")
    accept(registrar, request, contacts(request)[0] + answer.encode())
    alice.got(200)
    return contacts(request)[0]


@pytest.mark.parametrize(
    ("gone", "headers"),
    [("*", ["Expires: 0"]), ("<sip:alice@192.168.7.5:5060>;expires=0", []), ("same", ["Expires: 0"])],
)
def test_who_deregisters_needs_no_keepalive(world: World, registrar: Phone, gone: str, headers: list[str]) -> None:
    alice = Phone(world, "192.168.7.5:5060", "alice", seen_from="10.1.0.50:9999")
    register(alice, registrar)
    bindings = world.lan_side.bindings
    assert [flow.remote.port for flow in bindings.keepalive_flows(world.now)] == [9999]
    alice.register("sip:registrar.example", [alice.contact if gone == "same" else gone], headers=headers)
    accept(registrar, registrar.got("REGISTER"))
    alice.got(200)
    assert list(bindings.keepalive_flows(world.now)) == []
    assert bindings.registered == 0


def test_a_registration_that_runs_out_needs_no_keepalive_after_a_grace(world: World, registrar: Phone) -> None:
    alice = Phone(world, "192.168.7.5:5060", "alice", seen_from="10.1.0.50:9999")
    register(alice, registrar, ";expires=60")
    world.wait(91)
    assert world.lan_side.bindings.keepalive_flows(world.now)
    world.wait(2)
    assert not world.lan_side.bindings.keepalive_flows(world.now)


def test_only_natted_phones_need_keepalives(world: World, registrar: Phone) -> None:
    register(phone(world), registrar)
    assert list(world.lan_side.bindings.keepalive_flows(world.now)) == []


def test_outbound_is_not_done_half_way(world: World, registrar: Phone) -> None:
    alice = phone(world, contact='<sip:alice@10.1.0.50;ob>;reg-id=1;+sip.instance="<urn:uuid:1>"')
    alice.register("sip:registrar.example", headers=["Supported: path, outbound, gruu"])
    request = registrar.got("REGISTER")
    assert b"reg-id" not in request.raw
    assert request.lines("supported") == [b"Supported: path, gruu"]
    assert b'+sip.instance="<urn:uuid:1>"' in request.raw


def test_a_call_to_the_mask_rings_the_phone_at_its_exact_contact(world: World, registrar: Phone) -> None:
    alice = phone(world)
    mask = register(alice, registrar)
    registrar.invite(uri_in(mask), to="sip:alice@registrar.example")
    assert alice.got("INVITE").request_uri == b"sip:alice@10.1.0.50:5060;ob;line=x7"


def test_a_natted_phone_rings_where_it_registered_from_and_the_next_register_moves_it(
    world: World, registrar: Phone
) -> None:
    alice = Phone(world, "192.168.7.5:5060", "alice", seen_from="10.1.0.50:9999")
    mask = register(alice, registrar)
    registrar.invite(uri_in(mask))
    assert alice.got("INVITE").request_uri == b"sip:alice@192.168.7.5:5060"
    moved = Phone(world, "192.168.7.5:5060", "alice", seen_from="10.1.0.50:7777")
    assert register(moved, registrar, call_id="again") == mask
    registrar.invite(uri_in(mask))
    moved.got("INVITE")
    alice.got_nothing()


def test_a_phone_on_tcp_is_called_over_its_connection(world: World, registrar: Phone) -> None:
    alice = Phone(world, "10.1.0.50:40001", "alice", transport="tcp", connection=5)
    mask = register(alice, registrar)
    registrar.invite(uri_in(mask))
    assert alice.got("INVITE").request_uri == b"sip:alice@10.1.0.50:40001;transport=tcp"
    assert (alice.flows[-1].transport, alice.flows[-1].connection) == ("tcp", 5)


def test_a_contact_on_another_inside_host_is_called_there(world: World, registrar: Phone) -> None:
    """S3-10: legal, and what a PBX does for its users."""
    pbx = Phone(world, "10.1.0.5:5060", "alice", contact="<sip:alice@10.1.0.77:5062>")
    desk = Phone(world, "10.1.0.77:5062", "desk")
    mask = register(pbx, registrar)
    registrar.invite(uri_in(mask))
    desk.got("INVITE")
    pbx.got_nothing()


def test_a_long_contact_stands_in_a_short_mask(world: World, registrar: Phone) -> None:
    long = "<sip:alice@10.1.0.50:5060;" + "x" * 200 + ">"
    mask = register(phone(world, contact=long), registrar)
    assert len(NameAddr.parse_untrusted(mask).uri.param("wp")) <= 120  # type: ignore[union-attr,operator]
    alice = Phone(world, "10.1.0.50:5060", "alice")
    registrar.invite(uri_in(mask))
    assert alice.got("INVITE").request_uri == uri_in(long.encode())


def test_a_path_inside_is_kept_back_and_followed(world: World, registrar: Phone) -> None:
    """A proxy between the phone and the agent names itself with Path (RFC 3327): that is nobody's business outside."""
    proxy = Phone(world, "10.1.0.6:5060", "alice", contact="<sip:alice@10.1.0.50:5060>")
    mask = register(proxy, registrar, headers=["Path: <sip:10.1.0.6;lr>"])
    registrar.invite(uri_in(mask))
    invite = proxy.got("INVITE")
    assert invite.request_uri == b"sip:alice@10.1.0.50:5060"
    assert invite.lines("route") == [b"Route: <sip:10.1.0.6;lr>"]


def test_a_third_party_registers_the_address_in_to(world: World, registrar: Phone) -> None:
    boss = Phone(world, "10.1.0.50:5060", "secretary", contact="<sip:boss@10.1.0.50>")
    boss.aor = "sip:boss@registrar.example"
    mask = register(boss, registrar)
    registrar.invite(uri_in(mask))
    assert boss.got("INVITE").request_uri == b"sip:boss@10.1.0.50"


def test_nothing_is_left_of_a_registration_but_its_binding(world: World, registrar: Phone) -> None:
    register(phone(world), registrar)
    world.wait(40)
    world.assert_empty()
    assert str(SERVER) == "203.0.113.10:5060"
