"""Which target a request goes to, and how: by size, by health, by what its URI insists on."""

from __future__ import annotations

import pytest
from support.faces import SERVER
from support.ladder import Dialog, Phone, sdp_address, uri_in
from support.pair import World

from tunnel.address import Address
from tunnel.sip.big_requests import FAILS_S, PROBE_S
from tunnel.sip.half import Emission, WentInFragments
from tunnel.sip.message import Message
from tunnel.sip.next_hop import Target

PEER = "198.51.100.20:5060"
PADDING = (f"User-to-User: {'5a' * 1200}",)  # makes an INVITE of about 2.5 KB, as T18 wants it


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def alice(world: World) -> Phone:
    return Phone(world, "10.1.0.50:5060", "alice")


@pytest.fixture
def peer(world: World) -> Phone:
    return Phone(world, PEER, "bob")


def by_tcp(phone: Phone) -> Message:
    """The next INVITE, which came by TCP and says so."""
    invite = phone.got("INVITE")
    flow = phone.flows[-1]
    assert (flow.transport, invite.top_via.transport) == ("tcp", "TCP")
    assert invite.header("content-length") is not None
    return invite


def by_udp(phone: Phone, method: str = "INVITE") -> Message:
    message = phone.got(method)
    assert (phone.flows[-1].transport, message.top_via.transport) == ("udp", "UDP")
    return message


def refuse(phone: Phone, invite: Message, status: int = 486, *headers: str) -> None:
    """Answer by the transport that the request came by."""
    phone.transport = phone.flows[-1].transport
    phone.answer(invite, status, headers=headers)
    phone.transport = "udp"
    phone.got("ACK")


def fails(world: World, flow_of: Phone) -> None:
    """The connection by which that phone was sent something did not come up."""
    flow = flow_of.flows[-1]
    world.public_side.proxy.transport_failed("tcp", flow.remote, flow.connection, world.now)
    world.settle()


def news(world: World) -> list[str]:
    return [event.peer for event in world.public_side.events if isinstance(event, WentInFragments)]


