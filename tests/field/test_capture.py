"""A capture is read as it was written, and an inside address in it is found wherever it hides."""

from __future__ import annotations

import struct
from ipaddress import IPv4Address

import pytest
from field.rig.capture import Packet, leaks, read_packets, tcp_flows
from hypothesis import given
from hypothesis import strategies as st

FILE_HEADER = bytes.fromhex("d4c3b2a10200040000000000000000000000040001000000")


def frame(source: str, target: str, protocol: int, body: bytes) -> bytes:
    header = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(body), 1, 0, 64, protocol, 0)
    header += IPv4Address(source).packed + IPv4Address(target).packed
    return bytes(12) + b"\x08\x00" + header + body


def udp(payload: bytes, source: str = "203.0.113.10", target: str = "203.0.113.20") -> bytes:
    return frame(source, target, 17, struct.pack("!HHHH", 5060, 5061, 8 + len(payload), 0) + payload)


def tcp(payload: bytes, source: tuple[str, int], target: tuple[str, int]) -> bytes:
    header = struct.pack("!HHIIBBHHH", source[1], target[1], 1, 1, 6 << 4, 0x18, 500, 0, 0) + bytes(4)
    return frame(source[0], target[0], 6, header + payload)


def arp(source: str, target: str) -> bytes:
    body = bytes.fromhex("0001080006040001") + bytes(6) + IPv4Address(source).packed + bytes(6)
    return bytes(12) + b"\x08\x06" + body + IPv4Address(target).packed


def read(*frames: bytes) -> list[Packet]:
    records = [struct.pack("<IIII", 100 + n, 500_000, len(data), len(data)) + data for n, data in enumerate(frames)]
    return list(read_packets(FILE_HEADER + b"".join(records)))


def test_datagram_is_read_with_its_addresses_time_and_sip_method() -> None:
    (packet,) = read(udp(b"OPTIONS sip:itsp.example SIP/2.0\r\nMax-Forwards: 70\r\n\r\n") + bytes(4))
    assert (packet.source, packet.source_port) == ("203.0.113.10", 5060)
    assert (packet.target, packet.target_port) == ("203.0.113.20", 5061)
    assert packet.at == 100.5
    assert packet.sip == "OPTIONS"
    assert packet.payload.endswith(b"\r\n\r\n")


def test_sip_is_named_by_method_or_status() -> None:
    assert [packet.sip for packet in read(udp(b"SIP/2.0 486 Busy Here\r\n"), udp(b"\x80\x00rtp"), udp(b"BYE x"))] == [
        "486",
        "",
        "",
    ]


def test_connection_is_put_together_in_each_direction() -> None:
    agent, server = ("203.0.113.1", 50001), ("203.0.113.10", 443)
    packets = read(tcp(b"one ", agent, server), tcp(b"", server, agent), tcp(b"two", agent, server))
    assert tcp_flows(packets) == {(*agent, *server): b"one two"}
    assert all(packet.is_tunnel for packet in packets)


@pytest.mark.parametrize(
    ("data", "where"),
    [
        (udp(b"", source="10.1.0.2"), "in the header"),
        (udp(b"", target="10.1.7.2"), "in the header"),
        (arp("10.1.0.1", "203.0.113.1"), "in the header"),
        (udp(b"INVITE sip:a@b SIP/2.0\r\nVia: SIP/2.0/UDP 10.1.0.50:5060\r\n"), "Via: SIP/2.0/UDP 10.1.0.50:5060"),
        (udp(b"c=IN IP4 10.1.0.50\r\n"), "c=IN IP4 10.1.0.50"),
        (udp(b"\x00\x01\x0a\x01\x00\x32abc"), "octets of 10.1.0.50"),
        (tcp(b"10.1.0.5 ", ("203.0.113.1", 50001), ("203.0.113.10", 443)), "10.1.0.5 "),
    ],
)
def test_inside_address_is_found(data: bytes, where: str) -> None:
    (found,) = leaks(read(data), "10.1.0.0/16", ["10.1.0.50"])
    assert where in found


@pytest.mark.parametrize(
    "data",
    [
        udp(b"Via: SIP/2.0/UDP 203.0.113.10:5060 v10.2.0.1 110.1.0.2 3.10.1.0.7"),
        arp("203.0.113.1", "203.0.113.10"),
        udp(b"\x80\x00\x0a\x01\x00\x32abc"),
        tcp(b"\x0a\x01\x00\x32", ("203.0.113.1", 50001), ("203.0.113.10", 443)),
    ],
)
def test_what_only_looks_like_one_is_not(data: bytes) -> None:
    assert leaks(read(data), "10.1.0.0/16", ["10.1.0.50"]) == []


def test_call_id_is_excused_only_when_asked_for() -> None:
    packets = read(
        udp(b"REGISTER sip:itsp.example SIP/2.0\r\nCall-ID: 7-1@10.1.0.5\r\nContact: <sip:x@203.0.113.10>\r\n")
    )
    assert leaks(packets, "10.1.0.0/16")
    assert leaks(packets, "10.1.0.0/16", excuse_call_id=True) == []


@given(st.binary(max_size=200))
def test_any_frame_is_read_or_left_out(data: bytes) -> None:
    for packet in read(data, udp(data)):
        assert isinstance(packet.sip, str)
        leaks([packet], "10.1.0.0/16", ["10.1.0.50"])


@given(st.binary(max_size=60))
def test_any_file_is_read_or_left_out(data: bytes) -> None:
    list(read_packets(FILE_HEADER + data))
    list(read_packets(data))
