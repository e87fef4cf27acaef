"""A user agent that does what a test tells it, in a World: it keeps the dialog, the test tells the story.

    phone = ScriptedPhone(world, "lan", "10.1.0.50:5060", "alice")
    call = phone.invite("sip:bob@203.0.113.40")
    phone.expect(100)
    ...
    call.learn(phone.expect(200)).ack()

``record_route`` are the proxies that stand between it and the face, the nearest to the face first: the user agent then
speaks from the address of the nearest, and its own ``contact`` lies behind them.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from support.pair import World
from tunnel.sip.message import Message, parse_untrusted
from tunnel.sip.name_addr import NameAddr
from tunnel.sip.response import build_response

__all__ = [
    "ScriptedCall",
    "ScriptedPhone",
    "audio",
    "contact_uri",
    "media_port",
    "values",
]

_serial = itertools.count(1)


def audio(host: str, port: int, version: int = 1, direction: str = "sendrecv") -> bytes:
    """An SDP with one audio stream."""
    return (
        f"v=0\r\no=- 1 {version} IN IP4 {host}\r\ns=-\r\nc=IN IP4 {host}\r\nt=0 0\r\n"
        f"m=audio {port} RTP/AVP 0\r\na={direction}\r\n"
    ).encode()


def values(message: Message, name: str) -> list[bytes]:
    """The values of all headers ``name``."""
    return [value.text for value in message.values(name)]


def contact_uri(message: Message) -> bytes:
    """The URI of the one Contact."""
    (value,) = message.values("contact")
    return NameAddr.parse_untrusted(value.text).uri_text


def media_port(message: Message) -> int:
    """The port of the first m-line."""
    line = next(line for line in message.body.split(b"\r\n") if line.startswith(b"m="))
    return int(line.split()[1])


class ScriptedPhone:
    """A user agent at ``address`` on the face ``"lan"`` or ``"public"``."""

    def __init__(
        self,
        world: World,
        face: str,
        address: str,
        user: str,
        *,
        transport: str = "udp",
        connection: int = 0,
        contact: str = "",
        record_route: Sequence[bytes] = (),
    ) -> None:
        self.world = world
        self.address = address
        self.host = address.rpartition(":")[0]
        self.transport = transport
        self.connection = connection
        self.identity = b"<sip:%s@example.com>" % user.encode()
        parameter = f";transport={transport}" if transport != "udp" else ""
        self.contact = (contact or f"<sip:{user}@{address}{parameter}>").encode()
        self.record_route = list(record_route)
        self._side = world.lan_side if face == "lan" else world.public_side
        self._arrive = world.lan if face == "lan" else world.public

    # In and out

    def send(self, data: bytes) -> None:
        """``data`` arrives on the face."""
        self._arrive(self.address, data, self.transport, self.connection)

    def take(self) -> list[Message]:
        """What came for this user agent since it last looked."""
        mine = [message for flow, message in self._side.sent if str(flow.remote) == self.address]
        self._side.sent = [(flow, message) for flow, message in self._side.sent if str(flow.remote) != self.address]
        return mine

    def expect(self, *what: int | str) -> Message:
        """Exactly these came, by status or method; the last of them."""
        came = self.take()
        assert [message.method if message.is_request else message.status for message in came] == list(what)
        return came[-1]

    def reflect(self) -> None:
        """What was sent to this address comes back in from it: a face that talks to itself."""
        while came := self.take():
            for message in came:
                self.send(message.raw)

    def expect_nothing(self) -> None:
        assert self.take() == []

    # Requests

    def request(
        self,
        method: str,
        uri: bytes,
        *,
        to: bytes,
        tag: bytes,
        call_id: bytes,
        cseq: int,
        more: Sequence[bytes] = (),
        body: bytes = b"",
        branch: bytes = b"",
        kind: bytes = b"application/sdp",
    ) -> bytes:
        """A request of this user agent as it reaches the face. ``more``: whole header lines."""
        branch = branch or b"z9hG4bK%d" % next(_serial)
        transport = self.transport.upper().encode()
        lines = [
            b"%s %s SIP/2.0" % (method.encode(), uri),
            b"Via: SIP/2.0/%s %s;branch=%s;rport" % (transport, self.address.encode(), branch),
            b"Max-Forwards: 70",
            b"From: " + self.identity + b";tag=" + tag,
            b"To: " + to,
            b"Call-ID: " + call_id,
            b"CSeq: %d %s" % (cseq, method.encode()),
            *more,
            *([b"Content-Type: " + kind] if body else []),
            b"Content-Length: %d" % len(body),
        ]
        return b"\r\n".join(lines) + b"\r\n\r\n" + body

    def register(
        self,
        registrar: bytes = b"sip:203.0.113.20",
        *,
        contacts: Sequence[bytes] | None = None,
        more: Sequence[bytes] = (),
        cseq: int = 1,
    ) -> None:
        """Send a REGISTER, for ``contact`` unless others are given."""
        shown = [self.contact] if contacts is None else contacts
        lines = [b"Contact: " + contact for contact in shown] + list(more)
        self.send(
            self.request(
                "REGISTER",
                registrar,
                to=self.identity,
                tag=b"reg",
                call_id=b"reg-" + self.host.encode(),
                cseq=cseq,
                more=lines,
            )
        )

    def invite(
        self,
        uri: bytes,
        body: bytes | None = None,
        *,
        more: Sequence[bytes] = (),
        after: ScriptedCall | None = None,
        kind: bytes = b"application/sdp",
    ) -> ScriptedCall:
        """Begin a call; ``after``: once more after it was challenged, with its Call-ID and tag."""
        call = ScriptedCall(self, b"call-%d" % next(_serial), b"tag-%d" % next(_serial), b"<" + uri + b">", uri)
        if after is not None:
            call.call_id, call.tag, call.cseq = after.call_id, after.tag, after.cseq
        routed = [b"Record-Route: " + value for value in self.record_route]
        offer = audio(self.host, 6000) if body is None else body
        call.request("INVITE", offer, more=[*routed, b"Contact: " + self.contact, *more], kind=kind)
        return call

    # Answers

    def answer(
        self, request: Message, status: int, reason: str = "OK", *, tag: bytes = b"", more: Sequence[bytes] = ()
    ) -> None:
        """A response outside of any ScriptedCall."""
        self.send(build_response(request, status, reason, tag or b"t%d" % next(_serial), more))

    def pick_up(self, invite: Message) -> ScriptedCall:
        """The call that came as ``invite``, to be answered."""
        from_value = invite.all("from")[0].value
        call = ScriptedCall(self, invite.call_id, b"tag-%d" % next(_serial), from_value, contact_uri(invite))
        call.came = invite
        call.remote_tag = invite.from_tag
        call.routes = values(invite, "record-route")
        return call


class ScriptedCall:
    """One call as its caller or callee sees it."""

    def __init__(self, phone: ScriptedPhone, call_id: bytes, tag: bytes, remote: bytes, target: bytes) -> None:
        self.phone = phone
        self.call_id = call_id
        self.tag = tag
        self.remote = remote.partition(b";tag=")[0]
        self.remote_tag = b""
        self.target = target
        self.routes: list[bytes] = []
        self.cseq = 0
        self.sent: Message | None = None  # the last INVITE of ours, to be cancelled or acknowledged
        self.came: Message | None = None  # the INVITE that is answered
        self.last_ack = b""

    # As caller, and by either once the dialog stands

    def request(
        self,
        method: str,
        body: bytes = b"",
        *,
        more: Sequence[bytes] = (),
        cseq: int = 0,
        branch: bytes = b"",
        kind: bytes = b"application/sdp",
    ) -> bytes:
        """Send a request within the dialog, or the one that begins it; returns its bytes, to be sent again."""
        if not cseq:
            self.cseq += 1
            cseq = self.cseq
        to = self.remote + (b";tag=" + self.remote_tag if self.remote_tag else b"")
        routes = [b"Route: " + route for route in self.routes if route not in self.phone.record_route]
        data = self.phone.request(
            method,
            self.target,
            to=to,
            tag=self.tag,
            call_id=self.call_id,
            cseq=cseq,
            more=[*routes, *more],
            body=body,
            branch=branch,
            kind=kind,
        )
        if method == "INVITE":
            self.sent = parse_untrusted(data)
        self.phone.send(data)
        return data

    def learn(self, response: Message) -> ScriptedCall:
        """The dialog as ``response`` makes it (RFC 3261 section 12.1.2)."""
        self.remote_tag = response.to_tag
        if response.all("contact"):
            self.target = contact_uri(response)
        if response.all("record-route"):
            self.routes = list(reversed(values(response, "record-route")))
        return self

    def learn_target(self, response: Message) -> ScriptedCall:
        """The dialog stands: a 2xx changes the remote target at most (RFC 3261 section 12.2.1.2)."""
        self.target = contact_uri(response)
        return self

    def ack(self, body: bytes = b"") -> None:
        """Acknowledge the 2xx to the last INVITE."""
        assert self.sent is not None
        self.last_ack = self.request("ACK", body, cseq=self.sent.cseq[0])

    def ack_failure(self, response: Message) -> None:
        """Acknowledge a failure of the last INVITE, in its transaction."""
        assert self.sent is not None
        sent = self.sent
        data = self.phone.request(
            "ACK",
            sent.request_uri,
            to=response.all("to")[0].value,
            tag=self.tag,
            call_id=self.call_id,
            cseq=sent.cseq[0],
            branch=sent.top_via.branch,
        )
        self.phone.send(data)

    def cancel(self) -> None:
        """Give up the last INVITE."""
        assert self.sent is not None
        sent = self.sent
        data = self.phone.request(
            "CANCEL",
            sent.request_uri,
            to=self.remote,
            tag=self.tag,
            call_id=self.call_id,
            cseq=sent.cseq[0],
            branch=sent.top_via.branch,
        )
        self.phone.send(data)

    def reinvite(self, body: bytes) -> None:
        self.request("INVITE", body, more=[b"Contact: " + self.phone.contact])

    def bye(self) -> bytes:
        return self.request("BYE")

    def prack(self, response: Message) -> bytes:
        """Acknowledge a reliable provisional response (RFC 3262)."""
        rseq = response.all("rseq")[0].value
        return self.request("PRACK", more=[b"RAck: %s %d INVITE" % (rseq, response.cseq[0])])

    # As callee

    def respond(
        self, status: int, reason: str = "", body: bytes = b"", *, more: Sequence[bytes] = (), to: Message | None = None
    ) -> bytes:
        """Answer the INVITE, or another request of the dialog; returns the bytes, to be sent again."""
        request = to or self.came
        assert request is not None
        lines = [*more]
        if request.cseq[1] in ("INVITE", "UPDATE") and 100 < status < 300:
            lines.append(b"Contact: " + self.phone.contact)
        if body:
            lines.append(b"Content-Type: application/sdp")
        data = build_response(request, status, reason or "Whatever", self.tag, lines, body)
        if not request.to_tag and self.phone.record_route and 100 < status < 300:
            head, _, tail = data.partition(b"\r\n")
            above = b"".join(b"Record-Route: " + value + b"\r\n" for value in reversed(self.phone.record_route))
            data = head + b"\r\n" + above + tail
        self.phone.send(data)
        return data
