"""Who a phone is, and how its addresses read in messages."""

from __future__ import annotations

from dataclasses import dataclass

from tunnel.address import Address

__all__ = ["Account", "contact_of"]


@dataclass(frozen=True, slots=True)
class Account:
    """``sip:user@domain``, and the password that proves it.

    ``domain`` is where it registers, a host with a port if need be. ``outbound`` is the proxy that requests outside
    a dialog go to first, as a loose Route; None: straight to where the URI says.
    """

    user: str
    domain: str
    password: str = ""
    outbound: Address | None = None

    @property
    def uri(self) -> bytes:
        return f"sip:{self.user}@{self.domain}".encode()

    def routes(self, transport: str) -> tuple[bytes, ...]:
        """The Route values of a request outside a dialog."""
        if self.outbound is None:
            return ()
        return (f"<sip:{self.outbound}{suffix_of(transport)};lr>".encode(),)


def contact_of(account: Account, local: Address, transport: str) -> bytes:
    """The Contact value of a phone at ``local``."""
    return f"<sip:{account.user}@{local}{suffix_of(transport)}>".encode()


def suffix_of(transport: str) -> str:
    return "" if transport == "udp" else f";transport={transport}"
