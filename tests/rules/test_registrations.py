"""Registrations in every shape (SIP-RULES D4, D5, D7, F2; T24)."""

from __future__ import annotations

import pytest
from support.ladder import Dialog, Phone, uri_in
from support.pair import World
from support.scripted_phone import values

from tunnel.sip.message import Message
from tunnel.sip.name_addr import NameAddr

AOR = "sip:alice@registrar.example"
PJSUA = '<sip:alice@10.1.0.50:5060;transport=TCP;ob>;reg-id=1;+sip.instance="<urn:uuid:00000000-0000-0000-0000-1>"'


@pytest.fixture
def world() -> World:
    made = World()
    made.names["registrar.example"] = "203.0.113.20"
    return made


@pytest.fixture
def registrar(world: World) -> Phone:
    return Phone(world, "203.0.113.20:5060", "registrar")


def strict(registrar: Phone) -> int:
    """Answer a REGISTER as RFC 5626 section 6 and RFC 3327 section 5.3 demand of a registrar; the status given."""
    request = registrar.got("REGISTER")
    supported = {value.text.lower() for value in request.values("supported")}
    addresses = [NameAddr.parse_untrusted(value.text) for value in request.values("contact")]
    through_proxies = len(request.values("via")) > 1 or str(request.top_via.sent_by) != "10.1.0.50:5060"
    asks = any(address.has_param("reg-id") and address.has_param("+sip.instance") for address in addresses)
    path = [value.text for value in request.values("path")]
    if asks and b"outbound" in supported and through_proxies and not any(b"ob" in value for value in path):
        status, more = 439, []
    elif path and b"path" not in supported:
        status, more = 420, ["Unsupported: path"]
    else:
        status, more = 200, [line.decode() for line in request.lines("contact")]
    registrar.answer(request, status, headers=more)
    return status


# D4, D5, T24


@pytest.mark.parametrize("header", ["Supported: path, outbound", "k: gruu,OUTBOUND", "Require: outbound"])
def test_a_strict_registrar_takes_a_phone_that_does_outbound(
    world: World, registrar: Phone, alice: Phone, header: str
) -> None:
    """T24, D5: RFC 5626 is stripped wholly (reg-id, the option tag), so 439 never comes; the instance and ;ob stay."""
    alice.register("sip:registrar.example", [PJSUA], headers=[header, "Supported: timer"])
    request = registrar.inbox[0]
    assert strict(registrar) == 200
    assert b"reg-id" not in request.raw
    assert b"outbound" not in request.raw.lower()
    assert request.lines("supported")[-1] == b"Supported: timer"
    (contact,) = values(request, "contact")
    assert contact.startswith(b"<sip:alice@203.0.113.10:5060;ob;wp=")
    assert contact.endswith(b'>;+sip.instance="<urn:uuid:00000000-0000-0000-0000-1>"')
    alice.got(200)


def test_a_registrar_never_sees_a_path_it_could_refuse(world: World, registrar: Phone, alice: Phone) -> None:
    """D4: Contact is masked and no Path is added, so nobody answers 420 on our account; that of a proxy inside stays."""
    alice.register("sip:registrar.example", headers=["Path: <sip:10.1.0.6;lr>"])
    assert not registrar.inbox[0].all("path")
    assert strict(registrar) == 200


@pytest.mark.parametrize(
    ("status", "header"), [(420, "Unsupported: gruu"), (421, "Require: path"), (494, "Require: x")]
)
def test_what_a_registrar_demands_is_for_the_phone(
    world: World, registrar: Phone, alice: Phone, status: int, header: str
) -> None:
    """D4: 420 and 421 are about what the phone said: they pass, and a second try passes as well."""
    alice.register("sip:registrar.example", call_id="r")
    registrar.answer(registrar.got("REGISTER"), status, headers=[header])
    assert alice.got(status).lines(header.partition(":")[0].lower()) == [header.encode()]
    alice.register("sip:registrar.example", call_id="r", cseq=2, headers=["Supported: path"])
    request = registrar.got("REGISTER")
    assert request.lines("supported") == [b"Supported: path"]
    registrar.answer(request, 200, headers=[line.decode() for line in request.lines("contact")])
    alice.got(200)


# F2, T24


