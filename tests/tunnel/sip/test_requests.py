"""CANCEL and ACK to a failure, made from the INVITE that was sent."""

from __future__ import annotations

from support.messages import compose

from tunnel.sip.message import parse_untrusted
from tunnel.sip.requests import build_ack_non2xx, build_cancel

SENT = parse_untrusted(
    compose(
        "INVITE sip:bob@10.1.0.9;line=7 SIP/2.0",
        "v: SIP/2.0/UDP 10.1.0.2:5060;rport;branch=z9hG4bKours , SIP/2.0/UDP 198.51.100.9",
        "Via: SIP/2.0/TCP below",
        "Route: <sip:10.1.0.3;lr>,\r\n <sip:10.1.0.4;lr>",
        "route: <sip:10.1.0.5;lr>",
        "Max-Forwards: 12",
        "f: Alice\r\n <sip:alice@example.com>;tag=a1",
        "t: Bob <sip:bob@example.com>",
        "i: call-1",
        "cseq: 007 INVITE",
        "Contact: <sip:alice@10.1.0.2>",
        "Content-Length: 0",
    )
)
SHARED = (
    b"v: SIP/2.0/UDP 10.1.0.2:5060;rport;branch=z9hG4bKours\r\n"
    b"Route: <sip:10.1.0.3;lr>,\r\n <sip:10.1.0.4;lr>\r\n"
    b"route: <sip:10.1.0.5;lr>\r\n"
    b"Max-Forwards: 70\r\n"
    b"f: Alice\r\n <sip:alice@example.com>;tag=a1\r\n"
)


def test_a_cancel_matches_its_invite() -> None:
    assert build_cancel(SENT, [b'Reason: SIP;cause=200;text="elsewhere"']) == (
        b"CANCEL sip:bob@10.1.0.9;line=7 SIP/2.0\r\n"
        + SHARED
        + b"t: Bob <sip:bob@example.com>\r\n"
        + b"i: call-1\r\ncseq: 7 CANCEL\r\n"
        + b'Reason: SIP;cause=200;text="elsewhere"\r\nContent-Length: 0\r\n\r\n'
    )


def test_an_ack_to_a_failure_has_the_to_of_the_response() -> None:
    response = parse_untrusted(
        compose(
            "SIP/2.0 486 Busy Here",
            "Via: SIP/2.0/UDP 10.1.0.2:5060;branch=z9hG4bKours",
            "From: Alice <sip:alice@example.com>;tag=a1",
            "To: Bob <sip:bob@example.com>;tag=b2",
            "Call-ID: call-1",
            "CSeq: 7 INVITE",
        )
    )
    assert build_ack_non2xx(SENT, response) == (
        b"ACK sip:bob@10.1.0.9;line=7 SIP/2.0\r\n"
        + SHARED
        + b"To: Bob <sip:bob@example.com>;tag=b2\r\n"
        + b"i: call-1\r\ncseq: 7 ACK\r\nContent-Length: 0\r\n\r\n"
    )
    ack = parse_untrusted(build_ack_non2xx(SENT, response))
    assert (ack.top_via.branch, ack.to_tag) == (SENT.top_via.branch, b"b2")
