"""How a message changes when it leaves: the face that emits it puts itself in the place of the other side.

Only byte spans are edited. Call-ID, tags, CSeq, codecs and keys are never touched, so digests, transfers and SRTP stay
whole. With ``hide="full"`` the Via stack, the route set and the Record-Route of the other side stay behind; with
``"basic"`` they are kept below our own.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable, Sequence

from tunnel.address import Address
from tunnel.errors import BadPacket
from tunnel.sip.contacts import NOBODY, ContactMasks, inside_spans, is_unreachable
from tunnel.sip.edit import Edit
from tunnel.sip.face_index import FaceAddresses
from tunnel.sip.flow import Flow
from tunnel.sip.grammar import Param
from tunnel.sip.message import Message
from tunnel.sip.name_addr import NameAddr
from tunnel.sip.sender import uri_of_value
from tunnel.sip.uri import SipUri
from tunnel.sip.via import build_via

__all__ = ["RECORD_ROUTED", "Rewriter", "offers_only_auth_int", "own_record_route"]

# Methods whose requests form or refresh dialogs and so carry our Record-Route (D1).
RECORD_ROUTED = frozenset({"INVITE", "SUBSCRIBE", "REFER", "NOTIFY", "UPDATE"})
_DEFAULT_MAX_FORWARDS = 70
# What only trusted parties may say of themselves (RFC 3325 section 5).
_ASSERTED = ("p-asserted-identity", "remote-party-id")
# Our number: the registrars and trunks of one tenant.
MOST_REALMS = 1000
_REALM = re.compile(rb'(?i)\brealm[ \t]*=[ \t]*"([^"]*)"')
_WARNING_AGENT = re.compile(rb"[0-9]{3}[ \t]+(\[[0-9A-Fa-f:.]+\]|[^\s:]+)(?::[0-9]+)?[ \t]")
_AUTH_INT = re.compile(rb'(?i)(qop[ \t]*=[ \t]*")([^"]*)(")')


def own_record_route(at: Address, transport: str, request_uri: bytes) -> bytes:
    """The Record-Route value of a face: its address, loose routing, the transport where it is not UDP.

    For a request to a ``sips:`` URI it is one too (RFC 3261 section 16.6 step 4).
    """
    if transport == "tls" and request_uri[:5].lower() == b"sips:":
        return b"<sips:%s;lr>" % str(at).encode("ascii")
    parameter = b"" if transport == "udp" else b";transport=" + transport.encode("ascii")
    return b"<sip:%s%s;lr>" % (str(at).encode("ascii"), parameter)


class Rewriter:
    """The rewriting of one face for one session. ``outside``: this is the public face; ``addresses``: its listeners."""

    def __init__(self, masks: ContactMasks, addresses: FaceAddresses, *, outside: bool, hide_full: bool) -> None:
        self._masks = masks
        self._addresses = addresses
        self._outside = outside
        self._hide_full = hide_full
        self._realms: OrderedDict[bytes, None] = OrderedDict()  # whose challenges came from this face's network

    def note_challenge(self, response: Message) -> None:
        """A 401 or 407 came from this face's network: credentials for its realms may leave by this face from now on."""
        for name in ("www-authenticate", "proxy-authenticate"):
            for header in response.all(name):
                match = _REALM.search(header.value)
                if match is not None:
                    self._realms[match[1]] = None
                    self._realms.move_to_end(match[1])
        while len(self._realms) > MOST_REALMS:
            self._realms.popitem(last=False)

    def request(
        self,
        request: Message,
        *,
        request_uri: bytes,
        routes: Sequence[bytes],
        at: Address,
        transport: str,
        branch: bytes,
        binding: bytes,
        natted: bool,
        body: bytes | None,
        now: float,
        trusted: bool = True,
        to_trusted: bool = True,
        via: Flow | None = None,
    ) -> bytes:
        """``request``, which came from the other side, as this face emits it from ``at`` over ``transport``.

        ``via`` is the flow it really leaves by where only its size makes that another (M2): its Via says so, but whoever
        answers is still to send to ``at``.
        ``routes`` are the Route values it leaves with; ``binding``, ``natted`` and ``trusted`` tell of its sender (see
        wall.py), ``to_trusted`` of whom it goes to; ``body`` is the new body where it changes, else None. Raises BadPacket.
        """
        sent_by, sent_with = (via.local, via.transport) if via is not None else (at, transport)
        edit = Edit(request, stream=sent_with != "udp")
        edit.request_uri(request_uri)
        own_via = b"Via: " + build_via(sent_with, sent_by, branch)
        route = b"Record-Route: " + own_record_route(at, transport, request_uri)
        own = [route] if request.method in RECORD_ROUTED else []
        if self._hide_full:
            edit.replace_all("via", [own_via])
            edit.replace_all("record-route", own)
        else:
            edit.insert_above("via", own_via)
            for line in own:
                edit.insert_above("record-route", line)
        edit.replace_all("route", [b"Route: " + route for route in routes])
        self._count_hop(edit, request)
        everything = request.method == "REGISTER" or natted
        self._edit_contacts(edit, request, binding, at, transport, now, everything)
        self._edit_mentions(edit, request, at, transport, now)
        if request.method == "REGISTER":
            for name in ("supported", "require"):
                _without_option(edit, request, name, b"outbound")  # RFC 5626 wholly or not at all (D5)
            edit.remove_all("path")  # the registrar's way in is our mask; the path behind it stays here
        if self._outside:
            self._strip_unasked_credentials(edit, request)
        self._edit_common(edit, request, at, trusted, to_trusted, body)
        return edit.result()

    def response(
        self,
        response: Message,
        *,
        vias: Sequence[bytes],
        record_routes: Sequence[bytes],
        at: Address,
        transport: str,
        binding: bytes,
        natted: bool,
        body: bytes | None,
        now: float,
        trusted: bool = True,
        to_trusted: bool = True,
    ) -> bytes:
        """``response``, which came from the other side, as this face answers with it.

        ``vias`` and ``record_routes`` are the header lines that the request had when it came, ours for the
        Record-Route on top of them. Raises BadPacket.
        """
        edit = Edit(response, stream=transport != "udp")
        edit.replace_all("via", vias)
        edit.replace_all("record-route", record_routes)
        edit.remove_all("route")  # stands in requests only
        # Contacts of others: redirect targets, or what else is registered for the same address-of-record (C5, F2).
        register = response.cseq[1] == "REGISTER"
        redirect = 300 <= response.status < 400 or response.status == 485
        if self._outside or not redirect:
            everything = natted and not (register and self._outside)
            self._edit_contacts(edit, response, binding, at, transport, now, everything, redirect or register)
        self._edit_mentions(edit, response, at, transport, now)
        if response.status in (401, 407):
            _strip_auth_int(edit, response)
        if response.cseq[1] == "REGISTER" and self._outside:
            self._edit_registration_routes(edit, response, at, transport, now)
        self._edit_common(edit, response, at, trusted, to_trusted, body)
        return edit.result()

    def _edit_common(
        self, edit: Edit, message: Message, at: Address, trusted: bool, to_trusted: bool, body: bytes | None
    ) -> None:
        """What requests and responses have in common: identities, Warning, ICE, and the new body."""
        if not trusted or (not to_trusted and _is_private_id(message)):
            for name in _ASSERTED:
                edit.remove_all(name)
        if self._outside and self._hide_full:
            _hide_warning_agents(edit, message, at)
        _without_option(edit, message, "supported", b"trickle-ice")
        if body is not None:
            edit.body(body)

    def _edit_registration_routes(self, edit: Edit, response: Message, at: Address, transport: str, now: float) -> None:
        """What a registrar inside says of the way to itself (D6): the user agent sends it back as Route, so it is
        masked; whom a request passed on its way in is nobody's business outside."""

        def shown(uri: SipUri) -> bytes | None:
            return self._masked(uri, NOBODY, at, transport, now) if is_unreachable(uri.host) else None

        for name in ("service-route", "path"):
            if not _is_list(response, name):
                edit.remove_all(name)
        if _is_list(response, "service-route"):
            _edit_values(edit, response, "service-route", shown, drop_unread=True)
        for value in response.values("path") if self._hide_full and _is_list(response, "path") else ():
            uri = uri_of_value(value.text)
            if uri is None or is_unreachable(uri.host):
                edit.remove_value(value)

    def _strip_unasked_credentials(self, edit: Edit, request: Message) -> None:
        """What a phone proves to its own PBX is nobody's business outside: neither the hash, to be guessed at leisure,
        nor the inside address in ``uri``. A user agent that answers too early is simply challenged again."""
        for name in ("authorization", "proxy-authorization"):
            for header in request.all(name):
                match = _REALM.search(header.value)
                if match is not None and match[1] not in self._realms:
                    edit.remove_header(header)

    def _edit_contacts(
        self,
        edit: Edit,
        message: Message,
        owner: bytes,
        at: Address,
        transport: str,
        now: float,
        everything: bool,
        redirect: bool = False,
    ) -> None:
        """Mask the Contacts of the other side, restore those of this one; leave the rest.

        On the public face no Contact of an inside party stays; on the LAN face only one that could not be reached from
        there is masked, so that a phone's digest names the URI that the provider sees. For the same reason a colleague of
        the phone, whom it reached by way of the outside, keeps the mask that the outside knows it by.
        """
        own = message.cseq[1] == "REGISTER"  # the user agent's own Contacts, which it must know again

        def shown(uri: SipUri) -> bytes | None:
            hidden = is_unreachable(uri.host)
            foreign = uri.has_param("gr") and not hidden
            if everything or (self._outside and not foreign and (hidden or not redirect)):
                return self._masked(uri, owner, at, transport, now)
            return None

        register = message.is_request and message.method == "REGISTER"

        def dropped(param: Param) -> bool:
            inside = self._outside and param.value is not None and inside_spans(param.value)
            return bool(inside) or (register and param.name == "reg-id")

        restored = self._restoring(shown, at, transport, now, exactly=own)

        def kept(uri: SipUri) -> bytes | None:
            return None if self._masks.is_live(uri, now) else shown(uri)

        rewritten = restored if own or self._outside else kept
        _edit_values(edit, message, "contact", rewritten, dropped, drop_unread=self._outside)

    def _edit_mentions(self, edit: Edit, message: Message, at: Address, transport: str, now: float) -> None:
        """Addresses of third parties: an inside one that goes out is masked, a mask of this side is restored (E)."""

        def shown(uri: SipUri) -> bytes | None:
            if self._outside and is_unreachable(uri.host):
                return self._masked(uri, NOBODY, at, transport, now)
            return None

        for name in ("refer-to", "referred-by"):
            _edit_values(edit, message, name, self._restoring(shown, at, transport, now), drop_unread=self._outside)

    def _place(self, uri: SipUri, at: Address, transport: str) -> tuple[Address, str]:
        """Where the mask of ``uri`` leads in a message that leaves from ``at``: ``sips:`` is reached by TLS alone (C2)."""
        if uri.scheme != "sips":
            return at, transport
        return self._addresses.pick("tls", at.is_ipv6) or at, "tls"

    def _masked(self, uri: SipUri, owner: bytes, at: Address, transport: str, now: float) -> bytes:
        """The mask for ``uri``, a Contact of ``owner``."""
        return self._masks.mask(uri, owner, *self._place(uri, at, transport), now)

    def _restoring(
        self,
        shown: Callable[[SipUri], bytes | None],
        at: Address,
        transport: str,
        now: float,
        *,
        exactly: bool = False,
    ) -> Callable[[SipUri], bytes | None]:
        """``shown``, but what bears one of our masks becomes what it stands for, or stays if that is beyond the wall.

        A party of this side that only its flow leads to is shown to others of this side as we reach it: they might call it
        at an address of another home than theirs. ``exactly``: not so.
        """

        def restored(uri: SipUri) -> bytes | None:
            opened = self._masks.open_own(uri, now)
            if opened is not None:
                if not exactly and (opened.natted or (self._outside and is_unreachable(opened.host))):
                    return self._masks.mask_again(uri, *self._place(uri, at, transport), now)
                return opened.uri + (b"?" + uri.headers if uri.headers else b"")
            return None if self._masks.is_live(uri, now) else shown(uri)

        return restored

    def _count_hop(self, edit: Edit, request: Message) -> None:
        """The pair is one hop: Max-Forwards falls by one here and nowhere else (A9)."""
        hops = request.max_forwards
        edit.set_value("max-forwards", b"%d" % (_DEFAULT_MAX_FORWARDS if hops is None else max(hops - 1, 0)))


