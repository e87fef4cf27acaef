"""Requests in dialogs that are not known any more: SDP never passes as it came."""

from __future__ import annotations

import pytest
from support.messages import OFFER, compose
from support.pair import World


@pytest.mark.parametrize("method", ["INVITE", "UPDATE"])
def test_an_offer_in_an_unknown_dialog_is_answered_481_and_stays_inside(method: str) -> None:
    world = World()
    request = compose(
        f"{method} sip:bob@203.0.113.40 SIP/2.0",
        "Via: SIP/2.0/UDP 10.1.0.50:5060;rport;branch=z9hG4bKgone",
        "Max-Forwards: 70",
        "From: <sip:alice@example.com>;tag=a",
        "To: <sip:bob@example.com>;tag=b",
        "Call-ID: gone",
        f"CSeq: 7 {method}",
        "Contact: <sip:alice@10.1.0.50>",
        "Content-Type: application/sdp",
        f"Content-Length: {len(OFFER)}",
        body=OFFER,
    )
    world.lan("10.1.0.50:5060", request)
    assert world.take_public() == []
    assert [message.status for _, message in world.take_lan()][-1] == 481
