"""Transfers and call pickup: way B, sipp for everybody; who asks for it is the caller, inside or outside.

The caller A talks to B, and sends B to C. C is *near*, on A's own side, so that B's call to C goes through the pair; or
*far*, on B's side, and B calls it directly.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from itertools import count

import pytest
from field.rig.host import Host
from field.rig.line import AGENT, PBX, SERVER, TRUNK, Line
from field.rig.party import Party, finished
from field.rig.script import Dialog, Script, audio, sdp
from field.rig.verdicts import Watch, watched
from field.rig.voices import assert_heard, only_stream

pytestmark = [pytest.mark.field, pytest.mark.real("sipp")]

OFFER = ANSWER = sdp(audio())
SIPFRAG = "message/sipfrag;version=2.0"
EVENT = "Event: refer\nSubscription-State: "
# Who calls, and whether C is on the side of B. To a carrier that calls, B and C inside are one PBX: no transfer there.
CELLS = pytest.mark.parametrize(
    ("line", "near"),
    [("out", True), ("out", False), ("in", True)],
    ids=["out-near", "out-far", "in-near"],
    indirect=["line"],
)
_numbers = count(1)


@dataclass(frozen=True, slots=True)
class Place:
    """Where C is, and to which address B sends what is for C."""

    host: Host
    user: str
    peer: str

    @property
    def uri(self) -> str:
        return f"sip:{self.user}@{self.host.address}:5060"


def place(line: Line, near: bool) -> Place:
    inside = (line.direction == "out") is near
    host, user = (line.network.dave, "dave") if inside else (line.network.carol, "carol")
    return Place(host, user, line.callees_proxy if near else host.address)


def greet(call: Dialog, ring: Dialog) -> None:
    """A calls B."""
    call.invite(OFFER)
    ring.asked("INVITE")
    ring.accept(ANSWER)
    call.accepted()


def notify(notifier: Dialog, state: str, status: str) -> None:
    notifier.request("NOTIFY", f"SIP/2.0 {status}\n", f"{EVENT}{state}\n", SIPFRAG)
    notifier.answered(200, "NOTIFY")


def is_notified(referrer: Dialog, status: str) -> None:
    referrer.asked("NOTIFY", has=f"SIP/2.0 {status}")
    referrer.answer(200, "NOTIFY")


def is_referred(line: Line, ring: Dialog, new: Dialog, target: Place, replaces: str = "") -> None:
    """B has accepted the REFER, and calls whom it names; itself, if C is on its own side."""
    notify(ring, "active;expires=60", "100 Trying")
    new.script.turn_to(target.peer)
    new.invite(OFFER, f"Replaces: {replaces}\n" if replaces else "", uri=ring.referred_to)
    new.accepted()
    new.script.turn_to(line.callees_proxy)
    notify(ring, "terminated;reason=noresource", "200 OK")


def talk(new: Dialog, target: Place) -> None:
    """B speaks to C, and hangs up."""
    new.script.turn_to(target.peer)
    new.script.speak()
    new.script.pause(0.6)
    new.bye()


def is_called(ring: Dialog, target: Place) -> None:
    """C is called by the very URI that A knows it by."""
    ring.asked("INVITE", has=f"INVITE {target.uri} SIP/2.0")
    ring.accept(ANSWER)
    ring.script.speak()


def judge(line: Line, watch: Watch, target: Place) -> None:
    """B's voice came to C."""
    packets = watch.lan.packets if target.user == "dave" else watch.internet.packets
    assert_heard(only_stream(packets, target.host.address), line.callee_voice, 0.4)


@pytest.mark.real("blind-transfer")
@CELLS
def test_blind_transfer(line: Line, near: bool) -> None:
    """3-#5, T8, F5: REFER, NOTIFY 100 and 200, and B talks to C."""
    transferred(line, near, notify_first=False)


@pytest.mark.real("notify-before-202")
def test_notify_overtakes_the_202(line: Line) -> None:
    """T8, F4."""
    transferred(line, near=True, notify_first=True)


