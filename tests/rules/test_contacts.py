"""Contacts on their way through, and back (SIP-RULES C)."""

from __future__ import annotations

import pytest
from support.ladder import Dialog, Phone, uri_in
from support.pair import World
from support.scripted_phone import values

from tunnel.sip.mask import MAX_TOKEN
from tunnel.sip.message import Message
from tunnel.sip.response import build_response
from tunnel.sip.uri import SipUri


def contact_of(message: Message) -> bytes:
    return values(message, "contact")[0]


RICH = (
    '"Alice, \\"A\\"" <sip:al%69ce:pw@10.1.0.50:5062;ob;line=x7;rinstance=3a%20b;+a=b;lr;user=phone;X;method=INVITE>'
    ';q=0.50; expires=60 ;+sip.instance="<urn:uuid:0-1>";methods="INVITE,BYE";isfocus;audio;+sip.rendering="no";x'
)


def test_parameters_keep_their_order_and_spelling(world: World, trunk: Phone) -> None:
    """C1: runner-up "Contact parameter order": display name, user, all URI and header parameters and their order."""
    alice = Phone(world, "10.1.0.50:5060", "alice", contact=RICH)
    alice.invite("sip:1@203.0.113.30")
    before, after = RICH.encode().split(b"10.1.0.50:5062")
    shown = contact_of(trunk.got("INVITE"))
    uri = SipUri.parse_untrusted(uri_in(shown))
    token = uri.param("wp")
    assert token is not None
    assert shown == before + b"203.0.113.10:5060" + after.replace(b">", b";wp=" + token + b">", 1)


@pytest.mark.parametrize("method", ["INVITE", "SUBSCRIBE", "REFER", "UPDATE", "REGISTER"])
def test_the_contact_of_whoever_sends_is_ours_in_every_request(world: World, trunk: Phone, method: str) -> None:
    """C1: in requests of every kind the Contact names the face that sends, and the mask leads back to the exact bytes."""
    alice = Phone(world, "10.1.0.50:5060", "alice", contact="sip:alice@10.1.0.50;a=1;expires=9")
    if method == "UPDATE":
        sent = alice.invite("sip:1@203.0.113.30")
        trunk.accept(trunk.got("INVITE"))
        caller = Dialog.of_caller(alice, sent, alice.got(200))
        caller.ack()
        trunk.got("ACK")
        caller.send("UPDATE")
    else:
        alice.request(method, "sip:1@203.0.113.30", headers=["Event: x", "Refer-To: <sip:c@203.0.113.9>"])
    mask = uri_in(contact_of(trunk.got(method)))
    assert b"@203.0.113.10:5060" in mask
    alice.lose()
    trunk.request("MESSAGE", mask, contact=False)
    assert alice.got("MESSAGE").request_uri == b"sip:alice@10.1.0.50"


@pytest.mark.parametrize("status", [180, 183, 200])
def test_the_contact_of_whoever_answers_is_ours(world: World, trunk: Phone, status: int) -> None:
    """C1: in 18x and 2xx as well."""
    pbx = Phone(world, "10.1.0.5:5060", "pbx", contact="<sip:100@10.1.0.5:5060;x=1>")
    trunk.invite("sip:100@203.0.113.10")
    pbx.answer(pbx.got("INVITE"), status, body=pbx.sdp())
    assert contact_of(trunk.got(status)).startswith(b"<sip:100@203.0.113.10:5060;x=1;wp=")


@pytest.mark.parametrize(
    ("transport", "contact", "shown"),
    [
        ("udp", "<sip:a@10.1.0.50;transport=tcp>", b"<sip:a@203.0.113.10:5060;wp="),
        ("udp", "<sip:a@10.1.0.50;transport=UDP;x>", b"<sip:a@203.0.113.10:5060;transport=UDP;x;wp="),
        ("udp", "<sip:a@10.1.0.50>", b"<sip:a@203.0.113.10:5060;wp="),
        ("tcp", "<sip:a@10.1.0.50;transport=udp;x>", b"<sip:a@203.0.113.10:5060;transport=tcp;x;wp="),
        ("tcp", "<sip:a@10.1.0.50>", b"<sip:a@203.0.113.10:5060;transport=tcp;wp="),
        ("tcp", "<sips:a@10.1.0.50>", b"<sips:a@203.0.113.10:5061;wp="),
    ],
)
def test_the_transport_is_that_of_the_face(world: World, transport: str, contact: str, shown: bytes) -> None:
    """C2: transport says what the face listens on; sips stays sips and is never made up."""
    peer = Phone(world, "203.0.113.40:5060", "peer", transport=transport, connection=2 if transport == "tcp" else 0)
    alice = Phone(world, "10.1.0.50:5060", "alice", contact=contact)
    alice.invite(f"sip:x@203.0.113.40;transport={transport}")
    assert contact_of(peer.got("INVITE")).startswith(shown)