class TestSize:
    def test_a_big_invite_goes_by_tcp_and_the_next_small_one_by_udp(
        self, world: World, alice: Phone, peer: Phone
    ) -> None:
        """T18, M2: the decision is made for each message; Via says how it went, Contact and Record-Route do not stick."""
        for _ in range(2):
            alice.invite(f"sip:bob@{PEER}", headers=PADDING)
            big = by_tcp(peer)
            assert len(big.raw) > 2_400
            assert big.top_via.sent_by == SERVER
            for name in ("contact", "record-route"):
                assert b"transport" not in big.values(name)[0].text
            refuse(peer, big)
            alice.got(486)
            alice.invite(f"sip:bob@{PEER}")
            refuse(peer, by_udp(peer))
            alice.got(486)

    def test_what_follows_a_big_invite_goes_by_the_way_each_asks_for(
        self, world: World, alice: Phone, peer: Phone
    ) -> None:
        """T18: its CANCEL and the ACK of a failure by TCP, as they belong to it; a dialog goes on by UDP."""
        sent = alice.invite(f"sip:bob@{PEER}", headers=PADDING)
        big = by_tcp(peer)
        peer.transport = "tcp"
        peer.answer(big, 180)
        alice.got(180)
        alice.cancel(sent)
        cancel = peer.got("CANCEL")
        assert (peer.flows[-1].transport, cancel.top_via.branch) == ("tcp", big.top_via.branch)

    def test_a_dialog_that_began_by_tcp_for_its_size_goes_on_by_udp(
        self, world: World, alice: Phone, peer: Phone
    ) -> None:
        """T18: the ACK and the BYE are small."""
        sent = alice.invite(f"sip:bob@{PEER}", headers=PADDING)
        big = by_tcp(peer)
        peer.transport = "tcp"
        peer.accept(big)
        peer.transport = "udp"
        talk = Dialog.of_caller(alice, sent, alice.got(200))
        talk.ack()
        by_udp(peer, "ACK")
        talk.send("BYE")
        by_udp(peer, "BYE")

    def test_a_peer_without_tcp_gets_it_in_fragments(self, world: World, alice: Phone, peer: Phone) -> None:
        """T18, M2: at once when TCP is refused, without asking again for a while, and said once."""
        for _ in range(2):
            alice.invite(f"sip:bob@{PEER}", headers=PADDING)
            if not news(world):
                by_tcp(peer)
                fails(world, peer)
            big = by_udp(peer)
            assert len(big.raw) > 2_400
            refuse(peer, big)
            alice.got(486)
        assert news(world) == [PEER]
        world.wait(FAILS_S)
        alice.invite(f"sip:bob@{PEER}", headers=PADDING)
        by_tcp(peer)

    def test_the_probe_is_impatient(self, world: World, alice: Phone, peer: Phone) -> None:
        """M2: whoever calls does not wait for a connection that a firewall swallows."""
        seen: list[Emission] = []
        proxy = world.public_side.proxy
        take = proxy.take_emissions

        def watched() -> list[Emission]:
            seen.extend(taken := take())
            return taken

        proxy.take_emissions = watched  # type: ignore[method-assign]
        alice.invite(f"sip:bob@{PEER}", headers=PADDING)
        assert [(each.flow.transport, each.open_within_s) for each in seen] == [("tcp", PROBE_S)]

    def test_tcp_that_does_not_answer_is_not_asked_again(self, world: World, alice: Phone, peer: Phone) -> None:
        """M2: a host that takes connections and leaves it at that."""
        alice.invite(f"sip:bob@{PEER}", headers=PADDING)
        by_tcp(peer)
        world.wait(33)
        alice.got(408)
        alice.invite(f"sip:bob@{PEER}", headers=PADDING)
        by_udp(peer)

    def test_a_flow_through_a_nat_is_kept(self, world: World, alice: Phone) -> None:
        """M2: nothing else leads to who is behind it."""
        world.set_tenant(domains=("acme.example",))
        worker = Phone(world, "192.168.77.20:5060", "bob", seen_from="198.51.100.7:40000", domain="acme.example")
        registrar = Phone(world, "198.51.100.9:5060", "reg")
        alice.register("sip:198.51.100.9")
        request = registrar.got("REGISTER")
        registrar.answer(request, 200, headers=[f"Contact: {request.values('contact')[0].text.decode()};expires=600"])
        alice.got(200)
        worker.invite(uri_in(request.values("contact")[0].text))
        talk = alice.accept(alice.got("INVITE"))
        worker.got(200)
        talk.send("INFO", headers=PADDING)
        by_udp(worker, "INFO")

    def test_an_ack_goes_by_tcp_only_where_that_works(self, world: World, alice: Phone, peer: Phone) -> None:
        """M2: nobody would say that it was lost."""
        for known in (False, True):
            if known:
                alice.invite(f"sip:bob@{PEER}", headers=PADDING)
                refuse(peer, by_tcp(peer))
                alice.got(486)
            sent = alice.invite(f"sip:bob@{PEER}")
            invite = by_udp(peer)
            peer.accept(invite)
            ok = alice.got(200)
            alice.send(_ack(alice, sent, ok))
            peer.got("ACK")
            assert peer.flows[-1].transport == ("tcp" if known else "udp")


def _ack(alice: Phone, sent: Message, ok: Message) -> bytes:
    contact = uri_in(ok.values("contact")[0].text).decode()
    to = ok.header("to")
    assert to is not None
    lines = [
        f"ACK {contact} SIP/2.0",
        f"Via: SIP/2.0/UDP {alice.address};branch=z9hG4bKack{ok.raw.__hash__()};rport",
        "Max-Forwards: 70",
        f"From: <{alice.aor}>;tag={sent.from_tag.decode()}",
        f"To: {to.value.decode()}",
        f"Call-ID: {sent.call_id.decode()}",
        f"CSeq: {sent.cseq[0]} ACK",
        *PADDING,
        "Content-Length: 0",
    ]
    return "\r\n".join([*lines, "", ""]).encode()


