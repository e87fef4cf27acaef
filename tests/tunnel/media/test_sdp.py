"""Reading session descriptions: what a party says, in every form that is out there."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.media_pair import sdp

from tunnel.address import Address
from tunnel.errors import BadPacket
from tunnel.media.sdp import MAX_LINES, MAX_MEDIA, Sdp

DATA = Path(__file__).parents[2] / "data" / "sdp"


def parse(text: bytes) -> Sdp:
    return Sdp.parse_untrusted(text)


def test_a_medium_is_where_its_own_connection_line_says() -> None:
    found = parse((DATA / "everything.sdp").read_bytes())
    audio, video, message, bfcp = found.media
    assert (audio.rtp, audio.rtcp) == (Address("10.1.0.21", 40000), Address("10.1.0.22", 40005))
    assert (video.rtp, video.rtcp) == (Address("10.1.0.20", 40002), Address("10.1.0.20", 40002))
    assert [medium.kind for medium in found.media] == ["audio", "video", "message", "application"]
    assert [medium.is_relayed for medium in found.media] == [True, True, False, True]
    assert audio.dtmf == {97}
    assert audio.formats == ("8", "0", "97")
    assert video.mux
    assert not message.mux
    assert (bfcp.rtp, bfcp.is_active) == (None, False)


def test_rtcp_is_the_next_port_unless_the_party_says_otherwise() -> None:
    assert parse(sdp("10.1.0.20", "4000")).media[0].rtcp == Address("10.1.0.20", 4001)
    assert parse(sdp("10.1.0.20", "4000|a=rtcp:4009")).media[0].rtcp == Address("10.1.0.20", 4009)
    assert parse(sdp("10.1.0.20", "65535")).media[0].rtcp is None
    assert parse(sdp("10.1.0.20", "image 4000 udptl t38")).media[0].rtcp is None


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "nobody.invalid"])
def test_hold_addresses_are_known(host: str) -> None:
    assert parse(sdp(host, "4000")).media[0].is_held


@pytest.mark.parametrize(
    ("session", "medium", "held"),
    [
        ("", "4000", False),
        ("a=sendonly", "4000", True),
        ("a=sendonly", "4000|a=sendrecv", False),
        ("", "4000|a=inactive", True),
        ("", "4000|a=recvonly", True),
    ],
)
def test_the_direction_of_a_medium_overrides_that_of_the_session(session: str, medium: str, held: bool) -> None:
    assert parse(sdp("10.1.0.20", medium, session=session)).media[0].is_held is held


@pytest.mark.parametrize("line_end", [b"\r\n", b"\n", b"\r"])
def test_any_line_end_will_do(line_end: bytes) -> None:
    text = sdp("10.1.0.20", "4000", "4002").replace(b"\r\n", line_end)
    assert [medium.port for medium in parse(text).media] == [4000, 4002]
    assert [medium.port for medium in parse(text.rstrip()).media] == [4000, 4002]
    assert [medium.port for medium in parse(line_end + text + line_end).media] == [4000, 4002]


def test_words_may_be_further_apart_and_trailed_by_spaces() -> None:
    text = b"v=0 \r\no=John Doe 1 1 IN IP4 10.1.0.20 \r\nc=IN  IP4 10.1.0.20  \r\nm=audio  4000/1\tRTP/AVP  0 \r\n"
    found = parse(text)
    assert [each.host for each in found.origins] == ["10.1.0.20"]
    assert found.media[0].rtp == Address("10.1.0.20", 4000)


def test_ipv6_addresses_lose_brackets_and_zone() -> None:
    assert parse(sdp("[2001:db8::7]", "4000")).media[0].rtp == Address("2001:db8::7", 4000)
    assert parse(sdp("fe80::1%eth0", "4000")).media[0].rtp == Address("fe80::1", 4000)


def test_a_rejected_medium_needs_no_connection_line() -> None:
    text = sdp("10.1.0.20", "4000|c=IN IP4 10.1.0.20", "video 0 RTP/AVP 31").replace(b"c=IN IP4 10.1.0.20\r\n", b"", 1)
    assert [medium.connection is None for medium in parse(text).media] == [False, True]


def test_a_bundled_medium_uses_the_ports_of_the_first_of_its_group() -> None:
    group = "a=group:BUNDLE 1 0 2"
    same = parse(sdp("10.1.0.20", "4000|a=mid:0", "4000|a=mid:1", "0|a=mid:2|a=bundle-only", "4000", session=group))
    assert [same.leader(index) for index in range(4)] == [1, None, 1, None]
    apart = parse(sdp("10.1.0.20", "4000|a=mid:0", "4002|a=mid:1", session=group))
    assert [apart.leader(index) for index in range(2)] == [None, None]


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"\r\n",
        b"INVITE sip:x SIP/2.0\r\n",
        b"o=- 1 1 IN IP4 10.1.0.20\r\nv=0\r\n",
        sdp("10.1.0.20", "4000").replace(b"c=IN IP4 10.1.0.20\r\n", b""),
        sdp("10.1.0.20", "4000").replace(b"c=IN IP4", b"c=IN"),
        sdp("10.1.0.20", "4000").replace(b"c=IN IP4", b"c=ATM NSAP"),
        sdp("10.1.0.20", "4000").replace(b"o=- 1 1 IN IP4 10.1.0.20", b"o="),
        sdp("10.1.0.20", "audio 70000 RTP/AVP 0"),
        sdp("10.1.0.20", "audio many RTP/AVP 0"),
        sdp("10.1.0.20", "4000|a=rtcp:x"),
        sdp("10.1.0.20", "4000|a=rtcp:99999"),
        sdp("10.1.0.20", "4000|a=rtcp:"),
        sdp("10.1.0.20", *["4000"] * (MAX_MEDIA + 1)),
        sdp("10.1.0.20", "4000").replace(b"c=IN IP4 10.1.0.20", b"c=IN IP4 203.0.113.9 IN IP4 10.1.0.20"),
        sdp("10.1.0.20", "4000|a=rtcp:4001 IN IP4 203.0.113.9 10.1.0.20"),
        sdp("10.1.0.20", "4000|a=rtcp 4001 IN IP4 10.1.0.20"),
        sdp("10.1.0.20", "4000") + b"\n" * (MAX_LINES + 1),
        (DATA / "t38_without_proto.sdp").read_bytes(),
        (DATA / "two_copies_lf.sdp").read_bytes(),
    ],
)
def test_what_cannot_be_relayed_sensibly_is_refused(text: bytes) -> None:
    with pytest.raises(BadPacket):
        parse(text)


@pytest.mark.parametrize(
    "line", [b"c =IN IP4 10.1.0.9", b" c=IN IP4 10.1.0.9", b"m\t= audio 4 RTP/AVP 0", b"s=-\rc=IN IP4 10.1.0.9"]
)
def test_what_is_a_field_to_some_and_none_to_others_is_refused(line: bytes) -> None:
    """J: an address in it would leave as it came, and some reader would take it for the one to send to."""
    with pytest.raises(BadPacket):
        parse(sdp("10.1.0.20", "4000").replace(b"s=-", line))


def test_a_description_may_end_its_lines_with_cr_alone() -> None:
    found = parse(sdp("10.1.0.20", "4000").replace(b"\r\n", b"\r"))
    assert [medium.port for medium in found.media] == [4000]


PIECES = st.sampled_from(
    [
        b"v=0",
        b"o=- 1 1 IN IP4 10.1.0.20",
        b"c=IN IP4 10.1.0.20",
        b"c=IN IP6 ::/3",
        b"m=audio 9 RTP/AVP 0",
        b"m=",
        b"a=",
        b"a=rtcp:9 IN IP4 x",
        b"a=group:BUNDLE a",
        b"a=mid:a",
        b"a=rtpmap:101 telephone-event/8000",
        b" ",
        b"\r\n",
        b"\n",
    ]
)


@given(st.one_of(st.binary(), st.lists(PIECES | st.binary(max_size=4)).map(b"".join)))
def test_no_bytes_do_more_than_raise_bad_packet(text: bytes) -> None:
    try:
        found = parse(text)
    except BadPacket:
        return
    lines = [*found.lines, *(line for medium in found.media for line in medium.lines)]
    assert b"".join(text[line.start : line.next] for line in lines) == text
