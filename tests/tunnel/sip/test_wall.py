"""What two half proxies say to each other."""

from __future__ import annotations

import contextlib

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunnel.errors import BadPacket
from tunnel.sip.wall import (
    CancelCrossed,
    Failed,
    PeerFacts,
    RequestCrossed,
    ResponseCrossed,
    WallMessage,
    decode_untrusted,
    encode,
)

handles = st.integers(0, 2**63 - 1)
blobs = st.binary(max_size=200)
texts = st.text(st.characters(exclude_categories=["Cc", "Cs"]), max_size=40)
channels = st.lists(st.integers(16, 65534), max_size=4).map(tuple)
messages: st.SearchStrategy[WallMessage] = st.one_of(
    st.builds(
        RequestCrossed,
        handles,
        handles,
        blobs,
        texts,
        channels,
        st.lists(blobs, max_size=3).map(tuple),
        blobs,
        texts,
        blobs,
        st.booleans(),
    ),
    st.builds(ResponseCrossed, handles, blobs, texts, channels, st.booleans(), blobs),
    st.builds(CancelCrossed, handles, st.lists(blobs, max_size=3).map(tuple)),
    st.builds(Failed, handles, st.integers(400, 699), texts, texts, st.integers(0, 60)),
    st.builds(PeerFacts, st.booleans()),
)


@given(messages)
def test_a_message_arrives_as_it_was_sent(message: WallMessage) -> None:
    assert decode_untrusted(encode(message)) == message


@given(st.binary(max_size=300))
def test_junk_is_refused(payload: bytes) -> None:
    with pytest.raises(BadPacket):
        decode_untrusted(payload)


@given(messages, st.data())
def test_a_damaged_message_is_refused_or_read(message: WallMessage, data: st.DataObject) -> None:
    payload = bytearray(encode(message))
    at = data.draw(st.integers(0, len(payload) - 1))
    payload[at] = data.draw(st.integers(0, 255))
    with contextlib.suppress(BadPacket):
        decode_untrusted(bytes(payload))


@pytest.mark.parametrize(
    "fields",
    [
        ["request"],
        ["request", 1, 1, "text for bytes", "udp:a"],
        ["unknown", 1],
        ["response", "one", b"", "udp:a"],
        {"request": 1},
        5,
        None,
    ],
)
def test_what_lacks_a_field_or_has_a_wrong_one_is_refused(fields: object) -> None:
    with pytest.raises(BadPacket):
        decode_untrusted(msgpack.packb(fields))
