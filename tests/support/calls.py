"""Two parties of one call through a ``World``: each knows only what reached it, as a phone does."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

from support.messages import compose
from support.pair import World
from tunnel.sip.half import contact_uri
from tunnel.sip.message import Message
from tunnel.sip.response import build_response

__all__ = ["DOMAIN", "INSIDE", "OUTSIDE", "PBX", "PhoneCall", "collect", "new_world", "post", "sdp"]

INSIDE, PBX, OUTSIDE, DOMAIN = "10.1.0.50", "10.1.0.60", "203.0.113.40", "example.com"


def new_world() -> World:
    """A pair whose tenant has a PBX inside and a domain outside."""
    world = World(pbx=f"sip:{PBX}")
    world.set_tenant(domains=(DOMAIN,))
    return world


def sdp(host: str, port: int = 4000) -> bytes:
    """A plain audio offer or answer."""
    return compose(
        "v=0",
        f"o=- 1 1 IN IP4 {host}",
        "s=-",
        f"c=IN IP4 {host}",
        "t=0 0",
        f"m=audio {port} RTP/AVP 0",
        body=b"",
    )[:-2]


def post(world: World, host: str, data: bytes) -> None:
    """A datagram of the party at ``host`` arrives at its face."""
    (world.lan if host.startswith("10.") else world.public)(f"{host}:5060", data)


@dataclass
class PhoneCall:
    """One call. ``outbound``: from inside; ``number`` makes its names.

    ``got`` has what reached the caller (True) and the callee (False).
    """

    world: World
    outbound: bool
    number: int = 1
    got: dict[bool, list[Message]] = field(default_factory=lambda: {True: [], False: []})
    sent: list[tuple[str, bytes]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._branches = itertools.count()
        self.caller = INSIDE if self.outbound else OUTSIDE
        self.callee = OUTSIDE if self.outbound else PBX
        self.call_id = b"call-%d" % self.number
        self.uri = f"sip:bob@{OUTSIDE}" if self.outbound else f"sip:bob@{DOMAIN}"
        self.branch = f"z9hG4bKi{self.number}"
        self.cseq = {True: 1, False: 1}

    def host(self, is_caller: bool) -> str:
        return self.caller if is_caller else self.callee

    def send(self, is_caller: bool, data: bytes) -> None:
        self.sent.append((self.host(is_caller), data))
        post(self.world, self.host(is_caller), data)

    def repeat(self, number: int) -> None:
        """Some datagram of the past arrives again."""
        if self.sent:
            post(self.world, *self.sent[number % len(self.sent)])

    def _lines(self, method: str, uri: str, branch: str, number: int, *more: str) -> list[str]:
        return [
            f"{method} {uri} SIP/2.0",
            f"Via: SIP/2.0/UDP {self.caller}:5060;branch={branch}",
            "Max-Forwards: 70",
            f"From: <sip:alice@{DOMAIN}>;tag=from{self.number}",
            f"Call-ID: call-{self.number}",
            f"CSeq: {number} {method}",
            *more,
        ]

    def invite(self) -> None:
        body = sdp(self.caller)
        lines = self._lines("INVITE", self.uri, self.branch, 1, f"To: <sip:bob@{DOMAIN}>")
        lines += [f"Contact: <sip:alice@{self.caller}:5060>", "Content-Type: application/sdp"]
        self.send(True, compose(*lines, f"Content-Length: {len(body)}", body=body))

    def cancel(self) -> None:
        lines = self._lines("CANCEL", self.uri, self.branch, 1, f"To: <sip:bob@{DOMAIN}>")
        self.send(True, compose(*lines, "Content-Length: 0"))

    def answer(self, is_caller: bool, method: str, status: int, fork: str = "to", with_sdp: bool = False) -> bool:
        """Answer the latest request of that method that reached this party; False when there is none."""
        found = [m for m in self.got[is_caller] if m.is_request and m.method == method]
        if not found:
            return False
        host = self.host(is_caller)
        extra = [b"Contact: <sip:me@%s:5060>" % host.encode()] if method == "INVITE" and status < 300 else []
        body = sdp(host) if with_sdp and method == "INVITE" and 100 < status < 300 else b""
        if body:
            extra.append(b"Content-Type: application/sdp")
        self.send(is_caller, build_response(found[-1], status, "Because", fork.encode(), extra, body))
        return True

    def ack(self) -> bool:
        """The caller acknowledges the latest final response to its first INVITE."""
        finals = [m for m in self.got[True] if not m.is_request and m.cseq == (1, "INVITE") and m.status >= 200]
        if not finals:
            return False
        final = finals[-1]
        if final.status >= 300:
            to = final.lines("to")[0].decode()
            lines = self._lines("ACK", self.uri, self.branch, 1, to)
            self.send(True, compose(*lines, "Content-Length: 0"))
            return True
        return self.within("ACK", True, number=1)

    def dialog(self, is_caller: bool, fork: str = "to") -> tuple[bytes, list[bytes], bytes, bytes] | None:
        """Target, route set, From line and To line of a request of this party within the dialog; None without one."""
        if is_caller:
            found = [m for m in self.got[True] if not m.is_request and m.cseq == (1, "INVITE") and m.to_tag]
            found = [m for m in found if m.status < 300]
            routes = [v.text for v in reversed(found[-1].values("record-route"))] if found else []
        else:
            answers = [data for host, data in self.sent if host == self.callee and data.startswith(b"SIP/2.0 2")]
            answers = [data for data in answers if f";tag={fork}\r\n".encode() in data]
            found = [m for m in self.got[False] if m.is_request and m.method == "INVITE" and not m.to_tag]
            if not answers:
                return None
            routes = [v.text for v in found[-1].values("record-route")] if found else []
        uri = contact_uri(found[-1]) if found else None
        if uri is None:
            return None
        own, other = found[-1].header("from"), found[-1].header("to")
        assert own is not None
        assert other is not None
        if is_caller:
            return uri.text, routes, own.value, other.value
        return uri.text, routes, other.value + b";tag=" + fork.encode(), own.value

    def within(
        self, method: str, is_caller: bool, number: int | None = None, with_sdp: bool = False, fork: str = "to"
    ) -> bool:
        """A request within the dialog; False where this party knows of none."""
        dialog = self.dialog(is_caller, fork)
        if dialog is None:
            return False
        target, routes, own, other = dialog
        if number is None:
            self.cseq[is_caller] += 1
            number = self.cseq[is_caller]
        host = self.host(is_caller)
        body = sdp(host, 4002) if with_sdp else b""
        lines: list[str | bytes] = [
            f"{method} {target.decode()} SIP/2.0",
            f"Via: SIP/2.0/UDP {host}:5060;branch=z9hG4bKd{self.number}x{next(self._branches)}",
            *(b"Route: " + route for route in routes),
            "Max-Forwards: 70",
            b"From: " + own,
            b"To: " + other,
            f"Call-ID: call-{self.number}",
            f"CSeq: {number} {method}",
        ]
        if method == "INVITE":
            lines.append(f"Contact: <sip:me@{host}:5060>")
        if body:
            lines.append("Content-Type: application/sdp")
        self.send(is_caller, compose(*lines, f"Content-Length: {len(body)}", body=body))
        return True


def collect(world: World, calls: list[PhoneCall]) -> list[tuple[str, Message]]:
    """Hand what the faces sent to the parties of ``calls``, by Call-ID; returns it all."""
    out = [*world.take_lan(), *world.take_public()]
    for to, message in out:
        for call in calls:
            if call.call_id == message.call_id:
                host = to.partition(":")[0]
                if host in (call.caller, call.callee):
                    call.got[host == call.caller].append(message)
    return out
