"""A SIP user agent without any logic: a UDP socket, and messages in a script's order."""

from __future__ import annotations

import contextlib
import itertools
import socket
import time
from dataclasses import dataclass, field
from typing import Self

from tunnel.sip.message import Message, parse_untrusted
from tunnel.sip.name_addr import NameAddr
from tunnel.sip.response import build_response

__all__ = ["Call", "RawPhone"]

_numbers = itertools.count(1)


@dataclass
class Call:
    """What a caller remembers of its call."""

    invite: bytes
    to: tuple[str, int]
    call_id: str
    uri: str
    remote_tag: str = ""
    routes: list[str] = field(default_factory=list)


class RawPhone:
    """Bound to ``host``, port 5060; sends what it is told and waits for what should come."""

    def __init__(self, host: str) -> None:
        self.host = host
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((host, 5060))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._socket.close()

    def send(self, data: bytes, to: tuple[str, int]) -> None:
        self._socket.sendto(data, to)

    def receive(self, *wanted: str | int, within_s: float = 5.0) -> Message:
        """The next message that is one of ``wanted``: methods of requests, statuses of responses; others are skipped."""
        deadline = time.monotonic() + within_s
        seen = []
        while (left := deadline - time.monotonic()) > 0:
            self._socket.settimeout(left)
            with contextlib.suppress(TimeoutError):
                data, self.source = self._socket.recvfrom(65535)
                message = parse_untrusted(data)
                if (message.method if message.is_request else message.status) in wanted:
                    return message
                seen.append(data.split(b"\r\n")[0])
        raise AssertionError(f"{self.host} got none of {wanted} within {within_s} s, but {seen}")

    def hears_nothing(self, within_s: float) -> bool:
        self._socket.settimeout(within_s)
        with contextlib.suppress(TimeoutError):
            self._socket.recv(65535)
            return False
        return True

    # --- as a caller ---

    def request(self, method: str, uri: str, to: tuple[str, int], call_id: str = "", body: bytes = b"") -> Call:
        """Send a request outside any dialog to the proxy ``to``."""
        call_id = call_id or f"call-{next(_numbers)}@{self.host}"
        kind = ["Content-Type: application/sdp"] if body else []
        data = self._compose(method, uri, call_id, 1, f"<{uri}>", kind, body)
        self.send(data, to)
        return Call(data, to, call_id, uri)

    def invite(self, uri: str, to: tuple[str, int]) -> Call:
        return self.request("INVITE", uri, to, body=self._sdp())

    def acknowledge(self, call: Call, accepted: Message) -> None:
        """The ACK for a 2xx, along its route."""
        contact = accepted.header("contact")
        assert contact is not None
        call.uri = bytes(NameAddr.parse_untrusted(contact.value).uri_text).decode()
        call.remote_tag = accepted.to_tag.decode()
        call.routes = [value.text.decode() for value in reversed(accepted.values("record-route"))]
        self._within(call, "ACK", 1)

    def bye(self, call: Call) -> None:
        self._within(call, "BYE", 2)

    def _within(self, call: Call, method: str, cseq: int) -> None:
        routes = [f"Route: {route}" for route in call.routes]
        to = f"<sip:somebody@example.com>;tag={call.remote_tag}"
        self.send(self._compose(method, call.uri, call.call_id, cseq, to, routes), call.to)

    def _compose(
        self, method: str, uri: str, call_id: str, cseq: int, to: str, extra: list[str], body: bytes = b""
    ) -> bytes:
        lines = [
            f"{method} {uri} SIP/2.0",
            f"Via: SIP/2.0/UDP {self.host}:5060;rport;branch=z9hG4bK{next(_numbers)}x{time.monotonic_ns()}",
            "Max-Forwards: 70",
            f"From: <sip:alice@{self.host}>;tag=from-{call_id.partition('@')[0]}",
            f"To: {to}",
            f"Call-ID: {call_id}",
            f"CSeq: {cseq} {method}",
            f"Contact: <sip:alice@{self.host}:5060>",
            *extra,
            f"Content-Length: {len(body)}",
            "",
            "",
        ]
        return "\r\n".join(lines).encode() + body

    # --- as the one who is called ---

    def answer(self, request: Message, status: int, reason: str, tag: str = "callee") -> None:
        """Answer where the request came from; a 200 to INVITE with an SDP."""
        extra, body = [f"Contact: <sip:bob@{self.host}:5060>".encode()], b""
        if request.method == "INVITE" and status == 200:
            extra.append(b"Content-Type: application/sdp")
            body = self._sdp()
        self.send(build_response(request, status, reason, tag.encode(), extra, body), self.source)

    def _sdp(self) -> bytes:
        lines = ["v=0", f"o=- 1 1 IN IP4 {self.host}", "s=-", f"c=IN IP4 {self.host}", "t=0 0"]
        return "\r\n".join([*lines, "m=audio 40000 RTP/AVP 0", ""]).encode()
