"""A transport address: an IP address (or host name, before it is resolved) with a port."""

from __future__ import annotations

import ipaddress
from typing import NamedTuple, TypeAlias

from tunnel.errors import BadPacket

__all__ = ["Address", "IPAddress", "is_private", "parse_address", "private_network"]

IPAddress: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address


# Addresses that mean nothing beyond their own network: RFC 1918, 6598 (carrier NAT), 3927, 4193, 4291, those among them
# that are IPv4 addresses in IPv6 spelling. The documentation networks are left out on purpose, against ``ipaddress``: in a
# laboratory they play the internet.
_PRIVATE = tuple(
    ipaddress.ip_network(network)
    for network in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "::/127",
        "::ffff:0:0/96",
        "fc00::/7",
        "fe80::/10",
    )
)


def is_private(ip: IPAddress) -> bool:
    """Whether ``ip`` can be reached only from within some network of its own."""
    return private_network(ip) is not None


def private_network(ip: IPAddress) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    """The block of private addresses that ``ip`` lies in; None where it can be reached from everywhere."""
    return next((network for network in _PRIVATE if ip.version == network.version and ip in network), None)


class Address(NamedTuple):
    """``host`` without brackets, ``port`` 0-65535; prints as ``host:port``, IPv6 in brackets."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.bracketed}:{self.port}"

    @property
    def bracketed(self) -> str:
        """The host as it stands in a URI (RFC 3986 section 3.2.2)."""
        return f"[{self.host}]" if ":" in self.host else self.host

    @property
    def ip(self) -> IPAddress:
        """The host as an IP address; ValueError when it is a name."""
        return ipaddress.ip_address(self.host)

    @property
    def is_ipv6(self) -> bool:
        return ":" in self.host


def parse_address(text: str, default_port: int | None = None) -> Address:
    """``host:port``, ``[v6]:port``, or with ``default_port`` also without a port. Raises BadPacket."""
    if text.startswith("["):
        host, closed, rest = text[1:].partition("]")
        if not closed or (rest and not rest.startswith(":")):
            raise BadPacket(f"{text!r} is no address: an IPv6 address in brackets is followed by :port")
        port_text = rest[1:]
        try:
            ipaddress.IPv6Address(host)
        except ValueError as error:
            raise BadPacket(f"{text!r} is no address: {error}") from None
    else:
        host, _, port_text = text.partition(":")
        if ":" in port_text:
            raise BadPacket(f"{text!r} is no address: put an IPv6 address in brackets")
    if not host:
        raise BadPacket(f"{text!r} is no address: the host is missing")
    if not port_text:
        if default_port is None:
            raise BadPacket(f"{text!r} is no address: the port is missing")
        return Address(host, default_port)
    if not (port_text.isascii() and port_text.isdigit() and len(port_text) <= 5) or int(port_text) > 65535:
        raise BadPacket(f"{text!r} is no address: a port is a number from 0 to 65535")
    return Address(host, int(port_text))
