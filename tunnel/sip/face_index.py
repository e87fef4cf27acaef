"""What all sessions of one face share: its listeners, and where each transaction, dialog and registrar belongs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeVar

from tunnel.address import Address
from tunnel.sip.dialog import DialogKey, DialogSessions, strangeness
from tunnel.sip.grammar import same_host
from tunnel.sip.transaction_key import ServerKey
from tunnel.sip.uri import SipUri

__all__ = ["FaceAddresses", "FaceIndex"]

_Key = TypeVar("_Key")

# Our number: how often registrars where nobody is registered any more are looked for; one comes with every refresh.
SWEEP_S = 60.0


class FaceAddresses:
    """The listeners of a face: what stands in Via, Contact and Record-Route, by transport and address family."""

    def __init__(self, bound: list[tuple[str, Address]]) -> None:
        self.bound = tuple(bound)

    def pick(self, transport: str, ipv6: bool) -> Address | None:
        """The first listener of ``transport`` in that family."""
        return next((a for t, a in self.bound if t == transport and a.is_ipv6 is ipv6), None)

    def is_own(self, uri: SipUri) -> bool:
        """Whether ``uri`` names this face itself."""
        default = 5061 if uri.scheme == "sips" or uri.transport == "tls" else 5060
        return any(same_host(uri.host, a.host) and (uri.port or default) == a.port for _, a in self.bound)


@dataclass(slots=True)
class FaceIndex:
    """What all half proxies of one face must find each other by; the value is the number of the half proxy."""

    transactions: dict[ServerKey, int] = field(default_factory=dict)
    branches: dict[bytes, int] = field(default_factory=dict)
    dialogs: dict[DialogKey, DialogSessions] = field(default_factory=dict)
    registrars: dict[str, dict[int, float]] = field(default_factory=dict)  # peer IP -> half proxy -> until when
    homes: dict[str, dict[int, float]] = field(default_factory=dict)  # host of the registrar's URI, likewise
    _swept_at: float = 0.0

    def note_registrar(self, host: str, number: int, until: float, now: float, home: str = "") -> None:
        """``host`` accepted a registration of the session ``number`` with the domain ``home``; what has run out goes, now
        and then."""
        _note(self.registrars, host, number, until)
        if home:
            _note(self.homes, home, number, until)
        if now >= self._swept_at + SWEEP_S:
            self._swept_at = now
            _sweep(self.registrars, now)
            _sweep(self.homes, now)

    def is_registrar(self, host: str, number: int, now: float) -> bool:
        """Whether somebody of the session ``number`` is registered at ``host``."""
        return self.registrars.get(host, {}).get(number, now) > now

    def is_home(self, domain: str, number: int, now: float) -> bool:
        """Whether somebody of the session ``number`` is registered with ``domain``."""
        return self.homes.get(domain, {}).get(number, now) > now

    def session_of_dialog(self, key: DialogKey, source: Address) -> tuple[int, bool] | None:
        """Which session carries that dialog for a party at ``source``, and whether it knows it at that host.

        The one that does, else the oldest: whoever knows the ids of another tenant's dialog and begins one of the same
        name gets none of its requests.
        """
        found = [
            (min((strangeness(call, key, source) for call in passes), default=2), number)
            for number, passes in self.dialogs.get(key, {}).items()
        ]
        if not found:
            return None
        strange, number = min(found, key=lambda each: each[0])
        return number, strange < 2

    def forget(self, number: int) -> None:
        """The session ``number`` is over."""
        _drop_all(self.transactions, number)
        _drop_all(self.branches, number)
        for key, sessions in list(self.dialogs.items()):
            sessions.pop(number, None)
            if not sessions:
                del self.dialogs[key]
        for table in (self.registrars, self.homes):
            for host, numbers in list(table.items()):
                numbers.pop(number, None)
                if not numbers:
                    del table[host]


def _note(table: dict[str, dict[int, float]], host: str, number: int, until: float) -> None:
    known = table.setdefault(host, {})
    known[number] = max(until, known.get(number, until))


def _sweep(table: dict[str, dict[int, float]], now: float) -> None:
    for other, numbers in list(table.items()):
        for stale in [n for n, at in numbers.items() if at <= now]:
            del numbers[stale]
        if not numbers:
            del table[other]


def _drop_all(table: dict[_Key, int], number: int) -> None:
    for key in [key for key, owner in table.items() if owner == number]:
        del table[key]