@pytest.mark.parametrize(
    "contact", ["<sips:bob@203.0.113.40:5061>", "<sips:bob@192.168.77.3:5061;transport=tls>", "<sip:bob@203.0.113.40>"]
)
def test_a_secure_contact_is_no_reason_to_refuse_a_call(world: World, contact: str) -> None:
    """C2: runner-up "sips: Contact rejected": a call whose Contact is sips arrives, and keeps its scheme."""
    alice = Phone(world, "10.1.0.5:5060", "pbx")
    bob = Phone(world, "203.0.113.30:5060", "bob", contact=contact)
    bob.invite("sip:100@203.0.113.10")
    arrived = alice.got("INVITE")
    scheme = contact[1:].partition(":")[0].encode()
    assert contact_of(arrived).startswith(b"<" + scheme + b":bob@")
    alice.accept(arrived)
    bob.got(200)


EXACT = [
    "sip:alice@10.1.0.50",
    "SIP:%61lice@10.1.0.50:05060",
    "sip:10.1.0.50;transport=UDP",
    "sip:a;b=c&d=e@10.1.0.50;x=%2C;Y;z=",
    "sip:alice@10.1.0.50:5060;rinstance=" + "f" * 100,
    "sip:alice@[fd00:1::50]:5060;ob",
    "sip:alice@pbx.corp.local:5060",
]


@pytest.mark.parametrize("uri", EXACT)
def test_a_mask_comes_back_as_the_exact_bytes(world: World, trunk: Phone, uri: str) -> None:
    """C3: the Request-URI that the phone gets is its Contact to the byte, whatever its length and spelling."""
    world.names["pbx.corp.local"] = "10.1.0.50"
    source = "[fd00:1::50]:5060" if "fd00" in uri else "10.1.0.50:5060"
    alice = Phone(world, source, "alice", contact=f"<{uri}>")
    alice.request("SUBSCRIBE", "sip:1@203.0.113.30", headers=["Event: x"])
    mask = uri_in(contact_of(trunk.got("SUBSCRIBE")))
    alice.lose()
    trunk.request("MESSAGE", mask, contact=False)
    assert alice.got("MESSAGE").request_uri == uri.encode()


def test_what_others_add_to_a_mask_does_not_matter(world: World, trunk: Phone) -> None:
    """C3: the token alone counts; a dialled number in the user part is for the callee."""
    alice = Phone(world, "10.1.0.50:5060", "alice")
    alice.invite("sip:1@203.0.113.30")
    token = SipUri.parse_untrusted(uri_in(contact_of(trunk.got("INVITE")))).param("wp")
    assert token is not None
    alice.lose()
    trunk.request("MESSAGE", b"sip:+4930@anything.example:9;wp=" + token + b";user=phone;q", contact=False)
    assert alice.got("MESSAGE").request_uri == b"sip:+4930@10.1.0.50:5060"


@pytest.mark.parametrize(
    "contact",
    ["<sip:bob@host.example;x=1>", "<sip:bob@203.0.113.99:5090>", "<sip:bob@host.example;gr=urn:uuid:1>", "<tel:+49>"],
)
def test_what_the_inside_can_name_is_left_alone(world: World, contact: str) -> None:
    """C4: a public Contact of an outside peer is no business of ours: Record-Route keeps us on the path."""
    pbx = Phone(world, "10.1.0.5:5060", "pbx")
    bob = Phone(world, "203.0.113.30:5060", "bob", contact=contact)
    bob.invite("sip:100@203.0.113.10")
    assert pbx.got("INVITE").lines("contact") == [f"Contact: {contact}".encode()]


