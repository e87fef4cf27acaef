"""What the public face decides for one tenant's agent: requests from inside go where their URI says, within limits."""

from __future__ import annotations

from outside_server.limits import CallLimits
from tunnel.address import Address, IPAddress
from tunnel.sip.contacts import MASK_PARAM
from tunnel.sip.face_index import FaceAddresses
from tunnel.sip.message import Message
from tunnel.sip.policy import Answer, NextHop
from tunnel.sip.sender import sip_uri
from tunnel.sip.wall import RequestCrossed

__all__ = ["PublicPolicy", "never_sent_to"]


class PublicPolicy:
    """The decisions of the server for one tenant."""

    def __init__(self, addresses: FaceAddresses, limits: CallLimits) -> None:
        self._addresses = addresses
        self._limits = limits
        self._is_loopback = any(address.ip.is_loopback for _, address in addresses.bound)

    def may_send(self, to: Address) -> bool:
        """Anywhere a public peer may be; loopback only from a face that is on loopback itself (the demo)."""
        return not never_sent_to(to.ip, self._is_loopback)

    def refuse_call(self, now: float) -> Answer | None:
        return self._limits.refuse(now)

    def route(self, request: Message, crossed: RequestCrossed) -> NextHop | Answer:
        """As the Request-URI says; what was addressed to the agent itself goes to the place that the agent named."""
        uri = request.uri
        if uri is None:
            return Answer(416, "Unsupported URI Scheme")
        if not crossed.target:
            if self._addresses.is_own(uri) and not uri.has_param(MASK_PARAM):
                return Answer(404, "Not Found", "addressed to the server itself")
            return NextHop(uri.text, uri.text)
        target = sip_uri(crossed.target)
        if target is None:
            return Answer(416, "Unsupported URI Scheme")
        named = target.text if uri.user is None else target.with_user(uri.user)
        return NextHop(named, named)


def never_sent_to(ip: IPAddress, loopback_is_fine: bool) -> bool:
    """Addresses that are nobody's on the internet, whatever a URI or an SDP says."""
    if ip.is_loopback:
        return not loopback_is_fine
    return ip.is_link_local or ip.is_multicast or ip.is_unspecified or ip.is_reserved
