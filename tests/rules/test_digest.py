"""Digest authentication through the pair (SIP-RULES H; T23)."""

from __future__ import annotations

import hashlib

import pytest
from support.ladder import Dialog, Phone
from support.pair import World

from tunnel.sip.message import Message

PROVIDER = "203.0.113.20:6060"
PASSWORD = "secret"


@pytest.fixture
def world() -> World:
    made = World(outside_uri="sip:203.0.113.30")
    made.names["registrar.example"] = "203.0.113.20"
    made.set_tenant(trunks=("203.0.113.30",))
    return made


def _hash(*parts: str) -> str:
    return hashlib.md5(":".join(parts).encode()).hexdigest()


def credentials(method: str, uri: str, challenge: bytes, header: str) -> str:
    """What a phone answers to a challenge with qop="auth" (RFC 7616, with MD5)."""
    assert b'qop="auth"' in challenge
    ha1, ha2 = _hash("alice", "registrar.example", PASSWORD), _hash(method, uri)
    response = _hash(ha1, "nonce-1", "00000001", "c", "auth", ha2)
    return (
        f'{header}: Digest username="alice", realm="registrar.example", nonce="nonce-1", uri="{uri}",'
        f' response="{response}",cnonce="c",qop=auth , nc=00000001, algorithm=MD5, opaque="o,p"'
    )


def is_right(request: Message, header: str) -> bool:
    """Whether a provider that compares ``uri`` with the Request-URI byte by byte is satisfied."""
    line = request.lines(header)[0].decode()
    uri = request.request_uri.decode()
    ha1, ha2 = _hash("alice", "registrar.example", PASSWORD), _hash(request.method, uri)
    return f'uri="{uri}"' in line and _hash(ha1, "nonce-1", "00000001", "c", "auth", ha2) in line


@pytest.mark.parametrize("uri", ["sip:registrar.example:6060;transport=udp", "sip:registrar.example:6060"])
def test_a_strict_provider_accepts_registrations_and_calls(world: World, alice: Phone, uri: str) -> None:
    """T23, H1: the Request-URI reaches the provider to the byte, so a digest over it is right; auth-int is not offered."""
    provider = Phone(world, PROVIDER, "provider")
    challenge = 'Digest realm="registrar.example", nonce="nonce-1", opaque="o,p", algorithm=MD5, qop="auth-int,auth"'
    alice.register(uri, call_id="r")
    request = provider.got("REGISTER")
    provider.answer(request, 401, headers=[f"WWW-Authenticate: {challenge}"])
    offered = alice.got(401).lines("www-authenticate")[0]
    assert offered == b"WWW-Authenticate: " + challenge.replace("auth-int,auth", "auth").encode()
    alice.register(uri, call_id="r", cseq=2, headers=[credentials("REGISTER", uri, offered, "Authorization")])
    request = provider.got("REGISTER")
    assert is_right(request, "authorization")
    provider.answer(request, 200, headers=[line.decode() for line in request.lines("contact")])
    alice.got(200)

    dialled = "sip:bob@registrar.example:6060;transport=udp;user=phone"
    sent = alice.invite(dialled, call_id="i")
    provider.answer(provider.got("INVITE"), 407, headers=[f"Proxy-Authenticate: {challenge}"])
    provider.got("ACK")
    refused = alice.got(407)
    alice.ack_failure(sent, refused)
    proof = credentials("INVITE", dialled, refused.lines("proxy-authenticate")[0], "Proxy-Authorization")
    alice.invite(dialled, call_id="i", cseq=2, headers=[proof])
    again = provider.got("INVITE")
    assert is_right(again, "proxy-authorization")
    assert again.lines("proxy-authorization") == [proof.encode()]


@pytest.mark.parametrize(
    ("offered", "seen"),
    [
        ('qop="auth,auth-int"', 'qop="auth"'),
        ('qop = "auth-int, auth,x"', 'qop = "auth,x"'),
        ('QOP="AUTH-INT,AUTH"', 'QOP="AUTH"'),
        ('qop="auth-int"', 'qop="auth-int"'),
        ('nonce="qop=auth-int"', 'nonce="qop=auth-int"'),
    ],
)
@pytest.mark.parametrize(("status", "header"), [(401, "WWW-Authenticate"), (407, "Proxy-Authenticate")])
def test_a_digest_over_the_body_is_not_offered_where_there_is_a_choice(
    world: World, alice: Phone, status: int, header: str, offered: str, seen: str
) -> None:
    """H2: auth-int goes from a list; alone it passes, is counted, and will fail at the provider."""
    provider = Phone(world, "203.0.113.20:5060", "provider")
    alice.register("sip:registrar.example")
    line = f'{header}: Digest realm="r", {offered}, stale=FALSE'
    provider.answer(provider.got("REGISTER"), status, headers=[line])
    assert alice.got(status).lines(header.lower()) == [line.replace(offered, seen).encode()]
    assert world.public_side.counters["sip.challenges_over_the_body"] == (offered == 'qop="auth-int"')


