"""Call pickup: a phone that watches another one takes the call that rings there (RFC 4235, RFC 3891)."""

from __future__ import annotations

import pytest
from support.flow_table import flow
from support.ladder import Dialog, Phone
from support.messages import compose
from support.stage import Stage, Talk
from support.subscriptions import subscribe
from support.transfers import MORE_INSIDE, MORE_OUTSIDE

DIALOG_INFO = "application/dialog-info+xml"


def another(stage: Stage, side: str) -> Phone:
    """One more phone of that side."""
    if side == "inside":
        return stage.inside_phone("dave", MORE_INSIDE[0], port=6100)
    address, seen = MORE_OUTSIDE[stage.way][0]
    return stage.outside_phone("dave", address, seen_from=seen, port=7100)


def ringing(watched: Phone, call_id: bytes, local: bytes, remote: bytes, caller: str, state: str = "early") -> bytes:
    """What the watched phone tells of a call that it did not begin."""
    return compose(
        '<?xml version="1.0"?>',
        f'<dialog-info xmlns="urn:ietf:params:xml:ns:dialog-info" version="1" state="full" entity="{watched.aor}">',
        b'<dialog id="7" call-id="%s" local-tag="%s" remote-tag="%s" direction="recipient">' % (call_id, local, remote),
        f"<state>{state}</state><remote><identity>{caller}</identity></remote>",
        "</dialog></dialog-info>",
    )


def attribute(body: bytes, name: str) -> str:
    return body.partition(f' {name}="'.encode())[2].partition(b'"')[0].decode()


@flow("pickup")
@pytest.mark.parametrize("side", ["inside", "outside"])
def test_a_ringing_call_is_picked_up(stage: Stage, side: str) -> None:
    """F4, G3, E: the watcher learns the ringing dialog, and takes it over from its caller by INVITE with Replaces."""
    watcher, watched = stage.caller, stage.callee
    calling = another(stage, side)
    subscription = subscribe(stage, "dialog", headers=[f"Accept: {DIALOG_INFO}"])
    subscription.notify("active;expires=3600", b"<dialog-info/>", DIALOG_INFO)

    invite = calling.invite(stage.uri_of(watched, calling))
    arrived = watched.got("INVITE")
    watched.answer(arrived, 180)
    early = Dialog.of_caller(calling, invite, calling.got(180))
    told = ringing(watched, arrived.call_id, watched.user.encode(), arrived.from_tag, calling.aor)
    body = subscription.notify("active;expires=3600", told, DIALOG_INFO).body

    tags = f"to-tag={attribute(body, 'remote-tag')};from-tag={attribute(body, 'local-tag')}"
    named = f"Replaces: {attribute(body, 'call-id')};{tags};early-only"
    taking = watcher.invite(stage.uri_of(calling, watcher), headers=[named, "Require: replaces"])
    taken = calling.got("INVITE")
    assert taken.lines("replaces") == [named.encode()]
    assert named == (
        f"Replaces: {early.call_id.decode()};to-tag={early.local.rpartition(b'=')[2].decode()}"
        f";from-tag={early.remote.rpartition(b'=')[2].decode()};early-only"
    )
    answering = calling.accept(taken)
    caller = Dialog.of_caller(watcher, taking, watcher.got(200))
    caller.ack()
    calling.got("ACK")

    calling.cancel(invite)
    watched.answer(watched.got("CANCEL"), 200)
    calling.got(200)
    watched.answer(arrived, 487)
    calling.ack_failure(invite, calling.got(487))
    watched.got("ACK")
    subscription.notify("active;expires=3600", told.replace(b"early", b"terminated"), DIALOG_INFO)

    assert stage.reaches(watcher, calling)
    assert stage.reaches(calling, watcher)
    Talk(caller, answering, taking, taken, taken).hang_up()
    subscription.refresh(0)
    subscription.notify("terminated;reason=timeout")
    calling.got_nothing()
    stage.assert_empty()


@flow("pickup")
@pytest.mark.parametrize("code", ["*8", "**201", "*8%23201", "+*21*"])
def test_directed_pickup_by_a_feature_code(stage: Stage, code: str) -> None:
    """F1: what is dialled is not only letters and digits; it arrives as it was dialled."""
    side = "outside" if stage.callee.outside else "inside"
    if side == "inside":
        features = stage.inside_phone(code, MORE_INSIDE[0], port=6100)
    else:
        address, seen = MORE_OUTSIDE[stage.way][0]
        features = stage.outside_phone(code, address, seen_from=seen, port=7100)
    talk = stage.call(stage.caller, features)
    assert talk.arrived.uri is not None
    assert talk.arrived.uri.user == code.encode()
    assert talk.arrived.lines("to") == talk.invite.lines("to")
    talk.hang_up()
    features.got_nothing()
    stage.assert_empty()


@flow("pickup")
@pytest.mark.parametrize("side", ["inside", "outside"])
def test_an_answered_call_is_taken_over(stage: Stage, side: str) -> None:
    """RFC 3891 section 3: a confirmed dialog is replaced by the INVITE that names it, and ended with BYE."""
    taker = another(stage, side)
    talk = stage.talk()
    other = talk.caller
    tags = [value.rpartition(b"=")[2].decode() for value in (other.local, other.remote)]
    named = f"Replaces: {other.call_id.decode()};to-tag={tags[0]};from-tag={tags[1]}"
    invite = taker.invite(stage.uri_of(stage.caller, taker), headers=[named])
    arrived = stage.caller.got("INVITE")
    assert arrived.lines("replaces") == [named.encode()]
    answering = stage.caller.accept(arrived)
    taking = Dialog.of_caller(taker, invite, taker.got(200))
    taking.ack()
    stage.caller.got("ACK")
    talk.hang_up(other)
    assert stage.reaches(taker, stage.caller)
    assert stage.reaches(stage.caller, taker)
    Talk(taking, answering, invite, arrived, arrived).hang_up()
    taker.got_nothing()
    stage.assert_empty()