def transferred(line: Line, near: bool, notify_first: bool) -> None:
    caller, callee, target = line.caller, line.callee, place(line, near)
    call, ring = caller.start(prefix=True), callee.take()
    greet(call, ring)
    names = f"Refer-To: <{target.uri}>\nReferred-By: <sip:{caller.user}@{caller.domain}>\n"
    call.request("REFER", headers=names, repeats=not notify_first)
    ring.asked("REFER")
    if notify_first:
        ring.request("NOTIFY", "SIP/2.0 100 Trying\n", f"{EVENT}pending;expires=60\n", SIPFRAG, repeats=False)
        ring.answer(202, "REFER")
        ring.answered(200, "NOTIFY")
        is_notified(call, "100 Trying")
        call.answered(202, "REFER")
    else:
        ring.answer(202, "REFER")
        call.answered(202, "REFER")
    new, third = callee.start("new", prefix=True, routed=near), Script(target.user)
    is_referred(line, ring, new, target)
    is_notified(call, "100 Trying")
    is_notified(call, "200 OK")
    call.bye()
    ring.ended()
    talk(new, target)
    called = third.take(routed=near)
    is_called(called, target)
    called.ended()
    with watched(line.network, line.folder) as watch, ExitStack() as running:
        parties = [
            running.enter_context(Party(target.host, line.folder, third, voice="dave")),
            running.enter_context(line.called(callee)),
            running.enter_context(line.calling(caller)),
        ]
        finished(*parties)
    judge(line, watch, target)


@pytest.mark.real("refer-out-of-dialog")
def test_somebody_is_told_to_call(line: Line) -> None:
    """3-#5: REFER without a call makes a dialog of its own, in which the NOTIFYs come."""
    caller, callee, target = line.caller, line.callee, place(line, near=True)
    asks, asked = caller.start("refer", prefix=True), callee.take("refer")
    asks.open("REFER", headers=f"Refer-To: <{target.uri}>\n")
    asked.asked("REFER", forms=True)
    asked.answer(202, "REFER")
    asks.answered(202, "REFER", forms=True)
    new, third = callee.start("new", prefix=True), Script(target.user)
    is_referred(line, asked, new, target)
    is_notified(asks, "100 Trying")
    is_notified(asks, "200 OK")
    talk(new, target)
    called = third.take()
    is_called(called, target)
    called.ended()
    with watched(line.network, line.folder) as watch, ExitStack() as running:
        parties = [
            running.enter_context(Party(target.host, line.folder, third, voice="dave")),
            running.enter_context(line.called(callee)),
            running.enter_context(line.calling(caller)),
        ]
        finished(*parties)
    judge(line, watch, target)


