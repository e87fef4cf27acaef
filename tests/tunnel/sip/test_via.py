"""Via: what it says, what a server writes into it, where responses go (B1 to B3)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunnel.address import Address
from tunnel.errors import BadPacket
from tunnel.sip.via import Via, build_via, reply_address

SOURCE = Address("198.51.100.9", 40123)


def test_all_parts_of_a_via_are_found() -> None:
    via = Via.parse_untrusted(b"SIP/2.0/udp PBX.example:5066;Branch=z9hG4bK1;rport=4;received=192.0.2.1;x")
    assert (via.transport, via.host, via.port, via.branch) == ("UDP", "pbx.example", 5066, b"z9hG4bK1")
    assert (via.received, via.rport) == ("192.0.2.1", 4)


@pytest.mark.parametrize(
    ("text", "sent_by"),
    [
        (b"SIP  /    2.0   / UDP  192.0.2.2  ; branch= z9hG4bK30239", Address("192.0.2.2", 5060)),
        (b"SIP/2.0/TLS [2001:db8::9:1];branch=1", Address("2001:db8::9:1", 5061)),
        (b"SIP/2.0/TCP [2001:db8::9] : 5070;branch=1", Address("2001:db8::9", 5070)),
        (b"SIP/2.0/UNKNOWN t4.example.com", Address("t4.example.com", 5060)),
    ],
)
def test_odd_spellings_are_understood(text: bytes, sent_by: Address) -> None:
    assert Via.parse_untrusted(text).sent_by == sent_by


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"SIP/2.0/UDP",
        b"SIP/3.0/UDP h",
        b"SIP/2.0/UDP h;;",
        b"SIP/2.0/UDP h:70000",
        b"SIP/2.0/UDP h i",
        b"SIP/2.0/UDP h;rport=x",
        b"SIP/2.0/UDP [::z]",
    ],
)
def test_what_is_no_via_is_refused(text: bytes) -> None:
    with pytest.raises(BadPacket):
        Via.parse_untrusted(text)


@pytest.mark.parametrize(
    ("came", "kept"),
    [
        # The source is what the sender thinks it is: nothing to say.
        (b"SIP/2.0/UDP 198.51.100.9:5062;branch=1", b"SIP/2.0/UDP 198.51.100.9:5062;branch=1"),
        # Another address, or a name: received, and no rport that was not asked for.
        (b"SIP/2.0/UDP 10.1.0.7;branch=1", b"SIP/2.0/UDP 10.1.0.7;branch=1;received=198.51.100.9"),
        (b"SIP/2.0/UDP pbx.example ", b"SIP/2.0/UDP pbx.example;received=198.51.100.9"),
        # rport asked for: filled, and received even if equal (RFC 3581 section 4).
        (
            b"SIP/2.0/UDP 198.51.100.9 ; rport ;branch=1",
            b"SIP/2.0/UDP 198.51.100.9 ;rport=40123 ;branch=1;received=198.51.100.9",
        ),
        # What a sender claims itself is overwritten.
        (
            b"SIP/2.0/UDP 10.1.0.7;received=192.0.2.66;rport=6;branch=1",
            b"SIP/2.0/UDP 10.1.0.7;received=198.51.100.9;rport=40123;branch=1",
        ),
        (b"SIP/2.0/UDP 10.1.0.7;branch=1;", b"SIP/2.0/UDP 10.1.0.7;branch=1;received=198.51.100.9"),
    ],
)
def test_received_and_rport_are_written_as_rfc_3581_wants(came: bytes, kept: bytes) -> None:
    assert Via.parse_untrusted(came).with_received_rport(SOURCE) == kept


def test_ipv6_addresses_are_compared_by_number() -> None:
    via = Via.parse_untrusted(b"SIP/2.0/UDP [2001:DB8:0::9];branch=1")
    assert via.with_received_rport(Address("2001:db8::9", 5060)) == via.text
    assert via.with_received_rport(Address("2001:db8::a", 5060)) == via.text + b";received=2001:db8::a"


def test_responses_go_to_the_source_and_its_port_only_if_rport_says_so() -> None:
    plain = Via.parse_untrusted(b"SIP/2.0/UDP 10.1.0.7:5062;branch=1")
    assert reply_address(plain, SOURCE) == Address("198.51.100.9", 5062)
    assert reply_address(plain, SOURCE, force_rport=True) == SOURCE
    asking = Via.parse_untrusted(b"SIP/2.0/UDP 10.1.0.7:5062;rport;branch=1")
    assert reply_address(asking, SOURCE) == SOURCE
    bare = Via.parse_untrusted(b"SIP/2.0/UDP pbx.example;branch=1;maddr=192.0.2.66")
    assert reply_address(bare, SOURCE) == Address("198.51.100.9", 5060)


@pytest.mark.parametrize("received", [b"[2001:db8::9:255]", b"2001:db8::9:255"])
def test_a_stamped_via_alone_says_where_a_response_goes(received: bytes) -> None:
    via = Via.parse_untrusted(b"SIP/2.0/UDP [2001:db8::9:1];received=" + received + b";branch=z9hG4bKas3-111")
    assert via.return_address == Address("2001:db8::9:255", 5060)
    stamped = Via.parse_untrusted(b"SIP/2.0/UDP h:7;rport").with_received_rport(SOURCE)
    assert Via.parse_untrusted(stamped).return_address == SOURCE


def test_our_own_via_asks_for_rport_on_udp_only() -> None:
    at = Address("203.0.113.10", 5060)
    assert build_via("udp", at, b"z9hG4bKx") == b"SIP/2.0/UDP 203.0.113.10:5060;rport;branch=z9hG4bKx"
    v6 = Address("2001:db8::1", 5061)
    assert build_via("tls", v6, b"z9hG4bKx") == b"SIP/2.0/TLS [2001:db8::1]:5061;branch=z9hG4bKx"


@given(
    st.binary(max_size=40).map(lambda tail: b"SIP/2.0/UDP h" + tail)
    | st.text("SIP/2.0UDP h;:=[]", max_size=40).map(str.encode)
)
def test_any_bytes_are_read_or_refused(text: bytes) -> None:
    try:
        via = Via.parse_untrusted(text)
    except BadPacket:
        return
    stamped = Via.parse_untrusted(via.with_received_rport(SOURCE))
    assert stamped.branch == via.branch
    assert (stamped.received or stamped.host) == SOURCE.host


def test_a_zone_stays_at_home() -> None:
    """C7: a phone on a link-local address is answered there, and nobody is told by which cable."""
    source = Address("fe80::1%eth0", 5062)
    via = Via.parse_untrusted(b"SIP/2.0/UDP phone.local;branch=z9hG4bK1;rport")
    assert via.with_received_rport(source).endswith(b";rport=5062;received=fe80::1")
    same = Via.parse_untrusted(b"SIP/2.0/UDP [fe80::1]:5062;branch=z9hG4bK1")
    assert same.with_received_rport(source) == same.text
    assert reply_address(via, source) == source
