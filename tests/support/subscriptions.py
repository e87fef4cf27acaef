"""A subscription between two phones of a stage: SUBSCRIBE, NOTIFY, refresh and end, one message at a time (RFC 6665)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from support.ladder import Dialog, Phone
from support.stage import Stage
from tunnel.sip.message import Message

__all__ = ["Subscription", "subscribe"]


@dataclass
class Subscription:
    """The dialog of each end; ``event`` is the value of the Event header."""

    event: str
    subscriber: Dialog
    notifier: Dialog

    def notify(self, state: str = "active;expires=3600", body: bytes = b"", kind: str = "") -> Message:
        """The notifier says so; the subscriber gets it just so. Returns what arrived."""
        headers = [f"Event: {self.event}", f"Subscription-State: {state}", *([f"Content-Type: {kind}"] if kind else [])]
        sent = self.notifier.send("NOTIFY", headers=headers, body=body)
        came = self.subscriber.phone.got("NOTIFY")
        for name in ("call-id", "from", "to", "cseq", "event", "subscription-state", "content-type"):
            assert came.lines(name) == sent.lines(name)
        assert came.body == body
        self.subscriber.phone.answer(came, 200)
        self.notifier.phone.got(200)
        return came

    def refresh(self, expires_s: int, granted_s: int | None = None) -> None:
        """The subscriber asks for more time, or with 0 for the end."""
        headers = [f"Event: {self.event}", f"Expires: {expires_s}"]
        self.subscriber.send("SUBSCRIBE", headers=headers)
        came = self.notifier.phone.got("SUBSCRIBE")
        assert came.lines("expires") == [f"Expires: {expires_s}".encode()]
        assert came.to_tag == self.notifier.local.rpartition(b";tag=")[2]
        granted = f"Expires: {expires_s if granted_s is None else granted_s}"
        self.notifier.phone.answer(came, 200, headers=[granted], tag=came.to_tag.decode())
        assert self.subscriber.phone.got(200).lines("expires") == [granted.encode()]


def subscribe(
    stage: Stage,
    event: str,
    *,
    subscriber: Phone | None = None,
    notifier: Phone | None = None,
    expires_s: int = 3600,
    granted_s: int | None = None,
    headers: Sequence[str] = (),
    status: int = 200,
) -> Subscription:
    """The caller of ``stage`` subscribes at its callee, if no others are named."""
    asking, telling = subscriber or stage.caller, notifier or stage.callee
    more = [f"Event: {event}", f"Expires: {expires_s}", *headers]
    sent = asking.request("SUBSCRIBE", stage.uri_of(telling, asking), headers=more)
    came = telling.got("SUBSCRIBE")
    for name in ("event", "expires", "accept", "supported"):
        assert came.lines(name) == sent.lines(name)
    telling.answer(came, status, headers=[f"Expires: {expires_s if granted_s is None else granted_s}"])
    answer = asking.got(status)
    return Subscription(event, Dialog.of_caller(asking, sent, answer), Dialog.of_callee(telling, came, telling.user))
