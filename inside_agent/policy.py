"""What the LAN face decides: only hosts in ``allow`` are heard and sent to; calls from outside go to phones or the PBX."""

from __future__ import annotations

from tunnel.address import Address, IPAddress
from tunnel.config import IPNetwork
from tunnel.sip.contacts import MASK_PARAM
from tunnel.sip.face_index import FaceAddresses
from tunnel.sip.flow import Flow
from tunnel.sip.message import Message
from tunnel.sip.next_hop import literal_target
from tunnel.sip.policy import Admit, Answer, Drop, NextHop, Purpose
from tunnel.sip.sender import sip_uri, uri_of_value
from tunnel.sip.uri import SipUri, number_of
from tunnel.sip.wall import RequestCrossed

__all__ = ["LanPolicy"]


class LanPolicy:
    """The decisions of the agent. ``pbx`` and ``outside`` are SIP URIs, empty where not configured."""

    def __init__(self, addresses: FaceAddresses, allow: tuple[IPNetwork, ...], pbx: bytes, outside: bytes) -> None:
        self._addresses = addresses
        self._allow = allow
        self._pbx = pbx
        self._outside = outside

    def allows(self, ip: IPAddress) -> bool:
        """Whether ``ip`` is one of the LAN addresses this agent talks to."""
        return any(ip in network for network in self._allow)

    def may_send(self, to: Address) -> bool:
        """Only into ``allow``, and never to ourselves."""
        own = any(to == address for _, address in self._addresses.bound)
        return not own and self.allows(to.ip)

    def is_trusted(self, host: str) -> bool:
        """Whoever is heard on the LAN at all."""
        return True

    def belongs_to_others(self, host: str) -> bool:
        """An agent has one tenant."""
        return False

    def refuse_call(self, now: float) -> Answer | None:
        """The LAN face sets no limits: those are the tenant's, kept by the server."""
        return None

    def admit(self, request: Message, flow: Flow, is_healthy: bool, is_draining: bool = False) -> Admit | Answer | Drop:
        """Whether a request from the LAN goes out. ``is_healthy``: whether calls can be made now."""
        if not self.allows(flow.remote.ip):
            return Drop("sip.dropped.source_not_allowed")
        uri = request.uri
        if uri is None:
            return Admit(Purpose.LOCAL, b"" if self._has_further_route(request) else self._outside)
        if self._has_further_route(request) or request.to_tag or uri.has_param(MASK_PARAM):
            return Admit(Purpose.LOCAL)
        if not self._addresses.is_own(uri):
            there = literal_target(uri)
            return Admit(Purpose.INSIDE if there is not None and self.may_send(there.address) else Purpose.LOCAL)
        if request.method == "OPTIONS" and not uri.user:
            ailment = "this end is shutting down" if is_draining else "the tunnel is down"
            cause = "draining" if is_draining else "tunnel_down"
            return Answer(200, "OK") if is_healthy else Answer(503, "Service Unavailable", ailment, 5, cause)
        if not self._outside:
            return Answer(404, "Not Found", "addressed to the agent itself, and lan.outside says no place for that")
        return Admit(Purpose.LOCAL, self._outside)

    def _has_further_route(self, request: Message) -> bool:
        """Whether a Route leads beyond the agent: an outbound proxy that is itself told where to go (D2)."""
        routes = (uri_of_value(value.text) for value in request.values("route"))
        return any(route is None or not self._addresses.is_own(route) for route in routes)

    def route(self, request: Message, crossed: RequestCrossed) -> NextHop | Answer:
        """A call or registration from outside that names no phone of ours goes to the PBX."""
        if not self._pbx:
            return Answer(404, "Not Found", "nobody of that name is registered, and there is no PBX")
        pbx, uri = sip_uri(self._pbx), request.uri
        if pbx is None:
            return Answer(416, "Unsupported URI Scheme", "lan.pbx is no SIP URI")
        if uri is None:
            number = number_of(request.request_uri)
            if number is None:
                return Answer(416, "Unsupported URI Scheme", "the PBX is called by sip, sips and tel")
            return NextHop(SipUri.parse_untrusted(pbx.with_user(number)).with_param("user", b"phone"), self._pbx)
        if crossed.purpose == Purpose.DOMAIN:
            return NextHop(request.request_uri, self._pbx)
        return NextHop(_at_host_of(pbx.text, uri.user), self._pbx)

    def turn(self, request_uri: bytes) -> NextHop:
        """A call of two outside parties is the PBX's affair; without one it turns round at this face."""
        return NextHop(request_uri, self._pbx or request_uri, turns=not self._pbx)


def _at_host_of(uri: bytes, user: bytes | None) -> bytes:
    """The PBX's URI for the number that was dialled."""
    parsed = sip_uri(uri)
    return uri if parsed is None or user is None else parsed.with_user(user)
