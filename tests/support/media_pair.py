"""Both ends of a call's media with paper planes between two parties: scripts of offers and answers read like calls."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from support.plane import FakePlane
from tunnel.address import Address
from tunnel.counters import Counters
from tunnel.media.body import SipBody
from tunnel.media.channels import AGENT_CHANNELS, SERVER_CHANNELS, ChannelSpace
from tunnel.media.exchange import Carriage, Side
from tunnel.media.offer_answer import ROOT, CallMedia
from tunnel.media.plane import Aim
from tunnel.media.streams import FaceRules

__all__ = [
    "CALLER_IP",
    "LAN_IP",
    "PHONE",
    "PUBLIC_IP",
    "TRUNK",
    "TRUNK_IP",
    "End",
    "MediaPair",
    "aim_outside",
    "answered",
    "assert_audio",
    "ports",
    "sdp",
]

LAN_IP = "10.1.0.2"
PUBLIC_IP = "203.0.113.10"
CALLER_IP = "10.1.0.20"
TRUNK_IP = "198.51.100.7"
PHONE, TRUNK = (CALLER_IP, 40000), (TRUNK_IP, 6000)


def sdp(host: str, *media: str, session: str = "", version: int = 1) -> bytes:
    """A description with its c= at session level; each of ``media`` is ``port`` or ``kind port proto formats``,
    further lines after ``|``."""
    family = "IP6" if ":" in host else "IP4"
    lines = ["v=0", f"o=- 1 {version} IN {family} {host}", "s=-", f"c=IN {family} {host}", "t=0 0"]
    lines += session.split("|") if session else []
    for medium in media:
        head, *below = medium.split("|")
        lines += [f"m=audio {head} RTP/AVP 0 101" if head.isdigit() else f"m={head}", *below]
    return "".join(f"{line}\r\n" for line in lines).encode()


def ports(body: bytes) -> list[int]:
    """The ports of the m= lines."""
    return [int(port) for port in re.findall(rb"(?m)^m=\S+ (\d+)", body)]


@dataclass
class End:
    """One end: its face's plane, its channels, its side of the call."""

    plane: FakePlane
    channels: ChannelSpace
    rules: FaceRules
    counters: Counters = field(default_factory=Counters)

    def __post_init__(self) -> None:
        self.media = CallMedia(1, self.plane, self.channels, self.rules, self.counters)


class MediaPair:
    """An agent's and a server's end of one call. ``inside`` speaks from the LAN, ``outside`` from the internet."""

    def __init__(
        self, *, lan: str = LAN_IP, public: str | None = PUBLIC_IP, public6: str | None = None, capacity: int = 10_000
    ) -> None:
        self.now = 100.0
        lan4, lan6 = (None, lan) if ":" in lan else (lan, None)
        self.agent = End(
            FakePlane(lan4, lan6, 30000, capacity),
            ChannelSpace(AGENT_CHANNELS),
            FaceRules(lan4, lan6, lan4 is None, lambda ip: ip.startswith(("10.1.", "fd00:")), lambda ip: False),
        )
        self.server = End(
            FakePlane(public, public6, 20000, capacity),
            ChannelSpace(SERVER_CHANNELS),
            FaceRules(
                public,
                public6,
                public is None,
                lambda ip: ip.startswith(("203.0.113.", "198.51.100.", "2001:db8:")),
                lambda ip: ip == TRUNK_IP,
            ),
        )

    def inside(self, body: bytes, carriage: Carriage = Carriage.REPLY, fork: bytes = b"b1", **how: str) -> bytes:
        """The LAN's party sends ``body``; returns what leaves the server."""
        return self._pass(self.agent, self.server, body, carriage, fork, how.get("source", CALLER_IP))

    def outside(self, body: bytes, carriage: Carriage = Carriage.REPLY, fork: bytes = b"b1", **how: str) -> bytes:
        """The internet's party sends ``body``; returns what leaves the agent."""
        return self._pass(self.server, self.agent, body, carriage, fork, how.get("source", TRUNK_IP))

    def _pass(self, near: End, far: End, body: bytes, carriage: Carriage, fork: bytes, source: str) -> bytes:
        self.now += 0.1
        channels = near.media.hear(fork, SipBody(body), source, self.now, carriage)
        return far.media.speak(fork, SipBody(body), channels, self.now + 0.02, carriage)

    def settle(self, fork: bytes = b"b1") -> None:
        for end in (self.agent, self.server):
            end.media.settle(fork, self.now)

    def fail(self, offerer: str, fork: bytes = b"b1") -> None:
        """The offer of ``offerer`` ("inside" or "outside") was refused."""
        near, far = (self.agent, self.server) if offerer == "inside" else (self.server, self.agent)
        far.media.roll_back(fork, Side.SPOKEN, self.now)
        near.media.roll_back(fork, Side.HEARD, self.now)

    def close(self) -> None:
        for end in (self.agent, self.server):
            end.media.close(5.0, self.now)

    def audio_out(self, source: tuple[str, int], port: int) -> tuple[Address, Address] | None:
        """From and to which address a packet leaves the server that the LAN's party sent to the agent's ``port``."""
        return self._travel(self.agent, self.server, Address(*source), port)

    def audio_in(self, source: tuple[str, int], port: int) -> tuple[Address, Address] | None:
        """From and to which address a packet leaves the agent that came to the server's ``port``."""
        return self._travel(self.server, self.agent, Address(*source), port)

    def _travel(self, near: End, far: End, source: Address, port: int) -> tuple[Address, Address] | None:
        lease = near.plane.held.get(port)
        channel = near.plane.from_network(source, lease.rtp) if lease is not None else None
        return far.plane.to_network(channel) if channel is not None else None

    def assert_nothing_left(self) -> None:
        for end in (self.agent, self.server):
            assert end.plane.held == {}
            assert end.plane.ties == {}
            assert end.channels.in_use == 0


def answered(pair: MediaPair) -> tuple[int, int]:
    """INVITE and 200: a call with audio both ways; the ports that the outside and the inside see."""
    (public,) = ports(pair.inside(sdp(CALLER_IP, "40000"), Carriage.OPENING, ROOT))
    (lan,) = ports(pair.outside(sdp(TRUNK_IP, "6000")))
    pair.settle()
    assert_audio(pair, PHONE, lan, TRUNK, public)
    return public, lan


def assert_audio(pair: MediaPair, phone: tuple[str, int], lan: int, trunk: tuple[str, int], public: int) -> None:
    assert pair.audio_out(phone, lan) == ((PUBLIC_IP, public), trunk)
    assert pair.audio_in(trunk, public) == ((LAN_IP, lan), phone)


def aim_outside(pair: MediaPair, index: int = 0) -> Aim:
    """Whom the server's face talks to for an m-line."""
    views = [view for view in pair.server.media.streams() if view.index == index and view.channel]
    aim = pair.server.plane.aim_of(views[-1].channel)
    assert aim is not None
    return aim
