"""The answers that we give ourselves: status, reason, Warning, Retry-After and a counter for each situation (SIP-RULES K)."""

from __future__ import annotations

import pytest
from support.faces import TENANT, Side
from support.ladder import Dialog, Phone, registered, uri_in
from support.pair import World

from tunnel.sip.message import Message
from tunnel.sip.response import build_response
from tunnel.sip.wall import RequestCrossed

PBX = "10.1.0.5:5060"
TRUNK = "203.0.113.30:5060"


@pytest.fixture
def world() -> World:
    made = World(pbx="sip:10.1.0.5:5060")
    made.names["registrar.example"] = "203.0.113.20"
    made.set_tenant(domains=("acme.example",), trunks=("203.0.113.30",))
    return made


def assert_refused(side: Side, answer: Message, reason: bytes, counter: str, retry_after: range = range(0)) -> None:
    """``answer`` says why in words of ours, when to come again if that helps, and was counted."""
    assert answer.reason == reason
    (warning,) = answer.all("warning")
    assert warning.value.startswith(b'399 wallpass "')
    assert len(warning.value) > len(b'399 wallpass ""')
    after = answer.header("retry-after")
    if retry_after:
        assert after is not None
        assert int(after.value) in retry_after
    else:
        assert after is None
    assert side.counters[f"sip.refused.{counter}"] == 1


def test_a_short_loss_of_the_tunnel_holds_the_call_for_two_seconds(world: World, alice: Phone) -> None:
    """K: tunnel down for less than 4 s: 100 at once, then 503 with Retry-After 5."""
    world.cut()
    world.wait(1)
    alice.invite("sip:bob@registrar.example")
    alice.got(100)
    world.wait(1.9)
    alice.got_nothing()
    world.wait(0.2)
    assert_refused(world.lan_side, alice.got(503), b"Service Unavailable", "tunnel_down", range(5, 6))


def test_a_call_that_was_held_goes_on_when_the_tunnel_is_back(world: World, alice: Phone) -> None:
    """K: held up to 2 s: a reconnect in time costs the caller nothing but the wait."""
    bob = Phone(world, "203.0.113.40:5060", "bob")
    world.cut()
    alice.invite("sip:bob@203.0.113.40")
    world.wait(1.5)
    world.mend()
    bob.answer(bob.got("INVITE"), 180)
    alice.got(180)


@pytest.mark.parametrize("outside", [False, True], ids=["from inside", "from outside"])
def test_a_long_loss_of_the_tunnel_is_said_at_once_and_not_everybody_comes_back_together(
    world: World, alice: Phone, trunk: Phone, outside: bool
) -> None:
    """K: tunnel down longer: 503 with a Retry-After between 1 and 30 s that differs from call to call."""
    world.cut()
    world.wait(10)
    waits = set()
    caller, side = (trunk, world.public_side) if outside else (alice, world.lan_side)
    for _ in range(10):
        caller.invite("sip:100@acme.example" if outside else "sip:bob@registrar.example")
        answer = caller.got(503)
        side.counters.values["sip.refused.tunnel_down"] = 1
        assert_refused(side, answer, b"Service Unavailable", "tunnel_down", range(1, 31))
        waits.add(answer.lines("retry-after")[0])
    assert len(waits) > 3


@pytest.mark.parametrize("outside", [False, True], ids=["from inside", "from outside"])
def test_an_end_that_shuts_down_says_so(world: World, alice: Phone, trunk: Phone, outside: bool) -> None:
    """K: draining: 503 with Retry-After for new calls."""
    caller, side = (trunk, world.public_side) if outside else (alice, world.lan_side)
    side.half.draining = True
    caller.invite("sip:100@acme.example" if outside else "sip:bob@registrar.example")
    assert_refused(side, caller.got(503), b"Service Unavailable", "draining", range(1, 31))


