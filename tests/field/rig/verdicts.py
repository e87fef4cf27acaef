"""What must hold of every call through the pair, whatever it was about."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from field.rig.capture import Capture, Packet, leaks, tcp_flows
from field.rig.network import Network

__all__ = ["Watch", "watched"]

_READABLE = (b"SIP/2.0", b"INVITE", b"REGISTER", b"a=rtpmap", b"@itsp.example", b"@acme.example")


@dataclass(frozen=True, slots=True)
class Watch:
    """Captures of the inside and of the outside while something happens; `packets` of each once it is over."""

    lan: Capture
    internet: Capture


@contextmanager
def watched(network: Network, folder: Path, excuse_call_id: bool = False) -> Iterator[Watch]:
    """Watch both networks, and judge: nothing crossed but the tunnel, nothing in it is readable, no inside address shows.

    `excuse_call_id`: a program of the rig writes its own address into Call-ID, a header that no relay may edit.
    """
    network.firewall.reset_counters()
    with ExitStack() as captures:
        watch = Watch(
            captures.enter_context(Capture(network.lan, folder)),
            captures.enter_context(Capture(network.internet, folder)),
        )
        yield watch
    _assert_only_the_tunnel_crossed(network)
    _assert_nothing_readable(watch.internet.packets)
    inside = [network.agent.address, network.pbx.address, network.alice.address, network.dave.address, "10.1.0.1"]
    found = leaks(watch.internet.packets, "10.1.0.0/16", inside, excuse_call_id)
    assert not found, "inside addresses seen outside:\n" + "\n".join(found[:20])
    found = leaks(watch.lan.packets, "192.168.77.0/24", [network.bob.address], excuse_call_id)
    assert not found, "a remote worker's home address seen inside:\n" + "\n".join(found[:20])


def _assert_only_the_tunnel_crossed(network: Network) -> None:
    crossings = network.firewall.packets("crossings")
    assert crossings == 0, f"{crossings} packets other than the tunnel's tried to cross the firewall"


def _assert_nothing_readable(packets: list[Packet]) -> None:
    carried = tcp_flows(packet for packet in packets if packet.is_tunnel)
    shown = {flow: [word for word in _READABLE if word in data] for flow, data in carried.items()}
    assert not any(shown.values()), f"the tunnel can be read: {shown}"
