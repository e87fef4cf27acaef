"""Server transactions by virtual time: what is sent when, what is told, what is absorbed."""

from __future__ import annotations

import pytest
from support.transactions import Runner, response

from tunnel.sip.server_transaction import ServerTransaction
from tunnel.sip.states import State
from tunnel.sip.transaction_events import GaveUpWaitingForAck, ServerEvent, Terminated

DOUBLING_TO_T2 = [0, 0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5]


class Server(Runner[ServerEvent]):
    """A server transaction and its owner."""

    def __init__(self, invite: bool = True, reliable: bool = False) -> None:
        self.transaction = ServerTransaction(invite, reliable, 0.0)
        super().__init__(self.transaction)

    def respond(self, status: int, to_tag: str = "b1", rseq: int = 0) -> bytes:
        raw = response(status, to_tag)
        self.transaction.respond(raw, status, to_tag.encode(), self.now, rseq)
        self.drain()
        return raw

    def hear_again(self) -> None:
        self.transaction.receive_retransmission(self.now)
        self.drain()

    def hear_ack(self) -> None:
        self.transaction.receive_ack(self.now)
        self.drain()


class TestProceeding:
    @pytest.mark.parametrize("invite", [True, False])
    def test_a_request_that_comes_again_gets_the_last_response_again(self, invite: bool) -> None:
        server = Server(invite)
        server.hear_again()
        assert server.sent == []
        server.respond(100)
        last = server.respond(180)
        server.hear_again()
        assert server.times_sent(last) == [0, 0]
        assert server.transaction.deadline() is None

    def test_an_ack_before_any_final_response_is_ignored(self) -> None:
        server = Server()
        server.hear_ack()
        assert server.transaction.state is State.PROCEEDING


class TestInviteFailure:
    def test_unreliable_it_is_repeated_until_timer_h_gives_up(self) -> None:
        server = Server()
        raw = server.respond(486)
        server.run_until(100)
        assert server.times_sent(raw) == DOUBLING_TO_T2
        assert server.told == [(32, GaveUpWaitingForAck(b"b1")), (32, Terminated())]

    def test_reliable_it_is_sent_once_and_timer_h_gives_up(self) -> None:
        server = Server(reliable=True)
        raw = server.respond(486)
        server.run_until(100)
        assert server.times_sent(raw) == [0]
        assert server.told == [(32, GaveUpWaitingForAck(b"b1")), (32, Terminated())]

    def test_the_ack_stops_it_and_timer_i_absorbs_more_of_them(self) -> None:
        server = Server()
        raw = server.respond(486)
        server.run_until(1)
        server.hear_ack()
        server.hear_ack()
        server.hear_again()
        server.run_until(100)
        assert server.times_sent(raw) == [0, 0.5]
        assert server.told == [(6, Terminated())]

    def test_reliable_the_ack_is_the_end(self) -> None:
        server = Server(reliable=True)
        server.respond(486)
        server.hear_ack()
        assert server.events == [Terminated()]
        assert server.transaction.deadline() is None

    def test_an_invite_that_comes_again_gets_it_again(self) -> None:
        server = Server()
        raw = server.respond(486)
        server.run_until(0.2)
        server.hear_again()
        assert server.times_sent(raw) == [0, 0.2]

    @pytest.mark.parametrize("status", [180, 200, 503])
    def test_whatever_the_owner_says_afterwards_is_not_sent(self, status: int) -> None:
        server = Server()
        server.respond(486)
        server.respond(status, "b2")
        assert len(server.sent) == 1
        assert server.transaction.last_status == 486


