"""Which packet is of which class."""

from __future__ import annotations

import pytest

from tunnel.errors import LocalMisuse
from tunnel.link.priority import Classifier, Priority


@pytest.mark.parametrize(
    ("channel", "second_byte", "expected"),
    [
        (16, 0, Priority.AUDIO),
        (16, 0x80 | 8, Priority.AUDIO),  # marker set
        (16, 101, Priority.URGENT),  # DTMF
        (16, 0x80 | 101, Priority.URGENT),
        (16, 200, Priority.URGENT),  # RTCP on the RTP port
        (17, 0, Priority.URGENT),  # RTCP
        (18, 96, Priority.OTHER),
        (18, 101, Priority.OTHER),  # DTMF elsewhere
        (20, 0, Priority.OTHER),  # a stream nobody spoke of
    ],
)
def test_class_of_a_packet(channel: int, second_byte: int, expected: Priority) -> None:
    classifier = Classifier()
    classifier.set_class(16, Priority.AUDIO, [101])
    classifier.set_class(18, Priority.OTHER, [])
    assert classifier.of(channel, second_byte) is expected


def test_a_closed_stream_is_forgotten() -> None:
    classifier = Classifier()
    classifier.set_class(16, Priority.AUDIO, [])
    classifier.forget(16)
    classifier.forget(16)
    assert classifier.of(16, 0) is Priority.OTHER


def test_a_stream_cannot_claim_the_classes_above_it() -> None:
    with pytest.raises(LocalMisuse, match="signalling"):
        Classifier().set_class(16, Priority.SIGNALLING, [])
