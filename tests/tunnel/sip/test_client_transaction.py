"""Client transactions by virtual time: what is sent when, what is told, what is absorbed."""

from __future__ import annotations

import pytest
from support.transactions import ACK, INVITE, OPTIONS, Runner, response

from tunnel.errors import LocalMisuse
from tunnel.sip.client_transaction import FORKS_LIMIT, ClientTransaction
from tunnel.sip.message import parse_untrusted
from tunnel.sip.states import State
from tunnel.sip.transaction_events import (
    AckLost,
    ClientEvent,
    Final,
    Provisional,
    Terminated,
    TimedOut,
    TimerCFired,
    TransportFailed,
)


class Client(Runner[ClientEvent]):
    """A client transaction and the peer that answers it."""

    def __init__(self, invite: bool = True, reliable: bool = False) -> None:
        self.transaction = ClientTransaction(invite, INVITE if invite else OPTIONS, reliable, 0.0)
        self.method = "INVITE" if invite else "OPTIONS"
        super().__init__(self.transaction)

    def hear(self, status: int, to_tag: str = "b1", *more: str) -> bytes:
        raw = response(status, to_tag, self.method, *more)
        self.transaction.receive(status, raw, to_tag.encode(), self.now)
        self.drain()
        return raw

    def cancel(self, *reasons: bytes) -> None:
        self.transaction.cancel(self.now, reasons)
        self.drain()

    def methods_sent(self) -> list[tuple[float, str]]:
        return [(at, parse_untrusted(data).method) for at, data in self.sent]


class TestUnanswered:
    def test_invite_is_sent_seven_times_at_doubling_intervals_then_times_out(self) -> None:
        client = Client()
        client.run_until(100)
        assert client.times_sent(INVITE) == [0, 0.5, 1.5, 3.5, 7.5, 15.5, 31.5]
        assert client.told == [(32, TimedOut()), (32, Terminated())]
        assert client.transaction.state is State.TERMINATED

    def test_other_request_is_sent_at_intervals_up_to_four_seconds_then_times_out(self) -> None:
        client = Client(invite=False)
        client.run_until(100)
        assert client.times_sent(OPTIONS) == [0, 0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5]
        assert client.told == [(32, TimedOut()), (32, Terminated())]

    @pytest.mark.parametrize("invite", [True, False])
    def test_on_a_reliable_transport_it_is_sent_once_and_times_out_all_the_same(self, invite: bool) -> None:
        client = Client(invite, reliable=True)
        client.run_until(100)
        assert [at for at, _ in client.sent] == [0]
        assert client.told == [(32, TimedOut()), (32, Terminated())]

    def test_after_a_stall_it_does_not_catch_up_with_a_burst(self) -> None:
        client = Client()
        client.now = 9.0
        client.transaction.tick(9.0)
        client.drain()
        assert client.times_sent(INVITE) == [0, 9]


class TestProvisional:
    def test_100_stops_the_invite_and_is_not_told(self) -> None:
        client = Client()
        client.run_until(0.6)
        client.hear(100)
        client.run_until(60)
        assert client.times_sent(INVITE) == [0, 0.5]
        assert client.told == []

    def test_another_request_goes_on_every_four_seconds(self) -> None:
        client = Client(invite=False)
        client.run_until(1)
        client.hear(100)
        client.run_until(14)
        assert client.times_sent(OPTIONS) == [0, 0.5, 5, 9, 13]
        client.run_until(40)
        assert client.told == [(32, TimedOut()), (32, Terminated())]

    def test_identical_copies_are_told_once_but_changes_and_forks_are_told(self) -> None:
        client = Client()
        first = client.hear(183, "b1", "RSeq: 7")
        client.run_until(2)
        client.hear(183, "b1", "RSeq: 7")
        second = client.hear(183, "b1", "RSeq: 8")
        other = client.hear(180, "b2")
        assert client.events == [
            Provisional(183, first, b"b1"),
            Provisional(183, second, b"b1"),
            Provisional(180, other, b"b2"),
        ]

    def test_the_minutely_sign_that_it_still_rings_is_told(self) -> None:
        client = Client()
        client.hear(180)
        client.run_until(60)
        client.hear(180)
        assert [at for at, _ in client.told] == [0, 60]

    def test_invented_forks_are_bounded(self) -> None:
        client = Client()
        for number in range(FORKS_LIMIT + 5):
            client.hear(180, f"b{number}")
        assert len(client.events) == FORKS_LIMIT


