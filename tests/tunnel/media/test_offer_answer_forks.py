"""Forked calls: one offer, several dialogs, each with its own answer; late winners, losers that still talk."""

from __future__ import annotations

import pytest
from support.media_pair import CALLER_IP, LAN_IP, PUBLIC_IP, MediaPair, ports, sdp

from tunnel.media.exchange import Carriage
from tunnel.media.offer_answer import ROOT

OPENING, PREVIEW = Carriage.OPENING, Carriage.PREVIEW
PHONE = (CALLER_IP, 40000)
B1, B2 = ("198.51.100.71", 7100), ("198.51.100.72", 7200)


@pytest.fixture
def pair() -> MediaPair:
    """A call from inside that was just offered; the public port is 20000."""
    pair = MediaPair()
    assert ports(pair.inside(sdp(*map(str, PHONE)), OPENING, ROOT)) == [20000]
    return pair


def answer(pair: MediaPair, fork: bytes, party: tuple[str, int], carriage: Carriage = Carriage.REPLY) -> int:
    (lan,) = ports(pair.outside(sdp(*map(str, party)), carriage, fork, source=party[0]))
    return lan


def assert_audio(pair: MediaPair, party: tuple[str, int], lan: int) -> None:
    assert pair.audio_out(PHONE, lan) == ((PUBLIC_IP, 20000), party)
    assert pair.audio_in(party, 20000) == ((LAN_IP, lan), PHONE)


def test_each_early_dialog_has_its_own_port_inside_and_the_one_offered_outside(pair: MediaPair) -> None:
    """I4: each early dialog has its own port inside and the one offered outside."""
    first, second = answer(pair, b"b1", B1, PREVIEW), answer(pair, b"b2", B2, PREVIEW)
    assert first != second
    assert len(pair.server.plane.held) == 1


def test_of_two_tones_the_latest_is_heard(pair: MediaPair) -> None:
    """I4: the fork whose 18x with SDP came last plays, the other is silent; whoever answers is heard again."""
    first = answer(pair, b"b1", B1, PREVIEW)
    assert_audio(pair, B1, first)
    second = answer(pair, b"b2", B2, PREVIEW)
    assert_audio(pair, B2, second)
    assert pair.audio_in(B1, 20000) is None
    assert answer(pair, b"b1", B1, PREVIEW) == first
    assert_audio(pair, B1, first)
    assert pair.audio_in(B2, 20000) is None
    assert answer(pair, b"b2", B2, Carriage.REPLY) == second  # a reliable 183
    assert_audio(pair, B2, second)
    pair.settle(b"b1")  # its 2xx repeats no SDP
    assert_audio(pair, B1, first)
    pair.close()
    pair.assert_nothing_left()


def test_encrypted_forks_are_not_silenced() -> None:
    """I4: DTLS of every fork goes on while they ring, or the one that answers would be late with its keys."""
    pair = MediaPair()
    secure = "audio {} UDP/TLS/RTP/SAVP 0"
    pair.inside(sdp(CALLER_IP, secure.format(40000)), OPENING, ROOT)
    for fork, (host, port) in ((b"b1", B1), (b"b2", B2)):
        pair.outside(sdp(host, secure.format(port)), PREVIEW, fork, source=host)
    assert pair.audio_in(B1, 20000) is not None
    assert pair.audio_in(B2, 20000) is not None


def test_the_fork_that_is_left_is_heard_again(pair: MediaPair) -> None:
    """I4: the one that played last is over (199): the other's tone is back."""
    first = answer(pair, b"b1", B1, PREVIEW)
    answer(pair, b"b2", B2, PREVIEW)
    for end in (pair.agent, pair.server):
        end.media.drop_fork(b"b2", 0.0, pair.now)
    assert_audio(pair, B1, first)
    pair.close()
    pair.assert_nothing_left()


def test_an_update_of_an_early_callee_does_not_change_who_is_heard(pair: MediaPair) -> None:
    """I4: only a provisional response with SDP does."""
    answer(pair, b"b1", B1, Carriage.REPLY)
    second = answer(pair, b"b2", B2, Carriage.REPLY)
    pair.outside(sdp(B1[0], "7104", version=2), OPENING, b"b1", source=B1[0])
    pair.inside(sdp(CALLER_IP, "40000"), Carriage.REPLY, b"b1")
    assert_audio(pair, B2, second)
    assert pair.audio_in((B1[0], 7104), 20000) is None


