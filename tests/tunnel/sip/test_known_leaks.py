"""Inside addresses that leave because nobody may change what they stand in: each is reported."""

from __future__ import annotations

import pytest
from support.messages import compose

from tunnel.sip.known_leaks import known_leaks
from tunnel.sip.message import parse_untrusted


def invite(*lines: str, call_id: str = "x") -> bytes:
    body = "".join(f"{line}\r\n" for line in ("v=0", *lines, "c=IN IP4 10.1.0.20", "m=audio 4000 RTP/AVP 0")).encode()
    return compose(
        "INVITE sip:b@example.com SIP/2.0",
        "Via: SIP/2.0/UDP 10.1.0.50:5060;branch=z9hG4bK1",
        "From: <sip:a@example.com>;tag=1",
        "To: <sip:b@example.com>",
        f"Call-ID: {call_id}",
        "CSeq: 1 INVITE",
        "Content-Type: application/sdp",
        f"Content-Length: {len(body)}",
        body=body,
    )


@pytest.mark.parametrize(
    "line", ["u=http://10.1.0.20/x", "e=alice@10.1.0.20", "i=see 192.168.77.4", "s=10.1.0.20", "p=+1 (10.1.0.20)"]
)
def test_what_an_sdp_says_for_people_is_reported(line: str) -> None:
    """J: u=, e=, p=, s= and i= pass as they are; an inside host in them is counted."""
    assert known_leaks(parse_untrusted(invite(line))) == ["sdp"]


@pytest.mark.parametrize(
    "line", ["u=http://example.com/", "e=alice@example.com", "s=-", "u=http://198.51.100.7/", "b=AS:1"]
)
def test_and_nothing_else_is(line: str) -> None:
    """J: names, public addresses and the lines that are rewritten are no leaks."""
    assert known_leaks(parse_untrusted(invite(line))) == []


def test_dialog_identifiers() -> None:
    """E: a Call-ID made of a host's address passes, and is counted."""
    assert known_leaks(parse_untrusted(invite("s=-", call_id="1@10.1.0.20"))) == ["call-id"]
