"""Way B through both half proxies: a PBX inside, trunks outside, known by address or by registration."""

from __future__ import annotations

from support.ends import HidingWorld, contact_of, offer, request, route_to
from support.faces import TENANT
from support.pair import World
from support.scripted_phone import values

from outside_server.gatekeeper import TenantDoors
from tunnel.sip.message import Message
from tunnel.sip.response import build_response

PBX = "10.1.0.5:5060"
PHONE = "10.1.0.50:5060"
TRUNK = "203.0.113.20:5060"
NUMBER = "+493012345"
TRUNK_CALLER = "<sip:+4940@carrier.example>;tag=t1"
TRUNK_CALLEE = f"<sip:{NUMBER}@203.0.113.10>"
TRUNK_CONTACT = "<sip:+4940@203.0.113.20:5060>"


def world_with_trunk() -> World:
    world = HidingWorld(pbx="sip:10.1.0.5", outside_uri="sip:203.0.113.20")
    world.set_tenant(trunks=("203.0.113.20",))
    world.names["carrier.example"] = "203.0.113.20"
    return world


def trunk_invite(uri: str | bytes = f"sip:{NUMBER}@203.0.113.10", call: str = "in-1") -> bytes:
    return request(
        "INVITE",
        uri,
        TRUNK,
        call=call,
        caller=TRUNK_CALLER,
        callee=TRUNK_CALLEE,
        contact=TRUNK_CONTACT,
        body=offer("203.0.113.20", 4000),
    )


def pbx_invite(uri: str, call: str = "out-1", more: tuple[str, ...] = ()) -> bytes:
    return request(
        "INVITE",
        uri,
        PBX,
        call=call,
        caller="<sip:100@10.1.0.5>;tag=p1",
        callee=f"<{uri}>",
        contact="<sip:100@10.1.0.5:5060>",
        more=more,
        body=offer("10.1.0.5", 10000),
    )


def only(sent: list[tuple[str, Message]], method: str = "") -> tuple[str, Message]:
    """The one request of ``method``, or the one message, among those sent."""
    found = [(to, m) for to, m in sent if not method or (m.is_request and m.method == method)]
    assert len(found) == 1, [m.raw[:60] for _, m in sent]
    return found[0]


def final(sent: list[tuple[str, Message]]) -> tuple[str, Message]:
    """The one final response among those sent."""
    found = [(to, m) for to, m in sent if not m.is_request and m.status >= 200]
    assert len(found) == 1, [m.raw[:60] for _, m in sent]
    return found[0]


def register_pbx(world: World) -> bytes:
    """The PBX registers its trunk; the Contact that the carrier knows afterwards."""
    register = request(
        "REGISTER",
        "sip:carrier.example",
        PBX,
        call="reg",
        caller="<sip:acme@carrier.example>;tag=r",
        callee="<sip:acme@carrier.example>",
        contact="<sip:s@10.1.0.5:5060>;expires=600",
    )
    world.lan(PBX, register)
    to, sent = only(world.take_public(), "REGISTER")
    assert to == TRUNK
    ok = build_response(sent, 200, "OK", b"c", [b"Contact: " + sent.values("contact")[0].text])
    world.public(TRUNK, ok)
    assert contact_of(final(world.take_lan())[1]) == b"sip:s@10.1.0.5:5060"
    return contact_of(sent)


def test_a_trunk_known_by_its_address_reaches_the_pbx() -> None:
    world = world_with_trunk()
    world.public(TRUNK, trunk_invite())
    to, invite = only(world.take_lan(), "INVITE")
    assert to == PBX
    assert invite.request_uri == f"sip:{NUMBER}@10.1.0.5".encode()
    assert invite.header("to").value == TRUNK_CALLEE.encode()  # type: ignore[union-attr]
    assert [m.status for _, m in world.take_public()] == [100]
    ok = build_response(
        invite,
        200,
        "OK",
        b"p9",
        [b"Contact: <sip:100@10.1.0.5:5060>", b"Content-Type: application/sdp"],
        offer("10.1.0.5", 10000),
    )
    world.lan(PBX, ok)
    to, answer = final(world.take_public())
    assert to == TRUNK
    shown = contact_of(answer)
    assert shown.startswith(b"sip:100@203.0.113.10:5060")
    ack = request("ACK", shown, TRUNK, call="in-1", caller=TRUNK_CALLER, callee=TRUNK_CALLEE + ";tag=p9")
    world.public(TRUNK, ack)
    assert only(world.take_lan(), "ACK")[1].request_uri == b"sip:100@10.1.0.5:5060"
    bye = request(
        "BYE",
        "sip:+4940@203.0.113.20:5060",
        PBX,
        call="in-1",
        cseq=7,
        caller=TRUNK_CALLEE + ";tag=p9",
        callee=TRUNK_CALLER,
        more=route_to(invite, caller=False),
    )
    world.lan(PBX, bye)
    to, ended = only(world.take_public(), "BYE")
    assert (to, ended.request_uri) == (TRUNK, b"sip:+4940@203.0.113.20:5060")
    world.public(TRUNK, build_response(ended, 200, "OK"))
    assert final(world.take_lan())[1].status == 200
    world.wait(100)
    assert len(world.public_side.half.calls) == len(world.lan_side.half.calls) == 0
    assert not world.public_side.plane.held
    assert not world.lan_side.plane.held


