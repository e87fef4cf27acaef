"""Which messages belong together, by branch and without one."""

from __future__ import annotations

import pytest
from support.messages import compose

from tunnel.sip.message import Message, parse_untrusted
from tunnel.sip.transaction_key import cancelled_key, client_key, server_key

VIA = "SIP/2.0/UDP 10.1.0.7:5062;branch=z9hG4bKx1"
OLD_VIA = "SIP/2.0/UDP 10.1.0.7:5062"


def request(method: str, via: str = VIA, *, cseq: int = 1, call_id: str = "c1", to_tag: str = "") -> Message:
    return parse_untrusted(
        compose(
            f"{method} sip:bob@example.com SIP/2.0",
            f"Via: {via}",
            "From: <sip:alice@example.com>;tag=a1",
            "To: <sip:bob@example.com>" + (f";tag={to_tag}" if to_tag else ""),
            f"Call-ID: {call_id}",
            f"CSeq: {cseq} {method}",
        )
    )


@pytest.mark.parametrize("via", [VIA, OLD_VIA], ids=["RFC 3261", "RFC 2543"])
class TestServerKey:
    def test_a_retransmission_belongs_to_its_request(self, via: str) -> None:
        assert server_key(request("INVITE", via)) == server_key(request("INVITE", via))

    def test_the_ack_of_a_failure_and_the_cancel_find_the_invite(self, via: str) -> None:
        invite = server_key(request("INVITE", via))
        assert server_key(request("ACK", via, to_tag="b1")) == invite
        assert cancelled_key(request("CANCEL", via)) == invite

    def test_a_cancel_has_a_transaction_of_its_own(self, via: str) -> None:
        assert server_key(request("CANCEL", via)) != server_key(request("INVITE", via))

    @pytest.mark.parametrize("other", [{"cseq": 2}, {"call_id": "c2"}])
    def test_a_branch_used_twice_does_not_mix_up_transactions(self, via: str, other: dict[str, str]) -> None:
        assert server_key(request("REGISTER", via)) != server_key(request("REGISTER", via, **other))  # type: ignore[arg-type]

    def test_another_sender_is_another_transaction(self, via: str) -> None:
        assert server_key(request("INVITE", via)) != server_key(request("INVITE", via.replace("5062", "5063")))


def test_without_a_unique_branch_the_request_uri_counts() -> None:
    message = request("INVITE", OLD_VIA)
    moved = parse_untrusted(message.raw.replace(b"INVITE sip:bob", b"INVITE sip:eve"))
    assert server_key(message) != server_key(moved)


def test_what_a_server_adds_to_the_via_does_not_count() -> None:
    stamped = VIA + ";received=198.51.100.7;rport=40000"
    assert server_key(request("INVITE", VIA)) == server_key(request("INVITE", stamped))


def test_a_response_finds_its_request_by_branch_and_method() -> None:
    sent = request("INVITE")
    answer = parse_untrusted(sent.raw.replace(b"INVITE sip:bob@example.com SIP/2.0", b"SIP/2.0 200 OK"))
    assert client_key(answer) == client_key(sent) == (b"z9hG4bKx1", "INVITE")
    assert client_key(request("CANCEL")) == (b"z9hG4bKx1", "CANCEL")
