"""A trunk through the pair with a sipp at either end: who calls, who is called, and what each of them hears."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from field.rig.capture import Packet
from field.rig.ear import RtpStream
from field.rig.network import Network
from field.rig.party import Party, finished
from field.rig.script import Script
from field.rig.verdicts import Watch, watched
from field.rig.voices import assert_heard, only_stream
from field.rig.wallpass import Pair, wallpass_pair

__all__ = ["AGENT", "PBX", "SERVER", "TRUNK", "Line", "Session", "assert_both_heard", "sessions", "trunk_pair"]

AGENT, SERVER, TRUNK, PBX = "10.1.0.2", "203.0.113.10", "203.0.113.30", "10.1.0.5"


@contextmanager
def trunk_pair(network: Network, folder: Path) -> Iterator[Pair]:
    """Way B without a PBX's program: the agent knows the PBX and the carrier by their addresses."""
    lan = f'pbx = "sip:{PBX}:5060"\noutside = "sip:{TRUNK}"'
    with wallpass_pair(network, folder, tenant=["--trunk", f"sip:{TRUNK}"], lan=lan) as pair:
        yield pair


@dataclass(frozen=True, slots=True)
class Session:
    """An SDP on the wire: the lines of it; `media_at`: the first m-line's address and port."""

    lines: tuple[str, ...]

    @staticmethod
    def of(packet: Packet) -> Session:
        return Session(tuple(packet.payload.partition(b"\r\n\r\n")[2].decode().split("\r\n")))

    @property
    def media_at(self) -> tuple[str, str]:
        address = next(line.split()[-1] for line in self.lines if line.startswith("c="))
        return address, self.ports()[0]

    def media_is(self, kind: str) -> bool:
        """Whether its first m-line is of that kind."""
        return next(line for line in self.lines if line.startswith("m=")).startswith(f"m={kind} ")

    def ports(self) -> list[str]:
        return [line.split()[1] for line in self.lines if line.startswith("m=")]


@dataclass(frozen=True, slots=True)
class Line:
    """Way B in one direction: "out", the PBX calls the carrier, or "in"."""

    network: Network
    folder: Path
    direction: str

    @property
    def caller(self) -> Script:
        if self.direction == "in":
            return Script("+498912", "carrier.example", callee=f"sip:+49301234@{SERVER}")
        return Script("+49301234", "acme.example", callee=f"sip:+498912@{TRUNK}")

    @property
    def callee(self) -> Script:
        return Script("+49301234" if self.direction == "in" else "+498912")

    @property
    def callees_proxy(self) -> str:
        """Our end's address on the callee's side."""
        return AGENT if self.direction == "in" else SERVER

    @property
    def callers_proxy(self) -> str:
        return SERVER if self.direction == "in" else AGENT

    @property
    def caller_voice(self) -> str:
        return "gateway" if self.direction == "in" else "alice"

    @property
    def callee_voice(self) -> str:
        return "alice" if self.direction == "in" else "gateway"

    def ears(self, watch: Watch) -> tuple[RtpStream, RtpStream]:
        """The one stream that came to the caller, and the one that came to the callee."""
        inside, outside = only_stream(watch.lan.packets, PBX), only_stream(watch.internet.packets, TRUNK)
        return (outside, inside) if self.direction == "in" else (inside, outside)

    def calls(self, caller: Script, callee: Script) -> Watch:
        """One call by those scripts, watched and judged."""
        with watched(self.network, self.folder) as watch, ExitStack() as running:
            called = running.enter_context(self.called(callee))
            calling = running.enter_context(self.calling(caller))
            finished(calling, called)
        return watch

    def at_the_caller(self, watch: Watch) -> list[Packet]:
        """What came to the caller from our end."""
        return _delivered(watch, self.direction == "out")

    def at_the_callee(self, watch: Watch) -> list[Packet]:
        return _delivered(watch, self.direction == "in")

    def from_the_caller(self, watch: Watch) -> list[Packet]:
        """What the caller sent to our end."""
        packets, source = (watch.internet, TRUNK) if self.direction == "in" else (watch.lan, PBX)
        return [packet for packet in packets.packets if packet.source == source]

    def called(self, script: Script, **more: object) -> Party:
        host = self.network.pbx if self.direction == "in" else self.network.trunk
        return Party(host, self.folder, script, voice=self.callee_voice, **more)

    def calling(self, script: Script, **more: object) -> Party:
        host = self.network.trunk if self.direction == "in" else self.network.pbx
        return Party(host, self.folder, script, self.callers_proxy, voice=self.caller_voice, **more)


def _delivered(watch: Watch, inside: bool) -> list[Packet]:
    packets, source, target = (watch.lan, AGENT, PBX) if inside else (watch.internet, SERVER, TRUNK)
    return [packet for packet in packets.packets if (packet.source, packet.target) == (source, target)]


def sessions(packets: Iterable[Packet]) -> list[Session]:
    """The SDP of each message that has one."""
    return [Session.of(packet) for packet in packets if packet.sip and b"\r\n\r\nv=0" in packet.payload]


def assert_both_heard(watch: Watch, at_least_s: float) -> None:
    """One stream to each, from our end, with the other's voice."""
    inside, outside = only_stream(watch.lan.packets, PBX), only_stream(watch.internet.packets, TRUNK)
    assert_heard(inside, "gateway", at_least_s)
    assert_heard(outside, "alice", at_least_s)
    assert (inside.source[0], outside.source[0]) == (AGENT, SERVER)
