"""Default deny: who gets in from the internet, and to which tenant's agent."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from support.ends import request

from outside_server.gatekeeper import Gatekeeper, TenantDoors
from tunnel.address import Address, parse_address
from tunnel.sip.bindings import Bindings
from tunnel.sip.contacts import ContactMasks
from tunnel.sip.dialog import Call
from tunnel.sip.flow import Flow
from tunnel.sip.half import FaceIndex
from tunnel.sip.mask import MaskKey, TenantHint
from tunnel.sip.message import parse_untrusted
from tunnel.sip.policy import Admit, Answer, Drop, Purpose
from tunnel.sip.transaction_key import server_key
from tunnel.sip.uri import SipUri

SERVER = Address("203.0.113.10", 5060)
SOMEBODY = "198.51.100.7:5060"
TRUNK = "203.0.113.20:5060"
ACME, GLOBEX = 7, 8
HINT = TenantHint(b"h" * 32)


def masks_of(tenant: int, agent: int) -> ContactMasks:
    masks = ContactMasks(outside=True, epoch_s=1_700_000_000.0, bindings=Bindings())
    masks.use(MaskKey(bytes([tenant]) * 32, tenant, HINT), agent)
    return masks


@dataclass
class PaperDoor:
    number: int
    tenant: int
    masks: ContactMasks
    is_up: bool = True
    takes_calls: bool = True
    has_pbx: bool = False


@dataclass
class Gate:
    """A gatekeeper with doors: two agents of one tenant, one of another."""

    index: FaceIndex = field(default_factory=FaceIndex)

    def __post_init__(self) -> None:
        self.keeper = Gatekeeper(self.index, HINT)
        self.doors = {n: PaperDoor(n, tenant, masks_of(tenant, n)) for n, tenant in ((1, ACME), (2, ACME), (3, GLOBEX))}
        for door in self.doors.values():
            self.keeper.open(door)
        self.keeper.tenants = TenantDoors(
            {"acme.example": ACME, "globex.example": GLOBEX},
            {"203.0.113.20": (ACME,), "203.0.113.21": (ACME, GLOBEX), "203.0.113.22": (99,)},
        )

    def asks(
        self, method: str, uri: str, source: str = SOMEBODY, *, callee: str = "<sip:bob@x>", now: float = 5.0
    ) -> tuple[int | None, Admit | Answer | Drop]:
        message = parse_untrusted(request(method, uri, source, callee=callee))
        door, verdict = self.keeper.admit(message, Flow("udp", SERVER, parse_address(source)), now)
        return (None if door is None else door.number), verdict

    def mask(self, agent: int, now: float = 5.0) -> str:
        contact = SipUri.parse_untrusted(b"sip:eve@10.1.0.50")
        return self.doors[agent].masks.mask(contact, b"8 bytes.", SERVER, "udp", now).decode()


@pytest.mark.parametrize("method", ["INVITE", "REGISTER", "OPTIONS", "MESSAGE", "SUBSCRIBE", "BYE", "ODD"])
def test_a_stranger_hears_nothing(method: str) -> None:
    for uri in ("sip:100@203.0.113.10", "sip:203.0.113.10", "sip:x@elsewhere.example", "tel:+4930"):
        number, verdict = Gate().asks(method, uri)
        assert number is None
        assert isinstance(verdict, Drop)


@pytest.mark.parametrize("source", [TRUNK, "203.0.113.21:5060", "203.0.113.9:5060"])
def test_a_peer_that_asks_how_we_are_hears_the_truth(source: str) -> None:
    """F3, K: trunks and registrars ask by OPTIONS without a user; 200 while an agent of theirs takes calls, else 503."""
    index = FaceIndex()
    index.note_registrar("203.0.113.9", 1, 100.0, 5.0)
    gate = Gate(index)
    for ill in (False, True):
        for door in gate.doors.values():
            door.takes_calls = not ill
        number, verdict = gate.asks("OPTIONS", "sip:203.0.113.10", source)
        assert number is None
        assert isinstance(verdict, Answer)
        assert (verdict.status, verdict.retry_after_s) == ((503, 5) if ill else (200, 0))


def test_a_trunk_of_agents_that_are_all_away_hears_so() -> None:
    """F3, K: no session at all is no reason for silence."""
    gate = Gate()
    for number in list(gate.doors):
        gate.keeper.close(number)
    verdict = gate.asks("OPTIONS", "sip:203.0.113.10", TRUNK)[1]
    assert isinstance(verdict, Answer)
    assert verdict.status == 503


def test_options_for_somebody_go_to_him() -> None:
    """F3: with a user it is not for us."""
    assert gate_admits("sip:100@203.0.113.10", TRUNK)
    assert gate_admits("sip:acme.example", SOMEBODY)


def gate_admits(uri: str, source: str) -> bool:
    return isinstance(Gate().asks("OPTIONS", uri, source)[1], Admit)


@pytest.mark.parametrize("method", ["ACK", "CANCEL"])
def test_a_hop_by_hop_request_without_its_transaction_is_stray_whoever_sends_it(method: str) -> None:
    gate = Gate()
    for uri, source in (("sip:100@acme.example", SOMEBODY), (gate.mask(1), SOMEBODY), ("sip:1@x", TRUNK)):
        assert gate.asks(method, uri, source) == (None, Drop(f"sip.dropped.stray_{method.lower()}"))


# Masks


def test_a_mask_leads_to_the_agent_it_was_made_for() -> None:
    gate = Gate()
    for agent in (1, 2, 3):
        assert gate.asks("INVITE", gate.mask(agent)) == (agent, Admit(Purpose.MASK))


def test_a_mask_ends_after_some_weeks() -> None:
    gate = Gate()
    mask = gate.mask(1)
    assert gate.asks("INVITE", mask, now=29 * 86_400.0) == (1, Admit(Purpose.MASK))
    assert isinstance(gate.asks("INVITE", mask, now=61 * 86_400.0)[1], Drop)


def test_every_flipped_character_of_a_mask_closes_the_door() -> None:
    gate = Gate()
    head, _, token = gate.mask(1).partition("wp=")
    for at, character in enumerate(token):
        flipped = token[:at] + ("A" if character != "A" else "B") + token[at + 1 :]
        number, verdict = gate.asks("INVITE", f"{head}wp={flipped}")
        assert number is None
        assert isinstance(verdict, Drop)


def test_a_mask_of_an_agent_that_is_gone_for_good_opens_no_other_door() -> None:
    gate = Gate()
    mask = gate.mask(1)
    gate.keeper.close(1)
    number, verdict = gate.asks("INVITE", mask)
    assert number is None
    assert not isinstance(verdict, Admit)


def test_a_caller_hears_when_the_agent_is_offline() -> None:
    gate = Gate()
    mask = gate.mask(1)
    gate.doors[1].is_up = False
    assert_offline(gate.asks("INVITE", mask))
    gate.keeper.close(1)  # its session has expired
    assert_offline(gate.asks("INVITE", mask))
    gate.doors[1].is_up = True
    gate.keeper.open(gate.doors[1])
    assert gate.asks("INVITE", mask) == (1, Admit(Purpose.MASK))


def assert_offline(asked: tuple[int | None, Admit | Answer | Drop]) -> None:
    number, verdict = asked
    assert number is None
    assert isinstance(verdict, Answer)
    assert (verdict.status, verdict.retry_after_s > 0) == (480, True)


# Domains and trunks


def test_a_domain_leads_to_its_tenant_from_anywhere() -> None:
    gate = Gate()
    assert gate.asks("REGISTER", "sip:acme.example") == (1, Admit(Purpose.DOMAIN))
    assert gate.asks("INVITE", "sip:100@ACME.example") == (1, Admit(Purpose.DOMAIN))
    assert gate.asks("INVITE", "sip:100@globex.example") == (3, Admit(Purpose.DOMAIN))
    assert isinstance(gate.asks("INVITE", "sip:100@sub.acme.example")[1], Drop)


def test_the_agent_with_the_pbx_is_asked_first_and_a_live_one_before_that() -> None:
    gate = Gate()
    gate.doors[2].has_pbx = True
    assert gate.asks("INVITE", "sip:100@acme.example")[0] == 2
    gate.doors[2].is_up = False
    assert gate.asks("INVITE", "sip:100@acme.example")[0] == 1
    gate.doors[1].is_up = False
    assert_offline(gate.asks("INVITE", "sip:100@acme.example"))


def test_a_trunk_known_by_its_address_reaches_its_tenant() -> None:
    gate = Gate()
    assert gate.asks("INVITE", "sip:+4930@203.0.113.10", TRUNK) == (1, Admit(Purpose.TRUNK))
    assert gate.asks("INVITE", "sip:+4930@203.0.113.10", "203.0.113.20:61234") == (1, Admit(Purpose.TRUNK))


def test_a_trunk_of_several_tenants_must_dial_a_contact() -> None:
    gate = Gate()
    number, verdict = gate.asks("INVITE", "sip:+4930@203.0.113.10", "203.0.113.21:5060")
    assert number is None
    assert isinstance(verdict, Answer)
    assert verdict.status == 404
    assert "several tenants" in verdict.warning
    assert gate.asks("INVITE", gate.mask(3), "203.0.113.21:5060") == (3, Admit(Purpose.MASK))


def test_a_trunk_of_a_tenant_without_agents_hears_that_it_is_offline() -> None:
    assert_offline(Gate().asks("INVITE", "sip:+4930@203.0.113.10", "203.0.113.22:5060"))


# Registrars


def test_a_registrar_calls_the_tenant_that_is_registered_there_while_it_is() -> None:
    gate = Gate()
    gate.index.registrars["198.51.100.7"] = {2: 100.0}
    assert gate.asks("INVITE", "sip:+4930@203.0.113.10", now=99.0)[1] == Admit(Purpose.REGISTERED)
    assert isinstance(gate.asks("INVITE", "sip:+4930@203.0.113.10", now=101.0)[1], Drop)


def test_a_registrar_of_one_agent_reaches_that_agent() -> None:
    gate = Gate()
    gate.doors[1].has_pbx = True
    gate.index.registrars["198.51.100.7"] = {2: 100.0}
    assert gate.asks("INVITE", "sip:+4930@203.0.113.10")[0] == 2


def test_a_registrar_of_several_tenants_must_dial_a_contact() -> None:
    gate = Gate()
    gate.index.registrars["198.51.100.7"] = {1: 100.0, 3: 100.0}
    number, verdict = gate.asks("INVITE", "sip:+4930@203.0.113.10")
    assert number is None
    assert isinstance(verdict, Answer)
    assert verdict.status == 404


# What is carried already


def carried(seen_at: str) -> Call:
    """A call whose caller outside sends from there."""
    call = Call(1, "INVITE", b"call-1", b"a1", True, 0.0)
    call.caller.seen_at = parse_address(seen_at)
    return call


def test_a_dialog_that_we_carry_is_let_in_by_its_three_names() -> None:
    """3-#8: coming from where the party is, or with the mask that it was given; the names alone open nothing."""
    gate = Gate()
    gate.index.dialogs[b"call-1", b"a1", b"b1"] = {2: [carried("203.0.113.77:5060")]}
    assert isinstance(gate.asks("BYE", "sip:x@203.0.113.10", callee="<sip:bob@x>;tag=b1")[1], Drop)
    assert gate.asks("BYE", gate.mask(2), callee="<sip:bob@x>;tag=b1") == (2, Admit(Purpose.DIALOG))
    gate.index.dialogs[b"call-1", b"a1", b"b1"] = {2: [carried(SOMEBODY)]}
    assert gate.asks("BYE", "sip:x@203.0.113.10", callee="<sip:bob@x>;tag=b1") == (2, Admit(Purpose.DIALOG))
    assert gate.asks("ACK", "sip:x@203.0.113.10", callee="<sip:bob@x>;tag=b1") == (2, Admit(Purpose.DIALOG))
    for wrong in ("b2", "a1", "B1"):
        assert isinstance(gate.asks("BYE", "sip:x@203.0.113.10", callee=f"<sip:bob@x>;tag={wrong}")[1], Drop)
    assert isinstance(gate.asks("BYE", "sip:x@203.0.113.10")[1], Drop)