def test_what_a_server_proves_passes(world: World, alice: Phone) -> None:
    """H2: Authentication-Info passes as it is, with an rspauth over the body too: who checks that will see a change."""
    provider = Phone(world, "203.0.113.20:5060", "provider")
    alice.register("sip:registrar.example")
    request = provider.got("REGISTER")
    info = (
        'Authentication-Info: qop=auth-int, rspauth="6629fae49393a05397450978507c4ef1", cnonce="c", nc=1,nextnonce="x"'
    )
    provider.answer(request, 200, headers=[info])
    assert alice.got(200).lines("authentication-info") == [info.encode()]


CHALLENGES = [
    'Proxy-Authenticate: Digest realm="b", nonce="1", algorithm=SHA-256, qop="auth"',
    'Proxy-Authenticate: Digest realm="b", nonce="1", algorithm=MD5, qop="auth"',
    'proxy-authenticate: Digest realm="a,c", nonce="2", algorithm=SHA-512-256, qop="auth", userhash=true',
    'Proxy-Authenticate: Bearer authz_server="https://x.example", scope="a b"',
]


def test_several_challenges_keep_their_order(world: World, alice: Phone) -> None:
    """H3: RFC 8760: the challenges of several forks and algorithms arrive as they were aggregated, in their order."""
    provider = Phone(world, "203.0.113.20:5060", "provider")
    alice.invite("sip:bob@registrar.example")
    provider.answer(provider.got("INVITE"), 407, headers=[*CHALLENGES, 'WWW-Authenticate: Digest realm="z", nonce="9"'])
    refused = alice.got(407)
    assert refused.lines("proxy-authenticate") == [line.encode() for line in CHALLENGES]
    assert refused.lines("www-authenticate") == [b'WWW-Authenticate: Digest realm="z", nonce="9"']


def test_all_credentials_pass_in_their_order(world: World, alice: Phone) -> None:
    """H1, H5: we challenge nobody and take no value out for ourselves: those of every realm that asked go on."""
    provider = Phone(world, "203.0.113.20:5060", "provider")
    alice.invite("sip:bob@registrar.example", call_id="i")
    provider.answer(provider.got("INVITE"), 407, headers=CHALLENGES)
    provider.got("ACK")
    alice.lose()
    proofs = [
        'Proxy-Authorization: Digest username="alice", realm="a,c", nonce="2", uri="sip:bob@registrar.example",response="1"',
        'proxy-authorization:Digest  username="alice",realm="b",nonce="1",response="2"',
        "Proxy-Authorization: Bearer eyJ.e30",
    ]
    alice.invite("sip:bob@registrar.example", call_id="i", cseq=2, headers=proofs)
    assert provider.got("INVITE").lines("proxy-authorization") == [proof.encode() for proof in proofs]


# H4


CHALLENGE = 'WWW-Authenticate: Digest realm="registrar.example", nonce="stolen", qop="auth"'


def challenged(world: World, alice: Phone, uri: str, by: str, method: str = "INVITE", **more: object) -> Message:
    """The answer that the phone sees when whoever is at ``by`` challenges its request."""
    peer = Phone(world, by, "peer")
    alice.request(method, uri, headers=["Event: x"], **more)  # type: ignore[arg-type]
    peer.answer(peer.got(method), 401, headers=[CHALLENGE])
    return next(message for message in alice.inbox if message.status >= 200)


@pytest.mark.parametrize("method", ["INVITE", "SUBSCRIBE", "MESSAGE", "OPTIONS", "PUBLISH", "REFER"])
def test_a_stranger_learns_no_digest(world: World, alice: Phone, method: str) -> None:
    """H4: a challenge by whom no phone has an account with becomes 403, for every method, and is counted."""
    answer = challenged(world, alice, "sip:x@198.51.100.66", "198.51.100.66:5060", method)
    assert answer.status == 403
    assert not answer.all("www-authenticate")
    assert answer.lines("warning")
    assert world.public_side.counters["sip.challenges_refused"] == 1


