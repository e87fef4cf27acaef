"""The rig's world: an enterprise behind its firewall, the internet, and a remote worker behind a home router.

    10.1.0.0/24 (switch `lan`)          firewall            203.0.113.0/24 (switch `internet`)
    agent 10.1.0.2   pbx 10.1.0.5   10.1.0.1|203.0.113.1    server .10  registrar .20  trunk .30  carol .40
    alice 10.1.0.50  dave 10.1.0.51                         scanner .66

    192.168.77.0/24                   home router           on the same switch `internet`
    bob 192.168.77.10            192.168.77.1|198.51.100.7

Every host has a way to every other network, so a program that ignores the tunnel does reach the firewall and is counted.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import Self

from field.rig.firewall import Firewall
from field.rig.host import Host

__all__ = ["Network"]

_NAMES = {"itsp.example": "203.0.113.20"}
_LAN = {"agent": "10.1.0.2", "pbx": "10.1.0.5", "alice": "10.1.0.50", "dave": "10.1.0.51"}
_INTERNET = {
    "server": "203.0.113.10",
    "registrar": "203.0.113.20",
    "trunk": "203.0.113.30",
    "carol": "203.0.113.40",
    "scanner": "203.0.113.66",
}
_FIREWALL_INSIDE, _FIREWALL_OUTSIDE = "10.1.0.1", "203.0.113.1"
_HOME_INSIDE, _HOME_OUTSIDE = "192.168.77.1", "198.51.100.7"

# Ports are changed on the way out, as many a home router does: what bob's phone writes into Via and SDP is never true.
_HOME_RULES = """
table ip home {
    chain inwards {
        type filter hook forward priority filter; policy drop;
        iifname "inside" accept
        ct state established,related accept
    }
    chain outwards {
        type nat hook postrouting priority srcnat;
        oifname "outside" masquerade fully-random
    }
}
"""


class Network:
    """A context manager; the hosts are attributes named as in the drawing above."""

    def __init__(self) -> None:
        self._made = ExitStack()
        self._ports = 0
        try:
            self._build()
        except BaseException:
            self._made.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._made.close()

    def _build(self) -> None:
        self.lan = self._switch("lan")
        self.internet = self._switch("internet")
        self.gateway = self._host("firewall")
        self._plug(self.gateway, "inside", f"{_FIREWALL_INSIDE}/24", self.lan)
        self._plug(self.gateway, "outside", f"{_FIREWALL_OUTSIDE}/24", self.internet)
        self.gateway.sysctl("net.ipv4.ip_forward", "1")
        self.firewall = Firewall(self.gateway)
        self.agent, self.pbx, self.alice, self.dave = (self._inside(name, at) for name, at in _LAN.items())
        self.server, self.registrar, self.trunk, self.carol, self.scanner = (
            self._outside(name, at) for name, at in _INTERNET.items()
        )
        self._home()

    def _home(self) -> None:
        self.home = self._switch("home")
        router = self._host("router")
        self._plug(router, "inside", f"{_HOME_INSIDE}/24", self.home)
        self._plug(router, "outside", f"{_HOME_OUTSIDE}/24", self.internet)
        router.ip("route", "add", "203.0.113.0/24", "dev", "outside")
        router.sysctl("net.ipv4.ip_forward", "1")
        router.run("nft", "-f", "-", stdin=_HOME_RULES)
        self.bob = self._host("bob")
        self._plug(self.bob, "eth0", "192.168.77.10/24", self.home)
        self.bob.ip("route", "add", "default", "via", _HOME_INSIDE)

    def _host(self, name: str, names: dict[str, str] | None = None) -> Host:
        host = Host(name, names)
        self._made.callback(host.remove)
        return host

    def _switch(self, name: str) -> Host:
        switch = self._host(name)
        switch.ip("link", "add", "switch", "type", "bridge")
        switch.ip("link", "set", "switch", "up")
        return switch

    def _inside(self, name: str, address: str) -> Host:
        host = self._host(name)
        self._plug(host, "eth0", f"{address}/24", self.lan)
        host.ip("route", "add", "default", "via", _FIREWALL_INSIDE)
        return host

    def _outside(self, name: str, address: str) -> Host:
        host = self._host(name, _NAMES)
        self._plug(host, "eth0", f"{address}/24", self.internet)
        host.ip("route", "add", "198.51.100.0/24", "dev", "eth0")
        host.ip("route", "add", "default", "via", _FIREWALL_OUTSIDE)
        return host

    def _plug(self, host: Host, interface: str, address: str, switch: Host) -> None:
        """One cable from `interface` of the host to a new port of the switch."""
        self._ports += 1
        port = f"port{self._ports}"
        switch.ip("link", "add", port, "type", "veth", "peer", "name", interface, "netns", host.namespace)
        switch.ip("link", "set", port, "master", "switch", "up")
        host.ip("address", "add", address, "dev", interface)
        host.ip("link", "set", interface, "up")
        host.address = host.address or address.partition("/")[0]