def test_options_to_the_agent_tell_the_truth(world: World, alice: Phone) -> None:
    """K, F3: OPTIONS to the face itself: 200 while calls can be made, else 503."""
    alice.request("OPTIONS", "sip:10.1.0.2")
    alice.got(200)
    world.cut()
    alice.request("OPTIONS", "sip:10.1.0.2")
    assert_refused(world.lan_side, alice.got(503), b"Service Unavailable", "tunnel_down", range(1, 31))


def test_the_agent_of_a_mask_is_offline(world: World, alice: Phone) -> None:
    """K, C6: agent offline for the called token: 480 with Retry-After, for anybody who holds one of its masks."""
    mask = registered(world, alice)
    world.public_side.door.is_up = False
    bob = Phone(world, "203.0.113.40:5060", "bob")
    bob.invite(mask)
    assert_refused(world.public_side, bob.got(480), b"Temporarily Unavailable", "agent_offline", range(1, 31))


def test_after_a_restart_the_agent_of_a_mask_is_offline_and_not_unknown(world: World, alice: Phone) -> None:
    """K, S2-1: a server that has just started knows a mask of an agent that has not come back yet: 480, not silence."""
    mask = registered(world, alice)
    keeper = world.public_side.gatekeeper
    keeper.close(1)
    keeper.expect({1: (TENANT, world.public_side.door.masks)})
    bob = Phone(world, "203.0.113.40:5060", "bob")
    bob.invite(mask)
    assert_refused(world.public_side, bob.got(480), b"Temporarily Unavailable", "agent_offline", range(1, 31))
    bob.invite(mask[:-3] + b"AAA")
    bob.got_nothing()


def test_the_domain_of_an_agent_that_is_offline(world: World, trunk: Phone) -> None:
    """K: what is for a tenant's domain while no agent of it is there: 480 with Retry-After."""
    world.public_side.gatekeeper.close(1)
    trunk.invite("sip:100@acme.example")
    assert_refused(world.public_side, trunk.got(480), b"Temporarily Unavailable", "agent_offline", range(1, 31))


@pytest.mark.parametrize("how", ["expired", "forged"])
def test_a_mask_that_says_nothing_is_404_for_a_known_peer_and_silence_for_a_stranger(how: str) -> None:
    """K, C6: unknown token: 404 to a trunk, nothing to a stranger on UDP."""
    world = World()
    world.names["registrar.example"] = "203.0.113.20"
    world.set_tenant(trunks=("203.0.113.30",))
    mask = registered(world, Phone(world, "10.1.0.50:5060", "alice"))
    if how == "expired":
        world.wait(61 * 86_400)
    else:
        mask = mask[:-2] + b"AA"
    stranger = Phone(world, "198.51.100.66:5060", "stranger")
    stranger.invite(mask)
    stranger.got_nothing()
    trunk = Phone(world, TRUNK, "trunk")
    trunk.invite(mask)
    answer = trunk.got(404)
    assert answer.reason == b"Not Found"
    assert answer.lines("warning")


@pytest.mark.parametrize("method", ["BYE", "INVITE", "INFO"])
def test_a_dialog_that_nobody_knows_is_481_for_a_known_peer_and_silence_for_a_stranger(
    world: World, trunk: Phone, method: str
) -> None:
    """K, C6: in a dialog: 481 to a trunk, nothing to a stranger on UDP."""
    stranger = Phone(world, "198.51.100.66:5060", "stranger")
    stranger.request(method, "sip:alice@203.0.113.10:5060;wp=AAAA", to_tag="gone")
    stranger.got_nothing()
    trunk.request(method, "sip:alice@203.0.113.10:5060;wp=AAAA", to_tag="gone")
    assert_refused(world.public_side, trunk.got(481), b"Call/Transaction Does Not Exist", "unknown_dialog")
    assert world.take_lan() == []