def test_a_private_contact_behind_the_providers_own_proxy_is_the_providers(world: World, trunk: Phone) -> None:
    """C4, T4: a foreign private Contact with a Record-Route before it is left alone, and the ACK goes by the route."""
    alice = Phone(world, "10.1.0.50:5060", "alice")
    sent = alice.invite("sip:1@203.0.113.30")
    invite = trunk.got("INVITE")
    trunk.contact = "<sip:media@10.99.0.7:5080>"
    trunk.lose()
    routed = [b"Record-Route: <sip:203.0.113.30;lr>", *invite.lines("record-route")]
    raw = build_response(
        invite, 200, "OK", b"t", [f"Contact: {trunk.contact}".encode(), b"Content-Type: application/sdp"], trunk.sdp()
    )
    raw = raw.replace(invite.lines("record-route")[0], b"\r\n".join(routed))
    trunk.send(raw)
    ok = alice.got(200)
    assert contact_of(ok) == trunk.contact.encode()
    Dialog.of_caller(alice, sent, ok).ack()
    ack = trunk.got("ACK")
    assert ack.request_uri == b"sip:media@10.99.0.7:5080"
    assert values(ack, "route") == [b"<sip:203.0.113.30;lr>"]


@pytest.mark.parametrize("status", [300, 301, 302, 305, 380, 485])
def test_redirect_targets_are_not_the_sender(world: World, trunk: Phone, status: int) -> None:
    """C5: of the targets of a redirection only inside addresses are masked; lists and parameters stay in order."""
    pbx = Phone(world, "10.1.0.5:5060", "pbx")
    trunk.invite("sip:100@203.0.113.10")
    targets = "<sip:a@host.example>;q=1 , <sip:b@10.1.0.77;x=1>;q=0.5,<tel:+4930>, <sip:c@203.0.113.5>"
    pbx.answer(pbx.got("INVITE"), status, headers=[f"Contact: {targets}"])
    (line,) = trunk.got(status).lines("contact")
    assert line.startswith(b"Contact: <sip:a@host.example>;q=1 , <sip:b@203.0.113.10:5060;x=1;wp=")
    assert line.endswith(b">;q=0.5,<tel:+4930>, <sip:c@203.0.113.5>")


def test_a_redirection_from_outside_passes_as_it_is(world: World, trunk: Phone) -> None:
    """C5: towards the inside nothing of it changes."""
    pbx = Phone(world, "10.1.0.5:5060", "pbx")
    pbx.invite("sip:1@10.1.0.2")
    targets = "Contact: <sip:a@192.168.9.9>;q=1,<sip:b@host.example>"
    trunk.answer(trunk.got("INVITE"), 302, headers=[targets])
    assert pbx.got(302).lines("contact") == [targets.encode()]


def test_a_token_is_short_and_tells_nothing(world: World, trunk: Phone) -> None:
    """C6: at most 120 characters that are safe in a URI, the same each time, and nothing of the address in it."""
    alice = Phone(world, "10.1.0.50:5060", "alice", contact="<sip:alice@10.1.0.50:5060;" + "y" * 300 + ">")
    tokens = set()
    for _ in range(3):
        alice.invite("sip:1@203.0.113.30")
        token = SipUri.parse_untrusted(uri_in(contact_of(trunk.got("INVITE")))).param("wp")
        assert token is not None
        tokens.add(token)
    (token,) = tokens
    assert len(token) <= MAX_TOKEN == 120
    assert token.replace(b"-", b"").replace(b"_", b"").isalnum()


@pytest.mark.parametrize("flip", range(0, 60, 7))
def test_a_token_with_one_character_changed_opens_nothing(world: World, flip: int) -> None:
    """C6: sealed and verified as a whole."""
    alice = Phone(world, "10.1.0.50:5060", "alice")
    stranger = Phone(world, "198.51.100.66:5060", "stranger")
    peer = Phone(world, "203.0.113.40:5060", "peer")
    alice.invite("sip:1@203.0.113.40")
    mask = bytearray(uri_in(contact_of(peer.got("INVITE"))))
    alice.lose()
    at = mask.index(b"wp=") + 3 + flip
    mask[at] = ord("A") if mask[at] != ord("A") else ord("B")
    stranger.invite(bytes(mask))
    alice.got_nothing()
    stranger.got_nothing()