@pytest.mark.parametrize("reliable", [True, False])
class TestInviteSuccess:
    def test_it_is_repeated_until_nobody_is_expected_to_acknowledge(self, reliable: bool) -> None:
        server = Server(reliable=reliable)
        raw = server.respond(200)
        server.run_until(100)
        assert server.times_sent(raw) == DOUBLING_TO_T2
        assert server.told == [(32, GaveUpWaitingForAck(b"b1")), (32, Terminated())]

    def test_the_ack_stops_it_and_timer_l_ends_it(self, reliable: bool) -> None:
        server = Server(reliable=reliable)
        raw = server.respond(200)
        server.run_until(1)
        server.transaction.acknowledged(b"b1")
        server.run_until(100)
        assert server.times_sent(raw) == [0, 0.5]
        assert server.told == [(32, Terminated())]

    def test_each_fork_has_its_own_schedule(self, reliable: bool) -> None:
        server = Server(reliable=reliable)
        first = server.respond(200, "b1")
        server.run_until(1)
        second = server.respond(200, "b2")
        server.transaction.acknowledged(b"b1")
        server.run_until(100)
        assert server.times_sent(first) == [0, 0.5]
        assert server.times_sent(second) == [at + 1 for at in DOUBLING_TO_T2]
        assert server.told == [(33, GaveUpWaitingForAck(b"b2")), (33, Terminated())]

    def test_the_same_2xx_and_later_failures_are_not_sent(self, reliable: bool) -> None:
        server = Server(reliable=reliable)
        server.respond(200)
        server.respond(200)
        server.respond(180)
        server.respond(486)
        server.transaction.acknowledged(b"b1")
        server.respond(200)
        assert len(server.sent) == 1

    def test_the_invite_coming_again_and_a_hop_by_hop_ack_are_absorbed(self, reliable: bool) -> None:
        server = Server(reliable=reliable)
        server.respond(200)
        server.hear_again()
        server.hear_ack()
        server.transaction.acknowledged(b"other")
        assert len(server.sent) == 1
        assert server.transaction.state is State.ACCEPTED


@pytest.mark.parametrize("reliable", [True, False])
class TestReliableProvisional:
    def test_it_is_repeated_at_doubling_intervals_for_32_seconds(self, reliable: bool) -> None:
        server = Server(reliable=reliable)
        raw = server.respond(183, rseq=7)
        server.run_until(100)
        assert server.times_sent(raw) == [0, 0.5, 1.5, 3.5, 7.5, 15.5, 31.5]
        assert server.told == []
        assert server.transaction.deadline() is None

    def test_its_prack_stops_it_and_no_other(self, reliable: bool) -> None:
        server = Server(reliable=reliable)
        raw = server.respond(183, rseq=7)
        server.transaction.pracked(b"b1", 6)
        server.transaction.pracked(b"b2", 7)
        server.run_until(1)
        server.transaction.pracked(b"b1", 7)
        server.run_until(100)
        assert server.times_sent(raw) == [0, 0.5]

    @pytest.mark.parametrize("status", [200, 486])
    def test_a_final_response_stops_it(self, reliable: bool, status: int) -> None:
        server = Server(reliable=reliable)
        raw = server.respond(183, rseq=7)
        server.respond(status)
        server.run_until(100)
        assert server.times_sent(raw) == [0]

    def test_an_ordinary_one_is_sent_once(self, reliable: bool) -> None:
        server = Server(reliable=reliable)
        server.respond(180)
        server.run_until(100)
        assert len(server.sent) == 1


class TestNonInvite:
    @pytest.mark.parametrize("status", [200, 404])
    def test_timer_j_answers_copies_for_32_seconds(self, status: int) -> None:
        server = Server(invite=False)
        raw = server.respond(status)
        server.run_until(20)
        server.hear_again()
        server.respond(500)
        server.run_until(100)
        assert server.sent == [(0, raw), (20, raw)]
        assert server.told == [(32, Terminated())]

    def test_reliable_the_final_response_is_the_end(self) -> None:
        server = Server(invite=False, reliable=True)
        server.respond(200)
        assert server.events == [Terminated()]

    def test_an_ack_is_nothing_to_it(self) -> None:
        server = Server(invite=False)
        server.hear_ack()
        assert server.transaction.state is State.TRYING


def test_a_terminated_transaction_is_deaf_and_dumb() -> None:
    server = Server(reliable=True)
    server.respond(486)
    server.hear_ack()
    server.hear_again()
    server.hear_ack()
    server.respond(200, "b2")
    assert len(server.sent) == 1
    assert server.events == [Terminated()]