@pytest.mark.real("attended-transfer", "semi-attended-transfer")
@pytest.mark.parametrize("answered", [True, False], ids=["attended", "semi-attended"])
@CELLS
def test_transfer_after_asking(line: Line, near: bool, answered: bool) -> None:
    """T7, 3-#5: A has called C before, or C still rings; B's INVITE replaces that call at C."""
    shared = f"transfer-{next(_numbers)}"
    caller, callee, target = line.caller, line.callee, place(line, near)
    asker = Script("asker", caller.domain, callee=target.uri)
    third = Script(target.user)
    consult, at_third = asker.start("consult", prefix=True, routed=not near), third.take("consult", routed=not near)
    ids = f"consult///{shared};to-tag={at_third.local_tag};from-tag={consult.local_tag}"
    escaped = ids.replace("=", "%3D").replace(";", "%3B")
    consult.invite(OFFER)
    at_third.asked("INVITE")
    if answered:
        at_third.accept(ANSWER)
        consult.accepted()
    else:
        at_third.answer(180)
        consult.answered(180)

    call, ring = caller.start(prefix=True), callee.take()
    greet(call, ring)
    call.request("REFER", headers=f"Refer-To: <{target.uri}?Replaces={escaped}>\n")
    ring.asked("REFER", has=f"[?]Replaces={escaped}>")
    ring.answer(202, "REFER")
    call.answered(202, "REFER")
    new, called = callee.start("new", prefix=True, routed=near), third.take("new", routed=near)
    is_referred(line, ring, new, target, replaces=ids)
    is_notified(call, "100 Trying")
    is_notified(call, "200 OK")
    host = line.network.pbx if line.direction == "out" else line.network.trunk
    called.asked("INVITE", has=f"INVITE {target.uri} SIP/2.0.*Replaces: {ids}")
    caller_of_c = line.callers_proxy if near else (TRUNK if line.direction == "out" else PBX)
    third.turn_to(caller_of_c)
    called.accept(ANSWER)
    if near:
        third.turn_to(host.address, 5062)
    else:
        third.turn_to(line.callees_proxy)
    if answered:
        at_third.bye()
        consult.ended()
    else:
        at_third.answer(487)
        at_third.asked("ACK")
        consult.answered(487)
        consult.ack_refusal()
    third.turn_to(caller_of_c)
    call.bye()
    ring.ended()
    talk(new, target)
    called.ended()

    with watched(line.network, line.folder) as watch, ExitStack() as running:
        start = running.enter_context
        parties = [start(Party(target.host, line.folder, third, voice="dave", call_id=shared))]
        peer = target.host.address if near else line.callers_proxy
        parties.append(start(Party(host, line.folder, asker, peer, port=5062, call_id=shared)))
        (watch.lan if line.direction == "out" else watch.internet).await_sip("ACK" if answered else "180")
        parties += [start(line.called(callee, call_id=shared)), start(line.calling(caller, call_id=shared))]
        finished(*parties)
    judge(line, watch, target)


@pytest.mark.real("pickup")
def test_ringing_call_is_picked_up(line: Line) -> None:
    """G3, T7: a colleague of the callee takes the call: INVITE with Replaces to the caller, which then cancels."""
    shared = f"pickup-{next(_numbers)}"
    caller, callee, colleague = line.caller, line.callee, Script("colleague", callee="[known_as]")
    call, ring = caller.start(prefix=True), callee.take()
    ids = f"call///{shared};to-tag={ring.local_tag};from-tag={call.local_tag};early-only"
    call.invite(OFFER)
    ring.asked("INVITE")
    ring.answer(180)
    call.answered(180)
    taken, picks = caller.take("pick"), colleague.start("pick", prefix=True)
    picks.invite(OFFER, f"Replaces: {ids}\n")
    taken.asked("INVITE", has=f"INVITE sip:.*Replaces: {ids}")
    taken.accept(ANSWER)
    picks.accepted()
    call.cancel()
    call.answered(200, "CANCEL")
    ring.asked("CANCEL")
    ring.answer(200, "CANCEL")
    ring.answer(487)
    ring.asked("ACK")
    call.answered(487)
    call.ack_refusal()
    colleague.speak()
    caller.speak()
    colleague.pause(0.6)
    picks.bye()
    taken.ended()
    host, peer = (line.network.dave, AGENT) if line.direction == "in" else (line.network.carol, SERVER)
    with watched(line.network, line.folder) as watch, ExitStack() as running:
        start = running.enter_context
        parties = [start(line.called(callee, call_id=shared)), start(line.calling(caller, call_id=shared))]
        seen = watch.lan if line.direction == "in" else watch.internet
        seen.await_sip("180")
        (invite,) = {
            p.payload
            for p in seen.so_far()
            if p.sip == "INVITE" and p.target == (PBX if line.direction == "in" else TRUNK)
        }
        known_as = invite.partition(b"Contact: <")[2].partition(b">")[0].decode()
        values = {"known_as": known_as}
        parties.append(start(Party(host, line.folder, colleague, peer, voice="dave", call_id=shared, values=values)))
        finished(*parties)
    packets = watch.lan.packets if line.direction == "in" else watch.internet.packets
    assert_heard(only_stream(packets, host.address), line.caller_voice, 0.4)
