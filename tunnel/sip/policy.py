"""What a face decides for itself: who is let in, where a request goes that names no place of ours, where nothing is sent.

The half proxy is the same on both faces; all that differs stands behind ``FacePolicy``.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Protocol

from tunnel.address import Address
from tunnel.errors import BadPacket
from tunnel.media.plane import LedgerFull
from tunnel.sip.flow import Flow
from tunnel.sip.message import Message
from tunnel.sip.wall import RequestCrossed

__all__ = ["Admit", "Answer", "Drop", "FacePolicy", "NextHop", "Purpose", "answer_to"]

# The situation that a status of ours stands for unless an Answer names another one.
_CAUSES = {
    400: "bad_syntax",
    403: "not_allowed",
    404: "unknown_target",
    408: "no_answer",
    413: "too_big",
    415: "encoded_body",
    416: "uri_scheme",
    420: "bad_extension",
    469: "info_package",
    480: "flow_gone",
    481: "unknown_dialog",
    482: "loop",
    483: "too_many_hops",
    487: "given_up",
    488: "media_not_relayed",
    493: "sealed_body",
    500: "answer_not_relayed",
    502: "bad_next_hop",
    503: "overload",
    513: "too_big",
}
# What RFC 3261 section 21 calls the statuses that a fault of a message has.
_REASONS = {400: "Bad Request", 413: "Request Entity Too Large", 415: "Unsupported Media Type", 493: "Undecipherable"}


class Purpose(enum.StrEnum):
    """Why a request was let in; the far end routes by it."""

    LOCAL = "local"  # from a host inside, on its way out
    INSIDE = "inside"  # from a host inside, for an address inside: it turns round at the public face
    MASK = "mask"  # its Request-URI is one of our live masks
    DIALOG = "dialog"  # it belongs to a dialog that we carry
    DOMAIN = "domain"  # for a domain whose PBX is inside
    TRUNK = "trunk"  # from a peer whose calls go to the tenant's PBX
    REGISTERED = "registered"  # from a registrar where somebody inside is registered


@dataclass(frozen=True, slots=True)
class Admit:
    """Let it in. ``target``: where a request addressed to this end itself goes (empty: its Request-URI says)."""

    purpose: Purpose
    target: bytes = b""


@dataclass(frozen=True, slots=True)
class Answer:
    """Do not let it in; tell the sender why. ``warning`` goes into a Warning header (RFC 3261 section 20.43).

    ``cause`` names the situation where the status alone does not: it is counted as ``sip.refused.<cause>``.
    """

    status: int
    reason: str
    warning: str = ""
    retry_after_s: int = 0
    cause: str = ""

    @property
    def counter(self) -> str:
        """The counter of this situation (SIP-RULES K)."""
        return f"sip.refused.{self.cause or _CAUSES.get(self.status, str(self.status))}"


@dataclass(frozen=True, slots=True)
class Drop:
    """Do not let it in and say nothing; ``counter`` is where it is counted."""

    counter: str


@dataclass(frozen=True, slots=True)
class NextHop:
    """Where a request leaves to: its new Request-URI, and a flow that is known or else a URI to resolve (RFC 3263).

    ``turns``: it may be this face itself, where the request comes in again and goes back over the wall (a hairpin).
    """

    request_uri: bytes
    uri: bytes
    flow: Flow | None = None
    turns: bool = False


class FacePolicy(Protocol):
    """The decisions of one face."""

    def may_send(self, to: Address) -> bool:
        """Whether this face ever sends to ``to`` (an IP address)."""

    def route(self, request: Message, crossed: RequestCrossed) -> NextHop | Answer:
        """Where ``request``, which has no dialog and bears no mask, leaves to."""

    def is_trusted(self, host: str) -> bool:
        """Whether ``host`` (an IP address) is a configured peer, whose word on identities counts (RFC 3325)."""

    def belongs_to_others(self, host: str) -> bool:
        """Whether the peer at ``host`` (an IP address) takes calls from our address for the sake of another tenant alone."""

    def turn(self, request_uri: bytes) -> NextHop:
        """Where a request goes for a party of the side it came from, whose mask at this face is ``request_uri``."""

    def refuse_call(self, now: float) -> Answer | None:
        """The answer to a new call when there are too many of them; None lets it through."""


def answer_to(error: BadPacket | LedgerFull) -> Answer:
    """The answer to a request that this end cannot read, or whose media it cannot relay."""
    if isinstance(error, LedgerFull):
        return Answer(503, "Service Unavailable", "no media port is free", 2, "no_media_port")
    return Answer(error.status, _REASONS.get(error.status, "Not Acceptable Here"), error.reason)
