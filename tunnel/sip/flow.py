"""Where a message came from, and so where its answer goes: one flow between a listener of ours and a peer."""

from __future__ import annotations

from dataclasses import dataclass

from tunnel.address import Address

__all__ = ["NOT_VERIFIED", "Flow"]

# Why a flow failed, where those who waited for it are told: it names no address.
NOT_VERIFIED = "the certificate of the next hop does not verify"


@dataclass(frozen=True, slots=True)
class Flow:
    """A way between one listener of a face and one peer; equal flows are the same way, so it can be a key.

    ``transport`` is ``udp``, ``tcp`` or ``tls``. ``local`` is the advertised address of our listener (what stands in
    our Via), ``remote`` the peer's source address as seen by us. ``connection`` names one stream connection for as long
    as it lives; 0 for UDP, and for streams "whichever connection leads to ``remote``, a new one if there is none".
    """

    transport: str
    local: Address
    remote: Address
    connection: int = 0

    @property
    def reliable(self) -> bool:
        """True where the transport repairs losses itself, so that transactions need not (RFC 3261 section 17)."""
        return self.transport != "udp"

    def __str__(self) -> str:
        return f"{self.transport}:{self.remote}"