def test_what_was_asked_and_what_was_granted_pass_unchanged(world: World, registrar: Phone, alice: Phone) -> None:
    """F2, T24: expires in the header and in each Contact, as asked and as granted; the 200's value is what counts."""
    own = [
        "<sip:alice@10.1.0.50>;expires=60;q=0.7",
        '"A" <sip:alice@10.1.0.51:5070>',
        "sip:alice@10.1.0.52;expires=0",
    ]
    alice.register("sip:registrar.example", own, headers=["Expires: 00300"])
    request = registrar.got("REGISTER")
    assert request.lines("expires") == [b"Expires: 00300"]
    first, second, third = values(request, "contact")
    assert first.endswith(b">;expires=60;q=0.7")
    assert second.startswith(b'"A" <')
    assert third.endswith(b";expires=0")
    foreign = b"<sip:alice@198.51.100.9;wp=notours>;expires=77"
    granted = [first.replace(b"expires=60", b"expires=45"), foreign, second + b";expires=290"]
    registrar.answer(request, 200, headers=[f"Contact: {each.decode()}" for each in granted])
    ok = alice.got(200)
    assert values(ok, "contact") == [
        own[0].replace("=60", "=45").encode(),
        foreign,
        own[1].encode() + b";expires=290",
    ]
    bindings = world.lan_side.bindings
    assert bindings.registered == 2
    world.wait(45 + 31)
    registrar.invite(uri_in(first))
    assert alice.got("INVITE").request_uri == b"sip:alice@10.1.0.50"


def register(phone: Phone, registrar: Phone, contacts: list[str] | None = None, **more: object) -> bytes:
    """A registration of one Contact; the mask that the registrar knows."""
    phone.register("sip:registrar.example", contacts, **more)  # type: ignore[arg-type]
    request = registrar.got("REGISTER")
    registrar.answer(request, 200, headers=[line.decode() for line in request.lines("contact")])
    phone.got(200)
    return values(request, "contact")[0]


def test_all_contacts_of_an_address_of_record_go_together(world: World, registrar: Phone, alice: Phone) -> None:
    """F2: Contact * with Expires 0 ends every binding of that address-of-record, wherever it was made, and no other."""
    register(alice, registrar)
    register(Phone(world, "10.1.0.51:5060", "alice"), registrar)
    register(Phone(world, "10.1.0.60:5060", "carol"), registrar)
    assert world.lan_side.bindings.registered == 3
    alice.register("sip:registrar.example", ["*"], headers=["Expires: 0"])
    request = registrar.got("REGISTER")
    assert request.lines("contact") == [b"Contact: *"]
    assert request.lines("expires") == [b"Expires: 0"]
    registrar.answer(request, 200)
    assert not alice.got(200).all("contact")
    assert world.lan_side.bindings.registered == 1


def test_a_query_shows_own_contacts_and_foreign_ones_as_they_are(world: World, registrar: Phone, alice: Phone) -> None:
    """F2: a REGISTER without Contact stays one; its answer shows our masks as the exact Contacts, others untouched."""
    mask = register(alice, registrar)
    alice.register("sip:registrar.example", [])
    query = registrar.got("REGISTER")
    assert not query.all("contact")
    foreign = '"x" <sip:alice@192.168.3.4;transport=tls>;q=1, <sip:alice@gw.example>'
    registrar.answer(query, 200, headers=[f"Contact: {foreign}", f"m: {mask.decode()};expires=9"])
    ok = alice.got(200)
    assert ok.lines("contact") == [f"Contact: {foreign}".encode(), b"m: " + alice.contact.encode() + b";expires=9"]
    assert world.lan_side.bindings.registered == 1


def test_too_brief_an_interval_passes(world: World, registrar: Phone, alice: Phone) -> None:
    """F2: 423 and Min-Expires are between phone and registrar, and register nothing."""
    alice.register("sip:registrar.example", headers=["Expires: 10"])
    registrar.answer(registrar.got("REGISTER"), 423, headers=["Min-Expires: 3600"])
    assert alice.got(423).lines("min-expires") == [b"Min-Expires: 3600"]
    assert world.lan_side.bindings.registered == 0


