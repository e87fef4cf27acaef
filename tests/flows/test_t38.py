"""Fax: from audio to T.38 and back (ITU-T T.38 Annex D, RFC 3362)."""

from __future__ import annotations

import pytest
from support.describe import describe, unplaced
from support.flow_table import flow
from support.ladder import Phone, places_in
from support.stage import Stage

T38 = (
    "a=T38FaxVersion:0",
    "a=T38MaxBitRate:14400",
    "a=T38FaxFillBitRemoval",
    "a=T38FaxRateManagement:transferredTCF",
    "a=T38FaxMaxBuffer:2000",
    "a=T38FaxMaxDatagram:400",
    "a=T38FaxUdpEC:t38UDPRedundancy",
)


def gateway(phone: Phone) -> str:
    """The host that does the fax for that phone: not the one that does its audio, where that shows."""
    if phone.seen_at != phone.address.host:
        return phone.address.host  # behind a NAT it is the same to us
    return phone.address.host.rpartition(".")[0] + ".99"


def fax(phone: Phone, port: int, proto: str = "udptl", version: int = 2) -> bytes:
    return describe(phone, [f"m=image {port} {proto} t38", *T38], version=version, address=gateway(phone))


def is_datagrams(stage: Stage) -> list[bool]:
    """Whether each end takes the stream for opaque datagrams."""
    aims = [aim for side in (stage.world.lan_side, stage.world.public_side) for aim in side.plane.ties.values()]
    return [not aim.rtp_like for aim in aims if aim is not None]


@flow("t38", basic=True)
@pytest.mark.parametrize("who", ["caller", "callee"])
@pytest.mark.parametrize("proto", ["udptl", "UDPTL", "UDP/TLS/UDPTL"])
def test_there_and_back(stage: Stage, who: str, proto: str) -> None:
    """T15, L9, DEC3: the m-line becomes image on another host: ports of ours stay, T38 lines too; then audio again."""
    talk = stage.talk()
    one = getattr(talk, who)
    other = talk.other(one)
    told = places_in(one.phone.agreed[1]), places_in(other.phone.agreed[1])
    bodies = fax(one.phone, 6800, proto), fax(other.phone, 7800, proto)
    offer, answer = talk.offer(one, *bodies)
    assert [unplaced(offer.body), unplaced(answer.body)] == [unplaced(body) for body in bodies]
    assert (places_in(answer.body), places_in(offer.body)) == told
    assert is_datagrams(stage) == [True, True]
    stage.assert_audio()
    talk.offer(one, one.phone.sdp(version=3), other.phone.sdp(version=3))
    assert is_datagrams(stage) == [False, False]
    assert (places_in(one.phone.agreed[1]), places_in(other.phone.agreed[1])) == told
    stage.assert_audio()
    talk.hang_up(other)
    stage.assert_empty()


@flow("t38")
@pytest.mark.parametrize("how", ["INVITE", "UPDATE", "UPDATE without SDP"])
def test_a_refresh_leaves_the_fax_running(stage: Stage, how: str) -> None:
    """T15, I2: a session refresh with the same o= while a page is sent: the same bytes, and every datagram arrives."""
    talk = stage.talk()
    talk.offer(talk.callee, fax(stage.callee, 7800), fax(stage.caller, 6800))
    told = stage.caller.agreed[1], stage.callee.agreed[1]
    for one in (talk.caller, talk.callee):
        stage.world.wait(900)
        other = talk.other(one)
        if how == "UPDATE without SDP":
            talk.request(one, "UPDATE")
        else:
            talk.offer(one, one.phone.agreed[0], other.phone.agreed[0], method=how)
        assert (stage.caller.agreed[1], stage.callee.agreed[1]) == told
        assert is_datagrams(stage) == [True, True]
        stage.assert_audio()
    talk.hang_up()
    stage.assert_empty()


@flow("t38")
@pytest.mark.parametrize("who", ["caller", "callee"])
@pytest.mark.parametrize("status", [488, 415, 606, 500])
def test_refused(stage: Stage, who: str, status: int) -> None:
    """T15, F7: the other machine knows no T.38: the call goes on as audio, where it was."""
    talk = stage.talk()
    one = getattr(talk, who)
    talk.refused(one, fax(one.phone, 6800), status)
    assert is_datagrams(stage) == [False, False]
    stage.assert_audio()
    talk.hang_up()
    stage.assert_empty()


@flow("t38")
def test_as_a_second_line(stage: Stage) -> None:
    """T15, J: audio closed by port 0 and image added below it; then audio again and image closed."""
    caller, callee = stage.caller, stage.callee

    def both(phone: Phone, audio: int, image: int, version: int) -> bytes:
        lines = [f"m=audio {audio} RTP/AVP 0"], [f"m=image {image} udptl t38", *T38]
        return describe(phone, *lines, version=version)

    talk = stage.talk()
    (before,) = places_in(talk.answer.body)
    talk.offer(talk.callee, both(callee, 0, 7800, 2), both(caller, 0, 6800, 2))
    stage.assert_audio(stream=1)
    assert places_in(caller.agreed[1])[0][1] == 0
    talk.offer(talk.caller, both(caller, 6000, 0, 3), both(callee, 7000, 0, 3))
    assert places_in(caller.agreed[1])[0] == before
    stage.assert_audio()
    talk.hang_up()
    stage.assert_empty()


@flow("t38")
def test_a_fax_from_the_start(stage: Stage) -> None:
    """T15: a call whose first offer is T.38 alone."""
    talk = stage.talk(body=fax(stage.caller, 6800), answer=fax(stage.callee, 7800))
    assert is_datagrams(stage) == [True, True]
    stage.assert_audio()
    talk.hang_up()
    stage.assert_empty()
