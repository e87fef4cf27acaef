"""What is one tenant's is of no use to the other: masks, dialogs, trunks, ports, crossed on purpose (3-#11)."""

from __future__ import annotations

import pytest
from support.ladder import Dialog, Phone
from support.pair import World
from support.two_tenants import TRUNK, Extension, TwoTenants, hears

from outside_server.gatekeeper import TenantDoors
from tunnel.sip.message import Message

THIEF = "10.1.0.200:5060"
STRANGER = "198.51.100.66:5060"


@pytest.fixture(scope="module")
def built() -> TwoTenants:
    return TwoTenants()


@pytest.fixture
def both(built: TwoTenants) -> TwoTenants:
    """All phones at rest."""
    built.world.wait(300)
    for extension in built.extensions:
        extension.phone.lose()
    for tenant in built.tenants:
        for side in (tenant.world.lan_side, tenant.world.public_side):
            side.sent.clear()
    return built


def find(both: TwoTenants, tenant: int, user: str) -> Extension:
    return next(each for each in both.tenants[tenant].phones if each.phone.user == user)


def mask_of(both: TwoTenants, extension: Extension) -> bytes:
    """What the hosted PBX has for a phone."""
    return next(iter(both.hosted.bindings[extension.phone.aor.encode()]))


def talk(caller: Extension, callee: Extension) -> tuple[Dialog, Dialog, Message]:
    """A call that is up."""
    invite = caller.phone.invite(callee.phone.aor, tag="caller")
    arrived = callee.phone.got("INVITE")
    answering = callee.phone.accept(arrived, tag="callee")
    calling = Dialog.of_caller(caller.phone, invite, caller.phone.got(200))
    calling.ack()
    callee.phone.got("ACK")
    return calling, answering, arrived


def end(calling: Dialog, answering: Dialog) -> None:
    calling.send("BYE")
    answering.phone.answer(answering.phone.got("BYE"), 200)
    calling.phone.got(200)


def sent_to_lan(world: World) -> list[Message]:
    """Requests that an agent sent to where nobody is."""
    return [message for _, message in world.take_lan() if message.is_request]


def test_a_mask_leads_to_its_own_tenant_whoever_hands_it_back(both: TwoTenants) -> None:
    """3-#11, C6: the same extension at the same address in the other LAN hears nothing."""
    red, blue = find(both, 0, "201"), find(both, 1, "201")
    assert red.phone.contact == blue.phone.contact
    assert mask_of(both, red) != mask_of(both, blue)
    stranger = Phone(both.world, STRANGER, "eve", domain="evil.example")
    for extension, other in ((red, blue), (blue, red)):
        stranger.invite(mask_of(both, extension))
        extension.phone.got("INVITE")
        other.phone.got_nothing()
        extension.phone.lose()


def test_a_mask_from_within_the_other_tenants_lan(both: TwoTenants) -> None:
    """3-#11: a blue phone with a red mask is to red what any outside caller is; blue's agent finds nothing behind it."""
    red, twin, blue = find(both, 0, "201"), find(both, 1, "201"), find(both, 1, "202")
    blue.phone.invite(mask_of(both, red))
    arrived = red.phone.got("INVITE")
    assert b"10.1." not in arrived.lines("contact")[0]
    twin.phone.got_nothing()
    at_agent = mask_of(both, red).replace(b"203.0.113.10:5060", b"10.1.0.2:5060")
    blue.phone.lose()
    red.phone.lose()
    blue.phone.invite(at_agent)
    blue.phone.got(404)
    red.phone.got_nothing()
    twin.phone.got_nothing()


def test_a_mask_of_an_outside_party_serves_one_agent_only(both: TwoTenants) -> None:
    """3-#11: how red's LAN names red's remote worker means nothing to blue's agent."""
    worker, blue = find(both, 0, "301"), find(both, 1, "401")
    shown = next(iter(both.tenants[0].pbx.bindings[worker.phone.aor.encode()]))
    thief = Phone(both.tenants[1].world, THIEF, "eve", domain=both.tenants[1].office)
    thief.invite(shown)
    thief.got(404)
    for extension in both.extensions:
        extension.phone.got_nothing()
    assert blue.phone.contact