def test_somebody_registers_for_somebody_else(world: World, registrar: Phone) -> None:
    """F2: third-party registration: To names whose Contact it is, From who sends it; both pass."""
    secretary = Phone(world, "10.1.0.50:5060", "secretary")
    secretary.aor, boss = "sip:secretary@registrar.example", "sip:boss@registrar.example"
    secretary.request("REGISTER", "sip:registrar.example", to=boss, contact=False, headers=["m: <sip:boss@10.1.0.61>"])
    request = registrar.got("REGISTER")
    assert uri_in(request.values("to")[0].text) == boss.encode()
    assert b"secretary" in request.lines("from")[0]
    registrar.answer(request, 200, headers=[line.decode() for line in request.lines("contact")])
    assert secretary.got(200).lines("contact") == [b"m: <sip:boss@10.1.0.61>"]
    desk = Phone(world, "10.1.0.61:5060", "boss")
    registrar.invite(uri_in(values(request, "contact")[0]), to=boss)
    assert desk.got("INVITE").request_uri == b"sip:boss@10.1.0.61"


def test_a_binding_outlives_its_end_by_a_grace(world: World, registrar: Phone) -> None:
    """F2: expiry and 32 s of grace: a call that the registrar sent at the last moment still arrives, a later one does not."""
    phone = Phone(world, "192.168.77.5:5060", "alice", seen_from="10.1.0.50:9999")
    mask = register(phone, registrar, [f"{phone.contact};expires=60"])
    world.wait(60 + 31)
    registrar.invite(uri_in(mask))
    phone.got("INVITE")
    world.wait(2)
    registrar.invite(uri_in(mask))
    phone.lose()
    assert registrar.inbox[-1].status in (403, 480)


def test_a_registration_from_a_new_place_moves_the_flow(world: World, registrar: Phone) -> None:
    """F2: the next REGISTER decides where calls go; the registrar sees one Contact all the time."""
    before = Phone(world, "192.168.77.5:5060", "alice", seen_from="10.1.0.50:9999")
    mask = register(before, registrar, call_id="same")
    after = Phone(world, "192.168.77.5:5060", "alice", seen_from="10.1.0.99:7777")
    assert register(after, registrar, call_id="same", cseq=2) == mask
    registrar.invite(uri_in(mask))
    after.got("INVITE")
    before.got_nothing()


def test_the_store_is_kept_by_token_and_not_by_what_registrars_make_of_it(
    world: World, registrar: Phone, alice: Phone
) -> None:
    """F2: a registrar that spells the Contact its own way (order, case, escapes, more parameters) still says how long."""
    alice.register("sip:registrar.example")
    request = registrar.got("REGISTER")
    token = uri_in(values(request, "contact")[0]).rpartition(b"wp=")[2].decode()
    odd = f'<sip:%61lice@203.0.113.10;line=1;wp={token};q>;received="x";expires=50'
    registrar.answer(request, 200, headers=[f"Contact: {odd}"])
    assert values(alice.got(200), "contact")[0].startswith(b"<sip:alice@10.1.0.50:5060>;received")
    assert world.lan_side.bindings.registered == 1


def test_a_registrar_inside_lists_bindings_of_others(world: World) -> None:
    """F2, C5: a worker outside sees its own Contact exact, public ones untouched, inside ones masked."""
    world = World(pbx="sip:10.1.0.5:5060")
    world.set_tenant(domains=("acme.example",))
    pbx = Phone(world, "10.1.0.5:5060", "pbx")
    worker = Phone(world, "192.168.77.20:5060", "bob", seen_from="198.51.100.7:40000", domain="acme.example")
    worker.register("sip:acme.example")
    request = pbx.got("REGISTER")
    others = ["<sip:bob@198.51.100.99;x=1>;expires=5", "<sip:bob@mobile.example;gr=1>", "<sip:bob@10.1.0.60>;q=0.1"]
    lines = [*(line.decode() for line in request.lines("contact")), *(f"Contact: {other}" for other in others)]
    pbx.answer(request, 200, headers=lines)
    own, *rest = values(worker.got(200), "contact")
    assert own == worker.contact.encode()
    assert rest[:2] == [other.encode() for other in others[:2]]
    assert rest[2].startswith(b"<sip:bob@203.0.113.10:5060;wp=")
    assert rest[2].endswith(b">;q=0.1")


