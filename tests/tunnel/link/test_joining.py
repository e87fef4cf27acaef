from __future__ import annotations

from contextlib import suppress

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunnel.errors import BadPacket
from tunnel.link.joining import (
    Joined,
    JoinRefused,
    JoinRequest,
    decode_request_untrusted,
    decode_response_untrusted,
    encode,
)

REQUEST = JoinRequest(secret=b"s" * 16, csr=b"csr", agent="pbx-host")


def test_a_request_arrives_as_it_was_sent() -> None:
    assert decode_request_untrusted(encode(REQUEST)) == REQUEST


@pytest.mark.parametrize(
    "message", [Joined(b"der", "acme", "pbx-host", ("203.0.113.10:443",)), JoinRefused("expired", "x")]
)
def test_a_response_arrives_as_it_was_sent(message: Joined | JoinRefused) -> None:
    assert decode_response_untrusted(encode(message)) == message


def test_a_request_does_not_print_its_secret() -> None:
    assert "sss" not in repr(REQUEST)


def test_unknown_fields_of_a_request_are_refused() -> None:
    with pytest.raises(BadPacket):
        decode_request_untrusted(msgspec.msgpack.encode({**msgspec.structs.asdict(REQUEST), "admin": True}))


def test_deep_nesting_is_refused() -> None:
    for decode in (decode_request_untrusted, decode_response_untrusted):
        with pytest.raises(BadPacket):
            decode(b"\x81\xa1x" + b"\x91" * 15000)


@given(st.binary(max_size=200), st.integers(0, 60), st.integers(0, 255))
def test_any_bytes_are_only_ever_a_bad_packet(noise: bytes, place: int, value: int) -> None:
    bent = bytearray(encode(REQUEST))
    bent[place % len(bent)] = value
    for data in (noise, bytes(bent)):
        for decode in (decode_request_untrusted, decode_response_untrusted):
            with suppress(BadPacket):
                decode(data)
