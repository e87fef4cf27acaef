"""SIP user agents without timers on real sockets, over UDP, TCP or TLS and either family, each with one RTP socket.

    async with open_end("tls", "127.0.0.2", shown=server_context, trusted=client_context) as bob:
        request = await alice.ask("INVITE", bob.uri, agent)      # by way of the proxy at ``agent``
        ...
    await call_through(alice, bob, uri, proxy)                   # a whole call with RTP both ways

An end listens, and connects by itself where it has no connection yet; what it gets is checked for addresses that are
not in brackets or have a zone.
"""

from __future__ import annotations

import itertools
import re
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import trio

from support.rtp import rtp_packet
from tunnel.address import Address
from tunnel.sip.framing import KeepAlive, StreamFramer
from tunnel.sip.message import Message, parse_untrusted
from tunnel.sip.name_addr import NameAddr
from tunnel.sip.response import build_response

__all__ = ["Heard", "SipEnd", "call_through", "open_end"]

_numbers = itertools.count(1)
_LIMIT_S = 8.0
_IN_BRACKETS = re.compile(rb"\[[0-9A-Fa-f:.]+\]")
# But for ``received``, which has none by the grammar of RFC 3261 section 25.1 (RFC 5118 section 4.5).
_BARE_IPV6 = re.compile(rb"(?<![0-9A-Za-z:])(?<!received=)(?:::1|2001:db8:)")


@dataclass
class Heard:
    """A message, and the way back to where it came from."""

    message: Message
    reply: Callable[[bytes], None]
    source: Address


