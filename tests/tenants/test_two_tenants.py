"""Two tenants with the same addresses and the same extensions: whatever 200 phones do, nothing is delivered wrong."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest
from support.ladder import Dialog
from support.subscriptions import Subscription
from support.two_tenants import Extension, TwoTenants, hears

CALLS = 1000
AT_ONCE = 50
# Who can call whom, and how often that is tried.
KINDS = [
    ("hosted", "hosted", "own"),
    ("hosted", "hosted", "other"),
    ("desk", "remote", "own"),
    ("remote", "desk", "own"),
    ("remote", "remote", "own"),
    ("hosted", "remote", "own"),
    ("hosted", "desk", "other"),
    ("remote", "remote", "other"),
    ("desk", "hosted", "other"),
    ("desk", "remote", "other"),
]


def call(caller: Extension, callee: Extension, chance: random.Random) -> Iterator[None]:
    """A call, message by message; between two of them anything may happen elsewhere."""
    first, second = caller.phone, callee.phone
    tag = f"{callee.tenant.name}{second.user}"
    meant = f"X-For: {callee.tenant.name} {second.user}"
    invite = first.invite(second.aor, tag=f"{caller.tenant.name}{first.user}", headers=[meant])
    yield
    arrived = second.got("INVITE")
    assert arrived.lines("x-for") == [meant.encode()]
    assert arrived.call_id == invite.call_id
    assert arrived.request_uri == second.contact[1:-1].encode(), "not the very Contact that it registered (C3)"
    second.answer(arrived, 180, tag=tag)
    yield
    first.got(180)
    if chance.random() < 0.15:
        second.answer(arrived, 486, tag=tag)
        first.ack_failure(invite, first.got(486))
        second.got("ACK")
        return
    answering = second.accept(arrived, tag=tag)
    yield
    answer = first.got(200)
    assert answer.to_tag == tag.encode()
    calling = Dialog.of_caller(first, invite, answer)
    calling.ack()
    yield
    second.got("ACK")
    assert hears(second, first)
    assert hears(first, second)
    yield
    one, other = (calling, answering) if chance.random() < 0.5 else (answering, calling)
    if chance.random() < 0.3:
        one.send("INFO", headers=["Content-Type: text/plain"], body=b"hm")
        yield
        other.phone.answer(other.phone.got("INFO"), 200)
        one.phone.got(200)
    one.send("BYE")
    yield
    other.phone.answer(other.phone.got("BYE"), 200)
    one.phone.got(200)


def watch(watcher: Extension, watched: Extension, chance: random.Random) -> Iterator[None]:
    """A subscription, its NOTIFYs, its end."""
    first, second = watcher.phone, watched.phone
    tag = f"{watched.tenant.name}{second.user}"
    sent = first.request(
        "SUBSCRIBE", second.aor, tag=f"{watcher.tenant.name}{first.user}", headers=["Event: dialog", "Expires: 600"]
    )
    yield
    came = second.got("SUBSCRIBE")
    assert came.call_id == sent.call_id
    second.answer(came, 200, tag=tag, headers=["Expires: 600"])
    yield
    asking = Dialog.of_caller(first, sent, first.got(200))
    subscription = Subscription("dialog", asking, Dialog.of_callee(second, came, tag))
    for _ in range(chance.randrange(1, 4)):
        subscription.notify("active;expires=600", b"<%d/>" % chance.randrange(1000), "application/dialog-info+xml")
        yield
    subscription.refresh(0)
    subscription.notify("terminated;reason=timeout")


def register(extension: Extension, chance: random.Random) -> Iterator[None]:
    """Again; a remote worker's NAT may have given it another port, one that no other phone has."""
    moves = extension.kind == "remote" and chance.random() < 0.5
    extension.register(port=chance.randrange(50_000, 65_000) if moves else 0)
    yield


@pytest.fixture(scope="module")
def both() -> TwoTenants:
    return TwoTenants()


def pick(both: TwoTenants, idle: list[Extension], chance: random.Random) -> tuple[Extension, Extension] | None:
    """Two idle ones that can call each other."""
    caller_kind, callee_kind, whose = chance.choice(KINDS)
    callers = [each for each in idle if each.kind == caller_kind]
    if not callers:
        return None
    caller = chance.choice(callers)
    callees = [
        each
        for each in idle
        if each.kind == callee_kind and each is not caller and (each.tenant is caller.tenant) is (whose == "own")
    ]
    return (caller, chance.choice(callees)) if callees else None


def test_200_phones_and_1000_calls(both: TwoTenants) -> None:
    """S1-1, S1-2, 3-#11, F1, F2: calls, subscriptions and registrations at once; each reaches the phone it is for."""
    chance = random.Random(20)
    idle = list(both.extensions)
    busy: list[tuple[Iterator[None], tuple[Extension, ...]]] = []
    calls = others = 0
    while calls < CALLS or busy:
        if calls < CALLS and len(busy) < AT_ONCE:
            pair = pick(both, idle, chance)
            if pair is not None:
                what = chance.random()
                taking = pair[:1] if what < 0.1 else pair
                if what < 0.1:
                    doing = register(pair[0], chance)
                elif what < 0.2:
                    doing = watch(*pair, chance)
                else:
                    doing = call(*pair, chance)
                    calls += 1
                others += what < 0.2
                for each in taking:
                    idle.remove(each)
                busy.append((doing, taking))
        doing, taking = chance.choice(busy)
        if next(doing, "over") == "over":
            busy.remove((doing, taking))
            idle += taking
        if chance.random() < 0.05:
            both.world.wait(chance.random() * 3)
    assert calls == CALLS
    assert others > 100
    both.assert_empty()


def test_50_calls_ring_at_once(both: TwoTenants) -> None:
    """S1-1: 50 phones of either tenant are called at one moment; each rings for its own caller and for no other."""
    chance = random.Random(1)
    callees = [each for each in both.extensions if each.kind == "hosted"] + [
        each for each in both.extensions if each.kind == "remote"
    ][::3]
    callers = [each for each in both.extensions if each not in callees]
    chance.shuffle(callers)
    pairs = [(caller, callee) for caller, callee in zip(callers, callees, strict=False) if reaches(caller, callee)][:50]
    assert len(pairs) == 50
    doing = [call(*pair, chance) for pair in pairs]
    while doing:  # the first message of all, then the second of all
        chance.shuffle(doing)
        doing = [each for each in doing if next(each, "over") != "over"]
    both.assert_empty()


def reaches(caller: Extension, callee: Extension) -> bool:
    """Whether the proxies of these tests lead there: a remote worker's calls go to the offices, not to the hosted PBX."""
    return not (caller.kind == "remote" and callee.kind == "hosted")


def test_a_call_that_passes_the_pair_three_times(both: TwoTenants) -> None:
    """F6, D2: a hosted phone calls its own office by name, whose PBX calls a remote worker: one dialog, three passes."""
    found = {each.phone.user: each for each in both.tenants[0].phones}
    chance = random.Random(3)
    for _ in range(10):
        for _ in call(found["201"], found["301"], chance):
            both.world.wait(0.1)
    both.assert_empty()