def test_a_carrier_may_put_the_dialled_number_before_our_token() -> None:
    world = world_with_trunk()
    shown = register_pbx(world)
    dialled = shown.replace(b"sip:s@", b"sip:" + NUMBER.encode() + b"@")
    world.public(TRUNK, trunk_invite(dialled))
    to, invite = only(world.take_lan(), "INVITE")
    assert to == PBX
    assert invite.request_uri == f"sip:{NUMBER}@10.1.0.5:5060".encode()


def test_a_carrier_may_hand_back_the_contact_as_it_is() -> None:
    world = world_with_trunk()
    world.public(TRUNK, trunk_invite(register_pbx(world)))
    assert only(world.take_lan(), "INVITE")[1].request_uri == b"sip:s@10.1.0.5:5060"


def test_a_registrar_that_drops_the_token_still_reaches_the_pbx() -> None:
    world = HidingWorld(pbx="sip:10.1.0.5")
    world.names["carrier.example"] = "203.0.113.20"
    register_pbx(world)
    world.public(TRUNK, trunk_invite(f"sip:{NUMBER}@203.0.113.10:5060"))
    to, invite = only(world.take_lan(), "INVITE")
    assert (to, invite.request_uri) == (PBX, f"sip:{NUMBER}@10.1.0.5".encode())


def test_a_registrar_is_let_in_without_token_for_a_day_at_most() -> None:
    world = HidingWorld(pbx="sip:10.1.0.5")
    world.names["carrier.example"] = "203.0.113.20"
    register_pbx(world)
    world.wait(2 * 86_400)
    world.public(TRUNK, trunk_invite())
    assert world.take_public() == world.take_lan() == []


def test_the_pbx_calls_out_by_addressing_the_agent() -> None:
    world = world_with_trunk()
    world.lan(PBX, pbx_invite("sip:+4989@10.1.0.2"))
    to, invite = only(world.take_public(), "INVITE")
    assert (to, invite.request_uri) == (TRUNK, b"sip:+4989@203.0.113.20")
    assert contact_of(invite).startswith(b"sip:100@203.0.113.10:5060;")
    assert next(v.text for v in invite.values("via")).startswith(b"SIP/2.0/UDP 203.0.113.10:5060")
    assert len(invite.values("via")) == 1


def test_the_pbx_calls_out_by_its_own_request_uri() -> None:
    world = world_with_trunk()
    world.lan(PBX, pbx_invite("sip:+4989@carrier.example;user=phone"))
    to, invite = only(world.take_public(), "INVITE")
    assert (to, invite.request_uri) == (TRUNK, b"sip:+4989@carrier.example;user=phone")
    answer = offer("203.0.113.20", 4100)
    extra = [b"Contact: " + TRUNK_CONTACT.encode(), b"Content-Type: application/sdp"]
    world.public(TRUNK, build_response(invite, 200, "OK", b"t7", extra, answer))
    _, ok = final(world.take_lan())
    assert contact_of(ok) == b"sip:+4940@203.0.113.20:5060"
    assert b"c=IN IP4 10.1.0.2\r\n" in ok.body
    bye = request(
        "BYE",
        contact_of(invite),
        TRUNK,
        call="out-1",
        caller="<sip:+4989@carrier.example;user=phone>;tag=t7",
        callee="<sip:100@10.1.0.5>;tag=p1",
    )
    world.public(TRUNK, bye)
    to, ended = only(world.take_lan(), "BYE")
    assert (to, ended.request_uri) == (PBX, b"sip:100@10.1.0.5:5060")


def test_a_trunk_that_refuses_is_heard_inside() -> None:
    world = world_with_trunk()
    world.lan(PBX, pbx_invite("sip:+4989@10.1.0.2"))
    _, invite = only(world.take_public(), "INVITE")
    world.public(TRUNK, build_response(invite, 486, "Busy Here", b"t7", [b"Reason: Q.850;cause=17"]))
    to, busy = final(world.take_lan())
    assert (to, busy.status) == (PBX, 486)
    assert busy.header("reason") is not None
    assert only(world.take_public(), "ACK")[0] == TRUNK
    world.wait(40)
    assert len(world.public_side.half.calls) == 0


