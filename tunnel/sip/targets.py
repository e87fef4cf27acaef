"""The targets of a request: in which order they are tried, by which transport, from which listener of ours.

looked up -> healthy ones first -> allowed and reachable -> too big for UDP: TCP -> UDP after all
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from tunnel.sip.big_requests import MOST_UDP_BYTES, PROBE_S, BigRequests
from tunnel.sip.departures import Departure, Way
from tunnel.sip.flow import Flow
from tunnel.sip.half import Half, WentInFragments
from tunnel.sip.message import Message
from tunnel.sip.next_hop import Target, literal_target
from tunnel.sip.policy import Answer, NextHop
from tunnel.sip.sender import sip_uri
from tunnel.sip.target_health import TargetHealth

__all__ = ["Targets"]

# RFC 5630 section 5.3: a request to a sips: URI goes on by TLS or not at all.
NO_SIPS = Answer(
    480, "Temporarily Unavailable", "SIPS Not Allowed: the next hop is not reached by TLS", cause="no_sips"
)
NO_WAY = Answer(
    403,
    "Forbidden",
    "the destination is not allowed, or no listener of this face leads to it",
    cause="destination_blocked",
)
ANOTHERS = Answer(
    403,
    "Forbidden",
    "a trunk of another tenant: register there, or have it added with --trunk",
    cause="anothers_trunk",
)

_RETRY_AFTER = re.compile(rb"\r\nRetry-After[ \t]*:[ \t]*([0-9]{1,6})", re.IGNORECASE)


class Targets:
    """Chooses for the requests of one half proxy, and remembers how the targets did."""

    def __init__(self, half: Half) -> None:
        self._half = half
        self._health = TargetHealth()
        self._big = BigRequests()

    def found(self, departure: Departure, targets: Sequence[Target], now: float) -> None:
        """``departure`` may be sent to these targets."""
        departure.targets.extend(self._health.ordered(targets, now))

    def next(self, departure: Departure, now: float) -> Way | Answer:
        """The next way for ``departure`` that this face may and can take (RFC 3263 section 4.3); else the answer to it."""
        half, refusal = self._half, NO_WAY
        while departure.targets:
            target = departure.targets.popleft()
            flow = self._flow_to(target, departure.hop)
            if departure.is_secure and target.transport != "tls":
                refusal = NO_SIPS
            elif not self._may_send(target, departure.hop, now):
                half.counters.bump("sip.blocked_targets")
            elif self._is_anothers(departure.request, target, now):
                half.counters.bump("sip.blocked_trunks")
                refusal = ANOTHERS
            elif flow is not None:
                return Way(flow, flow, target.server_name)
        return refusal

    def for_size(self, departure: Departure, way: Way, size: int, now: float) -> Way:
        """``way``, or by TCP to the same target if ``size`` bytes are too much for a datagram and that may work."""
        flow = way.flow
        if size <= MOST_UDP_BYTES or flow.transport != "udp" or departure.hop.flow is not None:
            return way
        local = self._half.addresses.pick("tcp", flow.remote.is_ipv6)
        surely = departure.request.method == "ACK"
        if local is not None and self._big.by_tcp(flow.remote, now, surely=surely):
            return Way(Flow("tcp", local, flow.remote), flow, open_within_s=PROBE_S)
        if local is None and not surely:
            self._note_fragments(flow, now)
        return way

    def in_fragments(self, departure: Departure) -> Way | None:
        """The way by UDP for a request that TCP did not take; None where size was not why it went by TCP."""
        way = departure.way
        return Way(way.shown, way.shown) if way is not None and way.is_for_size and not departure.answered else None

    def did_well(self, departure: Departure, now: float) -> None:
        """Something other than 503 came back."""
        if departure.flow is not None and departure.hop.flow is None:
            self._health.worked(departure.flow.transport, departure.flow.remote)
            if departure.flow.transport == "tcp":
                self._big.worked(departure.flow.remote, now)

    def failed(self, departure: Departure, now: float, refusal: bytes = b"") -> None:
        """Where ``departure`` was sent, nobody is there; or there came ``refusal``, a 503 that may say for how long."""
        if departure.way is not None and departure.way.is_for_size:
            self._note_fragments(departure.way.shown, now)
        if departure.flow is not None and departure.hop.flow is None:
            asked = _RETRY_AFTER.search(refusal)
            for_s = float(asked[1]) if asked else 0.0
            self._health.failed(departure.flow.transport, departure.flow.remote, now, for_s)

    def _may_send(self, target: Target, hop: NextHop, now: float) -> bool:
        """Whether ``target`` is one that this face sends to: where a flow leads that is known, or what the policy allows.

        To ourselves goes only what we shall know again: what turns here, a mask, or a name that may be a tenant's domain.
        """
        if hop.flow is not None and hop.flow.remote == target.address:
            return True
        if (target.transport, target.address) in self._half.addresses.bound:
            if hop.turns:
                return True
            uri, goal = sip_uri(hop.uri), sip_uri(hop.request_uri)
            by_name = uri is not None and literal_target(uri) is None
            if not by_name and (goal is None or not self._half.masks.is_live(goal, now)):
                return False
        return self._half.policy.may_send(target.address)

    def _is_anothers(self, request: Message, target: Target, now: float) -> bool:
        """Whether ``request`` would be taken for one of another tenant, whose trunk knows callers by our address alone.

        A registration proves itself, and who is registered there is a customer of his own.
        """
        half, host = self._half, target.address.host
        if request.method == "REGISTER" or request.to_tag or not half.policy.belongs_to_others(host):
            return False
        return not half.index.is_registrar(host, half.number, now)

    def _flow_to(self, target: Target, hop: NextHop) -> Flow | None:
        if hop.flow is not None and hop.flow.remote == target.address:
            return hop.flow
        local = self._half.addresses.pick(target.transport, target.address.is_ipv6)
        return None if local is None else Flow(target.transport, local, target.address)

    def _note_fragments(self, flow: Flow, now: float) -> None:
        self._half.counters.bump("sip.sent_in_fragments")
        if self._big.failed(flow.remote, now):
            self._half.events.append(WentInFragments(str(flow.remote)))
