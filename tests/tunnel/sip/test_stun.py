"""Binding requests of SIP user agents that keep their NAT open."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunnel.address import Address
from tunnel.errors import BadPacket
from tunnel.sip.stun import answer_binding_untrusted

TRANSACTION = bytes.fromhex("b7e7a701bc34d686fa87dfae")
COOKIE = bytes.fromhex("2112a442")


def request(attributes: bytes = b"", kind: int = 1) -> bytes:
    return kind.to_bytes(2, "big") + len(attributes).to_bytes(2, "big") + COOKIE + TRANSACTION + attributes


# The addresses and results of RFC 5769 sections 2.2 and 2.3.
@pytest.mark.parametrize(
    ("source", "value"),
    [
        (Address("192.0.2.1", 32853), "0001a147e112a643"),
        (Address("2001:db8:1234:5678:11:2233:4455:6677", 32853), "0002a1470113a9faa5d3f179bc25f4b5bed2b9d9"),
    ],
)
def test_the_answer_says_where_the_request_came_from(source: Address, value: str) -> None:
    mapped = bytes.fromhex(value)
    answer = answer_binding_untrusted(request(), source)
    header = b"\x01\x01" + (4 + len(mapped)).to_bytes(2, "big") + COOKIE + TRANSACTION
    assert answer == header + b"\x00\x20" + len(mapped).to_bytes(2, "big") + mapped


def test_optional_attributes_are_ignored() -> None:
    software = bytes.fromhex("8022000374737400")
    assert answer_binding_untrusted(request(software), Address("192.0.2.1", 1))[:2] == b"\x01\x01"


def test_what_must_be_understood_and_is_not_is_named() -> None:
    answer = answer_binding_untrusted(
        request(bytes.fromhex("00030004000000060003000400000006")), Address("192.0.2.1", 1)
    )
    assert answer[:2] == b"\x01\x11"
    assert bytes.fromhex("00000414") + b"Unknown Attribute" in answer
    assert answer.endswith(bytes.fromhex("000a000200030000"))


@pytest.mark.parametrize(
    "data",
    [b"", request()[:19], request(kind=0x0101), request() + b"\0\0\0\0", request(bytes.fromhex("80220009"))],
    ids=["empty", "short", "a response", "longer than it says", "an attribute cut short"],
)
def test_anything_else_gets_no_answer(data: bytes) -> None:
    with pytest.raises(BadPacket):
        answer_binding_untrusted(data, Address("192.0.2.1", 1))


@given(st.binary(max_size=80))
def test_no_bytes_do_harm(attributes: bytes) -> None:
    data = request(attributes)
    try:
        answer = answer_binding_untrusted(data, Address("192.0.2.1", 1))
    except BadPacket:
        return
    assert len(answer) <= max(len(data) + 40, 64)


def test_a_request_of_thousands_of_attributes_costs_nothing() -> None:
    """A5: each of them would have to be compared with all before it."""
    many = b"".join(kind.to_bytes(2, "big") + b"\0\0" for kind in range(1, 16_000))
    with pytest.raises(BadPacket, match="too long"):
        answer_binding_untrusted(request(many), Address("192.0.2.1", 5060))