class TestTimerC:
    def test_it_fires_after_three_minutes_and_the_owner_decides(self) -> None:
        client = Client()
        client.hear(100)
        client.run_until(400)
        assert client.told == [(181, TimerCFired())]
        assert client.transaction.state is State.PROCEEDING

    def test_101_to_199_begin_it_anew_and_100_does_not(self) -> None:
        client = Client()
        client.hear(100)
        client.run_until(100)
        client.hear(180)
        client.run_until(200)
        client.hear(100)
        client.run_until(400)
        assert (281, TimerCFired()) in client.told

    def test_cancelling_then_ends_it_within_32_seconds(self) -> None:
        client = Client()
        client.hear(180)
        client.run_until(181)
        client.cancel()
        client.run_until(400)
        assert client.told[-2:] == [(213, TimedOut()), (213, Terminated())]


class TestFailure:
    def test_it_is_told_once_and_acknowledged_each_time(self) -> None:
        client = Client()
        raw = client.hear(486)
        client.run_until(1)
        client.hear(486)
        assert client.events == [Final(486, raw, b"b1")]
        assert client.methods_sent() == [(0, "INVITE"), (0, "ACK"), (1, "ACK")]
        ack = parse_untrusted(client.sent[-1][1])
        assert (ack.to_tag, ack.top_via.branch, ack.cseq) == (b"b1", b"z9hG4bKours", (1, "ACK"))

    def test_timer_d_lets_it_go_after_32_seconds(self) -> None:
        client = Client()
        client.run_until(3)
        client.hear(486)
        client.run_until(100)
        assert client.told[-1] == (35, Terminated())

    def test_a_reliable_transport_needs_no_timer_d(self) -> None:
        client = Client(reliable=True)
        raw = client.hear(486)
        assert client.events == [Final(486, raw, b"b1"), Terminated()]
        assert client.methods_sent()[-1] == (0, "ACK")
        client.hear(486)
        assert client.transaction.deadline() is None
        assert len(client.sent) == 2

    def test_a_2xx_after_it_changes_nothing(self) -> None:
        client = Client()
        client.hear(486)
        client.hear(200, "b2")
        assert len(client.events) == 1


class TestSuccess:
    @pytest.mark.parametrize("reliable", [True, False])
    def test_copies_are_absorbed_until_there_is_an_ack_to_repeat(self, reliable: bool) -> None:
        client = Client(reliable=reliable)
        raw = client.hear(200)
        client.hear(200)
        assert client.events == [Final(200, raw, b"b1")]
        client.transaction.acknowledge(b"b1", ACK)
        client.run_until(1)
        client.hear(200)
        client.hear(200)
        assert client.events[1:] == [AckLost(b"b1", ACK), AckLost(b"b1", ACK)]
        assert len(client.sent) == 1

    def test_every_fork_is_told(self) -> None:
        client = Client()
        first = client.hear(200, "b1")
        client.transaction.acknowledge(b"b1", ACK)
        second = client.hear(200, "b2")
        client.hear(200, "b2")
        assert client.events == [Final(200, first, b"b1"), Final(200, second, b"b2")]

    def test_invented_forks_are_bounded(self) -> None:
        client = Client()
        for number in range(FORKS_LIMIT + 5):
            client.hear(200, f"b{number}")
        assert len(client.events) == FORKS_LIMIT

    def test_an_ack_for_a_fork_that_never_was_is_ignored(self) -> None:
        client = Client()
        client.hear(200)
        client.transaction.acknowledge(b"other", ACK)
        client.hear(200, "other")
        assert isinstance(client.events[-1], Final)

    @pytest.mark.parametrize("reliable", [True, False])
    def test_timer_m_ends_it_and_later_copies_are_nobodys(self, reliable: bool) -> None:
        client = Client(reliable=reliable)
        client.hear(180)
        client.run_until(10)
        client.hear(200)
        client.run_until(100)
        client.hear(200, "b2")
        assert client.told[-1] == (42, Terminated())

    def test_provisionals_and_failures_of_other_forks_come_too_late(self) -> None:
        client = Client()
        client.hear(200)
        client.hear(180, "b2")
        client.hear(486, "b2")
        assert len(client.events) == 1