class SipEnd:
    """``address`` is where it listens for SIP, ``rtp`` its media socket."""

    def __init__(
        self,
        transport: str,
        host: str,
        nursery: trio.Nursery,
        shown: ssl.SSLContext | None,
        trusted: ssl.SSLContext | None,
        scheme: str,
        port: int,
    ) -> None:
        self.transport = transport
        self.host = host
        self.scheme = scheme
        self.address = Address(host, port)
        self.names: list[str | None] = []  # server names that those who connected asked for
        self.rtp = trio.socket.socket(_family(host), trio.socket.SOCK_DGRAM)
        self._nursery = nursery
        self._shown = shown
        self._trusted = trusted
        self._heard_in, self._heard = trio.open_memory_channel[Heard](100)
        self.pongs = 0  # single CRLFs that answered a double one
        self.connections = 0  # made by others
        self._ways: dict[Address, trio.MemorySendChannel[bytes]] = {}
        self._udp: trio.socket.SocketType | None = None
        if shown is not None:
            shown.sni_callback = lambda connection, name, context: self.names.append(name)

    async def open(self) -> None:
        await self.rtp.bind((self.host, 0))
        if self.transport == "udp":
            self._udp = trio.socket.socket(_family(self.host), trio.socket.SOCK_DGRAM)
            await self._udp.bind((self.host, self.address.port))
            self.address = Address(self.host, self._udp.getsockname()[1])
            self._nursery.start_soon(self._hear_datagrams, self._udp)
        else:
            (listener,) = await trio.open_tcp_listeners(self.address.port, host=self.host)
            self.address = Address(self.host, listener.socket.getsockname()[1])
            self._nursery.start_soon(trio.serve_listeners, self._accept, [listener])

    def close(self) -> None:
        self.rtp.close()
        if self._udp is not None:
            self._udp.close()

    @property
    def uri(self) -> str:
        """Where it is called."""
        return f"{self.scheme}:end@{self.address}{self._parameter}"

    @property
    def _parameter(self) -> str:
        return "" if self.transport == "udp" or self.scheme == "sips" else f";transport={self.transport}"

    # Out

    async def ask(
        self,
        method: str,
        uri: str,
        proxy: Address,
        *,
        lines: Sequence[str] = (),
        body: bytes = b"",
        cseq: int = 1,
        to: str = "",
        call_id: str = "",
        server_name: str = "",
    ) -> Message:
        """Send a request to ``proxy``; returns it as sent."""
        number = next(_numbers)
        head = [
            f"{method} {uri} SIP/2.0",
            f"Via: SIP/2.0/{self.transport.upper()} {self.address};branch=z9hG4bKend{number};rport",
            "Max-Forwards: 70",
            f"From: <sip:end@{self.host if ':' not in self.host else f'[{self.host}]'}>;tag=f{self.address.port}",
            f"To: {to or f'<{uri}>'}",
            f"Call-ID: {call_id or f'end-{number}'}",
            f"CSeq: {cseq} {method}",
            f"Contact: <{self.uri}>",
            *lines,
            *(["Content-Type: application/sdp"] if body else []),
            f"Content-Length: {len(body)}",
        ]
        data = "\r\n".join([*head, "", ""]).encode() + body
        await self.send(data, proxy, server_name)
        return parse_untrusted(data)

    async def send(self, data: bytes, to: Address, server_name: str = "") -> None:
        if self._udp is not None:
            await self._udp.sendto(data, tuple(to))
            return
        if to not in self._ways:
            tcp = await trio.open_tcp_stream(to.host, to.port, local_address=self.host)
            stream: trio.abc.Stream = tcp
            if self.transport == "tls":
                assert self._trusted is not None
                name = server_name or to.host
                stream = trio.SSLStream(tcp, self._trusted, server_hostname=name, https_compatible=True)
            self._nursery.start_soon(self._live, stream, to)
            self._ways[to], waiting = trio.open_memory_channel[bytes](100)
            self._nursery.start_soon(_write, stream, waiting)
        self._ways[to].send_nowait(data)

    def answer(
        self, heard: Heard, status: int, reason: str = "Whatever", *, body: bytes = b"", lines: Sequence[str] = ()
    ) -> bytes:
        """Answer by the way the request came; returns what was sent."""
        extra = [f"Contact: <{self.uri}>".encode(), *(line.encode() for line in lines)]
        if body:
            extra.append(b"Content-Type: application/sdp")
        data = build_response(heard.message, status, reason, b"t%d" % self.address.port, extra, body)
        heard.reply(data)
        return data

    def sdp(self) -> bytes:
        family = "IP6" if ":" in self.host else "IP4"
        lines = ["v=0", f"o=- 1 1 IN {family} {self.host}", "s=-", f"c=IN {family} {self.host}", "t=0 0"]
        return "\r\n".join([*lines, f"m=audio {self.rtp.getsockname()[1]} RTP/AVP 8", ""]).encode()

    # In

    async def hears(self, *wanted: str | int, within_s: float = _LIMIT_S) -> Heard:
        """The next message that is one of ``wanted``, methods or statuses; others are passed over."""
        seen: list[str | int] = []
        with trio.move_on_after(within_s):
            while True:
                heard = await self._heard.receive()
                message = heard.message
                seen.append(message.method if message.is_request else message.status)
                if seen[-1] in wanted:
                    return heard
        raise AssertionError(f"heard {seen} instead of {wanted}")

    async def hears_nothing(self, within_s: float) -> bool:
        with trio.move_on_after(within_s):
            await self._heard.receive()
            return False
        return True

    def _take(self, data: bytes, reply: Callable[[bytes], None], source: Address) -> None:
        message = parse_untrusted(data, stream=self.transport != "udp")
        for header in message.headers:
            assert b"%" not in header.value, "a zone id"
            if header.name in ("via", "contact", "record-route", "route"):
                assert not _BARE_IPV6.search(_IN_BRACKETS.sub(b"", header.value)), header.value
        assert not _BARE_IPV6.search(_IN_BRACKETS.sub(b"", message.request_uri))
        self._heard_in.send_nowait(Heard(message, reply, source))

    async def _hear_datagrams(self, sock: trio.socket.SocketType) -> None:
        while True:
            try:
                data, source = await sock.recvfrom(65535)
            except OSError:
                continue
            at = Address(*source[:2])

            def reply(answer: bytes, to: Address = at) -> None:
                self._nursery.start_soon(sock.sendto, answer, tuple(to))

            if data[:4] == b"\x01\x01\x00\x0c" or data[:4] == b"\x01\x01\x00\x18":  # STUN Binding success
                self.pongs += 1
            elif data.strip():
                self._take(data, reply, at)

    async def _accept(self, tcp: trio.SocketStream) -> None:
        self.connections += 1
        stream: trio.abc.Stream = tcp
        if self.transport == "tls":
            assert self._shown is not None
            stream = trio.SSLStream(tcp, self._shown, server_side=True, https_compatible=True)
        await self._live(stream, Address(*tcp.socket.getpeername()[:2]))

    async def _live(self, stream: trio.abc.Stream, source: Address) -> None:
        framer = StreamFramer()

        def reply(answer: bytes) -> None:
            self._nursery.start_soon(stream.send_all, answer)

        try:
            while data := await stream.receive_some():
                self.pongs += bytes(data) == b"\r\n"
                for framed in framer.feed_untrusted(bytes(data), trio.current_time()):
                    if not isinstance(framed, KeepAlive):
                        self._take(framed, reply, source)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        finally:
            self._ways.pop(source, None)
            with trio.move_on_after(0.1, shield=True):
                await trio.aclose_forcefully(stream)

    def hang_up(self) -> None:
        """Close the connections that this end has made."""
        for way in self._ways.values():
            way.close()
        self._ways.clear()


