"""Two phones that have more than one call at a time, and calls that are asked for credentials before they ring."""

from __future__ import annotations

import pytest
from support.flow_table import flow
from support.ladder import Dialog, places_in
from support.stage import AUTHORIZATION, Stage, Talk


@flow("call-basic", basic=True)
def test_call_waiting(stage: Stage) -> None:
    """T13, I3: a second call while the first is on hold; swapped; each has ports of its own, and one ends alone."""
    caller, callee = stage.caller, stage.callee
    first = stage.talk()
    told = places_in(caller.agreed[1]), places_in(callee.agreed[1])
    first.offer(first.caller, caller.sdp(direction="inactive", version=2), callee.sdp(direction="inactive", version=2))
    caller.tag, callee.tag = "second", "second-callee"
    second = stage.talk(body=caller.sdp(port=6300), answer=callee.sdp(port=7300))
    assert places_in(caller.agreed[1]) != told[0]
    assert places_in(callee.agreed[1]) != told[1]
    stage.assert_audio()
    kept = caller.agreed, callee.agreed
    second.offer(second.caller, caller.sdp(6300, "inactive", version=2), callee.sdp(7300, "inactive", version=2))
    first.offer(first.caller, caller.sdp(version=3), callee.sdp(version=3))
    assert (places_in(caller.agreed[1]), places_in(callee.agreed[1])) == told
    stage.assert_audio()
    first.hang_up()
    second.offer(second.callee, callee.sdp(7300, version=3), caller.sdp(6300, version=3))
    assert (places_in(caller.agreed[1]), places_in(callee.agreed[1])) == tuple(places_in(words[1]) for words in kept)
    stage.assert_audio()
    second.hang_up()
    stage.assert_empty()


@flow("call-basic")
def test_ports_linger_and_rest(stage: Stage) -> None:
    """I6, DEC9: after a BYE the ports drain for 5 s, after a failure for 2 s, on both faces."""
    sides = stage.world.lan_side, stage.world.public_side
    stage.talk().hang_up()
    assert [set(side.plane.released.values()) for side in sides] == [{5.0}] * 2
    for side in sides:
        side.plane.released.clear()
    invite = stage.invite()
    stage.callee.answer(stage.callee.got("INVITE"), 486)
    stage.caller.ack_failure(invite, stage.caller.got(486))
    stage.callee.got("ACK")
    assert set().union(*(side.plane.released.values() for side in sides)) == {2.0}
    stage.assert_empty()


@flow("call-basic")
@pytest.mark.parametrize("status", [401, 407])
def test_a_call_that_is_challenged_first(stage: Stage, status: int) -> None:
    """H1, H4, T23: the challenge reaches the caller, the credentials the callee, to the byte; then it rings."""
    caller, callee = stage.caller, stage.callee
    challenge, proof = (
        ("WWW-Authenticate", "Authorization") if status == 401 else ("Proxy-Authenticate", "Proxy-Authorization")
    )
    uri = stage.uri_of(callee, caller)
    invite = stage.invite(call_id="asked")
    said = f'{challenge}: Digest realm="callee.example", nonce="n", algorithm=SHA-256, qop="auth"'
    callee.answer(callee.got("INVITE"), status, headers=(said,))
    callee.got("ACK")
    if stage.way == "C" and callee.outside:  # a remote worker may not ask inside phones for what they know (H4)
        caller.ack_failure(invite, caller.got(403))
        stage.assert_empty()
        return
    caller.ack_failure(invite, caller.got(status))
    proven = f'{proof}: Digest username="u", realm="callee.example", nonce="n", uri="{uri}", response="00", qop=auth'
    again = stage.invite(call_id="asked", cseq=2, headers=(proven,))
    arrived = callee.got("INVITE")
    assert arrived.lines(proof.lower()) == [proven.encode()]
    dialog = callee.accept(arrived)
    ok = caller.got(200)
    calling = Dialog.of_caller(caller, again, ok)
    calling.ack()
    callee.got("ACK")
    stage.assert_audio()
    Talk(calling, dialog, again, arrived, ok).hang_up(dialog)
    stage.assert_empty()


@flow("call-basic", basic=True)
def test_the_pair_is_one_hop(stage: Stage) -> None:
    """A9: Max-Forwards falls by one, whichever way a request goes (the proxies of these tests leave it)."""
    talk = stage.talk()
    assert talk.arrived.max_forwards == 69
    for one in (talk.caller, talk.callee):
        request, _ = talk.request(one, "INFO")
        assert request.max_forwards == 69
    talk.hang_up()
    stage.assert_empty()


@flow("call-basic")
def test_many_calls_one_after_the_other(stage: Stage) -> None:
    """T12: in the end no port is held, and what is remembered of late messages goes with time."""
    for _ in range(25):
        stage.talk().hang_up()
    for side in (stage.world.lan_side, stage.world.public_side):
        assert not side.plane.held
    stage.assert_empty()


@flow("call-basic")
def test_the_credentials_of_a_registration_stay_inside(stage: Stage) -> None:
    """H1: what was asked for inside is not shown outside: a realm that nobody outside has named."""
    proof = AUTHORIZATION("inside.example", "alice")
    stage.invite(headers=(proof,))
    arrived = stage.callee.got("INVITE")
    assert (proof.encode() in arrived.raw) is stage.caller.outside
