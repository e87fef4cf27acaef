"""What passed a switch: tcpdump's file read into packets, and the questions that tests ask of them."""

from __future__ import annotations

import re
import struct
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Self

from field.rig.host import Host
from field.rig.program import Program, ProgramFailed, eventually

__all__ = ["Capture", "Packet", "leaks", "read_packets", "tcp_flows"]

TUNNEL_PORT = 443
_ETHERNET_IPV4, _ETHERNET_ARP = 0x0800, 0x0806
_TCP, _UDP = 6, 17
_SIP_START = re.compile(rb"(?:SIP/2\.0 (\d{3})|([A-Z]+) sips?:\S+ SIP/2\.0\r?$)", re.MULTILINE)
_RTP_STARTS = [bytes([start]) for start in range(0x80, 0xC0)]  # RTP and RTCP, version 2 (RFC 7983)
_CALL_ID_LINE = re.compile(rb"^(?:Call-ID|i)[ \t]*:.*$", re.MULTILINE | re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Packet:
    """One IPv4 packet: `at` in seconds of the wall clock; `protocol` 6 TCP, 17 UDP, else other; ports 0 for others.

    `payload` is what TCP or UDP carry, `frame` the whole of it from the Ethernet header on. A later fragment of a
    datagram has ports 0 and its bytes as payload.
    """

    at: float
    source: str
    source_port: int
    target: str
    target_port: int
    protocol: int
    payload: bytes
    frame: bytes

    @property
    def sip(self) -> str:
        """The method, or the status as text, of the SIP message that it begins with; "" for anything else."""
        found = _SIP_START.match(self.payload[:2048]) if self.protocol in (_TCP, _UDP) else None
        return (found[1] or found[2]).decode() if found else ""

    @property
    def is_tunnel(self) -> bool:
        return self.protocol == _TCP and TUNNEL_PORT in (self.source_port, self.target_port)


class Capture:
    """A context manager: tcpdump on a switch, sees every packet that is forwarded there. `packets` once it is over."""

    def __init__(self, switch: Host, folder: Path) -> None:
        self._path = folder / f"{switch.name}.pcap"
        self._path.unlink(missing_ok=True)
        # -Z: it would drop to a user of its own that cannot write where the test's files lie.
        options = ["--immediate-mode", "-U", "-n", "-s", "0", "-B", "8192", "-Z", "root"]
        argv = ["tcpdump", "-i", "switch", *options, "-w", str(self._path)]
        self._program = Program(switch, f"tcpdump-{switch.name}", argv, folder)
        self.packets: list[Packet] = []

    def __enter__(self) -> Self:
        self._program.await_output("listening on")
        return self

    def __exit__(self, *exception: object) -> None:
        self._program.stop()
        if "0 packets dropped by kernel" not in self._program.stderr:
            raise ProgramFailed(f"the capture is not whole: {self._program.tail()}")
        self.packets = list(read_packets(self._path.read_bytes()))

    def so_far(self) -> list[Packet]:
        """The packets until now, while it goes on."""
        return list(read_packets(self._path.read_bytes()))

    def await_sip(self, what: str, within_s: float = 5.0) -> None:
        """Wait until a message with that method or status has passed."""
        eventually(lambda: any(packet.sip == what for packet in self.so_far()), within_s, f"a {what} on the wire")


def read_packets(data: bytes) -> Iterator[Packet]:
    """The IPv4 and ARP packets of a classic pcap file of Ethernet frames; a cut last record is left out."""
    if len(data) < 24 or data[:4] != b"\xd4\xc3\xb2\xa1":
        return
    at = 24
    while at + 16 <= len(data):
        seconds, micros, length, _ = struct.unpack_from("<IIII", data, at)
        frame = data[at + 16 : at + 16 + length]
        at += 16 + length
        if len(frame) == length and (packet := _packet(seconds + micros / 1e6, frame)):
            yield packet


def _packet(at: float, frame: bytes) -> Packet | None:
    kind = int.from_bytes(frame[12:14], "big")
    if kind == _ETHERNET_ARP and len(frame) >= 42:
        return Packet(at, str(IPv4Address(frame[28:32])), 0, str(IPv4Address(frame[38:42])), 0, 0, b"", frame)
    if kind != _ETHERNET_IPV4 or len(frame) < 34:
        return None
    header = (frame[14] & 0x0F) * 4
    body = frame[14 + header : 14 + int.from_bytes(frame[16:18], "big")]
    source, target = str(IPv4Address(frame[26:30])), str(IPv4Address(frame[30:34]))
    protocol, offset = frame[23], int.from_bytes(frame[20:22], "big") & 0x1FFF
    skip = {_UDP: 8, _TCP: (body[12] >> 4) * 4 if len(body) > 12 else 20}.get(protocol)
    if skip is None or offset or len(body) < skip:
        return Packet(at, source, 0, target, 0, protocol, body, frame)
    source_port, target_port = struct.unpack_from("!HH", body)
    return Packet(at, source, source_port, target, target_port, protocol, body[skip:], frame)


def leaks(
    packets: Iterable[Packet], network: str, hosts: Sequence[str] = (), excuse_call_id: bool = False
) -> list[str]:
    """Every place where an address of `network` shows: in IP and ARP headers, as text, or, for `hosts`, as four octets.

    Octets are not looked for in the tunnel and in RTP: among random bytes they turn up by chance. `excuse_call_id` leaves
    out Call-ID lines: that header is never edited (SIP-RULES E), and some programs write their own address into it.
    """
    inside = IPv4Network(network)
    octets = str(inside.network_address).split(".")[: inside.prefixlen // 8]
    text = re.compile(rb"(?<![\d.])" + re.escape(".".join(octets)).encode() + rb"(?:\.\d{1,3}){%d}" % (4 - len(octets)))
    binary = {IPv4Address(host).packed: host for host in hosts}
    found = []
    for packet in packets:
        where = f"{packet.source}:{packet.source_port} -> {packet.target}:{packet.target_port} {packet.sip}"
        if IPv4Address(packet.source) in inside or IPv4Address(packet.target) in inside:
            found.append(f"{where}: in the header")
        payload = _CALL_ID_LINE.sub(b"", packet.payload) if excuse_call_id and packet.sip else packet.payload
        found += [f"{where}: {_line_around(payload, match.start())!r}" for match in text.finditer(payload)]
        if not packet.is_tunnel and packet.payload[:1] not in _RTP_STARTS:
            found += [f"{where}: octets of {host}" for needle, host in binary.items() if needle in packet.payload]
    return found


def _line_around(payload: bytes, at: int) -> bytes:
    start, end = payload.rfind(b"\n", 0, at) + 1, payload.find(b"\n", at)
    return payload[max(start, at - 80) : min(end if end >= 0 else len(payload), at + 80)]


def tcp_flows(packets: Iterable[Packet]) -> dict[tuple[str, int, str, int], bytes]:
    """What each TCP connection carried in each direction, in the order in which it passed."""
    flows: defaultdict[tuple[str, int, str, int], list[bytes]] = defaultdict(list)
    for packet in packets:
        if packet.protocol == _TCP and packet.payload:
            flows[packet.source, packet.source_port, packet.target, packet.target_port].append(packet.payload)
    return {flow: b"".join(parts) for flow, parts in flows.items()}
