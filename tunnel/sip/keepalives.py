"""Keep-alives through other people's NATs: an OPTIONS now and then to each user agent behind one (L8, S3-5).

It is sent to whoever is registered, or in a dialog: nobody else is ever called. Many NATs count only what leaves them
(RFC 4787 REQ-6), so a packet from us is not enough: the user agent must answer. Every one of them answers OPTIONS,
whatever it says. Who is behind no NAT, or holds a connection, gets none.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable

from tunnel.sip.bindings import Bindings
from tunnel.sip.dialog import Call
from tunnel.sip.flow import Flow
from tunnel.sip.half import Emission
from tunnel.sip.message import Message
from tunnel.sip.via import MAGIC_COOKIE, build_via

__all__ = ["STEP_S", "Keepalives", "is_keepalive_answer"]

# Our numbers. The shortest NATs forget after 30 s; a user agent has its turn every PERIOD_S, always in the same step of
# it, so that a site's phones are not all asked at once.
PERIOD_S = 25
STEP_S = 5
_STEPS = PERIOD_S // STEP_S
_BRANCH = MAGIC_COOKIE + b"wpka"


class Keepalives:
    """The keep-alives of one session on one face. Call ``due`` every STEP_S."""

    def __init__(self, bindings: Bindings, entropy: Callable[[int], bytes]) -> None:
        self._bindings = bindings
        self._entropy = entropy
        self._step = 0

    def due(self, calls: Iterable[Call], now: float) -> list[Emission]:
        """What is to be sent in this step, ``calls`` being those of the session."""
        self._step = (self._step + 1) % _STEPS
        flows = self._bindings.keepalive_flows(now)
        for party in (party for call in calls if not call.ended for party in call.parties()):
            if party.natted and party.target and party.flow is not None and not party.flow.reliable:
                flows.setdefault(party.flow, party.target)
        return [Emission(self._options(flow, to), flow) for flow, to in flows.items() if _step_of(flow) == self._step]

    def _options(self, flow: Flow, contact: bytes) -> bytes:
        own = str(flow.local).encode("ascii")
        token = self._entropy(9).hex().encode("ascii")
        lines = (
            b"OPTIONS %s SIP/2.0" % contact,
            b"Via: " + build_via(flow.transport, flow.local, _BRANCH + token),
            b"Max-Forwards: 70",
            b"From: <sip:%s>;tag=%s" % (own, token[:8]),
            b"To: <%s>" % contact,
            b"Call-ID: " + token,
            b"CSeq: 1 OPTIONS",
            b"Content-Length: 0",
        )
        return b"\r\n".join(lines) + b"\r\n\r\n"


def is_keepalive_answer(response: Message) -> bool:
    """Whether ``response`` answers one of these: it has done its work by having left its NAT."""
    return response.top_via.branch.startswith(_BRANCH)


def _step_of(flow: Flow) -> int:
    return zlib.crc32(str(flow.remote).encode("ascii")) % _STEPS
