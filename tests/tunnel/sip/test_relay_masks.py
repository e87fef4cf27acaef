"""What opens the public face to a stranger: a true mask, and nothing that looks like one (3-#8)."""

from __future__ import annotations

import pytest
from support.ends import HidingWorld, contact_of, offer, request
from support.workers import (
    NAT,
    pbx_calls,
    register,
    requests_in,
    worker_calls,
    world_with_domain,
)

from tunnel.sip.response import build_response
from tunnel.sip.uri import SipUri

STRANGER = "203.0.113.66:5060"


def forged(contact: bytes, change: str) -> bytes:
    token = SipUri.parse_untrusted(contact).param("wp")
    assert token is not None
    if change == "flipped":
        middle = len(token) // 2
        bad = token[:middle] + (b"A" if token[middle : middle + 1] != b"A" else b"B") + token[middle + 1 :]
    elif change == "cut":
        bad = token[:-4]
    elif change == "made up":
        bad = b"A" * len(token)
    else:
        bad = b""
    return contact.replace(token, bad)


def lan_phone_registers(world: HidingWorld) -> bytes:
    """A phone inside registers with a provider; the masked Contact that the provider knows."""
    world.names["provider.example"] = "203.0.113.30"
    aor = "<sip:eve@provider.example>"
    data = request(
        "REGISTER",
        "sip:provider.example",
        "10.1.0.50:5060",
        caller=aor + ";tag=1",
        callee=aor,
        contact="<sip:eve@10.1.0.50>",
    )
    world.lan("10.1.0.50:5060", data)
    [(to, sent)] = requests_in(world.take_public())
    world.public(to, build_response(sent, 200, "OK", b"x", [b"Contact: " + sent.values("contact")[0].text]))
    world.take_lan()
    return contact_of(sent)


def stranger_calls(world: HidingWorld, uri: bytes) -> None:
    data = request("INVITE", uri, STRANGER, call="evil", contact="<sip:x@203.0.113.66>", body=offer("203.0.113.66", 9))
    world.public(STRANGER, data)


def test_a_true_mask_opens_the_door_to_anybody() -> None:
    world = HidingWorld()
    stranger_calls(world, lan_phone_registers(world))
    [(to, invite)] = requests_in(world.take_lan())
    assert (to, invite.request_uri) == ("10.1.0.50:5060", b"sip:eve@10.1.0.50")


@pytest.mark.parametrize("change", ["flipped", "cut", "made up", "empty"])
def test_a_forged_mask_opens_nothing(change: str) -> None:
    world = HidingWorld()
    stranger_calls(world, forged(lan_phone_registers(world), change))
    assert world.take_lan() == world.take_public() == []
    assert world.public_side.counters["sip.dropped.unknown_source"] == 1


def test_an_expired_mask_opens_nothing() -> None:
    world = HidingWorld()
    contact = lan_phone_registers(world)
    world.wait(61 * 86_400)
    stranger_calls(world, contact)
    assert world.take_lan() == world.take_public() == []


def test_a_mask_of_another_tenant_opens_nothing() -> None:
    world = HidingWorld()
    contact = lan_phone_registers(world)
    world.public_side.door.tenant += 1
    stranger_calls(world, contact)
    assert world.take_lan() == world.take_public() == []


@pytest.mark.parametrize("method", ["ACK", "CANCEL"])
def test_a_stray_hop_by_hop_request_is_dropped_even_for_a_true_mask(method: str) -> None:
    world = HidingWorld()
    world.public(STRANGER, request(method, lan_phone_registers(world), STRANGER, call="evil"))
    assert world.take_lan() == world.take_public() == []
    assert world.public_side.counters[f"sip.dropped.stray_{method.lower()}"] == 1


@pytest.mark.parametrize("method", ["BYE", "INFO", "REFER", "INVITE", "ACK", "CANCEL"])
def test_wrong_tags_open_no_dialog(method: str) -> None:
    world = world_with_domain()
    worker_calls(world)
    world.take_public()
    data = request(
        method,
        "sip:bob@203.0.113.10",
        STRANGER,
        call="from-worker",
        caller="<sip:bob@acme.example>;tag=guess",
        callee="<sip:100@acme.example>;tag=p9",
    )
    world.public(STRANGER, data)
    assert world.take_lan() == world.take_public() == []
    assert sum(n for name, n in world.public_side.counters.values.items() if name.startswith("sip.dropped")) == 1


def test_a_stray_response_is_dropped() -> None:
    world = world_with_domain()
    to, invite = pbx_calls(world, register(world, "bob", NAT))
    stray = build_response(invite, 200, "OK", b"w9").replace(invite.top_via.branch, b"z9hG4bKguess")
    world.public(STRANGER, stray)
    assert world.take_lan() == world.take_public() == []
    assert world.public_side.counters["sip.dropped.stray_response"] == 1
    assert to == NAT
