"""A phone that does what the test says, one message at a time, and keeps its dialogs as RFC 3261 section 12 wants it.

    alice = Phone(world, "10.1.0.50:5060", "alice")
    invite = alice.got("INVITE")
    alice.answer(invite, 180)
    call = alice.accept(invite)          # 200 with SDP; a Dialog
    call.send("BYE"); alice.got(200)

Nothing is repeated and nothing is answered unless the test says so: what is not taken from the inbox counts as lost.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field

from support.messages import compose
from support.pair import World
from tunnel.address import Address, parse_address
from tunnel.sip.flow import Flow
from tunnel.sip.message import Message, parse_untrusted
from tunnel.sip.name_addr import NameAddr
from tunnel.sip.next_hop import literal_target
from tunnel.sip.response import build_response
from tunnel.sip.uri import SipUri

__all__ = ["Dialog", "Phone", "media_address", "places_in", "registered", "sdp_address", "sdp_in", "sdp_port", "uri_in"]

_serial = itertools.count(1)


def uri_in(value: bytes) -> bytes:
    """The URI in a name-addr value."""
    return NameAddr.parse_untrusted(value).uri_text


def sdp_port(message: Message) -> int:
    """The port of the first m-line."""
    return int(message.body.split(b"m=")[1].split()[1])


def sdp_address(message: Message) -> str:
    """The address of the last c= line."""
    return message.body.split(b"c=IN IP")[-1].split()[1].decode()


def sdp_in(message: Message) -> bytes:
    """The plain SDP that a message bears, else nothing."""
    return message.body if message.body.startswith(b"v=0") else b""


def media_address(sdp: bytes, stream: int) -> Address | None:
    """Address and port of an m-line; None where there is none, it is closed, or it names a hold address."""
    session, *media = sdp.replace(b"\r", b"").split(b"\nm=")
    if len(media) <= stream:
        return None
    port = int(media[stream].split()[1])
    named = (media[stream].partition(b"\nc=")[2] or session.partition(b"\nc=")[2]).split()
    host = named[2].decode() if len(named) > 2 else ""
    return Address(host, port) if port and host not in ("", "0.0.0.0", "::") else None


def places_in(sdp: bytes) -> list[tuple[str, int]]:
    """Host and port of each m-line as they are written, hold addresses and port 0 included; a host may be missing."""
    session, *media = sdp.replace(b"\r", b"").split(b"\nm=")
    places = []
    for medium in media:
        named = (medium.partition(b"\nc=")[2] or session.partition(b"\nc=")[2]).split()
        places.append((named[2].decode() if len(named) > 2 else "", int(medium.split()[1])))
    return places


def _literal(uri: bytes) -> str:
    """Address and port that ``uri`` names; nothing where it names no address."""
    if not uri.lower().startswith((b"sip:", b"sips:")):
        return ""
    target = literal_target(SipUri.parse_untrusted(uri))
    return "" if target is None else str(target.address)


class Phone:
    """At ``address`` (which side that is on shows in its host); ``seen_from``: the address that its NAT gives it."""

    def __init__(
        self,
        world: World,
        address: str,
        user: str,
        *,
        domain: str = "registrar.example",
        contact: str = "",
        seen_from: str = "",
        transport: str = "udp",
        connection: int = 0,
        port: int = 6000,
        outbound: str = "",
    ) -> None:
        self.world = world
        self.address = parse_address(address)
        self.seen_from = seen_from or address
        self.user = user
        self.tag = user
        self.aor = f"sip:{user}@{domain}"
        self.transport = transport
        self.connection = connection
        self.contact = contact or f"<sip:{user}@{address}{'' if transport == 'udp' else ';transport=' + transport}>"
        self.outside = not self.seen_from.startswith(("10.1.", "[fd00:1"))
        self.inbox: list[Message] = []
        self.flows: list[Flow] = []
        self._given = b""  # the newest SDP it sent and the newest it got
        self._taken = b""
        self.port = port
        self.outbound = outbound
        world.attach(self.outside, self.seen_from, self)

    # In

    def arrive(self, message: Message, source: Flow) -> None:
        self.inbox.append(message)
        self.flows.append(source)
        if sdp := sdp_in(message):
            self._taken = sdp

    def got(self, what: str | int) -> Message:
        """The next message, which must be that request or response; a 100 is passed over unless it is waited for."""
        while what != 100 and self.inbox and self.inbox[0].status == 100:
            self.inbox.pop(0)
        assert self.inbox, f"{self.user} waits for {what}, but nothing came"
        message = self.inbox.pop(0)
        assert what in (message.method, message.status), f"{self.user} waits for {what}, got {message.raw.decode()}"
        return message

    def got_nothing(self) -> None:
        assert not [message.raw for message in self.inbox if message.status != 100]

    def lose(self) -> None:
        """Whatever came was lost on the way."""
        self.inbox.clear()

    # Out

    def send(self, data: bytes) -> None:
        """To the element of this side that is next by Route or Via, else to the face."""
        message = parse_untrusted(data)
        if sdp := sdp_in(message):
            self._given = sdp
        if self.world.post(self.outside, str(self.address), self._next(message), data):
            return
        (self.world.public if self.outside else self.world.lan)(self.seen_from, data, self.transport, self.connection)

    def _next(self, message: Message) -> str:
        if not message.is_request:
            return str(message.top_via.return_address)
        routes = message.values("route")
        if not routes:
            to = self.outbound or _literal(message.request_uri)
            return "" if to == self.seen_from else to
        strict = b";lr" not in routes[0].text
        uri = SipUri.parse_untrusted(message.request_uri if strict else uri_in(routes[0].text))
        return f"{uri.hostport.decode()}"

    # Media

    @property
    def seen_at(self) -> str:
        """The IP address that its packets come from, as the face of its side sees it."""
        return parse_address(self.seen_from).host

    def listens_at(self, stream: int = 0) -> Address | None:
        """Where it waits for RTP by the newest SDP that it sent; None on hold by address or port."""
        return media_address(self._given, stream)

    def speaks_from(self, stream: int = 0) -> Address:
        """Where its RTP comes from, as the face of its side sees it: where it listens, unless its NAT changes that."""
        host, port = places_in(self._given)[stream]
        is_natted = self.seen_at != self.address.host
        return Address(self.seen_at if is_natted or host in ("", "0.0.0.0", "::") else host, port)

    def speaks_to(self, stream: int = 0) -> Address | None:
        """Where it sends RTP by the newest SDP that it got."""
        return media_address(self._taken, stream)

    @property
    def agreed(self) -> tuple[bytes, bytes]:
        """The newest SDP it gave and took; to be set back where an exchange failed."""
        return self._given, self._taken

    @agreed.setter
    def agreed(self, words: tuple[bytes, bytes]) -> None:
        self._given, self._taken = words

    def via(self) -> str:
        host, port = self.address.bracketed, self.address.port
        return f"SIP/2.0/{self.transport.upper()} {host}:{port};rport;branch=z9hG4bK{self.user}{next(_serial)}"

    def sdp(self, port: int = 0, direction: str = "", address: str = "", version: int = 1) -> bytes:
        host = address or self.address.host
        family = 6 if ":" in host else 4
        lines = [
            "v=0",
            f"o={self.user} 7 {version} IN IP{family} {host}",
            "s=-",
            f"c=IN IP{family} {host}",
            "t=0 0",
            f"m=audio {port or self.port} RTP/AVP 0 101",
            "a=rtpmap:101 telephone-event/8000",
            *([f"a={direction}"] if direction else []),
        ]
        return "".join(line + "\r\n" for line in lines).encode()

    def request(
        self,
        method: str,
        uri: str | bytes,
        *,
        to: str = "",
        call_id: str = "",
        cseq: int = 1,
        tag: str = "",
        to_tag: str = "",
        routes: Sequence[str] = (),
        headers: Sequence[str] = (),
        body: bytes = b"",
        contact: bool = True,
    ) -> Message:
        """Send a request that belongs to no dialog."""
        target = uri if isinstance(uri, str) else uri.decode()
        lines = [
            f"{method} {target} SIP/2.0",
            f"Via: {self.via()}",
            *(f"Route: {route}" for route in routes),
            "Max-Forwards: 70",
            f"From: <{self.aor}>;tag={tag or self.user}",
            f"To: <{to or target.split(';')[0]}>{';tag=' + to_tag if to_tag else ''}",
            f"Call-ID: {call_id or f'{self.user}-{next(_serial)}'}",
            f"CSeq: {cseq} {method}",
            *([f"Contact: {self.contact}"] if contact else []),
            *headers,
            *(["Content-Type: application/sdp"] if body.startswith(b"v=0") else []),
            f"Content-Length: {len(body)}",
        ]
        data = compose(*lines, body=body)
        self.send(data)
        return parse_untrusted(data)

    def invite(self, uri: str | bytes, *, body: bytes | None = None, **more: object) -> Message:
        """Send an INVITE with an offer."""
        return self.request("INVITE", uri, body=self.sdp() if body is None else body, **more)  # type: ignore[arg-type]

    def register(self, uri: str, contacts: Sequence[str] | None = None, **more: object) -> Message:
        """Send a REGISTER for this phone's address-of-record."""
        lines = [f"Contact: {each}" for each in ([self.contact] if contacts is None else contacts)]
        headers = [*lines, *more.pop("headers", ())]  # type: ignore[misc]
        return self.request("REGISTER", uri, to=self.aor, headers=headers, contact=False, **more)  # type: ignore[arg-type]

    def cancel(self, invite: Message, headers: Sequence[str] = ()) -> None:
        """Send the CANCEL of an INVITE."""
        self.send(self._like(invite, "CANCEL", invite.lines("to"), headers))

    def ack_failure(self, invite: Message, response: Message) -> None:
        """Send the hop-by-hop ACK of a failure."""
        self.send(self._like(invite, "ACK", response.lines("to")))

    def _like(self, invite: Message, method: str, to: list[bytes], headers: Sequence[str] = ()) -> bytes:
        return compose(
            method.encode() + b" " + invite.request_uri + b" SIP/2.0",
            invite.lines("via")[0],
            *invite.lines("route"),
            "Max-Forwards: 70",
            *invite.lines("from"),
            *to,
            *invite.lines("call-id"),
            f"CSeq: {invite.cseq[0]} {method}",
            *headers,
            "Content-Length: 0",
        )

    def answer(
        self,
        request: Message,
        status: int,
        *,
        reason: str = "Whatever",
        tag: str = "",
        headers: Sequence[str] = (),
        body: bytes = b"",
    ) -> bytes:
        """Send a response; with a Contact where one makes a dialog. Returns it, to be sent again."""
        extra = [header.encode() for header in headers]
        makes_dialog = request.method in ("INVITE", "SUBSCRIBE", "UPDATE", "REFER") and 100 < status < 300
        if makes_dialog:
            extra.append(f"Contact: {self.contact}".encode())
        if body:
            extra.append(b"Content-Type: application/sdp")
        raw = build_response(request, status, reason, (tag or self.tag).encode(), extra, body)
        self.send(raw)
        return raw

    def accept(self, invite: Message, *, tag: str = "", body: bytes | None = None) -> Dialog:
        """Answer an INVITE with 200 and SDP."""
        self.answer(invite, 200, tag=tag, body=self.sdp() if body is None else body)
        return Dialog.of_callee(self, invite, tag or self.tag)


