"""The enterprise's firewall: one outbound TCP connection to the server, nothing else, and everything else counted."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

from field.rig.host import Host

__all__ = ["Firewall"]

SERVER = "203.0.113.10"
TUNNEL_PORT = 443
MIDDLEBOX_PORT = 8443

# `strays` are packets of a tunnel connection that conntrack has already buried: they come after a reset and are
# nobody's attempt to cross. `crossings` is everything else; it must stay at zero.
_RULES = f"""
table ip wall {{
    counter tunnel {{ }}
    counter strays {{ }}
    counter crossings {{ }}
    chain faults {{ }}
    chain through {{
        type filter hook forward priority filter; policy drop;
        iifname "inside" jump faults
        oifname "inside" jump faults
        iifname "inside" ip daddr {SERVER} tcp dport {TUNNEL_PORT} ct state new,established counter name tunnel accept
        iifname "outside" ip saddr {SERVER} tcp sport {TUNNEL_PORT} ct state established counter name tunnel accept
        ip saddr {SERVER} tcp sport {TUNNEL_PORT} ct state invalid counter name strays drop
        ip daddr {SERVER} tcp dport {TUNNEL_PORT} ct state invalid counter name strays drop
        counter name crossings drop
    }}
    chain itself {{
        type filter hook input priority filter; policy drop;
        iifname "lo" accept
        iifname "inside" tcp dport {MIDDLEBOX_PORT} accept
        ct state established accept
        ct state invalid tcp sport {TUNNEL_PORT} counter name strays drop
        counter name crossings drop
    }}
    chain detour {{
        type nat hook prerouting priority dstnat;
    }}
    chain outwards {{
        type nat hook postrouting priority srcnat;
        oifname "outside" masquerade
    }}
}}
"""


class Firewall:
    """The rules, loaded on `host`; its counters; and the faults that the tests put in the tunnel's way."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.host.run("nft", "-f", "-", stdin=_RULES)

    def packets(self, counter: str) -> int:
        """Packets counted so far by `tunnel`, `strays` or `crossings`."""
        listed = json.loads(self.host.run("nft", "-j", "list", "counter", "ip", "wall", counter))
        for item in listed["nftables"]:
            if "counter" in item:
                return int(item["counter"]["packets"])
        raise LookupError(counter)

    def reset_counters(self) -> None:
        self.host.run("nft", "reset", "counters")

    @contextmanager
    def swallowing(self, agent_port: int) -> Iterator[None]:
        """The tunnel's connection from `agent_port` goes silent: its packets vanish both ways, no new one is hindered."""
        with self._fault(f"tcp sport {agent_port} drop", f"tcp dport {agent_port} drop"):
            yield

    @contextmanager
    def resetting(self, agent_port: int) -> Iterator[None]:
        """The firewall forgets the connection from `agent_port`: the agent is reset, the server hears nothing more."""
        with self._fault(f"tcp sport {agent_port} reject with tcp reset", f"tcp dport {agent_port} drop"):
            yield

    @contextmanager
    def closed(self) -> Iterator[None]:
        """No tunnel connection gets through, old or new: each is reset."""
        port = f"tcp dport {TUNNEL_PORT}"
        with self._fault(f"{port} reject with tcp reset", f"tcp sport {TUNNEL_PORT} drop"):
            yield

    @contextmanager
    def detour(self) -> Iterator[None]:
        """New tunnel connections end at the middlebox on the firewall itself, which carries them on."""
        rule = f'iifname "inside" ip daddr {SERVER} tcp dport {TUNNEL_PORT} redirect to :{MIDDLEBOX_PORT}'
        self.host.run("nft", "add", "rule", "ip", "wall", "detour", rule)
        try:
            yield
        finally:
            self.host.run("nft", "flush", "chain", "ip", "wall", "detour")

    @contextmanager
    def _fault(self, *rules: str) -> Iterator[None]:
        for rule in rules:
            self.host.run("nft", "add", "rule", "ip", "wall", "faults", rule)
        try:
            yield
        finally:
            self.host.run("nft", "flush", "chain", "ip", "wall", "faults")
