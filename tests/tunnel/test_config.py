from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunnel.address import Address
from tunnel.config import READERS, FaceAddresses, PortRange, SipListener, parse_sip_uri, sip_uri_host
from tunnel.errors import BadPacket


def read(kind: object, value: object) -> object:
    return READERS[kind].read(value)


@pytest.mark.parametrize(
    ("kind", "text", "expected"),
    [
        (Address, "203.0.113.10:443", Address("203.0.113.10", 443)),
        (Address, "[2001:db8::1]:443", Address("2001:db8::1", 443)),
        (Address, "Relay.Example:443", Address("relay.example", 443)),
        (SipListener, "udp:5060", SipListener("udp", 5060)),
        (SipListener, "tls:0", SipListener("tls", 0)),
        (PortRange, "20000-29999", PortRange(20000, 29999)),
        (FaceAddresses, "203.0.113.10", FaceAddresses(["203.0.113.10"])),
        (FaceAddresses, ["[2001:DB8::1]", "203.0.113.10"], FaceAddresses(["2001:db8::1", "203.0.113.10"])),
    ],
)
def test_a_setting_is_read(kind: object, text: object, expected: object) -> None:
    assert read(kind, text) == expected


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (Address, "203.0.113.10"),
        (Address, "2001:db8::1:443"),
        (Address, "a b:443"),
        (Address, 443),
        (SipListener, "5060"),
        (SipListener, "sctp:5060"),
        (SipListener, "udp:65536"),
        (SipListener, "udp:٥"),
        (PortRange, "20001-29999"),
        (PortRange, "20000-20000"),
        (PortRange, "20000-70000"),
        (PortRange, "0-100"),
        (FaceAddresses, []),
        (FaceAddresses, "0.0.0.0"),
        (FaceAddresses, "relay.example"),
        (FaceAddresses, ["203.0.113.10", "203.0.113.11"]),
    ],
)
def test_a_wrong_setting_is_refused(kind: object, value: object) -> None:
    with pytest.raises((ValueError, BadPacket)):
        read(kind, value)


@pytest.mark.parametrize("uri", ["sip:10.1.0.5:5060", "sips:pbx.example", "sip:100@[2001:db8::5]:5061;transport=tcp"])
def test_a_sip_uri_stays_as_it_was_written(uri: str) -> None:
    assert parse_sip_uri(uri) == uri


@pytest.mark.parametrize("uri", ["", "10.1.0.5", "sip:", "sip:a b", "tel:+49301", "sip:x:0", "sip:x:65536", "sip:[1]"])
def test_what_is_no_sip_uri_is_refused(uri: str) -> None:
    with pytest.raises(ValueError, match=r"^$|IPv6|octet|least|quotes"):
        parse_sip_uri(uri)


def test_the_host_of_a_sip_uri() -> None:
    assert sip_uri_host(parse_sip_uri("sip:100@[2001:DB8::5]:5061")) == "2001:db8::5"
    assert sip_uri_host(parse_sip_uri("sip:PBX.Example;lr")) == "pbx.example"


def test_a_face_has_an_address_for_each_family() -> None:
    both = FaceAddresses(["203.0.113.10", "2001:db8::1"])
    assert both.of_family(ipv6=True) == "2001:db8::1"
    assert FaceAddresses(["203.0.113.10"]).of_family(ipv6=True) is None


@given(st.one_of(st.text(max_size=40), st.integers(), st.lists(st.text(max_size=20), max_size=3), st.booleans()))
def test_readers_raise_nothing_else(value: object) -> None:
    for reader in READERS.values():
        try:
            reader.read(value)
        except (ValueError, BadPacket):
            continue
