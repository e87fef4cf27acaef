"""Control messages: each comes back as it was; anything else is a BadPacket."""

from __future__ import annotations

import contextlib

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunnel.errors import BadPacket
from tunnel.link import control

LINK_MESSAGES: list[control.LinkMessage] = [
    control.Hello(1, b"ticket", 7),
    control.Welcome(b"t" * 32, True, 2**32 - 1, b"\x00\xff"),
    control.Ping(123_456_789_012, 3),
    control.Pong(0, 0),
    control.Ack(9),
    control.Refusal("revoked"),
    control.Bye(),
]
RELIABLE_MESSAGES: list[control.ReliableMessage] = [
    control.Drain(12.5),
    control.Renew(b"-----BEGIN CERTIFICATE REQUEST-----"),
    control.Renewed(b"-----BEGIN CERTIFICATE-----"),
]

values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)
near_misses = st.fixed_dictionaries(
    {"type": st.sampled_from(["hello", "welcome", "ping", "pong", "ack", "refused", "bye", "drain", "renew"]) | values},
    optional={name: values for name in ("version", "ticket", "received", "stamp_us", "reason", "csr", "greeting")},
)


@pytest.mark.parametrize("message", LINK_MESSAGES, ids=lambda message: type(message).__name__)
def test_link_messages_come_back_as_they_were(message: control.LinkMessage) -> None:
    assert control.parse_link_untrusted(control.encode(message)) == message


@pytest.mark.parametrize("message", RELIABLE_MESSAGES, ids=lambda message: type(message).__name__)
def test_reliable_messages_come_back_as_they_were(message: control.ReliableMessage) -> None:
    assert control.parse_reliable_untrusted(control.encode(message)) == message


def test_a_message_of_the_other_kind_is_refused() -> None:
    with pytest.raises(BadPacket):
        control.parse_link_untrusted(control.encode(control.Drain(1)))
    with pytest.raises(BadPacket):
        control.parse_reliable_untrusted(control.encode(control.Bye()))


def test_an_unknown_key_is_refused() -> None:
    with pytest.raises(BadPacket, match="colour"):
        control.parse_link_untrusted(msgpack.packb({"type": "ack", "received": 1, "colour": "red"}))


def test_a_hello_of_a_later_version_is_understood_well_enough_to_answer() -> None:
    hello = msgpack.packb({"type": "hello", "version": 2, "ticket": b"", "received": 0, "colour": "red"})
    assert control.parse_link_untrusted(hello) == control.Hello(2, b"", 0)


def test_a_message_beyond_its_bounds_is_refused_by_the_sender() -> None:
    with pytest.raises(ValueError, match="length"):
        control.encode(control.Welcome(b"", False, 0, b"x" * 5000))


@given(st.binary(max_size=100) | values.map(msgpack.packb) | near_misses.map(msgpack.packb))
def test_anything_else_is_a_bad_packet_and_nothing_worse(payload: bytes) -> None:
    for parse in (control.parse_link_untrusted, control.parse_reliable_untrusted):
        with contextlib.suppress(BadPacket):
            parse(payload)