class TestHealth:
    HOSTS = ("198.51.100.31:5060", "198.51.100.32:5060")

    @pytest.fixture
    def trunk(self, world: World) -> list[Phone]:
        """Two hosts of one name, the first of them preferred."""
        hosts = [Phone(world, host, "trunk") for host in self.HOSTS]
        world.targets["trunk.example"] = [Target("udp", host.address) for host in hosts]
        return hosts

    def test_after_a_503_the_other_host_is_asked_and_first_for_a_while(
        self, world: World, alice: Phone, trunk: list[Phone]
    ) -> None:
        """M1, RFC 3263 section 4.3: 503 means this host, not the service."""
        first, second = trunk
        alice.invite("sip:bob@trunk.example")
        refuse(first, first.got("INVITE"), 503, "Retry-After: 60")
        refuse(second, second.got("INVITE"))
        alice.got(486)
        for seconds, asked in ((29, second), (30, second), (2, first)):
            world.wait(seconds)
            alice.invite("sip:bob@trunk.example")
            refuse(asked, asked.got("INVITE"))
            alice.got(486)
            first.got_nothing()
            second.got_nothing()

    def test_after_a_timeout_the_next_call_does_not_wait(self, world: World, alice: Phone, trunk: list[Phone]) -> None:
        """M1: a dead host costs one call its patience, not every call."""
        first, second = trunk
        alice.invite("sip:bob@trunk.example")
        world.wait(33)
        invite = second.got("INVITE")
        second.lose()
        refuse(second, invite)
        alice.got(486)
        first.lose()
        alice.invite("sip:bob@trunk.example")
        second.got("INVITE")
        first.got_nothing()

    def test_one_that_nobody_can_reach_is_passed_over(self, world: World, alice: Phone, trunk: list[Phone]) -> None:
        """M1: ICMP or a refused connection."""
        first, second = trunk
        world.targets["trunk.example"][0] = Target("tcp", first.address)
        alice.invite("sip:bob@trunk.example")
        assert first.got("INVITE")
        fails(world, first)
        refuse(second, second.got("INVITE"))
        alice.got(486)


class TestSips:
    """C2, M4: what is sips: goes by TLS or not at all, and nothing becomes sips: that was not."""

    def refused(self, alice: Phone) -> bytes:
        warning = alice.got(480).header("warning")
        assert warning is not None
        return warning.value

    def test_it_goes_by_tls(self, world: World, alice: Phone) -> None:
        trunk = Phone(world, "198.51.100.40:5061", "trunk")
        alice.invite("sips:bob@198.51.100.40")
        invite = trunk.got("INVITE")
        assert (trunk.flows[-1].transport, invite.top_via.transport) == ("tls", "TLS")
        assert invite.request_uri == b"sips:bob@198.51.100.40"
        assert invite.values("record-route")[0].text == b"<sips:203.0.113.10:5061;lr>"
        assert invite.values("contact")[0].text.startswith(b"<sip:"), "never invented"

    def test_targets_without_tls_are_not_tried(self, world: World, alice: Phone) -> None:
        host = Phone(world, "198.51.100.41:5060", "trunk")
        world.targets["trunk.example"] = [Target("udp", host.address), Target("tcp", host.address)]
        alice.invite("sips:bob@trunk.example")
        assert b"SIPS Not Allowed" in self.refused(alice)
        host.got_nothing()

    def test_who_asks_for_sips_does_not_reach_a_plain_phone(self, world: World, alice: Phone) -> None:
        """The mask of a plain Contact, asked for as sips: (RFC 5630 section 5.3)."""
        registrar = Phone(world, "198.51.100.9:5060", "reg")
        alice.register("sip:198.51.100.9")
        request = registrar.got("REGISTER")
        contact = request.values("contact")[0].text
        registrar.answer(request, 200, headers=[f"Contact: {contact.decode()};expires=600"])
        alice.got(200)
        registrar.invite(b"sips" + uri_in(contact)[3:])
        assert b"SIPS Not Allowed" in self.refused(registrar)
        alice.got_nothing()

    def test_a_plain_pbx_does_not_get_what_came_as_sips(self) -> None:
        world = World(pbx="sip:10.1.0.5")
        pbx = Phone(world, "10.1.0.5:5060", "pbx")
        world.set_tenant(domains=("acme.example",))
        worker = Phone(world, "198.51.100.50:5060", "worker")
        worker.invite("sips:100@acme.example")
        assert b"SIPS Not Allowed" in self.refused(worker)
        pbx.got_nothing()

    def test_a_pbx_by_tls_does(self) -> None:
        world = World(pbx="sip:10.1.0.5;transport=tls")
        pbx = Phone(world, "10.1.0.5:5061", "pbx")
        world.set_tenant(domains=("acme.example",))
        worker = Phone(world, "198.51.100.50:5060", "worker")
        worker.invite("sips:100@acme.example")
        assert pbx.got("INVITE").request_uri == b"sips:100@acme.example"
        assert pbx.flows[-1].transport == "tls"