def test_a_number_that_nobody_has(trunk: Phone) -> None:
    """K: unknown address-of-record from a known peer: 404."""
    trunk.world.lan_side.half.policy = type(trunk.world.lan_side.lan_policy)(
        trunk.world.lan_side.addresses, trunk.world.lan_side.lan_policy._allow, b"", b""
    )
    trunk.invite("sip:+4930@203.0.113.10")
    answer = trunk.got(404)
    assert b"PBX" in answer.lines("warning")[0]
    assert trunk.world.lan_side.counters["sip.refused.unknown_target"] == 1


def test_a_flow_that_is_dead(world: World) -> None:
    """K: flow dead: 480 (430 is for peers that do RFC 5626, which is stripped)."""
    pbx = Phone(world, PBX, "pbx")
    worker = Phone(
        world, "192.168.77.20:5060", "bob", seen_from="198.51.100.7:40000", domain="acme.example", transport="tcp",
        connection=9,
    )  # fmt: skip
    worker.register("sip:acme.example")
    request = pbx.got("REGISTER")
    shown = request.values("contact")[0].text
    pbx.answer(request, 200, headers=[f"Contact: {shown.decode()};expires=600"])
    worker.got(200)
    pbx.invite(uri_in(shown))
    worker.got("INVITE")
    world.public_side.proxy.transport_failed("tcp", worker.flows[-1].remote, 9, world.now)
    world.settle()
    answer = pbx.got(480)
    assert answer.lines("warning") == [b'Warning: 399 wallpass "the flow to this user agent is gone"']
    assert world.public_side.counters["sip.refused.flow_gone"] == 1


@pytest.mark.parametrize(("cap", "rate", "counter"), [(1, 0.0, "call_cap"), (0, 1.0, "call_rate")])
def test_a_tenant_at_its_limit(world: World, trunk: Phone, cap: int, rate: float, counter: str) -> None:
    """K: tenant call cap and calls per second: 503 with Retry-After."""
    limits = world.public_side.limits
    limits.max_calls, limits.calls_per_second = cap, rate
    trunk.invite("sip:100@acme.example")
    trunk.got(100)
    trunk.invite("sip:101@acme.example")
    assert_refused(world.public_side, trunk.got(503), b"Service Unavailable", counter, range(1, 31))


@pytest.mark.parametrize(
    "uri", ["sip:x@10.9.9.9", "sip:x@127.0.0.1", "sip:x@169.254.169.254", "sip:x@[fe80::1]", "sip:x@[fd00:9::1]"]
)
def test_a_destination_that_is_blocked(world: World, alice: Phone, uri: str) -> None:
    """K: destination blocked by policy: 403, and nothing is sent to the server's own private networks."""
    world.hide_full = False  # the Request-URI itself names a private address
    alice.invite(uri)
    answer = alice.got(403)
    assert b"not allowed" in answer.lines("warning")[0]
    assert world.public_side.counters["sip.refused.destination_blocked"] == 1
    assert world.take_public() == []


def test_a_private_address_that_a_name_or_a_route_leads_to_is_blocked_as_well(world: World, alice: Phone) -> None:
    """K: neither DNS nor a Route nor maddr is a way around the policy."""
    world.names["rebound.example"] = "10.9.9.9"
    alice.invite("sip:x@rebound.example")
    alice.got(403)
    alice.invite("sip:x@registrar.example", routes=["<sip:10.1.0.2;lr>", "<sip:192.168.3.3;lr>"])
    alice.got(403)
    alice.invite("sip:x@203.0.113.40;maddr=127.0.0.1")
    alice.got(403)
    assert world.take_public() == []


def test_a_trunk_in_a_private_network_is_reached(world: World, alice: Phone) -> None:
    """K: a configured peer is no stranger: a trunk may stand in a private network beside the server."""
    world.set_tenant(trunks=("192.168.3.3",))
    peer = Phone(world, "192.168.3.3:5060", "trunk", seen_from="192.168.3.3:5060")
    alice.invite("sip:+4930@192.168.3.3")
    peer.got("INVITE")


