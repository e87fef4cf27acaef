"""Targets of what reads SIP and SDP: bytes of phones, PBXs, carriers and strangers."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import pytest
from fuzz.seeds import (
    contents,
    header_values,
    rtp_packets,
    sdp_bodies,
    sip_messages,
    uris,
    wall_messages,
)
from fuzz.target import add, with_message
from support.hostile import face_of, stop_the_clock, talking
from support.media_pair import MediaPair

from tunnel.address import Address
from tunnel.errors import BadPacket
from tunnel.link.identity import (
    new_key,
)
from tunnel.media.body import SipBody, _Mime, find_sdp_untrusted
from tunnel.media.described import Described
from tunnel.media.quality import StreamMeter
from tunnel.media.rtp import peek_rtcp_ssrc_untrusted, peek_rtp_untrusted
from tunnel.media.sdp import Sdp
from tunnel.sip import grammar
from tunnel.sip.flow import Flow
from tunnel.sip.framing import StreamFramer, _content_length_untrusted
from tunnel.sip.message import parse_untrusted
from tunnel.sip.name_addr import NameAddr, tag_untrusted, uri_untrusted
from tunnel.sip.response import build_refusal_untrusted
from tunnel.sip.sender import check_lists_untrusted
from tunnel.sip.stun import _unknown_attributes_untrusted, answer_binding_untrusted
from tunnel.sip.uri import SipUri
from tunnel.sip.via import Via, _rport_untrusted, quoted_branch_untrusted
from tunnel.sip.wall import decode_untrusted

PEER = Address("203.0.113.66", 5060)
LOCAL = Address("203.0.113.10", 5060)
KEY = new_key()

# --- SIP ---

SIP = "tunnel.sip."
add(
    SIP + "message:parse_untrusted",
    lambda data: [parse_untrusted(data), parse_untrusted(data, stream=True)],
    sip_messages,
)
add(SIP + "sender:check_lists_untrusted", with_message(check_lists_untrusted), sip_messages)
add(SIP + "response:build_refusal_untrusted", lambda data: build_refusal_untrusted(data, PEER, 400, "No"), sip_messages)
add(SIP + "uri:SipUri.parse_untrusted", SipUri.parse_untrusted, uris)
add(SIP + "name_addr:NameAddr.parse_untrusted", NameAddr.parse_untrusted, header_values)
add(SIP + "name_addr:tag_untrusted", tag_untrusted, header_values)
add(SIP + "name_addr:uri_untrusted", uri_untrusted, uris)
add(SIP + "via:Via.parse_untrusted", lambda data: Via.parse_untrusted(data).with_received_rport(PEER), header_values)
add(SIP + "via:quoted_branch_untrusted", quoted_branch_untrusted, sip_messages)
add(SIP + "via:_rport_untrusted", _rport_untrusted, lambda: [b"5060", b"", b"65536"])
add(SIP + "grammar:canonical_name_untrusted", grammar.canonical_name_untrusted, lambda: [b"Via", b"m", b"X-a"])
add(SIP + "grammar:split_list_untrusted", grammar.split_list_untrusted, header_values)
add(
    SIP + "grammar:params_untrusted",
    lambda data: grammar.params_untrusted(data, 0),
    lambda: [b';a=b;c="d";e', b" ; x = y"],
)
add(
    SIP + "grammar:host_text_untrusted",
    grammar.host_text_untrusted,
    lambda: [b"[2001:db8::1]", b"[::ffff:1.2.3.4]", b"a.b"],
)
add(SIP + "grammar:media_type_untrusted", grammar.media_type_untrusted, lambda: [b"application/sdp", b"a / b;c=d"])
add(SIP + "wall:decode_untrusted", decode_untrusted, wall_messages)


def _attributes(data: bytes) -> None:
    _unknown_attributes_untrusted(data[: len(data) // 4 * 4])


def _stun() -> list[bytes]:
    head = b"\x00\x01%b\x21\x12\xa4\x42abcdefghijkl"
    return [
        head % b"\x00\x00",
        head % b"\x00\x08" + b"\x80\x22\x00\x04test",
        head % b"\x00\x08" + b"\x00\x03\x00\x04\x00\x00\x00\x06",
    ]


add(SIP + "stun:answer_binding_untrusted", lambda data: answer_binding_untrusted(data, PEER), _stun)
add(SIP + "stun:_unknown_attributes_untrusted", _attributes, _stun)


def _port(data: bytes) -> object:
    digits = bytes(byte for byte in data if byte in b"0123456789")[:5]
    return grammar.port_untrusted(digits or b"0")


add(SIP + "grammar:port_untrusted", _port, lambda: [b"5060", b"99999"])
add(SIP + "framing:_content_length_untrusted", _content_length_untrusted, sip_messages)


def _stream(data: bytes) -> None:
    whole, cut = StreamFramer(), StreamFramer()
    try:
        framed = whole.feed_untrusted(data, 0.0)
    except BadPacket:
        return
    middle = len(data) // 2
    again = cut.feed_untrusted(data[:middle], 0.0) + cut.feed_untrusted(data[middle:], 1.0)
    assert [each for each in again if isinstance(each, bytes)] == [each for each in framed if isinstance(each, bytes)]


add(SIP + "framing:StreamFramer.feed_untrusted", _stream, lambda: [b"".join(sip_messages()[:2]), *sip_messages()])


@cache
def _faces() -> list[Callable[[bytes], None]]:
    """Both faces of one world with calls in it, kept for all inputs; its clock moves on."""
    world, _ = talking()
    world.searched = lambda message: set()

    def deliver(outside: bool, data: bytes) -> None:
        face, listeners = face_of(world, outside)
        at = Address("203.0.113.40" if outside else "10.1.0.50", 5060)
        with pytest.MonkeyPatch.context() as patch:
            stop_the_clock(patch, lambda: world.now)
            face._deliver_untrusted(data, Flow("udp", world.public_side.addresses.bound[0][1], at))
        listeners.sent.clear()
        world.wait(5)
        world.take_lan()
        world.take_public()

    return [lambda data: deliver(False, data), lambda data: deliver(True, data)]


add("tunnel.face:Face._deliver_untrusted", lambda data: [deliver(data) for deliver in _faces()], sip_messages)

# --- media ---

MEDIA = "tunnel.media."
add(MEDIA + "sdp:Sdp.parse_untrusted", Sdp.parse_untrusted, sdp_bodies)
add(MEDIA + "body:find_sdp_untrusted", lambda data: [find_sdp_untrusted(body) for body in contents(data)], sdp_bodies)
add(
    MEDIA + "body:_Mime.read_untrusted",
    lambda data: _Mime.read_untrusted(data, b""),
    lambda: [b"application/sdp", b'multipart/mixed;boundary="a b"', b"multipart/mixed ; boundary=x"],
)
add(MEDIA + "described:Described.read_untrusted", lambda data: Described.read_untrusted(SipBody(data)), sdp_bodies)
add(
    MEDIA + "offer_answer:CallMedia._read_untrusted",
    lambda data: MediaPair().agent.media._read_untrusted(SipBody(data)),
    sdp_bodies,
)
add(MEDIA + "rtp:peek_rtp_untrusted", peek_rtp_untrusted, rtp_packets)
add(MEDIA + "rtp:peek_rtcp_ssrc_untrusted", peek_rtcp_ssrc_untrusted, rtp_packets)


def _meter(data: bytes) -> None:
    meter = StreamMeter(0.0, 8000)
    for at in range(0, len(data), 16):
        meter.receive_untrusted(data[at : at + 16], at / 100)
    meter.read(len(data) + 1.0)


add(MEDIA + "quality:StreamMeter.receive_untrusted", _meter, lambda: [b"".join(rtp_packets())])