def test_of_two_tenants_with_one_dialog_the_one_that_knows_the_sender_gets_it() -> None:
    """3-#11: both have a dialog of these names; who came later under stolen ids gets nothing."""
    gate = Gate()
    elsewhere = carried("203.0.113.77:5060")
    for first, second in ((1, 3), (3, 1)):
        gate.index.dialogs[b"call-1", b"a1", b"b1"] = {first: [elsewhere], second: [carried(SOMEBODY)]}
        assert gate.asks("BYE", "sip:x@203.0.113.10", callee="<sip:bob@x>;tag=b1") == (second, Admit(Purpose.DIALOG))
        gate.index.dialogs[b"call-1", b"a1", b"b1"] = {first: [carried(SOMEBODY)], second: [carried(SOMEBODY)]}
        assert gate.asks("BYE", "sip:x@203.0.113.10", callee="<sip:bob@x>;tag=b1") == (first, Admit(Purpose.DIALOG))


def test_a_domain_lets_nobody_into_the_dialogs_of_others() -> None:
    """3-#8: who has heard the ids of a dialog and knows a domain can neither end it nor turn its media to itself; a trunk
    and a registrar of the tenant may send from another address than before."""
    gate = Gate()
    gate.index.dialogs[b"call-1", b"a1", b"b1"] = {2: [carried("203.0.113.77:5060")]}
    callee = "<sip:bob@x>;tag=b1"
    for method in ("BYE", "INVITE", "REFER"):
        verdict = gate.asks(method, "sip:bob@acme.example", callee=callee)[1]
        assert verdict == Drop("sip.dropped.anothers_dialog")
    assert gate.asks("BYE", "sip:bob@acme.example", callee="<sip:bob@x>;tag=b2")[1] == Admit(Purpose.DOMAIN)
    assert gate.asks("BYE", "sip:bob@acme.example", TRUNK, callee=callee)[1] == Admit(Purpose.DOMAIN)
    gate.index.note_registrar("198.51.100.7", 3, 60.0, 5.0)
    assert isinstance(gate.asks("BYE", "sip:bob@acme.example", callee=callee)[1], Drop)
    gate.index.note_registrar("198.51.100.7", 1, 60.0, 5.0)
    assert gate.asks("BYE", "sip:bob@acme.example", callee=callee)[1] == Admit(Purpose.DOMAIN)


