"""Reliable signalling: exactly once and in order, whatever the connections do (N5)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunnel.counters import Counters
from tunnel.errors import BadPacket, LocalMisuse
from tunnel.link.frames import HEADER, SIGNAL, SIGNAL_HEADER, SIGNAL_MORE
from tunnel.link.resume import (
    MAX_KEPT_BYTES,
    MAX_MESSAGE_BYTES,
    MAX_SIGNAL_FRAME_BYTES,
    Received,
    Reliable,
    SignallingFull,
)


def make() -> Reliable:
    return Reliable(Counters())


def carry(sender: Reliable, receiver: Reliable, room: int = 1 << 30) -> list[bytes]:
    """One connection's worth: returns the messages that came out."""
    came = []
    for frame in sender.take(room):
        assert HEADER.unpack_from(frame) == (SIGNAL, len(frame) - 4)
        if message := receiver.receive_untrusted(frame[4:]):
            came.append(message.payload)
    return came


def piece(sequence: int, payload: bytes = b"", flags: int = 0) -> bytes:
    return SIGNAL_HEADER.pack(sequence, flags) + payload


@pytest.mark.parametrize("size", [0, 1, 8000, 8192, 100_000, MAX_MESSAGE_BYTES])
def test_a_message_of_any_size_arrives_whole(size: int) -> None:
    sender, receiver = make(), make()
    message = bytes(range(256)) * (size // 256 + 1)
    sender.send(message[:size])
    assert carry(sender, receiver) == [message[:size]]


def test_frames_are_short_enough_for_others_to_get_in_between() -> None:
    sender = make()
    sender.send(b"x" * 50_000)
    assert max(map(len, sender.take(1 << 20))) == MAX_SIGNAL_FRAME_BYTES


def test_what_was_not_acknowledged_is_sent_again_and_heard_once() -> None:
    """N5: exactly once, over any number of connections."""
    counters = Counters()
    sender, receiver = make(), Reliable(counters)
    for message in (b"one", b"two", b"three"):
        sender.send(message)
    assert carry(sender, receiver, room=24) == [b"one", b"two"]
    sender.resume_untrusted(1)
    assert carry(sender, receiver) == [b"three"]
    assert counters["link.duplicate_signals"] == 1


def test_over_the_bound_new_messages_are_refused_and_old_ones_kept() -> None:
    """N5: what is kept for a peer that is away is bounded."""
    sender, receiver = make(), make()
    sent: list[bytes] = []
    while sender.kept_bytes < MAX_KEPT_BYTES:
        sent.append(b"%d" % len(sent) * 1000)
        sender.send(sent[-1])
    with pytest.raises(SignallingFull) as full:
        sender.send(b"one too many")
    assert full.value.kept_bytes == sender.kept_bytes
    assert carry(sender, receiver) == sent
    sender.acknowledge_untrusted(receiver.confirm())
    assert sender.kept_bytes == 0
    sender.send(b"again")


def test_a_message_that_is_too_large_is_misuse() -> None:
    with pytest.raises(LocalMisuse):
        make().send(b"x" * (MAX_MESSAGE_BYTES + 1))


def test_control_messages_are_told_apart() -> None:
    sender, receiver = make(), make()
    sender.send(b"c" * 10_000, control=True)
    *pieces, last = sender.take(1 << 20)
    assert [receiver.receive_untrusted(piece[4:]) for piece in pieces] == [None] * len(pieces)
    assert receiver.receive_untrusted(last[4:]) == Received(b"c" * 10_000, True)


def test_sequence_numbers_may_wrap() -> None:
    sender, receiver = make(), make()
    for end in (sender, receiver):
        end._sent = end._acknowledged = end._received = 2**32 - 2
    for round_ in range(3):
        sender.send(b"%d" % round_)
        assert carry(sender, receiver) == [b"%d" % round_]
        sender.acknowledge_untrusted(receiver.confirm())
    assert sender.kept_bytes == 0
    assert receiver.confirm() == 1


@pytest.mark.parametrize(
    ("frames", "complaint"),
    [
        ([b"\x00\x00"], "shorter"),
        ([piece(2)], "missing"),
        ([piece(1, flags=4)], "flags"),
        ([piece(1, flags=SIGNAL_MORE), piece(2, flags=2)], "kind"),
        ([piece(n + 1, b"x" * 8000, SIGNAL_MORE) for n in range(132)], "larger"),
    ],
)
def test_a_peer_that_breaks_the_rules_is_told(frames: list[bytes], complaint: str) -> None:
    receiver = make()
    for frame in frames[:-1]:
        receiver.receive_untrusted(frame)
    with pytest.raises(BadPacket, match=complaint):
        receiver.receive_untrusted(frames[-1])


def test_an_acknowledgement_of_what_was_never_sent_is_refused() -> None:
    sender = make()
    sender.send(b"waits")
    with pytest.raises(BadPacket, match="never sent"):
        sender.acknowledge_untrusted(1)
    sender.take(100)
    with pytest.raises(BadPacket, match="never sent"):
        sender.acknowledge_untrusted(2)


def test_messages_that_may_be_lost_are_counted_whole() -> None:
    sender = make()
    for message in (b"one", b"x" * 20_000, b"three"):
        sender.send(message)
    sender.send(b"control", control=True)
    sender.take(20)
    assert sender.unacknowledged_messages == 3


@given(st.lists(st.binary(max_size=60), max_size=5))
def test_any_frame_is_taken_or_a_bad_packet(payloads: list[bytes]) -> None:
    receiver = make()
    for payload in payloads:
        try:
            receiver.receive_untrusted(payload)
        except BadPacket:
            return


@given(
    st.lists(
        st.tuples(
            st.integers(0, 4),  # messages sent
            st.sampled_from([5, 900, 9000, 40_000]),  # their size
            st.integers(0, 60_000),  # bytes that the connection carries before it is cut
            st.floats(0, 1),  # share of those that arrive
            st.booleans(),  # whether an acknowledgement comes back before the cut
        ),
        max_size=12,
    )
)
def test_any_row_of_cut_connections_delivers_each_message_once_in_order(
    script: list[tuple[int, int, int, float, bool]],
) -> None:
    sender, receiver = make(), make()
    sent: list[bytes] = []
    came: list[bytes] = []
    for messages, size, room, share, acknowledged in script:
        for _ in range(messages):
            message = b"%d:" % len(sent) + b"x" * size
            try:
                sender.send(message)
            except SignallingFull:
                continue
            sent.append(message)
        frames = sender.take(room)
        for frame in frames[: round(share * len(frames))]:
            if message_received := receiver.receive_untrusted(frame[4:]):
                came.append(message_received.payload)
        if acknowledged:
            sender.acknowledge_untrusted(receiver.confirm())
        sender.resume_untrusted(receiver.confirm())
    came += carry(sender, receiver)
    assert came == sent
