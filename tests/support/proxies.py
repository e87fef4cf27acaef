"""Proxies between a phone and our faces: loose routers that record routes and forward without state (RFC 3261 16).

A ``Registrar`` also keeps contacts, challenges once, and proxies calls to whom it has registered.
"""

from __future__ import annotations

import itertools

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

_serial = itertools.count(1)


class Proxy:
    """Record-routes everything that passes.

    ``onward``: where requests go that have no further Route (else where their Request-URI says).
    """

    def __init__(self, world: World, address: str, *, onward: str = "") -> None:
        self.world = world
        self.address = address
        self.outside = not address.startswith(("10.1.", "[fd00:1"))
        self.onward = onward
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

    def forward(self, request: Message) -> None:
        edit = Edit(request)
        routes = [uri_in(value.text) for value in request.values("route")]
        uri = request.request_uri
        if routes and self.is_me(routes[0]):
            routes.pop(0)
        onward = f"sip:{self.onward}".encode() if self.onward else uri
        edit.request_uri(uri)
        edit.replace_all("route", [b"Route: <" + route + b">" for route in routes])
        edit.insert_above("via", f"Via: SIP/2.0/UDP {self.address};branch=z9hG4bKp{next(_serial)}".encode())
        if request.method in ("INVITE", "SUBSCRIBE", "REFER", "NOTIFY", "UPDATE"):
            edit.insert_above("record-route", f"Record-Route: {self.route}".encode())
        self.emit(edit.result(), _host(routes[0] if routes else onward))

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

    def __init__(self, world: World, address: str, domain: str, *, strips_masks: bool = False) -> None:
        super().__init__(world, address)
        self.domain = domain
        self.bindings: dict[bytes, dict[bytes, int]] = {}
        self.strips_masks = strips_masks
        world.names[domain] = address.rpartition(":")[0]

    def forward(self, request: Message) -> None:
        if request.method == "REGISTER":
            self._register(request)
            return
        target = self._callee(request)
        super().forward(request if target is None else _with_uri(request, target))

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

    def _callee(self, request: Message) -> bytes | None:
        uri = request.uri
        if uri is None or uri.host not in (self.domain, self.address.rpartition(":")[0]) or not uri.user:
            return None
        found = list(self.bindings.get(b"sip:%s@%s" % (uri.user, self.domain.encode()), ()))
        if found and self.strips_masks:
            return SipUri.parse_untrusted(found[0]).without_param("wp")
        return found[0] if found else None


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
