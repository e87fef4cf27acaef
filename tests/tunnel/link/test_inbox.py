"""Media on the way in: what comes late is not heard, unless it is DTMF or RTCP."""

from __future__ import annotations

import pytest

from tunnel.counters import Counters
from tunnel.errors import BadPacket
from tunnel.link.frames import STAMP, frame
from tunnel.link.inbox import Inbox
from tunnel.link.priority import Classifier, Priority

AUDIO = 16
NOW = 50.0


def rtp(payload_type: int) -> bytes:
    return bytes((0x80, payload_type)).ljust(20, b"x")


def stamp(sent: float) -> bytes:
    return STAMP.pack(int(sent * 1000))


def make() -> tuple[Inbox, Counters, list[bytes]]:
    classifier, counters = Classifier(), Counters()
    classifier.set_class(AUDIO, Priority.AUDIO, [101])
    inbox = Inbox(classifier, counters)
    heard: list[bytes] = []
    inbox.sinks[AUDIO] = inbox.sinks[AUDIO + 1] = heard.append
    inbox.open()
    inbox.hear_clock_untrusted(stamp(NOW), NOW)
    return inbox, counters, heard


def test_a_late_batch_is_dropped_and_counted_but_dtmf_and_rtcp_pass() -> None:
    inbox, counters, heard = make()
    batch = frame(AUDIO, rtp(0)) + frame(AUDIO, rtp(101)) + frame(AUDIO + 1, rtp(72)) + frame(AUDIO, b"")
    inbox.hear_clock_untrusted(stamp(NOW + 1), NOW + 1.2)
    assert inbox.dispatch_untrusted(batch, 0) == len(batch)
    inbox.report()
    assert heard == [rtp(101), rtp(72)]
    assert counters["link.stale_received"] == 2


def test_the_next_batch_in_time_is_heard_again() -> None:
    inbox, _, heard = make()
    inbox.hear_clock_untrusted(stamp(NOW + 1), NOW + 1.2)
    inbox.hear_clock_untrusted(stamp(NOW + 1.2), NOW + 1.21)
    inbox.dispatch_untrusted(frame(AUDIO, rtp(0)), 0)
    assert heard == [rtp(0)]


def test_what_failed_or_went_nowhere_is_counted_once() -> None:
    inbox, counters, _ = make()

    def refuse(packet: bytes) -> None:
        raise BlockingIOError

    inbox.sinks[18] = refuse
    inbox.dispatch_untrusted(frame(18, b"x") + frame(20, b"x") * 2, 0)
    inbox.report()
    inbox.report()
    assert counters["link.sink_failed"] == 1
    assert counters["link.unknown_channel"] == 2


def test_a_closed_inbox_hears_nothing() -> None:
    inbox, counters, heard = make()
    inbox.close()
    inbox.dispatch_untrusted(frame(AUDIO, rtp(0)), 0)
    inbox.report()
    assert heard == []
    assert counters["link.unknown_channel"] == 0
    with pytest.raises(BadPacket, match="greeting"):
        inbox.hear_clock_untrusted(stamp(NOW), NOW)
