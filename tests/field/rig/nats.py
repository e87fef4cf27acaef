"""More routers for the rig: phones behind NATs of every temper, outside and inside.

    CGN        phone 192.168.78.10 - home router 192.168.78.1|100.64.7.2 - carrier's 100.64.7.1|198.51.100.8 - internet
    forgetful  phone 192.168.79.10 - home router 192.168.79.1|198.51.100.9 - internet: UDP is forgotten after 30 s
    floor      phone 192.168.80.10 - router 192.168.80.1|10.1.0.60 - the enterprise's LAN

Linux filters by address and port of the far end, whatever it maps; `fully-random` maps anew for each far end (symmetric).
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from field.rig.firewall import Firewall
from field.rig.host import Host
from field.rig.network import Network

__all__ = [
    "CGN_PUBLIC",
    "FLOOR_PUBLIC",
    "FORGETFUL_PUBLIC",
    "UDP_TIMEOUT_S",
    "HiddenPhones",
    "forgotten",
    "hidden_phones",
    "random_ports",
]

CGN_PUBLIC, FORGETFUL_PUBLIC, FLOOR_PUBLIC = "198.51.100.8", "198.51.100.9", "10.1.0.60"
UDP_TIMEOUT_S = 30
_RULES = """
table ip nat {{
    chain inwards {{
        type filter hook forward priority filter; policy drop;
        iifname "inside" accept
        ct state established,related accept
    }}
    chain outwards {{
        type nat hook postrouting priority srcnat;
        oifname "outside" masquerade {how}
    }}
}}
"""

# A netlink message to the kernel: delete every entry of the connection table (linux/netfilter/nfnetlink_conntrack.h).
_FLUSH = """
import socket, struct
REQUEST, ACK, CTNETLINK, DELETE, NETLINK_NETFILTER = 1, 4, 1, 2, 12
with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER) as netlink:
    netlink.send(struct.pack("=IHHII", 20, CTNETLINK << 8 | DELETE, REQUEST | ACK, 1, 0) + bytes(4))
    _, _, _, _, _, error = struct.unpack_from("=IHHIIi", netlink.recv(4096))
assert error == 0, error
"""


@dataclass(frozen=True, slots=True)
class HiddenPhones:
    """One host behind each of them, and the carrier's router."""

    cgn: Host
    forgetful: Host
    floor: Host
    carrier: Host


@contextmanager
def hidden_phones(network: Network) -> Iterator[HiddenPhones]:
    """Their hosts and routers, plugged into the rig's network as long as the block lasts."""
    with ExitStack() as made:
        build = _Builder(made)
        carrier_net = build.switch("carriernet")
        carrier = build.router("carrier", "100.64.7.1/24", carrier_net, CGN_PUBLIC, network.internet, "fully-random")
        carrier.ip("route", "add", "203.0.113.0/24", "dev", "outside")
        cgn, home = build.home("cgn", "192.168.78", "100.64.7.2", carrier_net, "random")
        home.ip("route", "add", "default", "via", "100.64.7.1")
        forgetful, router = build.home("forgetful", "192.168.79", FORGETFUL_PUBLIC, network.internet, "fully-random")
        router.ip("route", "add", "203.0.113.0/24", "dev", "outside")
        for key in ("nf_conntrack_udp_timeout", "nf_conntrack_udp_timeout_stream"):
            router.sysctl(f"net.netfilter.{key}", str(UDP_TIMEOUT_S))
        floor, inner = build.home("floor", "192.168.80", FLOOR_PUBLIC, network.lan, "fully-random")
        inner.ip("route", "add", "default", "via", "10.1.0.1")
        yield HiddenPhones(cgn, forgetful, floor, carrier)


@contextmanager
def random_ports(firewall: Firewall) -> Iterator[None]:
    """The enterprise's firewall gives the tunnel's connections ports at random."""
    try:
        _masquerade(firewall, "fully-random")
        yield
    finally:
        _masquerade(firewall)


@contextmanager
def forgotten(router: Host) -> Iterator[None]:
    """The router knows of no connection any more, as after a restart, and takes none up in the middle."""
    loose = "net.netfilter.nf_conntrack_tcp_loose"
    router.sysctl(loose, "0")
    router.run(sys.executable, "-c", _FLUSH)
    try:
        yield
    finally:
        router.sysctl(loose, "1")


def _masquerade(firewall: Firewall, *how: str) -> None:
    firewall.host.run("nft", "flush", "chain", "ip", "wall", "outwards")
    firewall.host.run("nft", "add", "rule", "ip", "wall", "outwards", "oifname", "outside", "masquerade", *how)


class _Builder:
    """Hosts that go when `made` is closed."""

    def __init__(self, made: ExitStack) -> None:
        self._made = made
        self._ports = itertools.count(1)

    def host(self, name: str) -> Host:
        host = Host(name)
        self._made.callback(host.remove)
        return host

    def switch(self, name: str) -> Host:
        switch = self.host(name)
        switch.ip("link", "add", "switch", "type", "bridge")
        switch.ip("link", "set", "switch", "up")
        return switch

    def router(self, name: str, inside: str, inner: Host, public: str, outer: Host, how: str) -> Host:
        """A router between two switches with a NAT of that temper."""
        router = self.host(name)
        self._plug(router, "inside", inside, inner)
        self._plug(router, "outside", f"{public}/24", outer)
        router.sysctl("net.ipv4.ip_forward", "1")
        router.run("nft", "-f", "-", stdin=_RULES.format(how=how))
        return router

    def home(self, name: str, prefix: str, public: str, outer: Host, how: str) -> tuple[Host, Host]:
        """A phone's host and the router before it."""
        inner = self.switch(f"{name}-net")
        router = self.router(f"{name}-router", f"{prefix}.1/24", inner, public, outer, how)
        phone = self.host(f"{name}-phone")
        self._plug(phone, "eth0", f"{prefix}.10/24", inner)
        phone.ip("route", "add", "default", "via", f"{prefix}.1")
        return phone, router

    def _plug(self, host: Host, interface: str, address: str, switch: Host) -> None:
        port = f"nat{next(self._ports)}"
        switch.ip("link", "add", port, "type", "veth", "peer", "name", interface, "netns", host.namespace)
        self._made.callback(switch.ip, "link", "delete", port)
        switch.ip("link", "set", port, "master", "switch", "up")
        host.ip("address", "add", address, "dev", interface)
        host.ip("link", "set", interface, "up")
        host.address = host.address or address.partition("/")[0]
