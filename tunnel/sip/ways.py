"""Which way a request of the other side takes from this face: by dialog, mask, GRUU or Route, or as the face decides."""

from __future__ import annotations

from dataclasses import replace

from tunnel.sip.contacts import NOBODY, Opened
from tunnel.sip.dialog import Call, Party
from tunnel.sip.half import Half
from tunnel.sip.message import Message
from tunnel.sip.next_hop import leads_nowhere as is_foreign
from tunnel.sip.next_hop import literal_target, next_hop, turning, way_to
from tunnel.sip.policy import Answer, NextHop, Purpose
from tunnel.sip.sender import sip_uri, uri_of_value
from tunnel.sip.uri import SipUri
from tunnel.sip.wall import RequestCrossed

__all__ = ["leads_nowhere", "way_of"]


def way_of(
    half: Half, request: Message, crossed: RequestCrossed, call: Call | None, now: float
) -> tuple[NextHop | Answer, tuple[bytes, ...]]:
    """The next hop and the Route values to leave with.

    Only those inside may choose the way with Route; whoever is outside reaches what this face decides, and no more,
    unless it hands back a Route that we have sealed ourselves (a Service-Route of this side, D6). A mask of the other side is
    handed back by a party of that side: it calls another one there, as it was referred to. So does one that read an inside
    address in a Refer-To or a body that we had restored, and whose outbound proxy is the agent.
    """
    if call is not None and request.to_tag:
        party = call.party(call.fork_of(request))
        if party is not None and party.target:
            return turning(_to_party(half, party, now))
    opened = half.masks.open_own(request.uri, now) if request.uri is not None else None
    if opened is None and request.uri is not None and request.uri.has_param("gr"):
        binding = half.bindings.of_gruu(request.uri, now)
        opened = Opened(binding.contact, binding.key, None) if binding is not None else None
    if opened is not None:
        if not _may_dial(half, opened, crossed, now):
            opened = replace(opened, dialled=None)
        if half.bindings.get(opened.key, now) is None and leads_nowhere(half, opened.uri):
            return Answer(480, "Temporarily Unavailable", "the flow to this user agent is not known any more"), ()
        return turning(way_to(opened, half.bindings, now))
    transport, at = half.addresses.bound[0]
    if request.uri is not None and crossed.purpose == Purpose.INSIDE and _is_beyond_reach(half, request.uri):
        return half.policy.turn(half.masks.mask(request.uri, NOBODY, at, transport, now)), ()
    if request.uri is not None and half.masks.is_live(request.uri, now):
        return half.policy.turn(half.masks.mask_again(request.uri, at, transport, now)), ()
    routes = _open_routes(half, crossed.routes, now)
    if crossed.routes and half.outside:
        return next_hop(request.request_uri, tuple(routes.get(route, route) for route in crossed.routes), None)
    hop = half.policy.route(request, crossed)
    if routes and isinstance(hop, NextHop):
        return next_hop(hop.request_uri, tuple(routes.values()), None)
    return hop, ()


def _may_dial(half: Half, opened: Opened, crossed: RequestCrossed, now: float) -> bool:
    """Whether the user part that came with a mask counts: a carrier calls a registered PBX by its many numbers, but whoever
    was once shown a PBX's Contact in a call has no other number to dial there."""
    binding = half.bindings.get(opened.key, now)
    return crossed.trusted or (binding is not None and bool(binding.registration))


def _to_party(half: Half, party: Party, now: float) -> tuple[NextHop | Answer, tuple[bytes, ...]]:
    """The way to the party of this face in a dialog.

    A GRUU in its Contact names its registrar, and where that lies beyond the wall it would send us back what is for the
    party: so it is reached at the Contact that it registered (D7), or, inside, where its messages come from.
    """
    uri = sip_uri(party.target)
    if party.route_set or party.flow is not None or uri is None or not uri.has_param("gr"):
        return next_hop(party.target, party.route_set, party.flow)
    binding = half.bindings.of_gruu(uri, now)
    if binding is None:
        is_near = not half.outside and party.seen_at is not None
        return NextHop(party.target, b"sip:%s" % str(party.seen_at).encode() if is_near else party.target), ()
    if binding.path:
        return next_hop(party.target, binding.path, None)
    return NextHop(party.target, binding.contact, binding.flow if binding.needs_flow else None), ()


def leads_nowhere(half: Half, uri: bytes) -> bool:
    """Whether ``uri`` names an address that is of no use to this face without a flow."""
    return is_foreign(uri, half.addresses, half.policy.may_send, outside=half.outside)


def _is_beyond_reach(half: Half, uri: SipUri) -> bool:
    """Whether this face may not send to the address ``uri`` names: in a laboratory it may stand in the same network."""
    there = literal_target(uri)
    return there is not None and not half.policy.may_send(there.address)


def _open_routes(half: Half, routes: tuple[bytes, ...], now: float) -> dict[bytes, bytes]:
    """Of the Route values those that bear a mask of this side, each with what it stands for."""
    opened: dict[bytes, bytes] = {}
    for route in routes:
        uri = uri_of_value(route)
        mask = half.masks.open_own(uri, now) if uri is not None else None
        if mask is not None and SipUri.parse_untrusted(mask.uri).has_param("lr"):
            opened[route] = b"<" + mask.uri + b">"
    return opened
