"""Sets up many calls by SIP: phones inside call a robot outside, and both say where their RTP is.

One UDP socket stands for all phones, one for all robots. Enough of a user agent for calls that go well: retransmission of
INVITE and BYE, ACK and BYE by the route set, a 200 for everything that comes in.
"""

from __future__ import annotations

import re
import select
import socket
import time
from collections.abc import Iterable
from dataclasses import dataclass, field

__all__ = ["CallFailed", "Calls", "SetUp"]

T1_S = 0.5
GIVE_UP_S = 16.0
OUTSTANDING = 20  # calls being set up at a time


class CallFailed(Exception):
    """A call was refused, or nobody answered."""


@dataclass(slots=True)
class SetUp:
    """One call. ``*_rtp``: where that party's own RTP is; ``*_target``: where it was told to send."""

    number: int
    phone_rtp: tuple[str, int]
    robot_rtp: tuple[str, int]
    phone_target: str = ""
    robot_target: str = ""
    began: float = 0.0
    seconds: float = 0.0
    remote_target: str = ""
    to: str = ""
    routes: list[str] = field(default_factory=list)


class Calls:
    """``proxy`` is the agent's SIP address; phones are at ``phone_host``, robots at ``robot_host``."""

    def __init__(self, proxy: tuple[str, int], phone_host: str, robot_host: str) -> None:
        self._proxy = proxy
        self._phones = _bound(phone_host)
        self._robots = _bound(robot_host)
        self._pending: dict[str, tuple[SetUp, bytes, float, float]] = {}  # Call-ID: call, request, resend at, interval
        self._calls: dict[str, SetUp] = {}

    def set_up(self, calls: Iterable[SetUp]) -> list[SetUp]:
        """Bring all calls up. Raises CallFailed."""
        waiting = list(calls)
        waiting.reverse()
        while waiting or self._pending:
            while waiting and len(self._pending) < OUTSTANDING:
                call = waiting.pop()
                call.began = time.monotonic()
                call_id = f"bench-{call.number}-{call.began:.6f}"
                self._calls[call_id] = call
                self._request(call_id, call, self._invite(call_id, call))
            self._step()
        return list(self._calls.values())

    def hang_up(self) -> None:
        """End every call. Raises CallFailed."""
        for call_id, call in list(self._calls.items()):
            while len(self._pending) >= OUTSTANDING:
                self._step()
            self._request(call_id, call, self._in_dialog("BYE", 2, call_id, call))
        while self._pending:
            self._step()
        self._phones.close()
        self._robots.close()

    # --- the phones --------------------------------------------------------------------------------------------------

    def _request(self, call_id: str, call: SetUp, request: bytes) -> None:
        self._phones.sendto(request, self._proxy)
        self._pending[call_id] = call, request, time.monotonic() + T1_S, T1_S

    def _invite(self, call_id: str, call: SetUp) -> bytes:
        host, port = self._phones.getsockname()
        robot = "{}:{}".format(*self._robots.getsockname())
        body = _sdp(call.phone_rtp)
        return _message(
            f"INVITE sip:robot{call.number}@{robot} SIP/2.0",
            f"Via: SIP/2.0/UDP {host}:{port};branch=z9hG4bK{call_id}-1;rport",
            "Max-Forwards: 70",
            f"From: <sip:phone{call.number}@{host}>;tag=p{call.number}",
            f"To: <sip:robot{call.number}@{robot}>",
            f"Call-ID: {call_id}",
            "CSeq: 1 INVITE",
            f"Contact: <sip:phone{call.number}@{host}:{port}>",
            "Content-Type: application/sdp",
            body=body,
        )

    def _in_dialog(self, method: str, cseq: int, call_id: str, call: SetUp) -> bytes:
        host, port = self._phones.getsockname()
        return _message(
            f"{method} {call.remote_target} SIP/2.0",
            f"Via: SIP/2.0/UDP {host}:{port};branch=z9hG4bK{call_id}-{method};rport",
            "Max-Forwards: 70",
            *(f"Route: {route}" for route in call.routes),
            f"From: <sip:phone{call.number}@{host}>;tag=p{call.number}",
            f"To: {call.to}",
            f"Call-ID: {call_id}",
            f"CSeq: {cseq} {method}",
        )

    def _phone_hears(self, text: str, source: tuple[str, int]) -> None:
        call_id = _header(text, "Call-ID")
        if not text.startswith("SIP/2.0 "):
            self._phones.sendto(_ok(text), source)
            return
        status = int(text[8:11])
        cseq = _header(text, "CSeq")
        if status < 200:
            return
        call = self._calls.get(call_id)
        if call is None:
            return
        if cseq.endswith("INVITE"):
            if status >= 300:
                raise CallFailed(f"call {call.number}: {text.splitlines()[0]}")
            call.remote_target = _uri(_header(text, "Contact"))
            call.to = _header(text, "To")
            call.routes = list(reversed(_headers(text, "Record-Route")))
            call.phone_target = _rtp_address(text)
            self._phones.sendto(self._in_dialog("ACK", 1, call_id, call), self._proxy)
            if call_id in self._pending:
                call.seconds = time.monotonic() - call.began
        self._pending.pop(call_id, None)

    # --- the robots --------------------------------------------------------------------------------------------------

    def _robot_hears(self, text: str, source: tuple[str, int]) -> None:
        if text.startswith(("ACK ", "SIP/2.0 ")):
            return
        call = self._calls.get(_header(text, "Call-ID"))
        if call is None or not text.startswith("INVITE "):
            self._robots.sendto(_ok(text), source)
            return
        call.robot_target = _rtp_address(text)
        host, port = self._robots.getsockname()
        self._robots.sendto(
            _ok(text, f"Contact: <sip:robot{call.number}@{host}:{port}>", body=_sdp(call.robot_rtp)), source
        )

    # --- both --------------------------------------------------------------------------------------------------------

    def _step(self) -> None:
        ready, _, _ = select.select([self._phones, self._robots], [], [], 0.05)
        for each in ready:
            data, source = each.recvfrom(65536)
            (self._phone_hears if each is self._phones else self._robot_hears)(data.decode("utf-8", "replace"), source)
        now = time.monotonic()
        for call_id, (call, request, resend_at, interval) in list(self._pending.items()):
            if now < resend_at:
                continue
            if interval > GIVE_UP_S / 2:
                raise CallFailed(f"call {call.number}: nobody answers {request.split(b' ', 1)[0].decode()}")
            self._phones.sendto(request, self._proxy)
            self._pending[call_id] = call, request, now + 2 * interval, 2 * interval


