"""Settings that both ends have: the tables they share, the kinds of values, and how each kind is read.

Structs are frozen and cannot be wrong: what belongs together is checked where they are made, from a file or in Python.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal, NamedTuple, NewType, TypeAlias

import msgspec

from tunnel.address import Address, parse_address
from tunnel.errors import BadConfig

__all__ = [
    "READERS",
    "AdminConfig",
    "BindHost",
    "FaceAddresses",
    "FaceConfig",
    "Hide",
    "IPNetwork",
    "PortRange",
    "ProxyUrl",
    "Reader",
    "Seconds",
    "SipListener",
    "SipUriText",
    "check_listen",
    "parse_sip_uri",
    "sip_uri_host",
    "sip_uri_transport",
    "warn_of_media_ports",
]

# --- values ---------------------------------------------------------------------------------------------------------

IPNetwork: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network
SipUriText = NewType("SipUriText", str)
ProxyUrl = NewType("ProxyUrl", str)
BindHost = NewType("BindHost", str)
Seconds = Annotated[float, msgspec.Meta(ge=0, le=86400)]
Hide: TypeAlias = Literal["full", "basic"]


class SipListener(NamedTuple):
    """One entry of ``sip``: ``transport`` is udp, tcp or tls; port 0 is any free one."""

    transport: str
    port: int

    def __str__(self) -> str:
        return f"{self.transport}:{self.port}"


class PortRange(NamedTuple):
    """Media ports from ``low`` (even) to ``high``, both included."""

    low: int
    high: int

    def __str__(self) -> str:
        return f"{self.low}-{self.high}"


class FaceAddresses(tuple[str, ...]):
    """The addresses of a face as text without brackets: one IPv4, one IPv6, or both, the preferred one first."""

    __slots__ = ()

    def of_family(self, *, ipv6: bool) -> str | None:
        """The address to show to a peer of that family, None when the face has none."""
        return next((host for host in self if (":" in host) is ipv6), None)


# --- tables that both ends have -------------------------------------------------------------------------------------


class AdminConfig(msgspec.Struct, frozen=True, kw_only=True):
    """``[admin]``: for the operator; keep it off the internet."""

    listen: Address
    """Where /metrics, /healthz and the operator's page are served, for example "127.0.0.1:9080"."""

    def __post_init__(self) -> None:
        check_listen("admin.listen", self.listen)


class FaceConfig(msgspec.Struct, frozen=True, kw_only=True):
    """What ``[public]`` and ``[lan]`` have in common: one end's side towards a network."""

    address: FaceAddresses
    """Written into Via, Contact, Record-Route and SDP: one address, or a list of one IPv4 and one IPv6."""
    sip: tuple[SipListener, ...] = (SipListener("udp", 5060), SipListener("tcp", 5060))
    """Where SIP is listened for, as "transport:port". Default ["udp:5060", "tcp:5060"]."""
    media_ports: PortRange = PortRange(20000, 29999)
    """UDP ports for RTP and RTCP, "low-high", low even; each stream holds two. Default "20000-29999"."""
    hide: Hide = "full"
    """How much of the other side a message shows: "full" nothing, "basic" the Via and Record-Route lines as they came,
    which a peer may need that insists on them. Default "full"."""
    certificate: Path | None = None
    """PEM chain for the ``tls:`` listeners, together with ``private_key``. Default: one that this end makes itself."""
    private_key: Path | None = None
    """PEM key of ``certificate``."""

    def __post_init__(self) -> None:
        table = self.table()
        if not self.sip:
            raise BadConfig("settings", f"{table}.sip", [], f"name at least one listener, {SIP_LISTENER}")
        fixed = [listener for listener in self.sip if listener.port]
        taken = [str(listener) for listener in fixed if fixed.count(listener) > 1 or _clashes(listener, fixed)]
        if taken:
            raise BadConfig("settings", f"{table}.sip", taken, "one port for one listener")
        for listener in fixed:
            if listener.transport == "udp" and self.media_ports.low <= listener.port <= self.media_ports.high:
                mend = f"leave out the SIP port {listener}, for example 20000-29999"
                raise BadConfig("settings", f"{table}.media_ports", str(self.media_ports), mend)
        if (self.certificate is None) is not (self.private_key is None):
            lone = "certificate" if self.private_key is None else "private_key"
            value = str(self.certificate or self.private_key)
            raise BadConfig("settings", f"{table}.{lone}", value, "set certificate and private_key, or neither")

    @classmethod
    def table(cls) -> str:
        """The name of the table in the file."""
        raise NotImplementedError

    def bind_host(self, address: str) -> str:
        """What to bind for one of the face's addresses."""
        return address


def check_listen(key: str, address: Address) -> None:
    """Raises BadConfig when ``address`` cannot be listened on because its host is a name."""
    try:
        _ = address.ip
    except ValueError:
        raise BadConfig("settings", key, str(address), f"listen on an IP address, {ADDRESS}") from None


def _clashes(listener: SipListener, others: list[SipListener]) -> bool:
    """tcp and tls share one space of ports."""
    return listener.transport == "tls" and SipListener("tcp", listener.port) in others


