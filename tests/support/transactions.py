"""Transactions under a virtual clock: whatever they send and tell is kept with the time at which it happened."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Generic, Protocol, TypeVar

from support.messages import compose

__all__ = ["ACK", "INVITE", "OPTIONS", "Runner", "response"]

_Event = TypeVar("_Event")
_Told = TypeVar("_Told", covariant=True)


def _request(method: str) -> bytes:
    return compose(
        f"{method} sip:bob@203.0.113.9 SIP/2.0",
        "Via: SIP/2.0/UDP 203.0.113.2:5060;rport;branch=z9hG4bKours",
        "Max-Forwards: 70",
        "From: <sip:alice@example.com>;tag=a1",
        "To: <sip:bob@example.com>",
        "Call-ID: call-1",
        f"CSeq: 1 {method}",
        "Content-Length: 0",
    )


INVITE = _request("INVITE")
OPTIONS = _request("OPTIONS")
ACK = _request("ACK")


def response(status: int, to_tag: str = "b1", method: str = "INVITE", *more: str) -> bytes:
    """A response to one of the requests above, as the peer sends it."""
    return compose(
        f"SIP/2.0 {status} Because",
        "Via: SIP/2.0/UDP 203.0.113.2:5060;rport;branch=z9hG4bKours",
        "From: <sip:alice@example.com>;tag=a1",
        f"To: <sip:bob@example.com>;tag={to_tag}",
        "Call-ID: call-1",
        f"CSeq: 1 {method}",
        *more,
        "Content-Length: 0",
    )


class _Machine(Protocol[_Told]):
    def events(self) -> Sequence[_Told]: ...
    def outgoing(self) -> list[bytes]: ...
    def deadline(self) -> float | None: ...
    def tick(self, now: float) -> None: ...


class Runner(Generic[_Event]):
    """Owns ``machine`` as a shell would, from time 0 on; ``sent`` and ``told`` pair the time with what came out."""

    def __init__(self, machine: _Machine[_Event]) -> None:
        self.machine = machine
        self.now = 0.0
        self.sent: list[tuple[float, bytes]] = []
        self.told: list[tuple[float, _Event]] = []
        self.drain()

    def drain(self) -> None:
        """What a shell does after every change."""
        self.told += [(self.now, event) for event in self.machine.events()]
        self.sent += [(self.now, data) for data in self.machine.outgoing()]

    def run_until(self, end: float) -> None:
        """Let every timer fire that is due by ``end``, each at its time."""
        while (deadline := self.machine.deadline()) is not None and deadline <= end:
            assert deadline >= self.now, "a deadline lies in the past"
            self.now = deadline
            self.machine.tick(self.now)
            self.drain()
        self.now = end

    def times_sent(self, data: bytes) -> list[float]:
        """When ``data`` went out."""
        return [at for at, sent in self.sent if sent == data]

    @property
    def events(self) -> list[_Event]:
        return [event for _, event in self.told]