def test_a_mask_handed_to_the_other_tenants_agent_by_its_server(both: TwoTenants) -> None:
    """3-#11, C6: were it handed over the wrong wall, the agent could not open it."""
    red_mask = mask_of(both, find(both, 0, "201"))
    invite = Phone(both.world, STRANGER, "eve").request("OPTIONS", red_mask)
    uri = invite.uri
    assert uri is not None
    masks = [tenant.world.lan_side.half.masks for tenant in both.tenants]
    assert masks[0].open_own(uri, both.world.now) is not None
    assert masks[1].open_own(uri, both.world.now) is None
    assert not masks[1].is_live(uri, both.world.now)


METHODS = pytest.mark.parametrize("method", ["BYE", "INFO", "INVITE", "UPDATE", "REFER", "NOTIFY", "ACK"])


def steal(both: TwoTenants, thief: Phone, method: str, targets: list[str]) -> None:
    """Red's phones talk; ``thief``, who has overheard Call-ID and tags but was never given a mask, joins in."""
    caller, callee = find(both, 0, "201"), find(both, 0, "202")
    calling, answering, _ = talk(caller, callee)
    for victim, forged in ((callee, calling), (caller, answering)):
        for target in targets:
            uri = target.format(user=victim.phone.user, at=victim.phone.address).encode()
            stolen = Dialog(thief, forged.call_id, forged.local, forged.remote, uri, [], forged.cseq + 5)
            stolen.send(method, body=thief.sdp() if method in ("INVITE", "UPDATE") else b"")
            victim.phone.got_nothing()
            find(both, 1, victim.phone.user).phone.got_nothing()
    assert sent_to_lan(both.tenants[0].world) == []
    assert sent_to_lan(both.tenants[1].world) == []
    assert hears(caller.phone, callee.phone)
    assert hears(callee.phone, caller.phone)
    end(calling, answering)
    both.world.wait(200)


@METHODS
def test_a_stolen_dialog_from_the_other_lan(both: TwoTenants, method: str) -> None:
    """3-#11: whoever has the ids of red's call says nothing to red's phones by blue's agent, and ends nothing."""
    thief = Phone(both.tenants[1].world, THIEF, "eve")
    twin = find(both, 1, "202")
    steal(both, thief, method, ["sip:{user}@203.0.113.10", "sip:{user}@203.0.113.10:5060;lr"])
    twin.phone.got_nothing()


@METHODS
def test_a_stolen_dialog_from_outside(both: TwoTenants, method: str) -> None:
    """3-#8, 3-#11: nor does a stranger; he hears nothing at all."""
    thief = Phone(both.world, STRANGER, "eve")
    steal(both, thief, method, ["sip:{user}@203.0.113.10", "sip:{user}@{at}", "sip:203.0.113.10;lr"])
    thief.got_nothing()


@pytest.mark.parametrize("place", ["mask", "trunk"])
def test_a_dialog_begun_under_the_ids_of_another_tenants(both: TwoTenants, place: str) -> None:
    """3-#11: blue's accomplices begin a call with red's Call-ID and tags; red's parties go on and hear each other."""
    caller, callee = find(both, 0, "201"), find(both, 0, "202")
    calling, answering, _ = talk(caller, callee)
    accomplice = find(both, 1, "205")
    source = STRANGER if place == "mask" else "203.0.113.30:5060"
    stranger = Phone(both.world, source, "eve", domain="evil.example")
    call_id = calling.call_id.decode()
    for tag, other in (("caller", "callee"), ("callee", "caller")):
        stranger.invite(mask_of(both, accomplice), tag=tag, call_id=call_id)
        arrived = accomplice.phone.got("INVITE")
        accomplice.phone.accept(arrived, tag=other)
        stranger.lose()
    for sender, receiver in ((calling, answering), (answering, calling)):
        sender.send("INFO", headers=["Content-Type: text/plain"], body=b"still us")
        came = receiver.phone.got("INFO")
        assert came.body == b"still us"
        receiver.phone.answer(came, 200)
        sender.phone.got(200)
        accomplice.phone.got_nothing()
    assert hears(caller.phone, callee.phone)
    assert hears(callee.phone, caller.phone)
    end(calling, answering)
    stranger.got_nothing()
    accomplice.phone.got_nothing()
    both.world.wait(7300)  # till the accomplices' calls are given up