@pytest.mark.parametrize("literal", ["[fe80::1%25eth0]:5060", "[fe80::1%eth0]", "[fd00:9::5]:5060"])
def test_addresses_of_another_link_are_never_shown(world: World, literal: str) -> None:
    """C7: a literal with a zone, or of somebody else's network, is masked on either side; brackets are everywhere."""
    alice = Phone(world, "[fd00:1::50]:5060", "alice", contact=f"<sip:alice@{literal}>")
    bob = Phone(world, "[2001:db8::40]:5060", "bob", contact=f"<sip:bob@{literal}>")
    sent = alice.invite("sip:bob@[2001:db8::40]")
    invite = bob.got("INVITE")
    assert contact_of(invite).startswith(b"<sip:alice@[2001:db8::10]:5060;wp=")
    callee = bob.accept(invite)
    ok = alice.got(200)
    assert contact_of(ok).startswith(b"<sip:bob@[fd00:1::2]:5060;wp=")
    caller = Dialog.of_caller(alice, sent, ok)
    caller.ack()
    assert bob.got("ACK").request_uri == f"sip:bob@{literal}".encode()
    callee.send("BYE")
    assert alice.got("BYE").request_uri == f"sip:alice@{literal}".encode()


def test_a_contact_that_cannot_be_read_does_not_go_out(world: World, trunk: Phone) -> None:
    """C1, A1: what we cannot mask we do not show: the sender is told."""
    alice = Phone(world, "10.1.0.50:5060", "alice", contact="<sip:alice@10.1.0.50;;x>>, <sip:b@10.1.0.51>")
    alice.invite("sip:1@203.0.113.30")
    alice.got(400)
    trunk.got_nothing()


@pytest.mark.parametrize(
    ("contact", "shown"),
    [
        ("<http://10.1.0.77/queue>, <tel:+4930>", b"<tel:+4930>"),
        ('<sip:x@203.0.113.3>;q=0.5;x="[fd00:1::5]", <tel:+4930>', b"<sip:x@203.0.113.3>;q=0.5, <tel:+4930>"),
        ("<http://www.example/x>", b"<http://www.example/x>"),
    ],
)
def test_inside_addresses_in_other_schemes_and_parameters_stay_inside(contact: str, shown: bytes) -> None:
    """C1, C5: where to go instead may be told by any URI; one that names an inside host is of no use outside."""
    world = World(pbx="sip:10.1.0.5:5060")
    world.set_tenant(trunks=("203.0.113.30",))
    trunk, pbx = Phone(world, "203.0.113.30:5060", "trunk"), Phone(world, "10.1.0.5:5060", "pbx")
    trunk.invite("sip:+4930@203.0.113.10")
    pbx.answer(pbx.got("INVITE"), 302, headers=[f"Contact: {contact}"])
    assert trunk.got(302).lines("contact") == [b"Contact: " + shown]


def test_only_a_registered_contact_is_called_by_other_numbers(world: World, trunk: Phone) -> None:
    """C1, 3-#8: a carrier dials the many numbers of a PBX that registered; who saw its Contact in a call dials that alone."""
    pbx = Phone(world, "10.1.0.5:5060", "100", domain="itsp.example")
    callee = Phone(world, "198.51.100.40:5060", "callee")
    pbx.invite("sip:bob@198.51.100.40")
    shown = uri_in(contact_of(callee.got("INVITE")))
    assert shown.startswith(b"sip:100@203.0.113.10")
    callee.invite(shown.replace(b"sip:100@", b"sip:0900123@"))
    assert pbx.got("INVITE").request_uri == b"sip:100@10.1.0.5:5060"
    registrar = Phone(world, "198.51.100.20:5060", "registrar")
    pbx.register("sip:198.51.100.20")
    request = registrar.got("REGISTER")
    mask = uri_in(contact_of(request))
    registrar.answer(request, 200, headers=[f"Contact: <{mask.decode()}>;expires=600"])
    pbx.got(200)
    gateway = Phone(world, "198.51.100.21:5060", "gateway")
    gateway.invite(mask.replace(b"sip:100@", b"sip:+4930555@"))
    assert pbx.got("INVITE").request_uri.startswith(b"sip:+4930555@10.1.0.5")
