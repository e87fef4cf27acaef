"""Via values and where a response goes (RFC 3261 sections 18.2 and 20.42, RFC 3581; B1 to B3)."""

from __future__ import annotations

import re
from dataclasses import dataclass

from tunnel.address import Address
from tunnel.errors import BadPacket
from tunnel.sip.grammar import (
    HOST,
    TOKEN,
    Param,
    host_text_untrusted,
    params_untrusted,
    port_untrusted,
    same_host,
)

__all__ = ["MAGIC_COOKIE", "Via", "build_via", "default_port", "quoted_branch_untrusted", "reply_address"]

MAGIC_COOKIE = b"z9hG4bK"  # what every branch of an RFC 3261 element begins with

_SENT_BY = re.compile(
    rb"SIP[ \t]*+/[ \t]*+2\.0[ \t]*+/[ \t]*+(" + TOKEN + rb")[ \t]++(" + HOST + rb")"
    rb"(?>(?:[ \t]*+:[ \t]*+([0-9]{1,5}+))?)[ \t]*+(?=;|$)",
    re.IGNORECASE,
)
_OWN_TOP_VIA = re.compile(rb"[^\r\n]*+\r\nVia: [^\r\n;]*+(?:;rport)?;branch=([^;,\s]++)\r\n")
_DIGITS = re.compile(rb"[0-9]{1,5}")


@dataclass(frozen=True, slots=True)
class Via:
    """One Via value.

    ``transport`` is upper case, ``host`` lower case and without brackets, ``port`` None when absent, ``branch`` empty
    when absent (RFC 2543), ``received`` None when absent, ``rport`` None when absent and -1 when it has no value.
    """

    text: bytes
    transport: str
    host: str
    port: int | None
    branch: bytes
    received: str | None
    rport: int | None
    params: tuple[Param, ...]

    @classmethod
    def parse_untrusted(cls, value: bytes) -> Via:
        """Read one unfolded value, as ``Message.values`` gives it. Raises BadPacket."""
        match = _SENT_BY.match(value)
        if match is None:
            raise BadPacket(f"{value[:60]!r} is no Via")
        transport, host, port = match.groups()
        params = params_untrusted(value, match.end())
        branch, received, rport = b"", None, None
        for param in params:
            if param.name == "branch":
                branch = param.value or b""
            elif param.name == "received":
                received = (param.value or b"").decode("latin-1").strip("[]").lower()
            elif param.name == "rport":
                rport = _rport_untrusted(param.value)
        return cls(
            text=value,
            transport=transport.decode("ascii").upper(),
            host=host_text_untrusted(host),
            port=None if port is None else port_untrusted(port),
            branch=branch,
            received=received,
            rport=rport,
            params=params,
        )

    @property
    def sent_by(self) -> Address:
        """Host and port of the sender's own making, the transport's default port filled in."""
        return Address(self.host, self.port if self.port is not None else default_port(self.transport))

    @property
    def return_address(self) -> Address:
        """Where a response goes by what this Via alone says (RFC 3261 section 18.2.2, RFC 3581 section 4).

        ``maddr`` is not followed: it would let a sender aim our responses at anybody.
        """
        port = self.rport if self.rport is not None and self.rport > 0 else self.sent_by.port
        return Address(self.received or self.host, port)

    def with_received_rport(self, source: Address) -> bytes:
        """The value as a server keeps it after receipt from ``source`` (B3), nothing else changed.

        ``received`` is set when the host differs from the source or is a name, or, as RFC 3581 section 4 wants, when
        ``rport`` is there; ``rport`` is filled only if the sender put it there. What a sender claims there itself is
        overwritten. A zone (``fe80::1%eth0``) means nothing to anybody else and is left out.
        """
        host = source.host.partition("%")[0]
        wanted: dict[str, bytes] = {}
        if self.rport is not None:
            wanted["rport"] = b"rport=%d" % source.port
        if self.rport is not None or self.received is not None or not same_host(self.host, host):
            wanted["received"] = b"received=" + host.encode("ascii")
        edited, position = bytearray(), 0
        for param in self.params:
            if param.name in wanted:
                edited += self.text[position : param.start] + b";" + wanted.pop(param.name)
                position = param.end
        edited += self.text[position:].rstrip(b" \t;")
        for left in wanted.values():
            edited += b";" + left
        return bytes(edited)


def reply_address(via: Via, source: Address, *, force_rport: bool = False) -> Address:
    """Where responses to a request go that came from ``source`` with ``via`` on top (B3).

    To the source's IP address always; to its port if the Via has ``rport`` or the peer is set to ``force_rport``, else
    to the port of the Via.
    """
    if via.rport is not None or force_rport:
        return source
    return Address(source.host, via.sent_by.port)


def build_via(transport: str, sent_by: Address, branch: bytes) -> bytes:
    """A Via value of our own; ``rport`` is asked for on UDP (B1)."""
    rport = b";rport" if transport.upper() == "UDP" else b""
    sent_with = transport.upper().encode("ascii")
    return b"SIP/2.0/%s %s%s;branch=%s" % (sent_with, str(sent_by).encode("ascii"), rport, branch)


def quoted_branch_untrusted(quoted: bytes) -> bytes:
    """The branch in the Via of ours on top of the message that ``quoted`` is the beginning of; empty where there is none."""
    top = _OWN_TOP_VIA.match(quoted)
    return b"" if top is None else top[1]


def default_port(transport: str) -> int:
    """5061 for TLS, 5060 for all else (RFC 3261 section 18.2.2)."""
    return 5061 if transport.upper() in ("TLS", "WSS") else 5060


def _rport_untrusted(value: bytes | None) -> int:
    if not value:
        return -1
    if not _DIGITS.fullmatch(value):
        raise BadPacket(f"{value[:20]!r} is no rport")
    return port_untrusted(value)
