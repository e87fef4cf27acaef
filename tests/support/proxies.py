"""Proxies between a phone and our faces: loose routers that record routes and forward without state (RFC 3261 16.11).

A ``Registrar`` also keeps contacts, challenges once, and proxies calls to whom it has registered: where that are several
contacts it forks (forks.py).
"""

from __future__ import annotations

import hashlib

from support.forks import Fork
from support.ladder import uri_in
from support.pair import World
from tunnel.address import Address, parse_address
from tunnel.sip.edit import Edit, stamp_source
from tunnel.sip.flow import Flow
from tunnel.sip.message import Message, parse_untrusted
from tunnel.sip.next_hop import literal_target
from tunnel.sip.response import build_response
from tunnel.sip.uri import SipUri
from tunnel.sip.via import reply_address

__all__ = ["Proxy", "Registrar"]


class Proxy:
    """Record-routes everything that passes.

    ``onward``: where requests go that have no further Route (else where their Request-URI says); ``gateway``: where
    those go that lead to no host of this side.
    """

    def __init__(self, world: World, address: str, *, onward: str = "", gateway: str = "") -> None:
        self.world = world
        self.address = address
        self.outside = not address.startswith(("10.1.", "[fd00:1"))
        self.onward = onward
        self.gateway = gateway
        self.records_route = True
        self.seen: list[Message] = []
        world.attach(self.outside, address, self)

    @property
    def route(self) -> str:
        return f"<sip:{self.address};lr>"

    def arrive(self, message: Message, source: Flow) -> None:
        self.seen.append(message)
        if message.is_request:
            self.forward(stamp_source(message, source.local))
        else:
            self.back(message)

    def branch(self, request: Message, leg: int = 0) -> str:
        """The same for the CANCEL, the ACK of a failure and each retransmission of a request (RFC 3261 16.11)."""
        above = request.top_via.branch + b"%d" % leg
        return "z9hG4bK" + hashlib.sha256(self.address.encode() + above).hexdigest()[:16]

    def forward(self, request: Message) -> None:
        self.emit(*self.onwards(request))

    def onwards(self, request: Message, leg: int = 0) -> tuple[bytes, str]:
        """The request as it leaves, and where to."""
        edit = Edit(request)
        routes = [uri_in(value.text) for value in request.values("route")]
        uri = request.request_uri
        if routes and self.is_me(routes[0]):
            routes.pop(0)
        onward = f"sip:{self.onward}".encode() if self.onward else uri
        edit.request_uri(uri)
        edit.replace_all("route", [b"Route: <" + route + b">" for route in routes])
        edit.insert_above("via", f"Via: SIP/2.0/UDP {self.address};branch={self.branch(request, leg)}".encode())
        if self.records_route and request.method in ("INVITE", "SUBSCRIBE", "REFER", "NOTIFY", "UPDATE"):
            edit.insert_above("record-route", f"Record-Route: {self.route}".encode())
        to = _host(routes[0] if routes else onward)
        return edit.result(), self.gateway if self.gateway and not self._is_near(to) else to

    def _is_near(self, to: str) -> bool:
        """Whether ``to`` is on this side."""
        return to.startswith(("10.1.", "[fd00:1")) is not self.outside

    def back(self, response: Message) -> None:
        values = response.values("via")
        assert str(response.top_via.sent_by) == self.address, "a response came to the wrong proxy"
        if len(values) == 1:
            return  # to a request of this element's own
        edit = Edit(response)
        edit.remove_value(values[0])
        data = edit.result()
        via = parse_untrusted(data).top_via
        self.emit(data, str(via.return_address))

    def emit(self, data: bytes, to: str) -> None:
        """To another element of this side, or to the face."""
        if not self.world.post(self.outside, self.address, to, data):
            face = self.world.public_side if self.outside else self.world.lan_side
            assert parse_address(to) in [at for _, at in face.addresses.bound], f"nobody is at {to}"
            (self.world.public if self.outside else self.world.lan)(self.address, data)

    def is_me(self, uri: bytes) -> bool:
        return _host(uri) == self.address


class Registrar(Proxy):
    """Accepts a REGISTER with credentials, whatever they are; without, it challenges."""

    def __init__(
        self, world: World, address: str, domain: str, *, strips_masks: bool = False, gateway: str = ""
    ) -> None:
        super().__init__(world, address, gateway=gateway)
        self.domain = domain
        self.bindings: dict[bytes, dict[bytes, int]] = {}
        self.strips_masks = strips_masks
        self._forks: dict[bytes, Fork] = {}  # by the branch that the INVITE came with
        self._legs: dict[bytes, Fork] = {}  # by each branch that it left with
        world.names[domain] = address.rpartition(":")[0]

    def forward(self, request: Message) -> None:
        if request.method == "REGISTER":
            self._register(request)
            return
        known = self._forks.get(request.top_via.branch)
        if known is not None:
            if request.method == "CANCEL":
                self._answer(request, 200, [])
                known.cancel()
            return
        targets = self._callees(request)
        if len(targets) > 1 and request.method == "INVITE":
            self._fork(request, targets)
        else:
            super().forward(_with_uri(request, targets[0]) if targets else request)

    def back(self, response: Message) -> None:
        fork = self._legs.get(response.top_via.branch)
        if fork is not None:
            fork.response(response)
        else:
            super().back(response)

    def _fork(self, request: Message, targets: list[bytes]) -> None:
        fork = self._forks[request.top_via.branch] = Fork(self.emit, super().back)
        for leg, target in enumerate(targets):
            branch = self.branch(request, leg).encode()
            fork.add(branch, *self.onwards(_with_uri(request, target), leg))
            self._legs[branch] = fork
        fork.ring()

    def _register(self, request: Message) -> None:
        if request.header("authorization") is None:
            challenge = f'WWW-Authenticate: Digest realm="{self.domain}", nonce="n1", qop="auth,auth-int"'
            self._answer(request, 401, [challenge.encode()])
            return
        aor = uri_in(request.values("to")[0].text)
        bindings = self.bindings.setdefault(aor, {})
        header = request.header("expires")
        default = int(header.value) if header is not None else 3600
        for value in request.values("contact"):
            if value.text == b"*":
                bindings.clear()
                break
            uri, _, expires = value.text.partition(b";expires=")
            lasts = int(expires.partition(b";")[0] or default)
            if lasts:
                bindings[uri_in(uri)] = lasts
            else:
                bindings.pop(uri_in(uri), None)
        self._answer(request, 200, [b"Contact: <%s>;expires=%d" % each for each in bindings.items()])

    def _answer(self, request: Message, status: int, extra: list[bytes]) -> None:
        self.emit(build_response(request, status, "Whatever", b"reg", extra), str(reply(request)))

    def _callees(self, request: Message) -> list[bytes]:
        """The contacts of whom a request is for; none where it is not for one of this domain."""
        uri = request.uri
        if uri is None or uri.host not in (self.domain, self.address.rpartition(":")[0]) or not uri.user:
            return []
        found = list(self.bindings.get(b"sip:%s@%s" % (uri.user, self.domain.encode()), ()))
        return [SipUri.parse_untrusted(each).without_param("wp") for each in found] if self.strips_masks else found


def reply(request: Message) -> Address:
    return reply_address(request.top_via, parse_address(str(request.top_via.return_address)))


def _with_uri(request: Message, uri: bytes) -> Message:
    edit = Edit(request)
    edit.request_uri(uri)
    return parse_untrusted(edit.result())


def _host(uri: bytes) -> str:
    parsed = SipUri.parse_untrusted(uri)
    target = literal_target(parsed)
    return "" if target is None else str(target.address)