@pytest.mark.parametrize(
    "uri", ["sip:x@203.0.113.10", "sip:x@203.0.113.40;maddr=203.0.113.10", "sip:x@203.0.113.10;wp=AAAA"]
)
def test_what_names_the_server_itself_does_not_go_round(world: World, alice: Phone, uri: str) -> None:
    """K: a next hop that is our own listener leads to no loop and no wait: it is refused at once."""
    world.set_tenant(domains=("acme.example",))
    alice.invite(uri)
    alice.got(100)
    assert alice.inbox[0].status in (403, 404)
    assert world.take_public() == []


def test_all_media_ports_are_taken(world: World, alice: Phone) -> None:
    """K: port ledger at its high-water mark: 503 with Retry-After 2, before anything is sent."""
    world.public_side.plane.capacity = 0
    alice.invite("sip:bob@203.0.113.40")
    answer = alice.got(503)
    assert answer.lines("retry-after") == [b"Retry-After: 2"]
    assert answer.lines("warning")
    assert world.public_side.counters["sip.refused.no_media_port"] == 1
    assert world.take_public() == []


@pytest.mark.parametrize(
    ("lines", "status", "counter"),
    [
        ("c=IN IP4 224.2.1.1/127\r\nt=0 0\r\nm=audio 6000 RTP/AVP 0\r\n", 488, "media_not_relayed"),
        ("c=IN IP4 10.1.0.50\r\nt=0 0\r\nm=audio 6000 TCP/RTP/AVP 0\r\n", 488, "media_not_relayed"),
    ],
    ids=["multicast", "tcp"],
)
def test_media_that_cannot_be_relayed(world: World, alice: Phone, lines: str, status: int, counter: str) -> None:
    """K: SDP that we cannot relay: 488 with a Warning."""
    alice.invite("sip:bob@203.0.113.40", body=f"v=0\r\no=a 1 1 IN IP4 10.1.0.50\r\ns=-\r\n{lines}".encode())
    answer = alice.got(status)
    assert_refused(world.lan_side, answer, b"Not Acceptable Here", counter)


@pytest.mark.parametrize(
    ("change", "status", "reason", "counter"),
    [
        ((b"Max-Forwards: 70", b"Max-Forwards: 0"), 483, b"Too Many Hops", "too_many_hops"),
        ((b"Max-Forwards: 70", b"Referred-By: <sip:x, y\r\nMax-Forwards: 70"), 400, b"Bad Request", "bad_syntax"),
        ((b"Max-Forwards: 70", b"Max-Forwards: 70\r\nProxy-Require: foo"), 420, b"Bad Extension", "bad_extension"),
    ],
)
def test_what_every_proxy_refuses(
    world: World, alice: Phone, change: tuple[bytes, bytes], status: int, reason: bytes, counter: str
) -> None:
    """K: hops, bad syntax, unknown extensions of proxies."""
    sent = alice.invite("sip:bob@203.0.113.40")
    world.take_public()
    alice.lose()
    alice.send(sent.raw.replace(*change).replace(b"branch=z9hG4bK", b"branch=z9hG4bKx"))
    assert_refused(world.lan_side, alice.got(status), reason, counter)
    assert world.take_public() == []


def test_a_request_that_comes_round_again(world: World, alice: Phone) -> None:
    """K, A9: loop: 482."""
    mirror = Phone(world, "203.0.113.30:5060", "mirror")
    alice.invite("sip:x@203.0.113.30")
    back = mirror.got("INVITE").raw
    mirror.send(back.replace(b"\r\nVia:", b"\r\nVia: SIP/2.0/UDP 203.0.113.30;branch=z9hG4bKmirror\r\nVia:", 1))
    assert_refused(world.public_side, mirror.got(482), b"Loop Detected", "loop")


def test_nobody_answers_and_the_name_leads_nowhere(world: World, alice: Phone) -> None:
    """K: 408 when the next hop is silent, 502 when it has no address: each with words of ours."""
    alice.invite("sip:bob@203.0.113.77")
    world.wait(33)
    assert alice.got(408).lines("warning") == [b'Warning: 399 wallpass "no answer from the next hop"']
    alice.lose()
    alice.invite("sip:bob@nowhere.example")
    assert alice.got(502).lines("warning")
    assert world.public_side.counters["sip.refused.no_answer"] == 1
    assert world.public_side.counters["sip.refused.bad_next_hop"] == 1


