"""The session descriptions of one body, read for what the relay needs of them."""

from __future__ import annotations

from dataclasses import dataclass

from tunnel.errors import BadPacket
from tunnel.media.body import FoundSdp, SipBody, find_sdp_untrusted
from tunnel.media.plane import CannotRelay
from tunnel.media.sdp import Medium, Sdp
from tunnel.media.sdp_edit import check_relayable

__all__ = ["Described"]


@dataclass(frozen=True, slots=True)
class Described:
    """The descriptions of one body. ``media`` has, for each m-line number, the copy that wants it most."""

    found: tuple[FoundSdp, ...]
    sdps: tuple[Sdp, ...]
    media: tuple[tuple[Medium, int | None], ...]

    @classmethod
    def read_untrusted(cls, body: SipBody) -> Described | None:
        """None if there is no SDP. Raises CannotRelay, also for what is no SDP at all."""
        try:
            found = find_sdp_untrusted(body)
            sdps = tuple(Sdp.parse_untrusted(body.content[each.start : each.end]) for each in found)
        except CannotRelay:
            raise
        except BadPacket as error:
            raise CannotRelay(error.status, error.reason) from error
        for sdp in sdps:
            check_relayable(sdp)
        media = []
        for index in range(max((len(sdp.media) for sdp in sdps), default=0)):
            copies = [sdp for sdp in sdps if index < len(sdp.media)]
            best = next((sdp for sdp in copies if sdp.media[index].is_active), copies[0])
            media.append((best.media[index], best.leader(index)))
        return cls(found, sdps, tuple(media)) if sdps else None

    def refuse_if_nothing_is_relayed(self) -> None:
        """Raise CannotRelay(488) when the party wants media, and none that we carry."""
        wanted = [medium for medium, _ in self.media if medium.port]
        if wanted and not any(medium.is_relayed for medium in wanted):
            raise CannotRelay(488, f"media over {wanted[0].proto} is not relayed")

    @property
    def own_leases(self) -> list[bool]:
        """For each m-line, whether it needs a lease of its own."""
        return [medium.port != 0 and medium.is_relayed and leader is None for medium, leader in self.media]