def test_who_is_transferred_to_a_stranger_tells_it_nothing(world: World, alice: Phone) -> None:
    """H4: a Refer-To of an attacker, followed with the phone's own From, is challenged in vain."""
    provider = Phone(world, "203.0.113.20:5060", "provider")
    alice.register("sip:registrar.example")
    request = provider.got("REGISTER")
    provider.answer(request, 200, headers=[line.decode() for line in request.lines("contact")])
    alice.lose()
    assert challenged(world, alice, "sip:trap@198.51.100.66", "198.51.100.66:5060").status == 403


@pytest.mark.parametrize(
    ("uri", "by", "routes"),
    [
        ("sip:x@203.0.113.30", "203.0.113.30:5060", ()),  # a trunk
        ("sip:x@registrar.example", "203.0.113.20:5060", ()),  # the phone's own domain
        ("sip:x@elsewhere.example", "203.0.113.99:5060", ("<sip:203.0.113.99;lr>",)),  # its own outbound proxy
        ("sip:+4930@10.1.0.2", "203.0.113.30:5060", ()),  # lan.outside
    ],
)
def test_whom_a_phone_has_an_account_with_may_ask(
    world: World, alice: Phone, uri: str, by: str, routes: tuple[str, ...]
) -> None:
    """H4: trunks, the domain of the phone itself, its outbound proxy and lan.outside challenge as they like."""
    answer = challenged(world, alice, uri, by, routes=routes)
    assert (answer.status, answer.lines("www-authenticate")) == (401, [CHALLENGE.encode()])


def test_another_server_of_the_domain_that_somebody_is_registered_with_may_ask(world: World) -> None:
    """H4: a PBX registers at one host of its carrier and calls by another, with a From of its own domain."""
    pbx = Phone(world, "10.1.0.5:5060", "pbx", domain="pbx.local")
    registrar = Phone(world, "203.0.113.20:5060", "registrar")
    pbx.register("sip:registrar.example")
    request = registrar.got("REGISTER")
    registrar.answer(request, 200, headers=[line.decode() for line in request.lines("contact")])
    pbx.got(200)
    world.names["registrar.example"] = "203.0.113.21"
    assert challenged(world, pbx, "sip:+4930@registrar.example", "203.0.113.21:5060").status == 401


def test_in_a_dialog_it_counts_who_the_other_party_is(world: World, alice: Phone) -> None:
    """H4: requests within a call are challenged in vain by a stranger who was called."""
    stranger = Phone(world, "198.51.100.66:5060", "stranger")
    sent = alice.invite("sip:x@198.51.100.66")
    stranger.accept(stranger.got("INVITE"))
    caller = Dialog.of_caller(alice, sent, alice.got(200))
    caller.ack()
    stranger.got("ACK")
    caller.send("INFO")
    stranger.answer(stranger.got("INFO"), 401, headers=[CHALLENGE])
    alice.got(403)


def test_what_a_phone_proves_to_its_own_pbx_stays_inside(world: World) -> None:
    """H4: credentials for a realm that nobody outside has asked for do not leave."""
    trunk = Phone(world, "203.0.113.30:5060", "trunk")
    pbx = Phone(world, "10.1.0.5:5060", "pbx")
    inner = 'Authorization: Digest username="a", realm="pbx.local", nonce="n", uri="sip:10.1.0.5", response="0"'
    pbx.invite("sip:1@203.0.113.30", headers=[inner])
    assert not trunk.got("INVITE").all("authorization")


# H6


def test_a_phone_that_takes_the_agent_for_its_domain(world: World) -> None:
    """H6: with lan.outside its requests leave with another Request-URI, and its digest as it is: the provider decides."""
    trunk = Phone(world, "203.0.113.30:5060", "trunk")
    phone = Phone(world, "10.1.0.50:5060", "alice", domain="10.1.0.2")
    phone.register("sip:10.1.0.2", call_id="r")
    trunk.answer(trunk.got("REGISTER"), 401, headers=[CHALLENGE])
    phone.got(401)
    proof = 'Authorization: Digest username="a", realm="registrar.example", nonce="n", uri="sip:10.1.0.2", response="0"'
    world.hide_full = False  # the digest names what the phone believes its domain to be
    phone.register("sip:10.1.0.2", call_id="r", cseq=2, headers=[proof])
    request = trunk.got("REGISTER")
    assert request.request_uri == b"sip:203.0.113.30"
    assert request.lines("authorization") == [proof.encode()]


def test_without_a_setting_nobody_takes_the_agent_for_a_domain() -> None:
    """H6: allowed only when configured."""
    world = World()
    phone = Phone(world, "10.1.0.50:5060", "alice", domain="10.1.0.2")
    phone.register("sip:10.1.0.2")
    assert b"lan.outside" in phone.got(404).lines("warning")[0]