class TestNonInviteFinal:
    @pytest.mark.parametrize("status", [200, 404])
    def test_it_is_told_once_and_copies_are_absorbed_for_timer_k(self, status: int) -> None:
        client = Client(invite=False)
        raw = client.hear(status)
        client.run_until(2)
        client.hear(status)
        client.run_until(60)
        assert client.told == [(0, Final(status, raw, b"b1")), (5, Terminated())]
        assert len(client.sent) == 1

    def test_a_reliable_transport_needs_no_timer_k(self) -> None:
        client = Client(invite=False, reliable=True)
        client.hear(200)
        assert client.events[-1] == Terminated()


class TestCancel:
    def test_it_waits_for_a_provisional_response(self) -> None:
        client = Client()
        client.cancel(b'Reason: SIP;cause=200;text="Call completed elsewhere"')
        assert client.transaction.cancelling
        client.run_until(2)
        assert {method for _, method in client.methods_sent()} == {"INVITE"}
        client.hear(100)
        cancel = parse_untrusted(client.sent[-1][1])
        assert (cancel.method, cancel.cseq, cancel.top_via.branch) == ("CANCEL", (1, "CANCEL"), b"z9hG4bKours")
        assert cancel.lines("reason") == [b'Reason: SIP;cause=200;text="Call completed elsewhere"']

    def test_it_is_repeated_until_answered(self) -> None:
        client = Client()
        client.hear(180)
        client.cancel()
        client.cancel()
        client.run_until(2)
        client.transaction.receive_cancel_response(200, client.now)
        client.run_until(20)
        assert client.methods_sent() == [(0, "INVITE"), (0, "CANCEL"), (0.5, "CANCEL"), (1.5, "CANCEL")]

    def test_on_a_reliable_transport_it_is_sent_once(self) -> None:
        client = Client(reliable=True)
        client.hear(180)
        client.cancel()
        client.run_until(20)
        assert client.methods_sent() == [(0, "INVITE"), (0, "CANCEL")]

    def test_the_487_ends_both(self) -> None:
        client = Client()
        client.hear(180)
        client.cancel()
        client.hear(487)
        client.run_until(40)
        assert [method for _, method in client.methods_sent()] == ["INVITE", "CANCEL", "ACK"]
        assert client.told[-1] == (32, Terminated())

    def test_a_callee_that_ignores_it_is_given_up(self) -> None:
        client = Client()
        client.hear(180)
        client.run_until(5)
        client.cancel()
        client.run_until(100)
        assert client.told[-2:] == [(37, TimedOut()), (37, Terminated())]

    def test_after_a_final_response_it_is_too_late(self) -> None:
        client = Client()
        client.hear(200)
        client.cancel()
        assert client.methods_sent() == [(0, "INVITE")]

    def test_an_answer_that_overtakes_it_is_told(self) -> None:
        client = Client()
        client.cancel()
        raw = client.hear(200)
        client.run_until(20)
        assert client.events == [Final(200, raw, b"b1")]
        assert client.methods_sent() == [(0, "INVITE")]

    def test_a_stray_response_to_a_cancel_never_sent_is_ignored(self) -> None:
        client = Client()
        client.transaction.receive_cancel_response(481, client.now)
        assert client.transaction.state is State.CALLING

    def test_only_an_invite_is_cancelled(self) -> None:
        with pytest.raises(LocalMisuse):
            Client(invite=False).cancel()


class TestTransportError:
    @pytest.mark.parametrize("invite", [True, False])
    def test_before_an_answer_it_is_the_end(self, invite: bool) -> None:
        client = Client(invite, reliable=True)
        client.transaction.transport_failed(client.now)
        client.drain()
        assert client.events == [TransportFailed(), Terminated()]
        client.transaction.transport_failed(client.now)
        client.drain()
        assert len(client.events) == 2

    def test_a_ringing_call_lives_on(self) -> None:
        client = Client(reliable=True)
        client.hear(180)
        client.transaction.transport_failed(client.now)
        raw = client.hear(200)
        assert client.events[-1] == Final(200, raw, b"b1")

    def test_an_ack_that_cannot_be_delivered_ends_the_waiting(self) -> None:
        client = Client()
        client.hear(486)
        client.transaction.transport_failed(client.now)
        client.drain()
        assert client.events[1:] == [Terminated()]
