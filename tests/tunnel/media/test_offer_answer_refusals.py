"""Bodies that cannot be relayed, and that a refusal costs nothing."""

from __future__ import annotations

import pytest
from support.media_pair import CALLER_IP, MediaPair, sdp

from tunnel.media.body import SipBody
from tunnel.media.exchange import Carriage
from tunnel.media.offer_answer import ROOT
from tunnel.media.plane import CannotRelay, LedgerFull

OPENING = Carriage.OPENING


def test_bodies_without_a_description_pass_as_they_are(pair: MediaPair) -> None:
    body = SipBody(b"Signal=5\r\n", b"application/dtmf-relay")
    assert pair.agent.media.hear(b"b1", body, CALLER_IP, 1.0) == ()
    assert pair.server.media.speak(b"b1", body, (), 1.0) == body.content


def test_speaking_that_fails_for_ports_takes_none() -> None:
    """T12: speaking that fails for ports takes none."""
    pair = MediaPair(capacity=1)
    with pytest.raises(LedgerFull):
        pair.inside(sdp(CALLER_IP, "40000", "40002"), OPENING, ROOT)
    assert pair.server.plane.held == {}
    pair.close()
    pair.assert_nothing_left()


@pytest.mark.parametrize("channels", [(), (0,), (2,), (17,), (70000,)])
def test_channels_that_do_not_fit_are_refused(pair: MediaPair, channels: tuple[int, ...]) -> None:
    with pytest.raises(CannotRelay):
        pair.server.media.speak(ROOT, SipBody(sdp(CALLER_IP, "40000")), channels, 1.0, OPENING)
    assert pair.server.plane.held == {}


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (SipBody(b"this is no description"), 400),
        (SipBody(sdp("224.1.1.1/127", "40000")), 488),
        (SipBody(b"MIIB", b"application/pkcs7-mime"), 493),
    ],
)
def test_what_cannot_be_relayed_is_refused_at_both_ends(pair: MediaPair, body: SipBody, status: int) -> None:
    with pytest.raises(CannotRelay) as near:
        pair.agent.media.hear(ROOT, body, CALLER_IP, 1.0, OPENING)
    with pytest.raises(CannotRelay) as far:
        pair.server.media.speak(ROOT, body, (16,), 1.0, OPENING)
    assert near.value.status == far.value.status == status
    assert (pair.agent.channels.in_use, pair.server.plane.held) == (0, {})