def test_where_the_agent_came_from_is_not_told_outside() -> None:
    """F2, S4-9: a registrar inside adds where a registration came from (``received``): that is the agent, inside."""
    world = World(pbx="sip:10.1.0.5:5060")
    world.set_tenant(domains=("acme.example",))
    pbx = Phone(world, "10.1.0.5:5060", "pbx")
    worker = Phone(world, "192.168.77.20:5060", "bob", seen_from="198.51.100.7:40000", domain="acme.example")
    worker.register("sip:acme.example")
    request = pbx.got("REGISTER")
    (mask,) = (value.decode() for value in values(request, "contact"))
    shown = f'Contact: {mask};received="sip:10.1.0.2:5060";expires=60;+sip.instance="<urn:uuid:f81d4fae>"'
    pbx.answer(request, 200, headers=[shown])
    (own,) = values(worker.got(200), "contact")
    assert own == worker.contact.encode() + b';expires=60;+sip.instance="<urn:uuid:f81d4fae>"'


# D7


GRUUS = (
    '{contact};pub-gruu="sip:alice@registrar.example;gr=urn:uuid:f81d4fae"'
    ';temp-gruu="sip:tgruu.7hs==jd7@registrar.example;gr";+sip.instance="<urn:uuid:f81d4fae>"'
)


def with_gruus(registrar: Phone, alice: Phone) -> tuple[bytes, Message]:
    alice.register("sip:registrar.example", headers=["Supported: gruu"])
    request = registrar.got("REGISTER")
    mask = values(request, "contact")[0]
    registrar.answer(request, 200, headers=[f"Contact: {GRUUS.format(contact=mask.decode())}"])
    return mask, alice.got(200)


def test_gruus_of_the_registrar_pass_untouched(world: World, registrar: Phone, alice: Phone) -> None:
    """D7: pub-gruu and temp-gruu in the answer, and a GRUU as Contact, are never rewritten."""
    _, ok = with_gruus(registrar, alice)
    assert values(ok, "contact") == [GRUUS.format(contact=alice.contact).encode()]
    alice.contact = "<sip:alice@registrar.example;gr=urn:uuid:f81d4fae>"
    alice.invite("sip:bob@registrar.example")
    assert registrar.got("INVITE").lines("contact") == [f"Contact: {alice.contact}".encode()]


@pytest.mark.parametrize(
    "gruu",
    [
        "sip:alice@registrar.example;gr=urn:uuid:f81d4fae",
        "sip:alice@REGISTRAR.example;x=y;gr=urn:uuid:f81d4fae",
        "sip:tgruu.7hs==jd7@registrar.example;gr",
    ],
)
def test_a_gruu_leads_to_the_contact_it_was_made_for(world: World, registrar: Phone, alice: Phone, gruu: str) -> None:
    """D7: a GRUU in the Request-URI arrives at the Contact of the instance, which a phone knows as its own."""
    with_gruus(registrar, alice)
    registrar.invite(gruu)
    assert alice.got("INVITE").request_uri == b"sip:alice@10.1.0.50:5060"


@pytest.mark.parametrize("registered_here", [True, False])
def test_a_party_that_calls_itself_by_a_gruu_is_reached_in_the_dialog(
    world: World, registrar: Phone, alice: Phone, registered_here: bool
) -> None:
    """D7, T4: the other one's BYE bears the GRUU, whose host is the registrar: it goes to the phone and not back outside."""
    if registered_here:
        with_gruus(registrar, alice)
    alice.contact = "<sip:alice@registrar.example;gr=urn:uuid:f81d4fae>"
    alice.invite("sip:bob@registrar.example")
    invite = registrar.got("INVITE")
    callee = registrar.accept(invite)
    Dialog.of_caller(alice, invite, alice.got(200)).ack()
    registrar.got("ACK")
    callee.send("BYE")
    bye = alice.got("BYE")
    assert bye.request_uri == b"sip:alice@registrar.example;gr=urn:uuid:f81d4fae"
    alice.answer(bye, 200)
    registrar.got(200)


def test_a_gruu_of_nobody_here_leads_nowhere(world: World, registrar: Phone, alice: Phone) -> None:
    """D7: another instance is not this one, and an instance that has gone is nobody."""
    with_gruus(registrar, alice)
    registrar.invite("sip:alice@registrar.example;gr=urn:uuid:other")
    registrar.got(404)
    alice.register("sip:registrar.example", ["*"], headers=["Expires: 0"])
    registrar.answer(registrar.got("REGISTER"), 200)
    registrar.invite("sip:alice@registrar.example;gr=urn:uuid:f81d4fae")
    registrar.got(404)