def test_the_first_fork_inherits_the_channel_of_the_offer(pair: MediaPair) -> None:
    answer(pair, b"b1", B1, PREVIEW)
    answer(pair, b"b2", B2, PREVIEW)
    channels = {view.fork: view.channel for view in pair.server.media.streams()}
    assert channels == {ROOT: 0, b"b1": 16, b"b2": 32768}


def test_a_losing_fork_with_early_media_does_not_touch_the_winner(pair: MediaPair) -> None:
    """T6: a losing fork with early media does not touch the winner."""
    loser = answer(pair, b"b1", B1, PREVIEW)
    winner = answer(pair, b"b2", B2)
    pair.settle(b"b2")
    assert_audio(pair, B2, winner)
    assert pair.audio_in(B1, 20000) is None
    assert pair.agent.plane.released == {loser: 2.0}
    assert (pair.agent.channels.in_use, pair.server.channels.in_use) == (0, 1)
    pair.close()
    pair.assert_nothing_left()


def test_the_fork_that_inherited_may_win_too(pair: MediaPair) -> None:
    winner, loser = answer(pair, b"b1", B1, PREVIEW), answer(pair, b"b2", B2, PREVIEW)
    assert answer(pair, b"b1", B1) == winner
    pair.settle(b"b1")
    assert_audio(pair, B1, winner)
    assert pair.agent.plane.released == {loser: 2.0}
    pair.close()
    pair.assert_nothing_left()


def test_a_second_2xx_lives_beside_the_first_until_its_bye(pair: MediaPair) -> None:
    """I4: a second 2xx lives beside the first until its BYE."""
    first = answer(pair, b"b1", B1)
    pair.settle(b"b1")
    late = answer(pair, b"b2", B2)
    pair.settle(b"b2")
    assert_audio(pair, B1, first)
    assert_audio(pair, B2, late)
    for end in (pair.agent, pair.server):
        end.media.drop_fork(b"b2", 5.0, pair.now)
    assert_audio(pair, B1, first)
    assert pair.audio_in(B2, 20000) is None
    assert pair.agent.plane.released == {late: 5.0}
    assert pair.server.plane.released == {}


def test_a_fork_that_ends_with_199_gives_its_port_back_at_once(pair: MediaPair) -> None:
    """I4: a fork that ends with 199 gives its port back at once."""
    first = answer(pair, b"b1", B1, PREVIEW)
    for end in (pair.agent, pair.server):
        end.media.drop_fork(b"b1", 0.0, pair.now)
        end.media.drop_fork(b"unheard of", 0.0, pair.now)
    assert pair.agent.plane.released == {first: 0.0}
    winner = answer(pair, b"b2", B2)
    pair.settle(b"b2")
    assert_audio(pair, B2, winner)


def test_the_settled_dialog_keeps_the_offered_port_in_a_reinvite_from_either_side(pair: MediaPair) -> None:
    answer(pair, b"b1", B1, PREVIEW)
    lan = answer(pair, b"b2", B2)
    pair.settle(b"b2")
    assert ports(pair.inside(sdp(CALLER_IP, "40000", "40002"), OPENING, b"b2"))[0] == 20000
    assert ports(pair.outside(sdp(B2[0], "7200", "7202"), fork=b"b2"))[0] == lan
    assert ports(pair.outside(sdp(B2[0], "7204", "7206"), OPENING, b"b2"))[0] == lan
    assert ports(pair.inside(sdp(CALLER_IP, "40000", "40002"), fork=b"b2"))[0] == 20000
    assert_audio(pair, (B2[0], 7204), lan)
    pair.close()
    pair.assert_nothing_left()


def test_an_answer_with_a_tag_after_a_preview_without_one_keeps_the_port(pair: MediaPair) -> None:
    early = answer(pair, ROOT, B1, PREVIEW)
    assert answer(pair, b"b1", B1) == early
    pair.settle(b"b1")
    assert_audio(pair, B1, early)
    pair.close()
    pair.assert_nothing_left()


def test_a_message_of_a_fork_that_just_ended_here_cannot_bring_its_channel_back(pair: MediaPair) -> None:
    answer(pair, b"b1", B1, PREVIEW)
    pair.agent.media.drop_fork(b"b1", 0.0, pair.now)
    answer(pair, b"b1", B1)
    assert pair.agent.counters["media.freed_channel"] == 1
    pair.close()
    pair.assert_nothing_left()


def test_a_call_that_nobody_answers_leaves_nothing(pair: MediaPair) -> None:
    """T12: a call that nobody answers leaves nothing."""
    pair.close()
    pair.assert_nothing_left()
