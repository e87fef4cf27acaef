"""What a forking proxy remembers of one INVITE that it sent to several contacts (RFC 3261 section 16.7)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from tunnel.sip.message import Message, parse_untrusted
from tunnel.sip.requests import build_ack_non2xx, build_cancel

__all__ = ["Fork"]


@dataclass
class Leg:
    """The INVITE as it left for one contact, and its final answer."""

    data: bytes
    to: str
    final: Message | None = None


@dataclass
class Fork:
    """``emit`` sends to an address, ``back`` passes a response to the caller."""

    emit: Callable[[bytes, str], None]
    back: Callable[[Message], None]
    legs: dict[bytes, Leg] = field(default_factory=dict)
    is_answered: bool = False

    def add(self, branch: bytes, data: bytes, to: str) -> None:
        self.legs[branch] = Leg(data, to)

    def ring(self) -> None:
        """Everybody is sent the INVITE."""
        for leg in list(self.legs.values()):
            self.emit(leg.data, leg.to)

    def cancel(self) -> None:
        """Whoever has not answered need not any more."""
        for leg in self.legs.values():
            if leg.final is None:
                self.emit(build_cancel(parse_untrusted(leg.data), ()), leg.to)

    def response(self, response: Message) -> None:
        """1xx and 2xx pass at once, the first 2xx ends the others; failures are acknowledged, the lowest one passes."""
        leg = self.legs[response.top_via.branch]
        if response.cseq_method == "CANCEL" or response.status == 100:
            return
        if response.status < 200:
            self.back(response)
            return
        again = leg.final is not None
        leg.final = response
        if response.status < 300:
            self.back(response)
            if not self.is_answered:
                self.is_answered = True
                self.cancel()
            return
        self.emit(build_ack_non2xx(parse_untrusted(leg.data), response), leg.to)
        finals = [each.final for each in self.legs.values() if each.final is not None]
        if not again and not self.is_answered and len(finals) == len(self.legs):
            self.back(min(finals, key=lambda each: each.status))