OWN = "203.0.113.10:5060"


def test_what_a_tenant_sends_to_the_face_itself_is_for_its_own_pbx() -> None:
    """3-#5, 3-#8: known by our branch and our address; a peer that has seen the branch opens nothing with it."""
    gate = Gate()
    gate.doors[1].has_pbx = True
    gate.index.branches[b"z9hG4bKours"] = 1

    def asks(method: str, uri: str, source: str, branch: str = "z9hG4bKours") -> tuple[int | None, object]:
        raw = request(method, uri, source, branch=branch.removeprefix("z9hG4bK"))
        door, verdict = gate.keeper.admit(parse_untrusted(raw), Flow("udp", SERVER, parse_address(source)), 5.0)
        return (None if door is None else door.number), verdict

    assert asks("INVITE", "sip:100@203.0.113.10", OWN) == (1, Admit(Purpose.TRUNK))
    assert asks("OPTIONS", "sip:203.0.113.10", OWN) == (None, Answer(200, "OK"))
    assert isinstance(asks("INVITE", "sip:100@203.0.113.10", SOMEBODY)[1], Drop)
    assert isinstance(asks("INVITE", "sip:100@203.0.113.10", OWN, "z9hG4bKtheirs")[1], Drop)
    gate.keeper.tenants = TenantDoors()
    refused = asks("INVITE", "sip:100@203.0.113.10", OWN)[1]
    assert isinstance(refused, Answer)
    assert refused.status == 404


