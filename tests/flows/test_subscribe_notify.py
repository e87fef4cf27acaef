"""Subscriptions: message waiting, dialogs, presence, registrations; their refreshes, forks and ends (RFC 6665)."""

from __future__ import annotations

import pytest
from support.flow_table import flow
from support.ladder import Dialog, Phone
from support.messages import compose
from support.stage import Stage
from support.subscriptions import Subscription, subscribe

MWI = b"Messages-Waiting: yes\r\nMessage-Account: sip:vmail@vm.example\r\nVoice-Message: 2/8 (0/2)\r\n"
XML = compose('<?xml version="1.0"?>', '<dialog-info xmlns="urn:ietf:params:xml:ns:dialog-info" version="0"/>')
EVENTS = {
    "message-summary": ("application/simple-message-summary", MWI),
    "dialog;sla": ("application/dialog-info+xml", XML),
    "presence": ("application/pidf+xml", XML.replace(b"dialog-info", b"presence")),
    "presence.winfo": ("application/watcherinfo+xml", XML.replace(b"dialog-info", b"watcherinfo")),
    "reg": ("application/reginfo+xml", XML.replace(b"dialog-info", b"reginfo")),
    "as-feature-event": ("application/x-as-feature-event+xml", XML),
    "conference": ("application/conference-info+xml", XML.replace(b"dialog-info", b"conference-info")),
    "x-odd ; id=7": ("application/octet-stream", bytes(range(256))),
}
DAY_S = 86_400


@flow("subscribe-notify")
@pytest.mark.parametrize("event", EVENTS)
def test_what_is_told_arrives_as_it_was_told(stage: Stage, event: str) -> None:
    """F4, G3: subscribe, be told, refresh, unsubscribe, be told the end; every body byte for byte."""
    kind, body = EVENTS[event]
    subscription = subscribe(stage, event, granted_s=600, headers=[f"Accept: {kind}", "Supported: eventlist"])
    subscription.notify("active;expires=600", body, kind)
    stage.world.wait(500)
    subscription.refresh(3600)
    stage.world.wait(3000)
    subscription.notify("active;expires=600", body, kind)
    subscription.refresh(0)
    subscription.notify("terminated;reason=timeout", body, kind)
    stage.assert_empty()


@flow("subscribe-notify")
def test_it_is_told_before_the_answer(stage: Stage) -> None:
    """F4, T8: the first NOTIFY overtakes the 200, and 202 is as good as 200."""
    caller, callee = stage.caller, stage.callee
    sent = caller.request("SUBSCRIBE", stage.uri_of(callee, caller), headers=["Event: dialog", "Expires: 60"])
    came = callee.got("SUBSCRIBE")
    telling = Dialog.of_callee(callee, came, callee.user)
    telling.send("NOTIFY", headers=["Event: dialog", "Subscription-State: pending;expires=60"])
    first = caller.got("NOTIFY")
    caller.answer(first, 200)
    callee.got(200)
    callee.answer(came, 202, headers=["Expires: 60"])
    subscription = Subscription("dialog", Dialog.of_caller(caller, sent, caller.got(202)), telling)
    subscription.notify("active;expires=60")
    subscription.refresh(60)
    subscription.notify("terminated;reason=giveup")
    stage.assert_empty()


@flow("subscribe-notify")
def test_many_forks_tell(stage: Stage) -> None:
    """F4: a SUBSCRIBE that forks makes a dialog with each that notifies; one that ends leaves the others alone."""
    caller, callee = stage.caller, stage.callee
    sent = caller.request("SUBSCRIBE", stage.uri_of(callee, caller), headers=["Event: presence", "Expires: 3600"])
    came = callee.got("SUBSCRIBE")
    callee.answer(came, 200, tag="fork0", headers=["Expires: 3600"])
    answer = caller.got(200)
    forks = []
    for number in range(20):
        telling = Dialog.of_callee(callee, came, f"fork{number}")
        state = ["Event: presence", "Subscription-State: active;expires=3600"]
        telling.send("NOTIFY", headers=state)
        first = caller.got("NOTIFY")
        assert first.from_tag == f"fork{number}".encode()
        caller.answer(first, 200)
        callee.got(200)
        asking = Dialog.of_callee(caller, first, caller.user)
        asking.cseq = 1
        asking.local = sent.values("from")[0].text
        forks.append(Subscription("presence", asking, telling))
    assert answer.to_tag == b"fork0"
    forks[7].notify("terminated;reason=deactivated")
    stage.world.wait(300)
    for number in (0, 3, 19):
        forks[number].refresh(3600)
        forks[number].notify()
    for number, fork in enumerate(forks):
        if number != 7:
            fork.notify("terminated;reason=noresource")
    stage.assert_empty()