def test_a_certificate_that_does_not_verify_is_named_in_the_answer(world: World, alice: Phone) -> None:
    """M4: 503 with the reason, and without an address."""
    trunk = Phone(world, "198.51.100.40:5061", "trunk")
    alice.invite("sips:bob@198.51.100.40")
    trunk.got("INVITE")
    why = "the certificate of the next hop does not verify"
    world.public_side.proxy.transport_failed("tls", trunk.address, 0, world.now, why)
    world.settle()
    warning = alice.got(503).header("warning")
    assert warning is not None
    assert warning.value == f'399 wallpass "{why}"'.encode()


def test_another_connection_to_the_same_host_is_none_of_its_business(world: World, alice: Phone) -> None:
    """A tenant whose connections to a host fail does not disturb requests of another to it."""
    trunk = Phone(world, "198.51.100.40:5061", "trunk")
    alice.invite("sips:bob@198.51.100.40")
    invite = trunk.got("INVITE")
    world.public_side.proxy.went_by(invite.top_via.branch, 7)
    world.public_side.proxy.transport_failed("tls", Address("198.51.100.40", 5061), 8, world.now)
    world.settle()
    alice.got_nothing()
    world.public_side.proxy.transport_failed("tls", Address("198.51.100.40", 5061), 7, world.now)
    world.settle()
    alice.got(503)


class TestFamilies:
    """S3-12: a face with both families says in a first offer what its party can reach."""

    TRUNK6 = "[2001:db8::40]:5060"

    def test_an_offer_is_made_in_the_family_of_the_sip_peer(self, world: World, alice: Phone) -> None:
        trunk = Phone(world, self.TRUNK6, "trunk")
        alice.invite(f"sip:bob@{self.TRUNK6}")
        invite = trunk.got("INVITE")
        assert sdp_address(invite) == "2001:db8::10"
        trunk.accept(invite)
        assert sdp_address(alice.got(200)) == "10.1.0.2"

    def test_so_is_one_in_an_answer(self, world: World) -> None:
        """An offerless INVITE gets its offer in the 200."""
        phone = Phone(world, "[fd00:1::50]:5060", "alice")
        trunk = Phone(world, PEER, "trunk")
        phone.invite(f"sip:bob@{PEER}", body=b"")
        trunk.accept(trunk.got("INVITE"))
        assert sdp_address(phone.got(200)) == "fd00:1::2"

    def test_the_next_target_may_be_of_the_other_one(self, world: World, alice: Phone) -> None:
        """M1: the offer is made anew for it, and nothing of the first one is left."""
        six, four = Phone(world, self.TRUNK6, "trunk"), Phone(world, PEER, "trunk")
        world.targets["trunk.example"] = [Target("udp", six.address), Target("udp", four.address)]
        alice.invite("sip:bob@trunk.example")
        first = six.got("INVITE")
        assert sdp_address(first) == "2001:db8::10"
        refuse(six, first, 503)
        second = four.got("INVITE")
        assert sdp_address(second) == "203.0.113.10"
        refuse(four, second)
        alice.got(486)
        world.wait(60)
        world.assert_empty()
