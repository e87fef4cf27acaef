"""What nobody outside gets, and what never leaves by mistake: routes, masks, identities, challenges (A9, C6, E, H4)."""

from __future__ import annotations

import pytest
from support.ladder import Dialog, Phone, registered, uri_in
from support.pair import World


@pytest.fixture
def world() -> World:
    made = World(pbx="sip:10.1.0.5:5060")
    made.names["registrar.example"] = "203.0.113.20"
    made.set_tenant(domains=("acme.example",), trunks=("203.0.113.30",))
    return made


@pytest.fixture
def pbx(world: World) -> Phone:
    return Phone(world, "10.1.0.5:5060", "pbx")


@pytest.mark.parametrize("uri", ["sip:100@acme.example", "mask"])
def test_a_stranger_cannot_choose_the_way_inside(world: World, pbx: Phone, uri: str) -> None:
    """A Route to a host inside that is no PBX: the call goes to the PBX, or to the phone, and nowhere else."""
    server = Phone(world, "10.1.0.99:5060", "secret")
    alice = Phone(world, "10.1.0.50:5060", "alice")
    stranger = Phone(world, "198.51.100.66:5060", "stranger")
    target = registered(world, alice).decode() if uri == "mask" else uri
    stranger.invite(target, routes=["<sip:203.0.113.10;lr>", "<sip:10.1.0.99;lr>"])
    server.got_nothing()
    invite = (alice if uri == "mask" else pbx).got("INVITE")
    assert not invite.values("route")


def test_an_inside_phone_may_choose_the_way_outside(world: World) -> None:
    alice = Phone(world, "10.1.0.50:5060", "alice")
    proxy = Phone(world, "203.0.113.99:5060", "proxy")
    alice.invite("sip:bob@203.0.113.40", routes=["<sip:10.1.0.2;lr>", "<sip:203.0.113.99;lr>"])
    invite = proxy.got("INVITE")
    assert invite.lines("route") == [b"Route: <sip:203.0.113.99;lr>"]


@pytest.mark.parametrize("method", ["INVITE", "MESSAGE"])
def test_an_expired_mask_is_answered_here_and_names_nobody_outside(world: World, pbx: Phone, method: str) -> None:
    pbx.request(method, "sip:bob@10.1.0.2:5060;wp=AAAA")
    pbx.got(404)
    assert world.take_public() == []


def test_a_dialog_that_is_forgotten_names_nobody_outside(world: World, pbx: Phone) -> None:
    pbx.request("BYE", "sip:bob@10.1.0.2:5060", to_tag="x")
    pbx.got(481)
    assert world.take_public() == []


def test_a_mask_of_an_outside_contact_lets_nobody_in(world: World, pbx: Phone) -> None:
    """What the PBX was shown for a remote worker is no way into the PBX for others."""
    worker = Phone(world, "192.168.1.20:5060", "bob", seen_from="198.51.100.7:40000", domain="acme.example")
    worker.register("sip:acme.example")
    shown = uri_in(pbx.got("REGISTER").values("contact")[0].text)
    token = shown.rpartition(b";wp=")[2].decode()
    stranger = Phone(world, "198.51.100.66:5060", "stranger")
    stranger.invite(f"sip:bob@203.0.113.10;wp={token}")
    pbx.got_nothing()
    stranger.got_nothing()


def test_a_challenge_of_a_stranger_who_called_in_is_not_passed_on(world: World) -> None:
    """The attack on baresip (re#101): call a phone, then challenge its BYE and learn its digest."""
    alice = Phone(world, "10.1.0.50:5060", "alice")
    mask = registered(world, alice)
    stranger = Phone(world, "198.51.100.66:5060", "stranger")
    sent = stranger.invite(mask)
    call = alice.accept(alice.got("INVITE"))
    Dialog.of_caller(stranger, sent, stranger.got(200)).ack()
    alice.got("ACK")
    call.send("BYE")
    stranger.answer(stranger.got("BYE"), 401, headers=['WWW-Authenticate: Digest realm="registrar.example", nonce="n"'])
    alice.got(403)
    world.wait(200)
    world.assert_empty()


