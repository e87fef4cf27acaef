"""Scripted phones behind simulated NATs (nat.py) in a ``World``: what a NAT would drop does not arrive.

    world = NatWorld(pbx="sip:10.1.0.5")
    bob = NattedPhone(world, Nat("198.51.100.7", **SYMMETRIC), "192.168.77.10:5060", "bob")

While time passes both faces send their keep-alives, and natted phones answer them as every phone does.
"""

from __future__ import annotations

import hashlib
import itertools

from support.faces import Side
from support.ladder import Phone
from support.nat import Router
from support.pair import World
from tunnel.address import Address, parse_address
from tunnel.sip.edit import stamp_source
from tunnel.sip.flow import Flow
from tunnel.sip.keepalives import STEP_S, Keepalives
from tunnel.sip.message import Message, parse_untrusted
from tunnel.sip.response import build_response

__all__ = ["NatWorld", "NattedPhone"]


class NatWorld(World):
    """``kept_alive`` has, for each keep-alive that was sent, when and where to."""

    def __init__(self, *, pbx: str = "", outside_uri: str = "", hide_full: bool = True) -> None:
        super().__init__(pbx=pbx, outside_uri=outside_uri, hide_full=hide_full)
        self.routers: dict[tuple[bool, str], Router] = {}
        self.behind: dict[tuple[Router, Address], NattedPhone] = {}
        self.kept_alive: list[tuple[float, str]] = []
        serial = itertools.count()
        self._keepalives = {
            side.outside: Keepalives(side.bindings, lambda n: hashlib.sha256(b"%d" % next(serial)).digest()[:n])
            for side in (self.lan_side, self.public_side)
        }
        self._next_step = self.now + STEP_S

    def _sent(self, side: Side, flow: Flow, data: bytes) -> None:
        router = self.routers.get((side.outside, flow.remote.host))
        if router is None:
            super()._sent(side, flow, data)
            return
        inside = router.inwards(flow.local, flow.remote, self.now)
        phone = None if inside is None else self.behind.get((router, inside))
        if phone is not None:
            phone.arrive(parse_untrusted(data, stream=flow.reliable), flow)

    def wait(self, seconds: float) -> None:
        end = self.now + seconds
        while self._next_step <= end:
            super().wait(self._next_step - self.now)
            for side in (self.lan_side, self.public_side):
                for emission in self._keepalives[side.outside].due(side.half.calls, self.now):
                    self.kept_alive.append((self.now, str(emission.flow.remote)))
                    self._sent(side, emission.flow, emission.data)
            self._next_step += STEP_S
        super().wait(end - self.now)


class NattedPhone(Phone):
    """A phone at ``address`` behind ``router``; ``claims`` is where it believes to be (STUN, a setting, or a guess).

    ``sends_from``: the port it sends from, where that is not the one it listens on.
    """

    def __init__(
        self,
        world: NatWorld,
        router: Router,
        address: str,
        user: str,
        *,
        claims: str = "",
        contact: str = "",
        domain: str = "acme.example",
        rport: bool = True,
        answers_keepalives: bool = True,
    ) -> None:
        super().__init__(world, address, user, domain=domain, contact=contact, seen_from=f"{router.public}:0")
        self.nat_world = world
        self.router = router
        self.claims = parse_address(claims or address)
        self.contact = contact or f"<sip:{user}@{self.claims}>"
        self.answers_keepalives = answers_keepalives
        self.keepalives_answered = 0
        self._rport = ";rport" if rport else ""
        del world.elements[self.outside, self.seen_from]
        self.plug_in(router)

    def plug_in(self, router: Router) -> None:
        """Be behind this router from now on."""
        self.nat_world.behind.pop((self.router, self.address), None)
        self.router = router
        self.nat_world.routers[self.outside, router.public] = router
        self.nat_world.behind[router, self.address] = self

    def renumber(self, address: str) -> None:
        """Have another inside address."""
        self.nat_world.behind.pop((self.router, self.address))
        self.address = parse_address(address)
        self.nat_world.behind[self.router, self.address] = self

    @property
    def face(self) -> Address:
        """Where this phone sends to."""
        side = self.nat_world.public_side if self.outside else self.nat_world.lan_side
        at = side.addresses.pick(self.transport, self.address.is_ipv6)
        assert at is not None
        return at

    def send(self, data: bytes) -> None:
        self.send_from(self.address, data)

    def send_from(self, source: Address, data: bytes) -> None:
        """A datagram leaves, through whatever the NAT makes of ``source``."""
        world = self.nat_world
        seen = self.router.outwards(source, self.face, world.now)
        self.seen_from = str(seen)
        world.routers[self.outside, self.router.public] = self.router
        (world.public if self.outside else world.lan)(self.seen_from, data, self.transport, self.connection)

    def via(self) -> str:
        branch = super().via().rpartition(";branch=")[2]
        return f"SIP/2.0/UDP {self.claims}{self._rport};branch={branch}"

    def sdp(self, port: int = 0, direction: str = "", address: str = "", version: int = 1) -> bytes:
        return super().sdp(port, direction, address or self.claims.host, version)

    def arrive(self, message: Message, source: Flow) -> None:
        if message.method == "OPTIONS" and message.top_via.branch.startswith(b"z9hG4bKwpka"):
            if self.answers_keepalives:
                self.keepalives_answered += 1
                self.send(build_response(stamp_source(message, source.local), 200, "OK", b"ka"))
            return
        super().arrive(message, source)