async def _write(stream: trio.abc.Stream, waiting: trio.MemoryReceiveChannel[bytes]) -> None:
    try:
        async for data in waiting:
            await stream.send_all(data)
        await trio.aclose_forcefully(stream)
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        pass


@asynccontextmanager
async def open_end(
    transport: str,
    host: str,
    *,
    shown: ssl.SSLContext | None = None,
    trusted: ssl.SSLContext | None = None,
    scheme: str = "sip",
    port: int = 0,
) -> AsyncIterator[SipEnd]:
    """``shown`` is what it shows as a TLS server, ``trusted`` whom it believes as a client."""
    ends = []
    try:
        async with trio.open_nursery() as nursery:
            ends.append(SipEnd(transport, host, nursery, shown, trusted, scheme, port))
            await ends[0].open()
            yield ends[0]
            nursery.cancel_scope.cancel()
    finally:
        for end in ends:
            end.close()


async def call_through(caller: SipEnd, callee: SipEnd, uri: str, proxy: Address) -> tuple[Message, Message]:
    """A call by way of ``proxy`` with a packet each way; the callee hangs up. The INVITE and the 200 as they came."""
    invite = await caller.ask("INVITE", uri, proxy, body=caller.sdp())
    came = await callee.hears("INVITE")
    callee.answer(came, 180, "Ringing")
    await caller.hears(180)
    callee.answer(came, 200, "OK", body=callee.sdp())
    ok = (await caller.hears(200)).message
    routes = [f"Route: {value.text.decode()}" for value in reversed(ok.values("record-route"))]
    to, call_id = _value(ok, "to"), invite.call_id.decode()
    await caller.ask("ACK", _contact(ok), proxy, lines=routes, to=to, call_id=call_id)
    await callee.hears("ACK")
    await _talk(caller, callee, ok, came.message)
    request = came.message
    routes = [f"Route: {value.text.decode()}" for value in request.values("record-route")]
    bye = [
        f"BYE {_contact(request)} SIP/2.0",
        f"Via: SIP/2.0/{callee.transport.upper()} {callee.address};branch=z9hG4bKend{next(_numbers)};rport",
        "Max-Forwards: 70",
        f"From: {_value(request, 'to')};tag=t{callee.address.port}",
        f"To: {_value(request, 'from')}",
        f"Call-ID: {call_id}",
        "CSeq: 1 BYE",
        *routes,
        "Content-Length: 0",
    ]
    came.reply("\r\n".join([*bye, "", ""]).encode())
    caller.answer(await caller.hears("BYE"), 200, "OK")
    await callee.hears(200)
    return request, ok


async def _talk(caller: SipEnd, callee: SipEnd, ok: Message, invite: Message) -> None:
    for speaker, listener, told in ((caller, callee, ok), (callee, caller, invite)):
        host, port = _media(told)
        assert (":" in host) is (":" in speaker.host), f"{speaker.host} is told to send to {host}"
        packet = rtp_packet(speaker.address.port & 0xFFF, ssrc=speaker.address.port)
        with trio.fail_after(_LIMIT_S):
            await speaker.rtp.sendto(packet, (host, port))
            while await listener.rtp.recv(2048) != packet:  # an opening packet may come first (L7)
                pass


def _media(message: Message) -> tuple[str, int]:
    connection = re.search(rb"\nc=IN IP([46]) ([0-9A-Fa-f:.]+)\r\n", message.body)
    audio = re.search(rb"\nm=audio ([0-9]+) ", message.body)
    assert connection is not None
    assert audio is not None
    assert (connection[1] == b"6") is (b":" in connection[2])
    return connection[2].decode(), int(audio[1])


def _contact(message: Message) -> str:
    return NameAddr.parse_untrusted(message.values("contact")[0].text).uri_text.decode()


def _value(message: Message, name: str) -> str:
    header = message.header(name)
    assert header is not None
    return header.value.decode()


def _family(host: str) -> int:
    return trio.socket.AF_INET6 if ":" in host else trio.socket.AF_INET
