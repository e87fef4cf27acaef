"""What fuzzing starts from: the messages, bodies and packets of tests/data and of simulated calls."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path

from support.certificates import NOW, credentials_of, open_authority
from support.hostile import real_messages
from support.media_pair import sdp
from support.messages import INVITE, OFFER, REGISTER, accepted, refused
from support.wire import SessionPair

from tunnel.link.frames import clock_frame, frame
from tunnel.media.body import SipBody
from tunnel.sip.message import parse_untrusted
from tunnel.sip.wall import CancelCrossed, Failed, PeerFacts, RequestCrossed, ResponseCrossed, encode

__all__ = [
    "certificates",
    "contents",
    "header_values",
    "link_frames",
    "rtp_packets",
    "sdp_bodies",
    "sip_messages",
    "uris",
    "wall_messages",
]

_DATA = Path(__file__).parent.parent / "data"


@cache
def sip_messages() -> list[bytes]:
    """Torture messages, valid and invalid, and what the parties of some calls say."""
    return [*real_messages(1), *accepted.values(), *refused.values(), INVITE, REGISTER]


@cache
def sdp_bodies() -> list[bytes]:
    """Descriptions and bodies with descriptions in them, of both sides."""
    files = [path.read_bytes() for path in sorted((_DATA / "sdp").iterdir())]
    bodies = [raw.partition(b"\r\n\r\n")[2] for raw in (*accepted.values(), *refused.values())]
    made = [
        sdp("10.1.0.20", "4000"),
        sdp("10.1.0.20", "4000|a=sendonly", "video 4002 RTP/AVP 31|a=rtcp:4010 IN IP4 10.1.0.20"),
        sdp("0.0.0.0", "4000|a=inactive"),
        sdp("fd00:1::20", "4000"),
        sdp("198.51.100.7", "5000|a=rtcp-mux|a=mid:a", "video 5000 RTP/AVP 31|a=mid:b", session="a=group:BUNDLE a b"),
        sdp("10.1.0.20", "0", "image 4006 udptl t38|a=T38FaxVersion:0", "application 0 TCP/MSRP *"),
        sdp("10.1.0.20", "4000|a=candidate:1 1 UDP 1 10.1.0.20 4000 typ host|a=ice-ufrag:a|a=crypto:1 A inline:b"),
        b"--b\r\nContent-Type: application/sdp\r\nContent-Length: 9\r\n\r\n" + OFFER + b"\r\n--b--\r\n",
    ]
    return [each for each in (*files, *bodies, *made, OFFER) if each]


def contents(data: bytes) -> list[SipBody]:
    """Bodies of several types with that content; the first line may be the boundary of a multipart one."""
    boundary = data.partition(b"\n")[0].strip(b"-\r ")[:70] or b"b"
    kinds = [
        b"application/sdp",
        b"",
        b'multipart/mixed;boundary="%s"' % boundary.replace(b'"', b"").replace(b"\\", b""),
    ]
    return [SipBody(data, kind) for kind in kinds]


@cache
def header_values() -> list[bytes]:
    """What stands behind the colons of real headers."""
    values = {header.value for raw in accepted.values() for header in parse_untrusted(raw).headers}
    return sorted({b"<sip:a@b;lr>;x=y", b'"A, \\"B" <sips:[::1]:5061?a=b>;tag=c', *values})


@cache
def uris() -> list[bytes]:
    """Request-URIs, and some more."""
    found = {parse_untrusted(raw).request_uri for raw in accepted.values()} - {b""}
    return sorted({b"sip:a:b@[2001:db8::1]:5061;lr;maddr=1.2.3.4?x=y&z", b"tel:+1", b"sips:a", *found})


@cache
def rtp_packets() -> list[bytes]:
    """RTP with and without CSRCs and extension, RTCP."""
    rtp = b"\x80\x00\x00\x01\x00\x00\x00\xa0\x00\x00\x00\x07" + b"x" * 160
    return [rtp, b"\x92" + rtp[1:], b"\x80\xc8\x00\x06" + bytes(24), b"\x80\x65" + rtp[2:16]]


@cache
def wall_messages() -> list[bytes]:
    """One of each kind that crosses the wall."""
    response = b"SIP/2.0 200 OK\r\n" + INVITE.partition(b"\r\n")[2]
    said = [
        RequestCrossed(
            5, 7, INVITE, "udp:10.1.0.7:5062", (16,), (b"<sip:203.0.113.4;lr>",), b"", "local", b"b" * 8, False
        ),
        ResponseCrossed(5, response, "", (32768,), True, b"b" * 8),
        CancelCrossed(5, (b"Reason: SIP;cause=200",)),
        Failed(5, 503, "Service Unavailable", "nothing", 5),
        PeerFacts(True),
    ]
    return [encode(message) for message in said]


@cache
def link_frames() -> list[bytes]:
    """What two ends say to each other when they meet, frame by frame and all at once, and media."""
    pair = SessionPair()
    for end in pair.ends:
        end.session.attach(pair.clock.now)
    hello = pair.agent.session.outgoing(pair.clock.now)
    pair.server.session.receive_untrusted(hello, pair.clock.now)
    welcome = pair.server.session.outgoing(pair.clock.now)
    media = clock_frame(1.0) + frame(16, rtp_packets()[0]) + frame(17, b"x")
    return [hello, welcome, hello[4:], welcome[4:], hello + media, media]


@cache
def certificates() -> list[bytes]:
    """An agent's and an authority's, DER."""
    authority = open_authority(Path(tempfile.mkdtemp(prefix="wallpass-fuzz-")), NOW)
    return [credentials_of(authority).certificate, authority.der]
