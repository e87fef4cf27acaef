"""One face of a World: its half proxy with the policy of its end, its fake ports, and what it sent."""

from __future__ import annotations

import hashlib
import ipaddress
import itertools
from collections.abc import Callable
from dataclasses import dataclass

from inside_agent.policy import LanPolicy
from outside_server.gatekeeper import Gatekeeper
from outside_server.limits import CallLimits
from outside_server.policy import PublicPolicy, never_sent_to
from support.plane import FakePlane
from tunnel.address import Address, is_private
from tunnel.counters import Counters
from tunnel.media.channels import AGENT_CHANNELS, SERVER_CHANNELS, ChannelSpace
from tunnel.media.offer_answer import CallMedia
from tunnel.media.streams import FaceRules
from tunnel.sip.bindings import Bindings
from tunnel.sip.contacts import ContactMasks
from tunnel.sip.face_index import FaceAddresses, FaceIndex
from tunnel.sip.flow import Flow
from tunnel.sip.half import Half, RelayEvent
from tunnel.sip.mask import MaskKey, TenantHint
from tunnel.sip.message import Message
from tunnel.sip.policy import FacePolicy
from tunnel.sip.relay import HalfProxy
from tunnel.sip.rewrite import Rewriter

__all__ = ["AGENT", "AGENT6", "SERVER", "SERVER6", "TENANT", "Side"]

AGENT = Address("10.1.0.2", 5060)
SERVER = Address("203.0.113.10", 5060)
AGENT6 = Address("fd00:1::2", 5060)
SERVER6 = Address("2001:db8::10", 5060)
ALLOW = (ipaddress.IPv4Network("10.1.0.0/16"), ipaddress.IPv6Network("fd00:1::/32"))
TENANT, AGENT_NUMBER = 7, 3
EPOCH_S = 1_700_000_000.0


def _usable_outside(host: str) -> bool:
    """As the server sees it: an SDP of the internet that names a private address is to be learnt from packets."""
    ip = ipaddress.ip_address(host)
    return not is_private(ip) and not never_sent_to(ip, False)


def _usable_inside(host: str) -> bool:
    """As the agent sees it, whose ``allow`` these tests set."""
    return any(ipaddress.ip_address(host) in network for network in ALLOW)


@dataclass
class OpenDoor:
    """The one agent's way in."""

    number: int
    tenant: int
    masks: ContactMasks
    is_up: bool = True
    has_pbx: bool = True
    takes_calls: bool = True


class Side:
    """One face: its half proxy, its fake ports, what it sent. ``beside``: the same face as another tenant has it."""

    def __init__(
        self,
        number: int,
        tenant: int,
        *,
        outside: bool,
        pbx: str,
        outside_uri: str,
        hide_full: bool,
        beside: Side | None = None,
    ) -> None:
        at = SERVER if outside else AGENT
        self.outside = outside
        at6 = SERVER6 if outside else AGENT6
        first_port = 20000 + 5000 * (number - 1) if outside else 30000
        self.plane = FakePlane(at.host, at6.host, first_port=first_port)
        bound = [(transport, each) for each in (at, at6) for transport in ("udp", "tcp")]
        tls = [("tls", each._replace(port=5061)) for each in (at, at6)]
        self.addresses = FaceAddresses([*bound, *tls])
        self.index = beside.index if beside is not None else FaceIndex()
        self.bindings = Bindings()
        self.counters = Counters()
        self.sent: list[tuple[Flow, Message]] = []
        self.events: list[RelayEvent] = []
        self.limits = CallLimits(0, 0)
        hint = TenantHint(b"h" * 32)
        key = MaskKey(bytes([ord("k") + number - 1]) * 32, tenant, hint if outside else None)
        masks = ContactMasks(outside=outside, epoch_s=EPOCH_S, bindings=self.bindings)
        masks.use(key, AGENT_NUMBER)
        self.channels = ChannelSpace(SERVER_CHANNELS if outside else AGENT_CHANNELS)
        policy: FacePolicy
        if outside:
            own = self._trunks_of(tenant)
            policy = PublicPolicy(
                self.addresses, self.limits, own, lambda ip: ip in self.gatekeeper.tenants.trunks and not own(ip)
            )
            self.gatekeeper = beside.gatekeeper if beside is not None else Gatekeeper(self.index, hint)
        else:
            self.lan_policy = policy = LanPolicy(
                self.addresses,
                ALLOW,
                pbx.encode(),
                outside_uri.encode(),
            )
        counter = itertools.count(1)
        rules = FaceRules(at.host, at6.host, False, _usable_outside if outside else _usable_inside, lambda ip: False)
        self.half = Half(
            number=number,
            outside=outside,
            addresses=self.addresses,
            index=self.index,
            policy=policy,
            masks=masks,
            bindings=self.bindings,
            rewriter=Rewriter(masks, self.addresses, outside=outside, hide_full=hide_full),
            new_media=lambda call: CallMedia(call, self.plane, self.channels, rules, self.counters),
            entropy=lambda n: hashlib.sha256(b"%d %d %d" % (number, outside, next(counter))).digest()[:n],
            counters=self.counters,
            hide_full=hide_full,
        )
        self.proxy = HalfProxy(self.half)
        self.is_own = {at.host, at6.host}.__contains__
        if outside:
            self.door = OpenDoor(number, tenant, masks)
            self.gatekeeper.open(self.door)

    def _trunks_of(self, tenant: int) -> Callable[[str], bool]:
        return lambda ip: tenant in self.gatekeeper.tenants.trunks.get(ip, ())
