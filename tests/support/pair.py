"""Both half proxies joined by a wall in memory, on a virtual clock: what a phone sends in, and what comes out where.

    world = World()
    world.lan("10.1.0.50:5060", REGISTER)      # a datagram arrives on the LAN face
    sent = world.take_public()                 # what the server sent: [(to, Message)]

Elements (ladder.py, proxies.py) may be ``attach``-ed to an address of either side; what is sent there goes
to them instead. Everything that the server sends is searched for inside addresses; without
``hide_full`` but for Via and the route headers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from outside_server.gatekeeper import TenantDoors
from support.faces import TENANT, Side
from support.leaks import INSIDE, PATH_LINES, SHOWN_IN_BASIC, leaks
from tunnel.address import Address, parse_address
from tunnel.errors import BadPacket
from tunnel.sip.edit import stamp_source
from tunnel.sip.flow import Flow
from tunnel.sip.half import CallClosed, CallOpened, is_natted
from tunnel.sip.message import Message, parse_untrusted
from tunnel.sip.next_hop import Target
from tunnel.sip.policy import Admit, Answer, Drop, answer_to
from tunnel.sip.refusal import explanation
from tunnel.sip.response import build_response
from tunnel.sip.via import reply_address
from tunnel.sip.wall import WallMessage, decode_untrusted, encode

__all__ = ["Element", "World"]


class Element(Protocol):
    """Something with an address of its own on one side."""

    def arrive(self, message: Message, source: Flow) -> None:
        """A message came from ``source.local``, one of our listeners, or of another element there."""


class World:
    """A LAN with an agent, the internet with a server, and a wall between them that takes ``wall_delay_s``.

    ``beside``: another tenant's, which has the same internet and server, and a LAN with the same addresses.
    """

    def __init__(
        self, *, pbx: str = "", outside_uri: str = "", hide_full: bool = True, beside: World | None = None
    ) -> None:
        self.internet: list[World] = beside.internet if beside is not None else []
        self.internet.append(self)
        self._clock = beside._clock if beside is not None else [1000.0]
        self.number = len(self.internet)
        self.tenant = TENANT + self.number - 1
        self.lan_side = Side(
            self.number, self.tenant, outside=False, pbx=pbx, outside_uri=outside_uri, hide_full=hide_full
        )
        self.public_side = Side(
            self.number,
            self.tenant,
            outside=True,
            pbx=pbx,
            outside_uri=outside_uri,
            hide_full=hide_full,
            beside=beside.public_side if beside is not None else None,
        )
        self.names: dict[str, str] = beside.names if beside is not None else {}
        self.targets: dict[str, list[Target]] = {}  # for names that lead to several places, or not by UDP
        self.crossed: list[WallMessage] = []
        self.is_cut = False
        self.hide_full = hide_full
        self.searched = leaks  # or hidden_places, where messages are twisted
        self.said_outside: set[bytes] = set()  # inside addresses that outside parties use themselves
        self.elements: dict[tuple[bool, str], Element] = {}
        if beside is not None:
            self.elements.update({place: each for place, each in beside.elements.items() if place[0]})
        for side in (self.lan_side, self.public_side):
            side.proxy.link_came_up()

    def attach(self, outside: bool, address: str, element: Element) -> None:
        """What is sent to ``address`` on that side goes to ``element``."""
        for world in self.internet if outside else [self]:
            world.elements[outside, address] = element

    @property
    def now(self) -> float:
        """Seconds; the same for all tenants."""
        return self._clock[0]

    @now.setter
    def now(self, now: float) -> None:
        self._clock[0] = now

    def post(self, outside: bool, source: str, to: str, data: bytes) -> bool:
        """A datagram between two elements of one side; False when there is none at ``to``."""
        element = self.elements.get((outside, to))
        if element is not None:
            element.arrive(parse_untrusted(data), Flow("udp", parse_address(source), parse_address(to)))
        return element is not None

    def cut(self) -> None:
        """The carrier is lost; what is to cross waits, as the session keeps it."""
        self.is_cut = True
        self.public_side.door.takes_calls = False
        for side in (self.lan_side, self.public_side):
            side.proxy.link_went_down(self.now)

    def mend(self) -> None:
        """The session has a carrier again."""
        self.is_cut = False
        self.public_side.door.takes_calls = True
        for side in (self.lan_side, self.public_side):
            side.proxy.link_came_up()
        self.settle()

    # In

    def lan(self, source: str, data: bytes, transport: str = "udp", connection: int = 0) -> None:
        """A message arrives on the LAN face."""
        side = self.lan_side
        draining = side.proxy.half.draining
        healthy = not draining and not self.is_cut

        def admit(message: Message, flow: Flow) -> Admit | Answer | Drop:
            return side.lan_policy.admit(message, flow, healthy, draining)

        self._arrive(side, source, data, transport, connection, admit)

    def public(self, source: str, data: bytes, transport: str = "udp", connection: int = 0) -> None:
        """A message arrives on the public face."""
        for world in self.internet:
            world.said_outside.update(INSIDE.findall(data if self.hide_full else PATH_LINES.sub(b"", data)))
        self._arrive(self.public_side, source, data, transport, connection, None)

    def _arrive(
        self,
        side: Side,
        source: str,
        data: bytes,
        transport: str,
        connection: int,
        admit: Callable[[Message, Flow], Admit | Answer | Drop] | None,
    ) -> None:
        """``admit``: None on the public face, where the gatekeeper also says whose agent it is for."""
        remote = parse_address(source)
        at = side.addresses.pick(transport, remote.is_ipv6)
        assert at is not None
        flow = Flow(transport, at, remote, connection)
        message = parse_untrusted(data, stream=flow.reliable)
        if not message.is_request:
            self._of_number(side, side.index.branches.get(message.top_via.branch)).proxy.response(
                message, flow, self.now
            )
        else:
            verdict: Admit | Answer | Drop
            try:
                if admit is None:
                    door, verdict = side.gatekeeper.admit(message, flow, self.now)
                    side = self._of_number(side, None if door is None else door.number)
                else:
                    verdict = admit(message, flow)
            except BadPacket as error:
                verdict = answer_to(error)
            if isinstance(verdict, Admit):
                side.proxy.request(message, flow, verdict, self.now)
            elif isinstance(verdict, Drop):
                side.counters.bump(verdict.counter)
            elif message.method != "ACK":
                self._answer(side, message, flow, verdict)
        self.settle()

    def _of_number(self, side: Side, number: int | None) -> Side:
        """The same face as the agent with that number has it."""
        if not side.outside or number is None:
            return side
        return self.internet[number - 1].public_side

    def _answer(self, side: Side, request: Message, flow: Flow, answer: Answer) -> None:
        side.counters.bump(f"answered.{answer.status}")
        side.counters.bump(answer.counter)
        raw = build_response(
            stamp_source(request, flow.remote), answer.status, answer.reason, b"stateless", explanation(answer)
        )
        remote = flow.remote
        if not flow.reliable:
            remote = reply_address(request.top_via, flow.remote, force_rport=is_natted(request, flow))
        self._sent(side, Flow(flow.transport, flow.local, remote, flow.connection), raw)

    def _sent(self, side: Side, flow: Flow, data: bytes) -> None:
        message = parse_untrusted(data, stream=flow.reliable)
        if side.outside:
            shown = self.searched(message) if self.hide_full else leaks(message, SHOWN_IN_BASIC)
            assert shown <= self.said_outside, f"an inside address went out: {data!r}"
        own = [at for _, at in side.addresses.bound]
        element = self.elements.get((side.outside, str(flow.remote)))
        if element is not None:
            element.arrive(message, flow)
        elif flow.remote in own:  # the face sent it to itself
            (self.public if side.outside else self.lan)(str(flow.local), data, flow.transport)
        else:
            side.sent.append((flow, message))

    def settle(self) -> None:
        """Let everything happen that happens without time passing."""
        while any([world.step() for world in self.internet]):
            pass

    def step(self) -> bool:
        """Carry out once what both half proxies want; False when that is nothing."""
        busy = False
        for side, other in ((self.lan_side, self.public_side), (self.public_side, self.lan_side)):
            for emission in side.proxy.take_emissions():
                busy = True
                self._sent(side, emission.flow, emission.data)
            for event in side.proxy.take_events():
                side.events.append(event)
                side.limits.active += isinstance(event, CallOpened) - isinstance(event, CallClosed)
            for lookup in side.proxy.take_lookups():
                busy = True
                found = self.names.get(lookup.uri.host)
                targets = self.targets.get(lookup.uri.host, [])
                if found:
                    targets = [Target("udp", Address(found, lookup.uri.port or 5060))]
                side.proxy.resolved(lookup.key, targets, self.now)
            if self.is_cut:
                continue
            for crossing in side.proxy.take_crossings():
                busy = True
                self.crossed.append(crossing)
                other.proxy.wall(decode_untrusted(encode(crossing)), self.now)
        return busy

    def wait(self, seconds: float) -> None:
        """Time passes; every timer fires when it is due."""
        end = self.now + seconds
        while True:
            sides = [side for world in self.internet for side in (world.lan_side, world.public_side)]
            due = [at for side in sides if (at := side.proxy.deadline()) is not None]
            at = min(due, default=end)
            if at > end:
                break
            self.now = max(self.now, at)
            for side in sides:
                side.proxy.tick(self.now)
            self.settle()
            if at == end:
                break
        self.now = end

    def set_tenant(self, *, domains: tuple[str, ...] = (), trunks: tuple[str, ...] = ()) -> None:
        """What ``wallpass tenant add`` would say."""
        known = self.public_side.gatekeeper.tenants
        theirs = {domain: tenant for domain, tenant in known.domains.items() if tenant != self.tenant}
        others = {ip: tuple(each for each in tenants if each != self.tenant) for ip, tenants in known.trunks.items()}
        self.public_side.gatekeeper.tenants = TenantDoors(
            {**theirs, **dict.fromkeys(domains, self.tenant)},
            {ip: tenants for ip, tenants in others.items() if tenants}
            | {ip: (*others.get(ip, ()), self.tenant) for ip in trunks},
        )

    # Out

    def take_lan(self) -> list[tuple[str, Message]]:
        """What the agent sent to the LAN since the last call, each with its destination."""
        return self._take(self.lan_side)

    def take_public(self) -> list[tuple[str, Message]]:
        """What the server sent to the internet since the last call."""
        return self._take(self.public_side)

    def assert_empty(self) -> None:
        """Nothing is left of what has passed; bindings and registrars live by their own clock."""
        for side in (self.lan_side, self.public_side):
            left = {
                "transactions": side.proxy.transactions,
                "calls": len(side.half.calls),
                "ports": len(side.plane.held),
                "ties": len(side.plane.ties),
                "channels": side.channels.in_use,
                "index": len(side.index.transactions) + len(side.index.branches) + len(side.index.dialogs),
                "timers": int(side.half.deadline() is not None),
                "active": side.limits.active,
            }
            assert not any(left.values()), (side.outside, left)

    def _take(self, side: Side) -> list[tuple[str, Message]]:
        sent, side.sent = side.sent, []
        return [(str(flow.remote), message) for flow, message in sent]
