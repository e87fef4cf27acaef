"""What the public face decides for one tenant's agent: requests from inside go where their URI says, within limits."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable

from outside_server.limits import CallLimits
from tunnel.address import Address, IPAddress, is_private, private_network
from tunnel.sip.face_index import FaceAddresses
from tunnel.sip.message import Message
from tunnel.sip.policy import Answer, NextHop
from tunnel.sip.sender import sip_uri
from tunnel.sip.wall import RequestCrossed

__all__ = ["PublicPolicy", "may_aim_media", "never_sent_to"]


class PublicPolicy:
    """The decisions of the server for one tenant.

    ``is_trunk`` says whether an IP address is that of one of its trunks, ``is_anothers`` whether only of somebody else's.
    """

    def __init__(
        self,
        addresses: FaceAddresses,
        limits: CallLimits,
        is_trunk: Callable[[str], bool] = lambda host: False,
        is_anothers: Callable[[str], bool] = lambda host: False,
    ) -> None:
        self._addresses = addresses
        self._limits = limits
        self._is_trunk = is_trunk
        self._is_anothers = is_anothers
        self._is_loopback = any(address.ip.is_loopback for _, address in addresses.bound)
        networks = (private_network(address.ip) for _, address in addresses.bound)
        self._own_networks = {network for network in networks if network is not None}

    def may_send(self, to: Address) -> bool:
        """Anywhere a public peer may be, and to trunks. A private network is not the internet: what a message names
        there is reached only from a face that has an address of that network itself."""
        if never_sent_to(to.ip, self._is_loopback):
            return False
        network = private_network(to.ip)
        return network is None or network in self._own_networks or self._is_trunk(to.host)

    def is_trusted(self, host: str) -> bool:
        return self._is_trunk(host)

    def belongs_to_others(self, host: str) -> bool:
        return self._is_anothers(host)

    def refuse_call(self, now: float) -> Answer | None:
        return self._limits.refuse(now)

    def route(self, request: Message, crossed: RequestCrossed) -> NextHop | Answer:
        """As the Request-URI says, be it this face itself, where the gatekeeper knows whose numbers those are; what was
        addressed to the agent itself goes to the place that the agent named, and so does a URI of another scheme
        (``tel:``), which is left as it is (DEC7)."""
        uri = request.uri
        if uri is None:
            if not crossed.target:
                return Answer(416, "Unsupported URI Scheme", "nothing says where such a URI goes: set lan.outside")
            return NextHop(request.request_uri, crossed.target)
        if not crossed.target:
            return NextHop(uri.text, uri.text, turns=self._addresses.is_own(uri))
        target = sip_uri(crossed.target)
        if target is None:
            return Answer(416, "Unsupported URI Scheme", "lan.outside is no SIP URI")
        named = target.text if uri.user is None else target.with_user(uri.user)
        return NextHop(named, named)

    def turn(self, request_uri: bytes) -> NextHop:
        """It comes in again as if from the internet."""
        return NextHop(request_uri, request_uri, turns=True)


def never_sent_to(ip: IPAddress, loopback_is_fine: bool) -> bool:
    """Addresses that are nobody's on the internet, whatever a URI or an SDP says."""
    if ip.is_loopback:
        return not loopback_is_fine
    return ip.is_link_local or ip.is_multicast or ip.is_unspecified or ip.is_reserved


def may_aim_media(host: str, loopback_is_fine: bool) -> bool:
    """Whether media may be sent to this IP address because an SDP names it: a public one, or loopback in the demo."""
    ip = ipaddress.ip_address(host)
    return not never_sent_to(ip, loopback_is_fine) and (loopback_is_fine or not is_private(ip))