def _edit_values(
    edit: Edit,
    message: Message,
    name: str,
    shown: Callable[[SipUri], bytes | None],
    dropped: Callable[[Param], bool] = lambda param: False,
    *,
    drop_unread: bool,
) -> None:
    """Give each SIP URI among the values of ``name`` the form that ``shown`` returns (None leaves it), and drop the
    header parameters that are to be ``dropped``. With ``drop_unread`` a value that cannot be read goes, and so does one of
    another scheme with an inside address in it; else they pass as they came."""
    for value in message.values(name):
        try:
            address = NameAddr.parse_untrusted(value.text)
        except BadPacket:
            if drop_unread:
                edit.remove_value(value)
            continue
        if drop_unread and not isinstance(address.uri, SipUri) and inside_spans(address.uri):
            edit.remove_value(value)
            continue
        new = shown(address.uri) if isinstance(address.uri, SipUri) else None
        if new is not None and new != address.uri_text:
            edit.replace_uri(value, address, new)
        for param in address.params:
            if dropped(param):
                edit.replace(value.start + param.start, value.start + param.end, b"")


def _is_list(message: Message, name: str) -> bool:
    """Whether the headers of that name can be read as lists; what cannot is odd, but no reason to lose the message."""
    try:
        message.values(name)
    except BadPacket:
        return False
    return True