@dataclass
class Dialog:
    """What one phone knows of a dialog."""

    phone: Phone
    call_id: bytes
    local: bytes  # whole From value of its requests
    remote: bytes
    target: bytes
    routes: list[bytes]
    cseq: int = 1
    sent: list[Message] = field(default_factory=list)

    @classmethod
    def of_caller(cls, phone: Phone, invite: Message, answer: Message) -> Dialog:
        """RFC 3261 section 12.1.2: the route set is the Record-Route of the answer in reverse order."""
        return cls(
            phone,
            invite.call_id,
            invite.values("from")[0].text,
            answer.values("to")[0].text,
            uri_in(answer.values("contact")[0].text),
            [value.text for value in reversed(answer.values("record-route"))],
            invite.cseq[0],
        )

    @classmethod
    def of_callee(cls, phone: Phone, invite: Message, tag: str) -> Dialog:
        """RFC 3261 section 12.1.1: the route set is the Record-Route of the request in its order."""
        return cls(
            phone,
            invite.call_id,
            invite.values("to")[0].text + b";tag=" + tag.encode(),
            invite.values("from")[0].text,
            uri_in(invite.values("contact")[0].text),
            [value.text for value in invite.values("record-route")],
        )

    def ack(self, *, body: bytes = b"", cseq: int = 0) -> Message:
        """Acknowledge a 2xx."""
        return self._send("ACK", cseq or self.cseq, (), body)

    def send(self, method: str, *, headers: Sequence[str] = (), body: bytes = b"") -> Message:
        """Send a request in the dialog."""
        self.cseq += 1
        return self._send(method, self.cseq, headers, body)

    def _send(self, method: str, cseq: int, headers: Sequence[str], body: bytes) -> Message:
        uri, routes = self.target, self.routes
        if routes and not SipUri.parse_untrusted(uri_in(routes[0])).has_param("lr"):
            uri, routes = uri_in(routes[0]), [*routes[1:], b"<" + uri + b">"]
        makes_target = method in ("INVITE", "UPDATE", "SUBSCRIBE", "NOTIFY", "REFER")
        data = compose(
            method.encode() + b" " + uri + b" SIP/2.0",
            f"Via: {self.phone.via()}",
            *(b"Route: " + route for route in routes),
            "Max-Forwards: 70",
            b"From: " + self.local,
            b"To: " + self.remote,
            b"Call-ID: " + self.call_id,
            f"CSeq: {cseq} {method}",
            *([f"Contact: {self.phone.contact}"] if makes_target else []),
            *headers,
            *(["Content-Type: application/sdp"] if body.startswith(b"v=0") else []),
            f"Content-Length: {len(body)}",
            body=body,
        )
        self.phone.send(data)
        return parse_untrusted(data)


def registered(world: World, phone: Phone) -> bytes:
    """``phone`` registers at registrar.example; the mask by which that knows it."""
    registrar = Phone(world, "203.0.113.20:5060", "registrar")
    phone.register("sip:registrar.example")
    request = registrar.got("REGISTER")
    mask = request.values("contact")[0].text
    registrar.answer(request, 200, headers=[f"Contact: {mask.decode()}"])
    phone.got(200)
    return uri_in(mask)
