"""Rewriting a description: the table of SIP-RULES J, and that nothing else changes."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.media_pair import sdp

from tunnel.address import Address
from tunnel.errors import BadPacket
from tunnel.media.plane import CannotRelay, Lease
from tunnel.media.sdp import Sdp
from tunnel.media.sdp_edit import check_relayable, rewrite

DATA = Path(__file__).parents[2] / "data" / "sdp"


def lease(port: int, host: str = "203.0.113.10") -> Lease:
    return Lease(port, Address(host, port), Address(host, port + 1))


def rewritten(text: bytes, *leases: Lease | None, host: str = "203.0.113.10") -> bytes:
    return rewrite(Sdp.parse_untrusted(text), leases, host, host)


def test_every_line_of_the_table() -> None:
    text = (DATA / "everything.sdp").read_bytes()
    expected = (DATA / "everything.rewritten.sdp").read_bytes()
    assert rewritten(text, lease(20000), lease(20002), None, None) == expected


def test_line_ends_and_odd_spaces_are_the_senders() -> None:
    text = b"v=0\no=- 1 1 IN IP4 10.1.0.20 \ns= \nc=IN IP4\t10.1.0.20  \nt=0 0\nm=audio  4000   RTP/AVP 0 \na=x"
    expected = (
        b"v=0\no=- 1 1 IN IP4 203.0.113.10 \ns= \nc=IN IP4\t203.0.113.10  \nt=0 0\nm=audio  20000   RTP/AVP 0 \na=x"
    )
    assert rewritten(text, lease(20000)) == expected


@pytest.mark.parametrize("hold", ["0.0.0.0", "::", "nobody.invalid"])
def test_hold_addresses_stay_and_the_port_is_ours(hold: str) -> None:
    text = rewritten(sdp(hold, "4000"), lease(20000))
    assert f" {hold}\r\nt=".encode() in text
    assert b"m=audio 20000 " in text
    assert b"o=- 1 1 IN IP4 203.0.113.10\r\n" in text


def test_the_address_family_is_that_of_the_face() -> None:
    text = rewritten(
        sdp("10.1.0.20", "4000|a=rtcp:4001 IN IP4 10.1.0.20"), lease(20000, "2001:db8::1"), host="2001:db8::1"
    )
    assert text.count(b"IN IP6 2001:db8::1\r\n") == 3
    assert b"IP4" not in text
    back = rewritten(sdp("2001:db8::1", "4000"), lease(20000))
    assert back == sdp("203.0.113.10", "20000")


def test_every_connection_line_of_a_medium_is_replaced() -> None:
    text = sdp("10.1.0.20", "4000|c=IN IP4 10.1.0.21|c=IN IP4 10.1.0.22/127")
    assert rewritten(text, lease(20000)) == sdp("203.0.113.10", "20000|c=IN IP4 203.0.113.10|c=IN IP4 203.0.113.10")


def test_a_rejected_medium_keeps_port_zero_and_names_no_foreign_address() -> None:
    text = sdp("10.1.0.20", "0|c=IN IP4 10.1.0.21|a=rtcp:7 IN IP4 10.1.0.21")
    assert rewritten(text, None) == sdp("203.0.113.10", "0|c=IN IP4 203.0.113.10|a=rtcp:7 IN IP4 203.0.113.10")


def test_rtcp_on_the_rtp_port_stays_on_the_rtp_port() -> None:
    text = rewritten(sdp("10.1.0.20", "4000|a=rtcp-mux|a=rtcp:4000"), lease(20000))
    assert text == sdp("203.0.113.10", "20000|a=rtcp-mux|a=rtcp:20000")


def test_removing_the_last_line_leaves_the_one_before_whole() -> None:
    text = sdp("10.1.0.20", "4000|a=ptime:20|a=candidate:1 1 UDP 1 10.1.0.20 4000 typ host")[:-2]
    assert rewritten(text, lease(20000)) == sdp("203.0.113.10", "20000|a=ptime:20")


@pytest.mark.parametrize("host", ["224.2.1.1/127", "ff15::101/3"])
def test_multicast_is_refused(host: str) -> None:
    with pytest.raises(CannotRelay) as refusal:
        check_relayable(Sdp.parse_untrusted(sdp(host, "4000")))
    assert refusal.value.status == 488


def test_several_port_pairs_for_one_medium_are_refused() -> None:
    with pytest.raises(CannotRelay) as refusal:
        check_relayable(Sdp.parse_untrusted(sdp("10.1.0.20", "audio 4000/2 RTP/AVP 0")))
    assert refusal.value.status == 488


UNTOUCHED = st.text("abcxyz0189:=;/|+ \t%", max_size=40).map(lambda text: f"a=x-{text}")


@given(st.lists(UNTOUCHED, max_size=8), st.lists(UNTOUCHED, max_size=8), st.sampled_from(["\r\n", "\n"]))
def test_lines_without_an_address_of_ours_are_byte_exact(above: list[str], below: list[str], line_end: str) -> None:
    def text(host: str, port: int) -> bytes:
        top = ["v=0", f"o=- 1 1 IN IP4 {host}", "s=-", f"c=IN IP4 {host}", *above]
        return line_end.join([*top, f"m=audio {port} RTP/AVP 0", *below]).encode()

    assert rewritten(text("10.1.0.20", 4000), lease(20000)) == text("203.0.113.10", 20000)


@given(st.binary(max_size=200))
def test_rewriting_never_fails_on_what_was_parsed(tail: bytes) -> None:
    try:
        found = Sdp.parse_untrusted(sdp("10.1.0.20", "4000") + tail)
    except BadPacket:
        return
    again = Sdp.parse_untrusted(rewrite(found, [lease(20000)] * len(found.media), "203.0.113.10", "203.0.113.10"))
    assert [medium.port for medium in again.media] == [20000 if medium.port else 0 for medium in found.media]


def test_every_origin_line_gets_the_constant() -> None:
    """J: one is the rule, a second one would leave with the address in it."""
    twice = sdp("10.1.0.20", "4000|o=- 2 2 IN IP4 10.1.0.21").replace(b"s=-", b"o=- 1 1 IN IP4 10.1.0.22\r\ns=-")
    sent = rewrite(Sdp.parse_untrusted(twice), [None], "203.0.113.10", "203.0.113.10")
    assert b"10.1." not in sent


def test_an_attribute_is_removed_whatever_ends_its_name() -> None:
    sent = rewrite(
        Sdp.parse_untrusted(sdp("10.1.0.20", "4000|a=candidate 1 1 UDP 1 10.1.0.20|a= source-filter : incl 10.1.0.20")),
        [None],
        "203.0.113.10",
        "203.0.113.10",
    )
    assert b"10.1." not in sent
