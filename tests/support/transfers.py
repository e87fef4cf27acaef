"""Transfers: who takes part, what each sends, and what must have become of it (RFC 5589, RFC 3515, RFC 3891).

    cast = Cast(stage, transferor="inside", transferee="outside", target="inside")
    first = cast.call(cast.transferor, cast.transferee)
    cast.refer(first.of(cast.transferor), to=...)

The target is the phone of its side that the stage has; the others are its phones too where they are free, else new ones.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from urllib.parse import quote, unquote_to_bytes

from support.ladder import Dialog, Phone, uri_in
from support.stage import Stage, Talk
from tunnel.sip.message import Message

__all__ = ["SIPFRAG", "Cast", "Referral", "replaces"]

SIPFRAG = "Content-Type: message/sipfrag;version=2.0"
MORE_INSIDE = ("10.1.0.51:5060", "10.1.0.52:5060")
MORE_OUTSIDE = {
    "A": (("203.0.113.41:5060", ""), ("203.0.113.42:5060", "")),
    "B": (("203.0.113.30:5071", ""), ("203.0.113.30:5072", "")),
    "C": (("192.168.77.11:5060", "198.51.100.8:40001"), ("192.168.77.12:5060", "198.51.100.9:40001")),
}


def replaces(dialog: Dialog) -> str:
    """The Replaces value that names ``dialog`` to its other party (RFC 3891 section 6.1)."""
    remote, local = (value.rpartition(b";tag=")[2].decode() for value in (dialog.remote, dialog.local))
    return f"{dialog.call_id.decode()};to-tag={remote};from-tag={local}"


@dataclass
class Referral:
    """A REFER that was sent: the dialog of its subscription at either end, and what the transferee is to call."""

    referrer: Dialog
    notifier: Dialog
    sent: Message
    arrived: Message

    @property
    def uri(self) -> bytes:
        """What the transferee calls: the URI without its headers and its method (RFC 3261 section 19.1.5)."""
        uri = uri_in(self.arrived.values("refer-to")[0].text).partition(b"?")[0]
        return b";".join(part for part in uri.split(b";") if not part.startswith(b"method="))

    @property
    def headers(self) -> list[str]:
        """The headers that the INVITE takes from the URI, and who referred."""
        _, _, asked = uri_in(self.arrived.values("refer-to")[0].text).partition(b"?")
        pairs = (each.partition(b"=") for each in asked.split(b"&") if each)
        taken = [f"{name.decode()}: {unquote_to_bytes(value).decode()}" for name, _, value in pairs]
        return [*taken, *(line.decode() for line in self.arrived.lines("referred-by"))]

    def accept(self) -> None:
        """202, and it arrives."""
        self.notifier.phone.answer(self.arrived, 202)
        accepted = self.referrer.phone.got(202)
        if not self.sent.to_tag:
            self.referrer = Dialog.of_caller(self.referrer.phone, self.sent, accepted)

    def notify(self, status: str, *, ends: bool = False) -> Message:
        """The transferee says how its call goes; the transferor gets it as it was said. Returns what arrived."""
        state = "terminated;reason=noresource" if ends else "active;expires=60"
        fragment = f"SIP/2.0 {status}\r\n".encode()
        self.notifier.send("NOTIFY", headers=["Event: refer", f"Subscription-State: {state}", SIPFRAG], body=fragment)
        told = self.referrer.phone.got("NOTIFY")
        assert told.body == fragment
        assert (told.call_id, told.from_tag, told.to_tag) == (
            self.sent.call_id,
            self.notifier.local.rpartition(b";tag=")[2],
            self.sent.from_tag,
        )
        self.referrer.phone.answer(told, 200)
        self.notifier.phone.got(200)
        return told


class Cast:
    """Transferor, transferee and target on ``stage``, each "inside" or "outside"."""

    def __init__(self, stage: Stage, *, transferor: str, transferee: str, target: str) -> None:
        self.stage = stage
        self._free = {"inside": [stage.inside], "outside": [stage.outside]}
        self._new = {"inside": 0, "outside": 0}
        self.target = self._phone(target)
        self.transferor = self._phone(transferor)
        self.transferee = self._phone(transferee)
        self.phones = (self.target, self.transferor, self.transferee)

    def _phone(self, side: str) -> Phone:
        if self._free[side]:
            return self._free[side].pop()
        number = self._new[side]
        self._new[side] += 1
        if side == "inside":
            return self.stage.inside_phone(("carla", "carol")[number], MORE_INSIDE[number], port=6100 + 10 * number)
        address, seen = MORE_OUTSIDE[self.stage.way][number]
        return self.stage.outside_phone(("dan", "dora")[number], address, seen_from=seen, port=7100 + 10 * number)

    def refer(
        self,
        dialog: Dialog,
        refer_to: str,
        *,
        headers: Sequence[str] = (),
        out_of: str | bytes | None = None,
    ) -> Referral:
        """The transferor asks the other party of ``dialog`` to call ``refer_to``.

        ``out_of``: not in that dialog, but in a new one with a request for this URI.
        """
        phone = dialog.phone
        more = [f"Refer-To: <{refer_to}>", f"Referred-By: <{phone.aor}>", *headers]
        if out_of is None:
            sent = dialog.send("REFER", headers=more)
            arrived = self.transferee.got("REFER")
            return Referral(dialog, self._other_end(dialog, arrived), sent, arrived)
        sent = phone.request("REFER", out_of, headers=more)
        arrived = self.transferee.got("REFER")
        notifier = Dialog.of_callee(self.transferee, arrived, self.transferee.user)
        return Referral(dialog, notifier, sent, arrived)

    def _other_end(self, dialog: Dialog, arrived: Message) -> Dialog:
        """The transferee's end of a dialog that both know."""
        found = [talk for talk in self.stage.talks if dialog in (talk.caller, talk.callee)]
        assert found
        assert found[0].of(self.transferee).call_id == arrived.call_id
        return found[0].of(self.transferee)

    def ring(self) -> tuple[Dialog, Message, Message]:
        """The transferor calls the target, which rings: its early dialog, the INVITE as it was sent and as it came."""
        invite = self.transferor.invite(self.stage.uri_of(self.target, self.transferor))
        arrived = self.target.got("INVITE")
        self.target.answer(arrived, 180)
        ringing = self.transferor.got(180)
        return Dialog.of_caller(self.transferor, invite, ringing), invite, arrived

    def follow(self, referral: Referral, *, ends: Callable[[], None] = lambda: None) -> Talk:
        """The transferee calls whom it was referred to, telling the transferor; the target answers.

        ``ends``: what the target does to the dialog that the call replaces.
        """
        caller, callee = self.transferee, self.target
        invite = caller.invite(referral.uri, headers=referral.headers)
        arrived = callee.got("INVITE")
        referral.notify("100 Trying")
        callee.answer(arrived, 180)
        caller.got(180)
        referral.notify("180 Ringing")
        answering = callee.accept(arrived)
        answer = caller.got(200)
        calling = Dialog.of_caller(caller, invite, answer)
        calling.ack()
        callee.got("ACK")
        ends()
        referral.notify("200 OK", ends=True)
        return Talk(calling, answering, invite, arrived, answer)

    def assert_audio(self) -> None:
        """Transferee and target hear each other."""
        assert self.stage.reaches(self.transferee, self.target), "the target does not hear the transferee"
        assert self.stage.reaches(self.target, self.transferee), "the transferee does not hear the target"

    def assert_empty(self) -> None:
        """Nothing is left, and nobody was told anything more."""
        self._assert_quiet()
        self.stage.world.wait(200)
        self._assert_quiet()
        self.stage.world.assert_empty()

    def first_call(self) -> Talk:
        """Transferor and transferee talk; who called is the stage's caller, where the two are on two sides."""
        caller, callee = self.transferor, self.transferee
        if caller.outside is self.stage.caller_inside and callee.outside is not caller.outside:
            caller, callee = callee, caller
        return self.stage.call(caller, callee)

    def _assert_quiet(self) -> None:
        for phone in self.phones:
            phone.got_nothing()


def escaped(value: str) -> str:
    """``value`` as it stands among the headers of a URI (RFC 3261 section 19.1.1)."""
    return quote(value, safe="")