def test_a_cancel_finds_the_invite_that_it_ends() -> None:
    gate = Gate()
    invite = parse_untrusted(request("INVITE", "sip:x@203.0.113.10", SOMEBODY, branch="same"))
    gate.index.transactions[server_key(invite)] = 3
    cancel = parse_untrusted(request("CANCEL", "sip:x@203.0.113.10", SOMEBODY, branch="same"))
    door, verdict = gate.keeper.admit(cancel, Flow("udp", SERVER, parse_address(SOMEBODY)), 5.0)
    assert door is gate.doors[3]
    assert verdict == Admit(Purpose.DIALOG)


def test_what_an_agent_carried_is_stray_once_it_is_gone() -> None:
    gate = Gate()
    gate.index.dialogs[b"call-1", b"a1", b"b1"] = {2: [carried(SOMEBODY)]}
    gate.keeper.close(2)
    assert isinstance(gate.asks("BYE", "sip:x@203.0.113.10", callee="<sip:bob@x>;tag=b1")[1], Drop)


def test_an_agent_that_has_not_come_yet_is_offline_and_not_unknown() -> None:
    """S2-1: the server has just started; its store says which agents there are."""
    gate = Gate()
    mask, masks = gate.mask(2), gate.doors[2].masks
    gate.keeper.close(2)
    gate.keeper.expect({})
    assert isinstance(gate.asks("INVITE", mask)[1], Drop), "an agent that was removed"
    gate.keeper.expect({2: (gate.doors[2].tenant, masks)})
    assert_offline(gate.asks("INVITE", mask))
    gate.keeper.open(gate.doors[2])
    assert gate.asks("INVITE", mask) == (2, Admit(Purpose.MASK))