def test_a_trunk_of_both_dials_neither(both: TwoTenants) -> None:
    """3-#11: a number alone does not say for which tenant it is; nobody's PBX rings, and the trunk is told why."""
    trunk = Phone(both.world, TRUNK, "trunk", domain="itsp.example")
    trunk.invite("sip:401@203.0.113.10")
    assert b"several tenants" in trunk.got(404).lines("warning")[0]
    for extension in both.extensions:
        extension.phone.got_nothing()


def test_a_trunk_of_both_reaches_each_by_name(both: TwoTenants) -> None:
    """3-#11: with a domain or a mask it is plain whose call it is."""
    trunk = Phone(both.world, TRUNK, "trunk", domain="itsp.example")
    for tenant in (0, 1):
        wanted, other = find(both, tenant, "401"), find(both, 1 - tenant, "401")
        trunk.invite(wanted.phone.aor)
        assert wanted.phone.got("INVITE").lines("to") == [f"To: <{wanted.phone.aor}>".encode()]
        other.phone.got_nothing()
        wanted.phone.lose()
        hosted = find(both, tenant, "203")
        trunk.invite(mask_of(both, hosted))
        hosted.phone.got("INVITE")
        find(both, 1 - tenant, "203").phone.got_nothing()
        hosted.phone.lose()


def test_a_registrar_of_both_that_drops_masks_reaches_neither(both: TwoTenants) -> None:
    """3-#11: without its mask a Contact says only an extension, which both tenants have."""
    for tenant in (0, 1):
        find(both, tenant, "201").register()
    phone = Phone(both.world, "203.0.113.20:5999", "hosted", domain="hosted.example")
    phone.invite("sip:201@203.0.113.10")
    assert b"several tenants" in phone.got(404).lines("warning")[0]
    for extension in both.extensions:
        extension.phone.got_nothing()


def test_ports_and_channels_are_of_one_tenant(both: TwoTenants) -> None:
    """3-#11: calls of both at once: no port of the public face serves two, and each stream comes out in its own LAN."""
    calls = []
    for number in range(5):
        for tenant in (0, 1):
            pair = find(both, tenant, str(201 + 2 * number)), find(both, tenant, str(202 + 2 * number))
            calls.append((pair, talk(*pair)))
    held = [{lease.rtp for lease in tenant.world.public_side.plane.held.values()} for tenant in both.tenants]
    assert all(held)
    assert not held[0] & held[1]
    for (caller, callee), _ in calls:
        assert hears(caller.phone, callee.phone)
        assert hears(callee.phone, caller.phone)
    for _, (calling, answering, _) in calls:
        end(calling, answering)
    both.assert_empty()


def test_contacts_name_no_other_tenant(both: TwoTenants) -> None:
    """C1, 3-#11: what two phones with the same Contact show outside differs, and neither shows an address of a LAN."""
    shown = [mask_of(both, find(both, tenant, "210")) for tenant in (0, 1)]
    assert shown[0] != shown[1]
    assert all(b"10.1." not in each for each in shown)


@pytest.mark.parametrize("owner", [0, 1])
def test_a_trunk_of_another_tenant_takes_no_calls_from_this_one(
    both: TwoTenants, monkeypatch: pytest.MonkeyPatch, owner: int
) -> None:
    """3-#8, 3-#11: a trunk knows its customer by our address alone; red's phones make no calls on blue's account."""
    gatekeeper = both.tenants[0].world.public_side.gatekeeper
    paying = both.tenants[owner].world.public_side.door.tenant
    monkeypatch.setattr(gatekeeper, "tenants", TenantDoors(gatekeeper.tenants.domains, {"203.0.113.30": (paying,)}))
    trunk = Phone(both.world, TRUNK, "trunk", domain="itsp.example")
    own, other = find(both, owner, "201").phone, find(both, 1 - owner, "201").phone
    other.invite("sip:+49301234@203.0.113.30")
    assert b"another tenant" in other.got(403).lines("warning")[0]
    trunk.got_nothing()
    own.invite("sip:+49301234@203.0.113.30")
    trunk.got("INVITE")
    other.request("REGISTER", "sip:203.0.113.30")
    trunk.answer(trunk.got("REGISTER"), 200, headers=[f"Contact: {other.contact};expires=60"])
    other.got(200)
    other.invite("sip:+49301234@203.0.113.30")
    trunk.got("INVITE")
