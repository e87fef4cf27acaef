"""The three ways the pair is used, each with one phone inside and one outside that can call each other both ways.

    stage = Stage("A", caller_inside=True)
    talk = stage.talk()                    # rings, is answered, is acknowledged: two dialogs
    stage.assert_audio()                   # packets of each phone would reach the other
    talk.hang_up(); stage.assert_empty()

| way | inside | outside |
| --- | --- | --- |
| A | alice, agent as outbound proxy | registrar itsp.example that challenges and record-routes; bob, registered there |
| B | PBX 10.1.0.5 that record-routes; alice, registered there | bob, the trunk itsp.example |
| C | PBX 10.1.0.5 for office.example; alice, registered there | bob behind a NAT of his own, registered at that PBX |
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from support.faces import AGENT
from support.ladder import Dialog, Phone
from support.pair import World
from support.proxies import Registrar
from tunnel.address import Address
from tunnel.sip.message import Message

__all__ = ["AUTHORIZATION", "Stage", "Talk"]

ALICE, ALICE2, PBX = "10.1.0.50:5060", "10.1.0.51:5060", "10.1.0.5:5060"
BOB2, BOB2_SEEN = "203.0.113.41:5060", "198.51.100.8:40002"
BOB, REGISTRAR, TRUNK = "203.0.113.40:5060", "203.0.113.20:5060", "203.0.113.30:5060"
BOB_AT_HOME, BOB_SEEN = "192.168.77.10:5060", "198.51.100.7:40001"
PROVIDER, OFFICE = "itsp.example", "office.example"


def AUTHORIZATION(realm: str, user: str) -> str:
    """Credentials as good as any: the registrars of these tests only want to see some."""
    return f'Authorization: Digest username="{user}", realm="{realm}", nonce="n1", uri="sip:{realm}", response="0"'


@dataclass
class Talk:
    """An established call: the dialog of each party, and the messages that made it."""

    caller: Dialog
    callee: Dialog
    invite: Message
    arrived: Message
    answer: Message

    def of(self, phone: Phone) -> Dialog:
        """The dialog of that phone."""
        return self.caller if self.caller.phone is phone else self.callee

    def other(self, dialog: Dialog) -> Dialog:
        """The dialog of the other party."""
        return self.callee if dialog is self.caller else self.caller

    def request(
        self,
        by: Dialog,
        method: str,
        *,
        headers: Sequence[str] = (),
        body: bytes = b"",
        status: int = 200,
        answer: bytes = b"",
        answer_headers: Sequence[str] = (),
    ) -> tuple[Message, Message]:
        """One party sends a request in the dialog, the other answers it: request and answer as they arrived."""
        other = self.other(by).phone
        by.send(method, headers=headers, body=body)
        arrived = other.got(method)
        other.answer(arrived, status, headers=answer_headers, body=answer)
        return arrived, by.phone.got(status)

    def offer(
        self, by: Dialog, body: bytes, answer: bytes, *, method: str = "INVITE", headers: Sequence[str] = ()
    ) -> tuple[Message, Message]:
        """One party offers anew by re-INVITE or UPDATE, the other agrees: offer and answer as they arrived."""
        arrived, agreed = self.request(by, method, headers=headers, body=body, answer=answer)
        if method == "INVITE":
            by.ack()
            self.other(by).phone.got("ACK")
        return arrived, agreed

    def refused(
        self, by: Dialog, body: bytes, status: int, *, method: str = "INVITE", headers: Sequence[str] = ()
    ) -> Message:
        """One party offers anew and the other refuses: the refusal as it arrived. Both forget what was offered."""
        phone, other = by.phone, self.other(by).phone
        before = phone.agreed, other.agreed
        request = by.send(method, body=body)
        other.answer(other.got(method), status, headers=headers)
        refusal = phone.got(status)
        if method == "INVITE":
            phone.ack_failure(request, refusal)
            other.got("ACK")
        phone.agreed, other.agreed = before
        return refusal

    def hang_up(self, by: Dialog | None = None) -> None:
        """One party says BYE (the caller, if not said), the other 200."""
        by = by or self.caller
        other = self.other(by)
        by.send("BYE")
        other.phone.answer(other.phone.got("BYE"), 200)
        by.phone.got(200)


class Stage:
    """One way, seen from one caller. ``inside`` and ``outside`` are the phones whoever calls."""

    def __init__(self, way: str, *, caller_inside: bool, hide_full: bool = True, world: World | None = None) -> None:
        self.way = way
        self.caller_inside = caller_inside
        self.world = world or self._new_world(way, hide_full)
        {"A": self._hosted_registrar, "B": self._trunk, "C": self._remote_worker}[way]()
        self.caller, self.callee = (self.inside, self.outside) if caller_inside else (self.outside, self.inside)
        self.talks: list[Talk] = []

    @staticmethod
    def _new_world(way: str, hide_full: bool) -> World:
        if way == "A":
            return World(hide_full=hide_full)
        if way == "B":
            world = World(pbx=f"sip:{PBX}", outside_uri=f"sip:{PROVIDER}", hide_full=hide_full)
            world.set_tenant(trunks=(TRUNK.partition(":")[0],))
            world.names[PROVIDER] = TRUNK.partition(":")[0]
            return world
        world = World(pbx=f"sip:{PBX}", hide_full=hide_full)
        world.set_tenant(domains=(OFFICE,))
        return world

    def _hosted_registrar(self) -> None:
        self.registrar = Registrar(self.world, REGISTRAR, PROVIDER)
        self.inside = self.inside_phone("alice", ALICE)
        self.outside = self.outside_phone("bob", BOB)

    def _trunk(self) -> None:
        self.registrar = Registrar(self.world, PBX, "10.1.0.5", gateway=str(AGENT))
        self.inside = self.inside_phone("alice", ALICE)
        self.outside = self.outside_phone("bob", TRUNK)

    def _remote_worker(self) -> None:
        self.registrar = Registrar(self.world, PBX, OFFICE, gateway=str(AGENT))
        self.inside = self.inside_phone("alice", ALICE)
        self.outside = self.outside_phone("bob", BOB_AT_HOME, seen_from=BOB_SEEN)

    # Who is there

    def inside_phone(self, user: str, address: str, *, port: int = 0) -> Phone:
        """One more phone inside, registered as this way has it."""
        if self.way == "A":
            phone = Phone(self.world, address, user, domain=PROVIDER, port=port or 6000)
        else:
            phone = Phone(self.world, address, user, domain=self.registrar.domain, outbound=PBX, port=port or 6000)
        self._register(phone)
        return phone

    def outside_phone(self, user: str, address: str, *, seen_from: str = "", port: int = 0) -> Phone:
        """One more phone outside; in way B it is another subscriber of the trunk's network and registers nowhere."""
        port = port or 7000
        if self.way == "A":
            phone = Phone(self.world, address, user, domain=PROVIDER, outbound=REGISTRAR, port=port)
            self._register(phone)
        elif self.way == "B":
            phone = Phone(self.world, address, user, domain=PROVIDER, port=port)
        else:
            phone = Phone(self.world, address, user, domain=OFFICE, seen_from=seen_from, port=port)
            self._register(phone)
        return phone

    def second_callee(self) -> Phone:
        """The callee's other phone: from now on both ring. In way B outside, the trunk is a proxy before two phones."""
        user = self.callee.user
        if not self.callee.outside:
            phone = self.inside_phone(user, ALICE2, port=6100)
        elif self.way == "C":
            phone = self.outside_phone(user, "192.168.78.10:5060", seen_from=BOB2_SEEN, port=7100)
        elif self.way == "A":
            phone = self.outside_phone(user, BOB2, port=7100)
        else:
            trunk = self.trunk_proxy()
            self.outside = self.callee = self._behind(trunk, user, BOB)
            phone = self._behind(trunk, user, BOB2, port=7100)
        phone.tag = f"{user}2"
        return phone

    def trunk_proxy(self) -> Registrar:
        """Way B: the trunk's address is that of a proxy from now on, which knows whom it has where."""
        return Registrar(self.world, TRUNK, PROVIDER)

    def _behind(self, trunk: Registrar, user: str, address: str, *, port: int = 7000) -> Phone:
        phone = Phone(self.world, address, user, domain=PROVIDER, outbound=str(trunk.address), port=port)
        phone.register(f"sip:{PROVIDER}", headers=(AUTHORIZATION(PROVIDER, user),))
        phone.got(200)
        return phone

    def _register(self, phone: Phone) -> None:
        realm = self.registrar.domain
        name = f"reg-{phone.user}-{phone.port}"
        phone.register(f"sip:{realm}", call_id=name)
        phone.got(401)
        phone.register(f"sip:{realm}", call_id=name, cseq=2, headers=(AUTHORIZATION(realm, phone.user),))
        phone.got(200)

    def uri_of(self, phone: Phone, by: Phone) -> str:
        """What ``by`` dials to reach ``phone``."""
        if self.way != "B":
            return phone.aor
        if phone.outside and (by.outside or phone is not self.outside):
            return f"sip:{phone.user}@{phone.address}"
        if by.outside:
            return f"sip:{phone.user}@203.0.113.10"
        return f"sip:{phone.user}@10.1.0.2" if phone.outside else phone.aor

    # A call

    def invite(self, *, body: bytes | None = None, headers: Sequence[str] = (), **more: object) -> Message:
        """The caller calls the callee."""
        return self.caller.invite(self.uri_of(self.callee, self.caller), body=body, headers=headers, **more)

    def talk(self, *, body: bytes | None = None, answer: bytes | None = None, headers: Sequence[str] = ()) -> Talk:
        """A whole set-up: INVITE, 180, 200, ACK."""
        return self.call(self.caller, self.callee, body=body, answer=answer, headers=headers)

    def call(
        self,
        caller: Phone,
        callee: Phone,
        *,
        body: bytes | None = None,
        answer: bytes | None = None,
        headers: Sequence[str] = (),
    ) -> Talk:
        """The same between any two phones of this way."""
        invite = caller.invite(self.uri_of(callee, caller), body=body, headers=headers)
        arrived = callee.got("INVITE")
        callee.answer(arrived, 180)
        caller.got(180)
        answering = callee.accept(arrived, body=answer)
        ok = caller.got(200)
        calling = Dialog.of_caller(caller, invite, ok)
        calling.ack()
        callee.got("ACK")
        self.talks.append(Talk(calling, answering, invite, arrived, ok))
        return self.talks[-1]

    # What they hear

    def reaches(self, speaker: Phone, listener: Phone, stream: int = 0, to: Address | None = None) -> bool:
        """Whether an RTP packet of ``speaker`` would arrive where ``listener`` waits for it.

        Each uses the newest SDP that it got and gave. A listener behind a NAT is reached when its side may learn its
        address from its own packets. ``to``: where it sends, if not by its newest SDP.
        """
        where = self.where(speaker, stream, to)
        return where is not None and where in (listener.listens_at(stream), listener.seen_at)

    def where(self, speaker: Phone, stream: int = 0, to: Address | None = None) -> Address | str | None:
        """Where an RTP packet of ``speaker`` ends: an address, or the host that is to be learnt from; None: dropped."""
        sent_to = to or speaker.speaks_to(stream)
        if sent_to is None:
            return None
        near, far = self.world.public_side, self.world.lan_side
        if not speaker.outside:
            near, far = far, near
        source = speaker.speaks_from(stream)
        while near.is_own(sent_to.host):  # once, or once more for each turn of a hairpin call
            channel = near.plane.from_network(source, sent_to)
            if channel is None:
                return None
            onward = far.plane.to_network(channel)
            if onward is None:
                aim = far.plane.aim_of(channel)
                return None if aim is None else aim.sip_source
            (source, sent_to), near, far = onward, far, near
        return sent_to

    def assert_audio(self, stream: int = 0) -> None:
        """Both hear each other."""
        assert self.reaches(self.caller, self.callee, stream), "the callee does not hear the caller"
        assert self.reaches(self.callee, self.caller, stream), "the caller does not hear the callee"

    # Ends

    def forget(self, whose: str) -> None:
        """The ``agent``, the ``server`` or ``both`` know of no call any more, as after a restart."""
        for side, name in ((self.world.lan_side, "agent"), (self.world.public_side, "server")):
            if whose in (name, "both"):
                for call in side.half.calls:
                    side.half.close_call(call, self.world.now)

    def assert_quiet(self) -> None:
        """Nobody has an unread message."""
        for phone in (self.inside, self.outside):
            phone.got_nothing()

    def assert_empty(self) -> None:
        """After a while nothing is left of what has passed, and nobody was told anything more."""
        self.assert_quiet()
        self.world.wait(200)  # Timer C of the INVITE is the longest
        self.assert_quiet()
        self.world.assert_empty()