@flow("subscribe-notify")
@pytest.mark.parametrize("expires_s", [7200, DAY_S, 7 * DAY_S])
def test_a_long_life(stage: Stage, expires_s: int) -> None:
    """F4, F6: subscriptions to registration state are asked for by the week; they are not forgotten before they end."""
    subscription = subscribe(stage, "reg", expires_s=expires_s)
    subscription.notify(f"active;expires={expires_s}")
    stage.world.wait(expires_s - 60)
    subscription.notify(f"active;expires={expires_s}")
    stage.world.wait(expires_s - 60)
    subscription.refresh(600)
    subscription.notify("active;expires=600", b"x", "a/b")
    stage.world.wait(700)
    stage.assert_empty()


@flow("subscribe-notify")
def test_within_a_call(stage: Stage) -> None:
    """F4: a subscription that shares the dialog of a call goes on when the call is over (RFC 5057)."""
    talk = stage.talk()
    headers = ["Event: conference", "Expires: 3600"]
    talk.caller.send("SUBSCRIBE", headers=headers)
    came = stage.callee.got("SUBSCRIBE")
    stage.callee.answer(came, 200, headers=["Expires: 3600"])
    stage.caller.got(200)
    subscription = Subscription("conference", talk.caller, talk.callee)
    subscription.notify()
    stage.assert_audio()
    talk.hang_up()
    stage.world.wait(600)
    subscription.notify("active;expires=3000", b"x", "a/b")
    subscription.refresh(3000)
    subscription.notify("terminated;reason=timeout")
    stage.assert_empty()


@flow("subscribe-notify")
@pytest.mark.parametrize(("status", "header"), [(489, "Allow-Events: reg"), (423, "Min-Expires: 90"), (403, "X: y")])
def test_who_refuses_says_why(stage: Stage, status: int, header: str) -> None:
    """F4: 489 with Allow-Events and 423 with Min-Expires pass, and nothing is left, however long it was to last."""
    headers = ["Event: talk", f"Expires: {30 * DAY_S}"]
    stage.caller.request("SUBSCRIBE", stage.uri_of(stage.callee, stage.caller), headers=headers)
    stage.callee.answer(stage.callee.got("SUBSCRIBE"), status, headers=[header])
    answer = stage.caller.got(status)
    assert header.encode() in [answer.line(each) for each in answer.headers]
    stage.assert_empty()


@flow("subscribe-notify")
def test_a_refresh_that_is_refused_ends_it(stage: Stage) -> None:
    """F4: 481 to a refresh passes, and the subscription is forgotten soon, not when it would have run out."""
    subscription = subscribe(stage, "presence", expires_s=DAY_S)
    subscription.notify(f"active;expires={DAY_S}")
    subscription.subscriber.send("SUBSCRIBE", headers=["Event: presence", "Expires: 600"])
    stage.callee.answer(stage.callee.got("SUBSCRIBE"), 481)
    stage.caller.got(481)
    stage.assert_empty()


@flow("subscribe-notify")
def test_out_of_the_blue(stage: Stage) -> None:
    """F4: an unsolicited NOTIFY (message waiting, check-sync) passes without any dialog."""
    headers = ["Event: check-sync;reboot=true", "Subscription-State: terminated"]
    stage.caller.request("NOTIFY", stage.uri_of(stage.callee, stage.caller), headers=headers)
    came = stage.callee.got("NOTIFY")
    assert came.lines("event") == [b"Event: check-sync;reboot=true"]
    stage.callee.answer(came, 200)
    stage.caller.got(200)
    stage.assert_empty()


@flow("subscribe-notify", callers=["inside"])
def test_another_host_tells(stage: Stage) -> None:
    """F4: the host that notifies need not be the one that was asked, where its side's proxies lead to the same dialog."""
    subscription = subscribe(stage, "presence")
    host = {"A": "203.0.113.45:5060", "B": "203.0.113.30:5099", "C": "198.51.100.77:5060"}[stage.way]
    other = Phone(stage.world, host, stage.callee.user)
    subscription.notifier.phone = other
    subscription.notify()
    subscription.notify("terminated;reason=noresource")
    stage.assert_empty()


@flow("subscribe-notify")
@pytest.mark.parametrize("whose", ["agent", "server", "both"])
def test_dialogs_that_an_end_has_forgotten(stage: Stage, whose: str) -> None:
    """F6, 3-#7: what is no INVITE finds its way by the mask in its Request-URI alone."""
    subscription = subscribe(stage, "dialog")
    subscription.notify()
    stage.forget(whose)
    subscription.notify("active;expires=60", b"x", "a/b")
    subscription.refresh(60)
    subscription.notify("terminated;reason=timeout")
    stage.assert_empty()
