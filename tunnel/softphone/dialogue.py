"""One dialog as a phone keeps it (RFC 3261 section 12)."""

from __future__ import annotations

from dataclasses import dataclass

from tunnel.errors import BadPacket
from tunnel.sip.message import Message
from tunnel.sip.name_addr import NameAddr
from tunnel.sip.uri import SipUri
from tunnel.softphone.messages import Draft, contact_uris_untrusted

__all__ = ["Dialogue"]


@dataclass(slots=True)
class Dialogue:
    """Who talks with whom; ``ours`` and ``theirs`` are whole From/To values with their tags."""

    call_id: bytes
    ours: bytes
    our_tag: bytes
    theirs: bytes
    their_tag: bytes
    contact: bytes
    remote_target: bytes
    route_set: tuple[bytes, ...]
    cseq: int

    @classmethod
    def of_caller_untrusted(cls, response: Message, contact: bytes) -> Dialogue:
        """The dialog that a 2xx to our INVITE made (section 12.1.2). Raises BadPacket."""
        return cls(
            call_id=response.call_id,
            ours=response.all("from")[0].value,
            our_tag=response.from_tag,
            theirs=response.all("to")[0].value,
            their_tag=response.to_tag,
            contact=contact,
            remote_target=only_contact_untrusted(response),
            route_set=tuple(value.text for value in reversed(response.values("record-route"))),
            cseq=response.cseq[0],
        )

    @classmethod
    def of_callee_untrusted(cls, invite: Message, tag: bytes, contact: bytes) -> Dialogue:
        """The dialog that our answer with ``tag`` makes of an INVITE (section 12.1.1). Raises BadPacket."""
        return cls(
            call_id=invite.call_id,
            ours=invite.all("to")[0].value + b";tag=" + tag,
            our_tag=tag,
            theirs=invite.all("from")[0].value,
            their_tag=invite.from_tag,
            contact=contact,
            remote_target=only_contact_untrusted(invite),
            route_set=tuple(value.text for value in invite.values("record-route")),
            cseq=0,
        )

    def draft(self, method: str, *, cseq: int | None = None, body: bytes = b"") -> Draft:
        """A request within the dialog (section 12.2.1.1); an ACK takes the ``cseq`` of its INVITE, others a new one."""
        if cseq is None:
            self.cseq += 1
            cseq = self.cseq
        uri, routes = self.remote_target, self.route_set
        if routes and not is_loose(routes[0]):
            uri = NameAddr.parse_untrusted(routes[0]).uri_text
            routes = (*routes[1:], b"<" + self.remote_target + b">")
        return Draft(
            method=method,
            uri=uri,
            sender=self.ours,
            recipient=self.theirs,
            call_id=self.call_id,
            cseq=cseq,
            contact=self.contact if method == "INVITE" else b"",
            routes=routes,
            body=body,
        )

    def refresh_untrusted(self, message: Message) -> None:
        """A re-INVITE or its 2xx may move the remote target (section 12.2.2). Raises BadPacket."""
        self.remote_target = only_contact_untrusted(message)


def only_contact_untrusted(message: Message) -> bytes:
    contacts = contact_uris_untrusted(message)
    if len(contacts) != 1:
        raise BadPacket(f"a dialog needs one Contact, not {len(contacts)}")
    return contacts[0]


def is_loose(route: bytes) -> bool:
    """Whether the proxy of this Route value leaves the Request-URI alone (section 16.12.1.1)."""
    uri = NameAddr.parse_untrusted(route).uri
    return isinstance(uri, SipUri) and uri.has_param("lr")