def test_a_challenge_of_the_registrar_is_passed_on(world: World) -> None:
    alice = Phone(world, "10.1.0.50:5060", "alice")
    mask = registered(world, alice)
    registrar = Phone(world, "203.0.113.20:5060", "registrar")
    sent = registrar.invite(mask)
    call = alice.accept(alice.got("INVITE"))
    Dialog.of_caller(registrar, sent, registrar.got(200)).ack()
    alice.got("ACK")
    call.send("BYE")
    registrar.answer(registrar.got("BYE"), 401, headers=['WWW-Authenticate: Digest realm="r", nonce="n"'])
    alice.got(401)


@pytest.mark.parametrize(
    ("source", "uri", "passes"), [("198.51.100.66", "acme", False), ("203.0.113.30", "trunk", True)]
)
def test_only_trusted_peers_may_assert_an_identity(
    world: World, pbx: Phone, source: str, uri: str, passes: bool
) -> None:
    asserted = "P-Asserted-Identity: <sip:boss@acme.example>"
    peer = Phone(world, f"{source}:5060", "peer")
    peer.invite("sip:100@acme.example" if uri == "acme" else "sip:+4930@203.0.113.10", headers=[asserted])
    assert pbx.got("INVITE").lines("p-asserted-identity") == ([asserted.encode()] if passes else [])


def test_a_request_that_comes_back_unchanged_is_a_loop(world: World, pbx: Phone) -> None:
    alice = Phone(world, "10.1.0.50:5060", "alice")
    mask = registered(world, alice)
    outside = Phone(world, "203.0.113.99:5060", "mirror")
    alice.invite(b"sip:x@203.0.113.99")
    invite = outside.got("INVITE")
    back = invite.raw.replace(b"\r\nVia:", b"\r\nVia: SIP/2.0/UDP 203.0.113.99;branch=z9hG4bKmirror\r\nVia:", 1)
    world.set_tenant(trunks=("203.0.113.99",))
    outside.send(back)
    outside.got(482)
    pbx.got_nothing()
    outside.send(back.replace(b"INVITE sip:x@203.0.113.99 ", b"INVITE " + mask + b" ").replace(b"mirror", b"spiral"))
    assert alice.got("INVITE").request_uri == b"sip:alice@10.1.0.50:5060"


def test_at_the_servers_own_address_is_the_pbx_of_a_tenant_with_a_trunk(world: World, pbx: Phone) -> None:
    """What the trunk dials there may be named in its REFER, and is called from inside then."""
    alice = Phone(world, "10.1.0.50:5060", "alice")
    alice.invite("sip:500@203.0.113.10")
    assert pbx.got("INVITE").request_uri == b"sip:500@10.1.0.5:5060"
    assert world.take_public() == []


def test_nobody_is_at_the_servers_own_address(world: World) -> None:
    world.set_tenant(domains=("acme.example",))
    alice = Phone(world, "10.1.0.50:5060", "alice")
    alice.invite("sip:x@203.0.113.10")
    alice.got(404)
    assert world.take_public() == []


def test_an_inside_phone_that_calls_a_mask_reaches_the_other_phone(world: World) -> None:
    """As after a transfer: the address that outside parties have for a phone works inside as well."""
    alice = Phone(world, "10.1.0.50:5060", "alice")
    carol = Phone(world, "10.1.0.60:5060", "carol")
    mask = registered(world, carol)
    sent = alice.invite(mask)
    callee = carol.accept(carol.got("INVITE"))
    caller = Dialog.of_caller(alice, sent, alice.got(200))
    caller.ack()
    carol.got("ACK")
    callee.send("BYE")
    alice.answer(alice.got("BYE"), 200)
    carol.got(200)
    world.wait(200)
    world.assert_empty()