def test_a_pbx_that_is_not_running_is_told_to_the_trunk_at_once() -> None:
    """M1: RFC 3261 section 18.4. A trunk that is to try another way must not wait 32 s for a port that says no."""
    world = world_with_trunk()
    world.public(TRUNK, trunk_invite())
    _, invite = only(world.take_lan(), "INVITE")
    world.lan_side.proxy.refused(b"z9hG4bKforged", world.now)
    world.settle()
    assert [m.status for _, m in world.take_public()] == [100]
    world.lan_side.proxy.refused(invite.top_via.branch, world.now)
    world.settle()
    to, failed = final(world.take_public())
    assert (to, failed.status) == (TRUNK, 503)
    assert values(failed, "warning") == [b'399 wallpass "nobody listens at the port of the next hop"']
    assert values(failed, "retry-after") == [b"5"]
    world.wait(40)
    assert len(world.lan_side.half.calls) == len(world.public_side.half.calls) == 0


def test_a_pbx_that_rings_is_not_given_up_for_a_word_of_the_network() -> None:
    """M1"""
    world = world_with_trunk()
    world.public(TRUNK, trunk_invite())
    _, invite = only(world.take_lan(), "INVITE")
    world.lan(PBX, build_response(invite, 180, "Ringing", b"p9", [b"Contact: <sip:100@10.1.0.5:5060>"]))
    world.lan_side.proxy.refused(invite.top_via.branch, world.now)
    world.settle()
    assert [m.status for _, m in world.take_public()] == [100, 180]


def test_a_caller_who_gives_up_cancels_at_the_pbx() -> None:
    world = world_with_trunk()
    world.public(TRUNK, trunk_invite())
    _, invite = only(world.take_lan(), "INVITE")
    world.lan(PBX, build_response(invite, 180, "Ringing", b"p9", [b"Contact: <sip:100@10.1.0.5:5060>"]))
    world.take_public()
    cancel = request(
        "CANCEL",
        f"sip:{NUMBER}@203.0.113.10",
        TRUNK,
        call="in-1",
        caller=TRUNK_CALLER,
        callee=TRUNK_CALLEE,
        branch="in-1-1-INVITE",
    )
    world.public(TRUNK, cancel)
    _, cancelled = only(world.take_lan(), "CANCEL")
    assert cancelled.top_via.branch == invite.top_via.branch
    assert final(world.take_public())[1].cseq_method == "CANCEL"
    world.lan(PBX, build_response(cancelled, 200, "OK", b"p9"))
    world.lan(PBX, build_response(invite, 487, "Request Terminated", b"p9"))
    assert final(world.take_public())[1].status == 487


def test_a_pbx_that_is_a_proxy_stays_on_the_path_to_its_phone() -> None:
    world = world_with_trunk()
    world.public(TRUNK, trunk_invite())
    _, invite = only(world.take_lan(), "INVITE")
    ours = invite.values("record-route")[0].text
    # The proxy put itself above us; its 200 carries the phone's Contact.
    raw = build_response(
        invite,
        200,
        "OK",
        b"ph",
        [b"Contact: <sip:100@10.1.0.50:5060>", b"Content-Type: application/sdp"],
        offer("10.1.0.50", 6000),
    ).replace(b"Record-Route: " + ours, b"Record-Route: <sip:10.1.0.5;lr>\r\nRecord-Route: " + ours)
    world.lan(PBX, raw)
    _, ok = final(world.take_public())
    assert [v.text for v in ok.values("record-route")] == [b"<sip:203.0.113.10:5060;lr>"]
    ack = request(
        "ACK",
        contact_of(ok),
        TRUNK,
        call="in-1",
        caller=TRUNK_CALLER,
        callee=TRUNK_CALLEE + ";tag=ph",
        more=route_to(ok, caller=True),
    )
    world.public(TRUNK, ack)
    to, ack_inside = only(world.take_lan(), "ACK")
    assert (to, ack_inside.request_uri) == (PBX, b"sip:100@10.1.0.50:5060")
    assert [v.text for v in ack_inside.values("route")] == [b"<sip:10.1.0.5;lr>"]


