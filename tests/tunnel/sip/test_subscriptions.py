"""How long the subscriptions of a call last, by what passes (RFC 6665, RFC 3515, RFC 4488)."""

from __future__ import annotations

import pytest
from support.messages import compose

from tunnel.sip.message import Message, parse_untrusted
from tunnel.sip.subscriptions import LONGEST_S, MOST, REFER_GRACE_S, Subscriptions

NOW = 1000.0


def message(first: str, *, sender: str, receiver: str = "", cseq: int = 1, headers: tuple[str, ...] = ()) -> Message:
    method = first.split()[0] if not first.startswith("SIP/") else "SUBSCRIBE"
    return parse_untrusted(
        compose(
            first,
            "Via: SIP/2.0/UDP 10.1.0.50;branch=z9hG4bK1",
            f"From: <sip:a@x>;tag={sender}",
            f"To: <sip:b@x>{';tag=' + receiver if receiver else ''}",
            "Call-ID: 1",
            f"CSeq: {cseq} {method}",
            *headers,
            "Content-Length: 0",
        )
    )


def subscribe(*headers: str, receiver: str = "") -> Message:
    return message("SUBSCRIBE sip:b@x SIP/2.0", sender="sub", receiver=receiver, headers=headers)


def ok(*headers: str, receiver: str = "not") -> Message:
    return message("SIP/2.0 200 OK", sender="sub", receiver=receiver, headers=headers)


def refer(cseq: int = 7, receiver: str = "not") -> Message:
    return message("REFER sip:b@x SIP/2.0", sender="sub", receiver=receiver, cseq=cseq)


def notify(event: str, state: str, sender: str = "not") -> Message:
    headers = (f"Event: {event}", f"Subscription-State: {state}")
    return message("NOTIFY sip:a@x SIP/2.0", sender=sender, receiver="sub", headers=headers)


@pytest.mark.parametrize(
    ("asked", "granted", "lasts"),
    [
        ((), (), 3600),
        (("Expires: 7200",), (), 7200),
        (("Expires: 7200",), ("Expires: 600",), 600),
        (("Expires: 600000",), ("Expires: 600000",), 600_000),
        (("Expires: 4294967295",), (), LONGEST_S),
        (("Expires: soon",), ("Expires: never",), 3600),
        (("Expires: 0",), ("Expires: 0",), 0),
    ],
)
def test_the_answer_says_how_long(asked: tuple[str, ...], granted: tuple[str, ...], lasts: float) -> None:
    subscriptions = Subscriptions()
    request = subscribe("Event: reg", *asked)
    subscriptions.asked(request, NOW)
    subscriptions.accepted(request, ok(*granted), NOW)
    assert subscriptions.until == NOW + lasts


def test_each_fork_lives_by_its_own_notify() -> None:
    """F4: a fork that ends does not take the others along."""
    subscriptions = Subscriptions()
    subscriptions.asked(subscribe("Event: presence"), NOW)
    for fork in ("one", "two"):
        subscriptions.notified(notify("presence", "active;expires=500", fork), NOW)
    subscriptions.notified(notify("presence", "terminated;reason=timeout", "one"), NOW + 1)
    assert subscriptions.until == NOW + 500
    subscriptions.notified(notify("presence", "terminated", "two"), NOW + 2)
    assert subscriptions.until == NOW + 2


def test_a_notify_that_ends_it_before_the_answer_has_ended_it() -> None:
    subscriptions = Subscriptions()
    request = subscribe("Event: dialog;id=3")
    subscriptions.asked(request, NOW)
    subscriptions.notified(notify("dialog;id=3", "terminated"), NOW)
    subscriptions.accepted(request, ok("Expires: 3600"), NOW)
    assert subscriptions.until == NOW


def test_a_refresh_that_is_refused_ends_it() -> None:
    subscriptions = Subscriptions()
    subscriptions.asked(subscribe("Event: dialog", receiver="not"), NOW)
    subscriptions.refused(subscribe("Event: dialog", receiver="not"), NOW + 5)
    assert subscriptions.until == NOW + 5


@pytest.mark.parametrize("event", ["refer", "refer;id=7", "REFER ; id=7"])
def test_the_notify_of_a_refer_names_it_or_not(event: str) -> None:
    """RFC 3515 section 2.4.6; phones that say 60 s and ring on are given time."""
    subscriptions = Subscriptions()
    subscriptions.asked(refer(), NOW)
    subscriptions.notified(notify(event, "active;expires=60"), NOW)
    assert subscriptions.until == NOW + 60 + REFER_GRACE_S
    subscriptions.notified(notify(event, "terminated;reason=noresource"), NOW)
    assert subscriptions.until == NOW


def test_two_refers_in_a_dialog_are_two_subscriptions() -> None:
    subscriptions = Subscriptions()
    subscriptions.asked(refer(7), NOW)
    subscriptions.asked(refer(8), NOW)
    subscriptions.notified(notify("refer;id=8", "terminated"), NOW)
    assert subscriptions.until is not None
    assert subscriptions.until > NOW
    subscriptions.notified(notify("refer", "terminated"), NOW)
    assert subscriptions.until == NOW


def test_a_refer_that_makes_no_subscription() -> None:
    """RFC 4488: Refer-Sub: false in the answer."""
    subscriptions = Subscriptions()
    subscriptions.asked(refer(), NOW)
    subscriptions.accepted(refer(), ok("Refer-Sub: false"), NOW)
    assert subscriptions.until == NOW


def test_there_are_only_so_many() -> None:
    subscriptions = Subscriptions()
    for number in range(2 * MOST):
        subscriptions.notified(notify(f"presence;id={number}", f"active;expires={number + 1}"), NOW)
    assert subscriptions.until == NOW + MOST


def test_those_that_are_over_make_room() -> None:
    """F5: a switchboard that transfers all day within one dialog: the last transfer is remembered like the first."""
    subscriptions = Subscriptions()
    for number in range(2 * MOST):
        request = refer(cseq=number + 1)
        subscriptions.asked(request, 100.0 * number)
        subscriptions.accepted(request, ok(), 100.0 * number)
        subscriptions.notified(notify(f"refer;id={number + 1}", "active;expires=60"), 100.0 * number)
        assert subscriptions.until == 100.0 * number + 60 + REFER_GRACE_S
        subscriptions.notified(notify(f"refer;id={number + 1}", "terminated"), 100.0 * number + 1)