def test_a_transfer_target_is_called_where_it_is_and_not_where_the_transferor_is(world: World) -> None:
    """Refer-To names somebody else: the transferor's own connection does not lead there."""
    alice = Phone(world, "10.1.0.50:40001", "alice", transport="tcp", connection=4)
    carol = Phone(world, "10.1.0.60:5060", "carol")
    bob = Phone(world, "203.0.113.40:5060", "bob")
    alice.request("REFER", "sip:bob@203.0.113.40", headers=["Refer-To: <sip:carol@10.1.0.60>"])
    target = uri_in(bob.got("REFER").values("refer-to")[0].text)
    bob.invite(target)
    assert carol.got("INVITE").request_uri == b"sip:carol@10.1.0.60"


def test_a_flow_that_is_gone_is_no_way_to_a_private_address(world: World, pbx: Phone) -> None:
    worker = Phone(
        world, "192.168.1.20:5060", "bob", seen_from="198.51.100.7:40000", domain="acme.example", transport="tcp",
        connection=9,
    )  # fmt: skip
    worker.register("sip:acme.example")
    request = pbx.got("REGISTER")
    shown = request.values("contact")[0].text
    pbx.answer(request, 200, headers=[f"Contact: {shown.decode()};expires=600"])
    worker.got(200)
    sent = pbx.invite(uri_in(shown))
    worker.got("INVITE")
    world.public_side.proxy.transport_failed("tcp", worker.flows[-1].remote, 9, world.now)
    world.settle()
    pbx.ack_failure(sent, pbx.got(480))
    assert world.take_public() == []


def test_an_answer_whose_connection_is_gone_goes_where_the_via_says(world: World, pbx: Phone) -> None:
    """RFC 3261 section 18.2.2."""
    alice = Phone(world, "10.1.0.50:40001", "alice", transport="tcp", connection=4)
    alice.address = alice.address._replace(port=5060)
    again = Phone(world, "10.1.0.50:5060", "alice", transport="tcp")
    bob = Phone(world, "203.0.113.40:5060", "bob")
    alice.invite("sip:bob@203.0.113.40")
    alice.got(100)
    world.lan_side.proxy.transport_failed("tcp", alice.flows[-1].remote, 4, world.now)
    world.settle()
    bob.answer(bob.got("INVITE"), 486)
    again.got(486)


def test_an_answer_goes_to_the_same_port_by_a_new_connection(world: World, pbx: Phone) -> None:
    """B7: a phone that connects from the port it listens on is reached there again; a second failure ends it."""
    alice = Phone(world, "10.1.0.50:5060", "alice", transport="tcp", connection=4)
    bob = Phone(world, "203.0.113.40:5060", "bob")
    alice.invite("sip:bob@203.0.113.40")
    alice.got(100)
    world.lan_side.proxy.transport_failed("tcp", alice.flows[-1].remote, 4, world.now)
    world.settle()
    assert alice.got(100)  # what was sent last goes again, by whichever connection leads there
    assert alice.flows[-1].connection == 0
    world.lan_side.proxy.transport_failed("tcp", alice.flows[-1].remote, 5, world.now)
    world.settle()
    assert not alice.inbox
    bob.answer(bob.got("INVITE"), 486)


def test_neither_its_flow_nor_its_address_leads_to_a_user_agent(world: World) -> None:
    """K: 480, whatever was wrong with its address: it has to register again."""
    alice = Phone(world, "10.1.0.50:5061", "alice", transport="tls", connection=4)
    registrar = Phone(world, "203.0.113.40:5060", "reg")
    alice.register("sip:203.0.113.40")
    request = registrar.got("REGISTER")
    shown = request.values("contact")[0].text.decode()
    registrar.answer(request, 200, headers=[f"Contact: {shown};expires=600"])
    alice.got(200)
    registrar.invite(uri_in(shown.encode()))
    for connection, why in ((4, ""), (0, "the certificate of the next hop does not verify")):
        alice.got("INVITE")
        assert alice.flows[-1].connection == connection
        world.lan_side.proxy.transport_failed("tls", alice.address, connection, world.now, why)
        world.settle()
    registrar.got(480)