def test_a_phone_behind_a_pbx_that_is_a_proxy_calls_out() -> None:
    world = world_with_trunk()
    raw = pbx_invite(
        "sip:+4989@10.1.0.2",
        more=("Via: SIP/2.0/UDP 10.1.0.50:5060;branch=z9hG4bKphone", "Record-Route: <sip:10.1.0.5;lr>"),
    ).replace(b"sip:100@10.1.0.5:5060", b"sip:100@10.1.0.50:5060")
    world.lan(PBX, raw)
    _, invite = only(world.take_public(), "INVITE")
    assert [v.text for v in invite.values("record-route")] == [b"<sip:203.0.113.10:5060;lr>"]
    extra = [b"Contact: " + TRUNK_CONTACT.encode(), b"Content-Type: application/sdp"]
    world.public(TRUNK, build_response(invite, 200, "OK", b"t7", extra, offer("203.0.113.20", 4100)))
    _, ok = final(world.take_lan())
    assert [v.text for v in ok.values("record-route")] == [b"<sip:10.1.0.2:5060;lr>", b"<sip:10.1.0.5;lr>"]
    assert [v.text for v in ok.values("via")][1] == b"SIP/2.0/UDP 10.1.0.50:5060;branch=z9hG4bKphone"
    bye = request(
        "BYE",
        contact_of(invite),
        TRUNK,
        call="out-1",
        caller="<sip:+4989@10.1.0.2>;tag=t7",
        callee="<sip:100@10.1.0.5>;tag=p1",
        more=route_to(invite, caller=False),
    )
    world.public(TRUNK, bye)
    to, ended = only(world.take_lan(), "BYE")
    assert (to, ended.request_uri) == (PBX, b"sip:100@10.1.0.50:5060")
    assert [v.text for v in ended.values("route")] == [b"<sip:10.1.0.5;lr>"]


def test_with_hide_basic_the_vias_and_routes_of_the_other_side_stay_below_ours() -> None:
    world = World(pbx="sip:10.1.0.5", outside_uri="sip:203.0.113.20", hide_full=False)
    via = "Via: SIP/2.0/UDP 10.1.0.50:5060;branch=z9hG4bKphone"
    world.lan(PBX, pbx_invite("sip:+4989@10.1.0.2", more=(via, "Record-Route: <sip:10.1.0.5;lr>")))
    _, invite = only(world.take_public(), "INVITE")
    vias = [v.text for v in invite.values("via")]
    assert vias[0].startswith(b"SIP/2.0/UDP 203.0.113.10:5060;")
    assert vias[1].startswith(b"SIP/2.0/UDP 10.1.0.5:5060;branch=z9hG4bKout-1-1-INVITE")
    assert vias[2] == b"SIP/2.0/UDP 10.1.0.50:5060;branch=z9hG4bKphone"
    routes = [v.text for v in invite.values("record-route")]
    assert routes == [b"<sip:203.0.113.10:5060;lr>", b"<sip:10.1.0.5;lr>"]
    assert contact_of(invite).startswith(b"sip:100@203.0.113.10:5060;")
    extra = [b"Contact: " + TRUNK_CONTACT.encode(), b"Content-Type: application/sdp"]
    world.public(TRUNK, build_response(invite, 200, "OK", b"t7", extra, offer("203.0.113.20", 4100)))
    _, ok = final(world.take_lan())
    assert [v.text for v in ok.values("record-route")] == [b"<sip:10.1.0.2:5060;lr>", b"<sip:10.1.0.5;lr>"]
    assert len(ok.values("via")) == 2


def test_a_trunk_of_several_tenants_must_dial_a_registered_contact() -> None:
    world = world_with_trunk()
    contact = register_pbx(world)
    world.take_public()
    world.public_side.gatekeeper.tenants = TenantDoors(trunks={"203.0.113.20": (TENANT, TENANT + 1)})
    world.public(TRUNK, trunk_invite())
    assert world.take_lan() == []
    assert world.public_side.counters["answered.404"] == 1
    world.public(TRUNK, trunk_invite(contact, call="in-2"))
    assert only(world.take_lan(), "INVITE")[0] == PBX


def test_a_stranger_who_dials_a_number_hears_nothing() -> None:
    world = world_with_trunk()
    world.public("198.51.100.66:5060", trunk_invite())
    assert world.take_public() == world.take_lan() == []
    assert world.public_side.counters["sip.dropped.unknown_source"] == 1


def test_the_pbx_cannot_call_through_an_agent_without_an_outside() -> None:
    world = HidingWorld(pbx="sip:10.1.0.5")
    world.lan(PBX, pbx_invite("sip:+4989@10.1.0.2"))
    assert world.take_public() == []
    assert world.lan_side.counters["answered.404"] == 1


def test_without_a_pbx_a_trunk_gets_404() -> None:
    world = HidingWorld()
    world.set_tenant(trunks=("203.0.113.20",))
    world.public(TRUNK, trunk_invite())
    assert final(world.take_public())[1].status == 404
    assert world.take_lan() == []