def test_a_source_that_is_not_allowed_hears_nothing(world: World) -> None:
    """K: outside source not allowed: silence on UDP, and it is counted."""
    stranger = Phone(world, "198.51.100.66:5060", "stranger")
    stranger.invite("sip:+4930@203.0.113.10")
    stranger.got_nothing()
    assert world.public_side.counters["sip.dropped.unknown_source"] == 1
    assert world.take_lan() == []


def test_a_tel_uri_goes_where_the_agents_own_address_leads(world: World) -> None:
    """K, E: Request-URI: with lan.outside a ``tel:`` URI is as good as a number at the agent, and leaves unchanged."""
    world = World(outside_uri="sip:203.0.113.30")
    trunk = Phone(world, TRUNK, "trunk")
    pbx = Phone(world, PBX, "pbx")
    pbx.invite("tel:+49301234;phone-context=x")
    assert trunk.got("INVITE").request_uri == b"tel:+49301234;phone-context=x"


def test_a_tel_uri_without_a_place_to_go_is_416(world: World, alice: Phone) -> None:
    """K: a scheme that nobody said a way for: 416 with a Warning that names the setting."""
    alice.invite("tel:+49301234")
    assert b"lan.outside" in alice.got(416).lines("warning")[0]


def test_a_tel_uri_of_a_trunk_reaches_the_pbx_as_a_number(world: World, trunk: Phone) -> None:
    """E: Request-URI: the PBX is called by SIP (RFC 3261 section 19.1.6)."""
    pbx = Phone(world, PBX, "pbx")
    sent = trunk.invite("tel:+49-30-1234")
    invite = pbx.got("INVITE")
    assert invite.request_uri == b"sip:+49-30-1234@10.1.0.5:5060;user=phone"
    call = pbx.accept(invite)
    Dialog.of_caller(trunk, sent, trunk.got(200)).ack()
    pbx.got("ACK")
    call.send("BYE")
    trunk.got("BYE")


def test_an_extension_is_never_refused_by_require(world: World, alice: Phone) -> None:
    """A10: Require is for the user agent: it passes."""
    bob = Phone(world, "203.0.113.40:5060", "bob")
    alice.invite("sip:bob@203.0.113.40", headers=["Require: 100rel, sec-agree"])
    assert bob.got("INVITE").lines("require") == [b"Require: 100rel, sec-agree"]


def test_no_hop_of_100_crosses_the_tunnel(world: World, alice: Phone) -> None:
    """B5: the agent says 100 by itself and the callee's 100 stays outside."""
    bob = Phone(world, "203.0.113.40:5060", "bob")
    world.cut()
    alice.invite("sip:bob@203.0.113.40")
    alice.got(100)
    world.mend()
    bob.answer(bob.got("INVITE"), 100)
    alice.got_nothing()
    assert [type(each) for each in world.crossed] == [RequestCrossed]


def test_why_an_answer_cannot_pass_is_not_told_to_the_other_side(world: World, trunk: Phone) -> None:
    """K: our own words quote nothing of a message of the other side: here an inside address in a broken Content-Type."""
    pbx = Phone(world, PBX, "100")
    trunk.invite("sip:+4930@203.0.113.10")
    invite = pbx.got("INVITE")
    answer = build_response(invite, 200, "OK", b"pbx", [b"Contact: <sip:100@10.1.0.5>"], pbx.sdp())
    pbx.send(answer.replace(b"Content-Length", b"Content-Type: appli<sip:a@10.1.0.50\r\nContent-Length"))
    assert trunk.got(500).lines("warning") == [
        b'Warning: 399 wallpass "the answer of the other party cannot be relayed"'
    ]