def _without_option(edit: Edit, message: Message, name: str, option: bytes) -> None:
    """Take an option tag out of Supported or Require."""
    for value in message.values(name) if _is_list(message, name) else ():
        if value.text.lower() == option:
            edit.remove_value(value)


def _is_private_id(message: Message) -> bool:
    """Whether the party asks that its asserted identity goes to nobody whom its own network does not trust (RFC 3325
    section 9.3)."""
    wanted = b";".join(header.value for header in message.all("privacy"))
    return b"id" in (value.strip().lower() for value in re.split(rb"[;,]", wanted))


def _hide_warning_agents(edit: Edit, message: Message, at: Address) -> None:
    """An inside host that says who warns (RFC 3261 section 20.43) becomes the address of this face, and so does one in the
    text: some proxies say there where a request came from."""
    for value in message.values("warning") if _is_list(message, "warning") else ():
        spans = set(inside_spans(value.text))
        match = _WARNING_AGENT.match(value.text)
        if match is not None and is_unreachable(match[1].decode("latin-1").strip("[]")):
            spans.add(match.span(1))
        for start, end in spans:
            edit.replace(value.start + start, value.start + end, at.bracketed.encode("ascii"))


def offers_only_auth_int(response: Message) -> bool:
    """Whether a challenge wants a digest over the body, which cannot match once SDP was edited (H2)."""
    headers = [*response.all("www-authenticate"), *response.all("proxy-authenticate")]
    offers = [match[2].split(b",") for header in headers for match in _AUTH_INT.finditer(header.value)]
    return any(all(option.strip().lower() == b"auth-int" for option in offered) for offered in offers)


def _strip_auth_int(edit: Edit, response: Message) -> None:
    """SDP is edited, so an entity digest could never match: ``auth-int`` is not offered where there is a choice (H2)."""
    for name in ("www-authenticate", "proxy-authenticate"):
        for header in response.all(name):
            for match in _AUTH_INT.finditer(header.value):
                offered = match[2].split(b",")
                left = [option for option in offered if option.strip().lower() != b"auth-int"]
                if left and left != offered:
                    start, end = match.span(2)
                    edit.replace(header.value_start + start, header.value_start + end, b",".join(left).strip())