def warn_of_media_ports(face: FaceConfig, ephemeral: tuple[int, int] | None) -> list[str]:
    """A sentence when the kernel may give the face's media ports to somebody else's outgoing connections."""
    if ephemeral is None or face.media_ports.high < ephemeral[0] or ephemeral[1] < face.media_ports.low:
        return []
    return [
        f"{face.table()}.media_ports = {str(face.media_ports)!r} overlaps the ports {ephemeral[0]}-{ephemeral[1]} that "
        f"the kernel gives to outgoing connections: choose others, or reserve them with "
        f"sysctl net.ipv4.ip_local_reserved_ports={face.media_ports}"
    ]


# --- one reader for each kind of value ------------------------------------------------------------------------------


class Reader(NamedTuple):
    """``read`` takes a TOML value and raises ValueError or BadPacket; ``wanted`` says what would be right."""

    read: Callable[[object], object]
    wanted: str


ADDRESS = 'for example "203.0.113.10:443" or "[2001:db8::1]:443"'
SIP_LISTENER = 'for example "udp:5060", "tcp:5060" or "tls:5061"'


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("this must be text in quotes")
    return value


def _address(value: object) -> Address:
    address = parse_address(_text(value))
    if not re.fullmatch(r"[A-Za-z0-9._:-]+", address.host):
        raise ValueError("the host cannot be read")
    return Address(address.host.lower(), address.port)


def _bind_host(value: object) -> BindHost:
    return BindHost(str(ipaddress.ip_address(_text(value).strip("[]"))))


def _face_addresses(value: object) -> FaceAddresses:
    texts = value if isinstance(value, list) else [value]
    addresses = [ipaddress.ip_address(_text(text).strip("[]")) for text in texts]
    if not addresses or len({address.version for address in addresses}) != len(addresses):
        raise ValueError("at most one of each family")
    for address in addresses:
        if address.is_unspecified or address.is_multicast:
            raise ValueError("others must be able to send to it")
        if "%" in str(address):
            raise ValueError("a zone means nothing to others; name an address that needs none")
    return FaceAddresses(map(str, addresses))


def _sip_listener(value: object) -> SipListener:
    transport, _, port = _text(value).partition(":")
    if transport not in ("udp", "tcp", "tls") or not re.fullmatch(r"[0-9]{1,5}", port) or int(port) > 65535:
        raise ValueError("")
    return SipListener(transport, int(port))


def _port_range(value: object) -> PortRange:
    match = re.fullmatch(r"([0-9]{1,5})\s*-\s*([0-9]{1,5})", _text(value))
    if match is None:
        raise ValueError("")
    low, high = int(match[1]), int(match[2])
    if low % 2 or low == 0:
        raise ValueError("the low port must be even (RFC 3550 section 11)")
    if high <= low or high > 65535:
        raise ValueError("the high port must lie above the low one, at most 65535")
    return PortRange(low, high)


def _network(value: object) -> IPNetwork:
    text = _text(value)
    try:
        return ipaddress.ip_network(text)
    except ValueError:
        network = ipaddress.ip_network(text, strict=False)  # raises where it is no network at all
        raise ValueError(f"bits are set behind the prefix; did you mean {str(network)!r}?") from None


SIP_URI = re.compile(
    r"sips?:(?:[^\s@<>\"]+@)?(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]+)(?::([0-9]{1,5}))?(?:;[^\s<>\"]*)?", re.I
)


def parse_sip_uri(value: object) -> SipUriText:
    """A SIP URI as an operator writes one; the message model parses it again where it is used. Raises ValueError."""
    match = SIP_URI.fullmatch(_text(value))
    if match is None or int(match[2] or 1) not in range(1, 65536):
        raise ValueError("")
    if match[1].startswith("["):
        ipaddress.IPv6Address(match[1][1:-1])
    return SipUriText(_text(value))


def sip_uri_host(uri: SipUriText) -> str:
    """The host of a SIP URI, without brackets, lower case."""
    match = SIP_URI.fullmatch(uri)
    assert match is not None, uri
    return match[1].strip("[]").lower()


def sip_uri_transport(uri: SipUriText) -> str:
    """The transport a SIP URI insists on, lower case; empty where it leaves that open."""
    if uri[:5].lower() == "sips:":
        return "tls"
    match = re.search(r";transport=([a-z]+)", uri, re.I)
    return match[1].lower() if match else ""


def _proxy_url(value: object) -> ProxyUrl:
    if not re.fullmatch(r"https?://(?:[^\s/@]+@)?(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]+)(:[0-9]{1,5})?/?", _text(value)):
        raise ValueError("")
    return ProxyUrl(_text(value))


READERS: dict[object, Reader] = {
    str: Reader(_text, "text in quotes"),
    Address: Reader(_address, f"an address with a port, {ADDRESS}"),
    FaceAddresses: Reader(_face_addresses, "an IP address of this end, or one IPv4 and one IPv6 in a list"),
    BindHost: Reader(_bind_host, 'an IP address to bind, for example "0.0.0.0"'),
    SipListener: Reader(_sip_listener, SIP_LISTENER),
    PortRange: Reader(_port_range, 'a range of ports, for example "20000-29999"'),
    IPNetwork: Reader(_network, 'a network, for example "10.1.0.0/16"'),
    SipUriText: Reader(parse_sip_uri, 'a SIP URI, for example "sip:10.1.0.5:5060"'),
    ProxyUrl: Reader(_proxy_url, 'the URL of a proxy, for example "http://10.1.0.3:3128"'),
}
