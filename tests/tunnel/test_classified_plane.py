"""What the session is told of each stream, from the words of an SDP to the class of a packet."""

from __future__ import annotations

import pytest
from support.media_pair import CALLER_IP, TRUNK_IP, sdp
from support.plane import FakePlane

from tunnel.classified_plane import ClassifiedPlane
from tunnel.counters import Counters
from tunnel.link.priority import Classifier, Priority
from tunnel.link.session import Role, Session
from tunnel.media.body import SipBody
from tunnel.media.channels import AGENT_CHANNELS, ChannelSpace
from tunnel.media.exchange import Carriage
from tunnel.media.offer_answer import ROOT, CallMedia
from tunnel.media.streams import FaceRules

DTMF = 97


@pytest.mark.parametrize(
    ("medium", "expected"),
    [
        (f"audio 40000 RTP/AVP 8 {DTMF}|a=rtpmap:{DTMF} telephone-event/8000", Priority.AUDIO),
        ("audio 40000 RTP/SAVP 8", Priority.AUDIO),
        ("video 40000 RTP/AVP 31", Priority.OTHER),
        ("image 40000 udptl t38", Priority.OTHER),
        ("application 40000 UDP/BFCP *", Priority.OTHER),
    ],
)
def test_the_class_of_a_stream_is_that_of_its_m_line(medium: str, expected: Priority) -> None:
    """N2: audio before video and everything else; DTMF, by the payload type of the SDP, and RTCP before both."""
    session = Session(Role.AGENT, Counters(), bytes, b"")
    classifier: Classifier = session._classifier
    plane = ClassifiedPlane(FakePlane("10.1.0.2"), session)
    rules = FaceRules("10.1.0.2", None, False, lambda ip: True, lambda ip: True)
    media = CallMedia(1, plane, ChannelSpace(AGENT_CHANNELS), rules, Counters())
    (channel,) = media.hear(ROOT, SipBody(sdp(CALLER_IP, medium)), CALLER_IP, 1.0, Carriage.OPENING)
    media.speak(b"b1", SipBody(sdp(TRUNK_IP, medium)), (channel,), 1.1)
    assert classifier.of(channel, 8) is expected
    assert classifier.of(channel + 1, 200) is Priority.URGENT
    assert classifier.of(channel, DTMF) is (Priority.URGENT if str(DTMF) in medium else expected)
    media.close(0.0, 2.0)
    assert classifier.of(channel, 8) is Priority.OTHER