def _bound(host: str) -> socket.socket:
    bound = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    bound.bind((host, 0))
    return bound


def _message(*lines: str, body: str = "") -> bytes:
    return "\r\n".join((*lines, f"Content-Length: {len(body)}", "", body)).encode()


def _ok(request: str, *extra: str, body: str = "") -> bytes:
    lines = ["SIP/2.0 200 OK"]
    for name in ("Via", "Record-Route", "From", "To", "Call-ID", "CSeq"):
        for value in _headers(request, name):
            tag = ";tag=r" if name == "To" and ";tag=" not in value else ""
            lines.append(f"{name}: {value}{tag}")
    if body:
        lines.append("Content-Type: application/sdp")
    return _message(*lines, *extra, body=body)


def _headers(text: str, name: str) -> list[str]:
    found = re.findall(rf"(?im)^{name}[ \t]*:[ \t]*(.*?)\r?$", text.split("\r\n\r\n", 1)[0])
    if name == "Record-Route":
        return [value for line in found for value in re.split(r",\s*(?=<)", line)]
    return found


def _header(text: str, name: str) -> str:
    return next(iter(_headers(text, name)), "")


def _uri(value: str) -> str:
    inside = re.search(r"<([^>]*)>", value)
    return inside[1] if inside else value.partition(";")[0]


def _sdp(address: tuple[str, int]) -> str:
    host, port = address
    lines = ["v=0", f"o=- 1 1 IN IP4 {host}", "s=-", f"c=IN IP4 {host}", "t=0 0", f"m=audio {port} RTP/AVP 8 101"]
    return "\r\n".join([*lines, "a=rtpmap:8 PCMA/8000", "a=rtpmap:101 telephone-event/8000", ""])


def _rtp_address(text: str) -> str:
    host, port = re.search(r"(?m)^c=IN IP4 (\S+)", text), re.search(r"(?m)^m=audio (\d+)", text)
    if host is None or port is None:
        raise CallFailed(f"no SDP in: {text}")
    return f"{host[1]}:{port[1]}"
