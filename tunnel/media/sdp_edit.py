"""Put a face's own addresses and ports into a session description; every other byte stays (SIP-RULES J).

| line                          | becomes                                                                         |
| ----------------------------- | ------------------------------------------------------------------------------- |
| ``o=``                        | its address by the face's constant                                              |
| ``c=``                        | the face's address where it stands; hold addresses stay                         |
| ``m=``                        | the lease's port; 0 stays 0; a transport we do not carry gets 0                 |
| ``a=rtcp``                    | the lease's RTCP port (RTP port where it named that), its address if it had one |
| ICE lines, ``source-filter``  | removed at both levels, also inside ``a=acap``                                  |
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TypeAlias

from tunnel.address import Address
from tunnel.media.plane import CannotRelay, Lease
from tunnel.media.sdp import Connection, Line, Medium, Sdp

__all__ = ["check_relayable", "rewrite"]

# RFC 8839, 8840 and 8863: with candidates left in, the peer would see an ICE mismatch or go past the relay.
_ICE = frozenset(
    [
        b"candidate",
        b"remote-candidates",
        b"end-of-candidates",
        b"ice-ufrag",
        b"ice-pwd",
        b"ice-options",
        b"ice-lite",
        b"ice-mismatch",
        b"ice-pacing",
    ]
)
_REMOVED = _ICE | {b"source-filter"}

_Change: TypeAlias = tuple[int, int, bytes]


def check_relayable(sdp: Sdp) -> None:
    """Raise CannotRelay(488) for multicast and for an m-line that asks for several port pairs."""
    connections = [*sdp.connections, *(each for medium in sdp.media for each in medium.connections)]
    if any(connection.is_multicast for connection in connections):
        raise CannotRelay(488, "multicast media is not relayed")
    if any(medium.port and medium.port_count != 1 for medium in sdp.media):
        raise CannotRelay(488, "m-lines with several port pairs are not relayed")


def rewrite(sdp: Sdp, leases: Sequence[Lease | None], address: str, origin: str) -> bytes:
    """The description with this face's addresses in it.

    ``leases`` has the lease for each m-line, None for an m-line that gets none (its port becomes or stays 0).
    ``address`` is the face's advertised IP for c= lines, ``origin`` the constant for the o= line.
    """
    changes = [change for each in sdp.origins for change in _readdress(each, origin, keep_hold=False)]
    for connection in sdp.connections:
        changes += _readdress(connection, address)
    for line in sdp.rtcp_lines:
        changes += _readdress(line.connection, address)
    changes += _removals(sdp.lines)
    for medium, lease in zip(sdp.media, leases, strict=True):
        changes += _medium_changes(medium, lease, address)
    return _apply(sdp.raw, changes)


def _medium_changes(medium: Medium, lease: Lease | None, address: str) -> Iterator[_Change]:
    for connection in medium.connections:
        yield from _readdress(connection, address)
    for line in medium.rtcp_lines:
        yield from _readdress(line.connection, address)
        if line.port and medium.port and lease is not None:
            port = lease.rtp.port if line.port == medium.port else lease.rtcp.port
            yield *line.port_span, b"%d" % port
    yield from _removals(medium.lines)
    if medium.port:
        yield *medium.port_span, b"%d" % (lease.rtp.port if lease is not None else 0)


def _readdress(connection: Connection | None, address: str, *, keep_hold: bool = True) -> Iterator[_Change]:
    if connection is None or (keep_hold and connection.is_hold):
        return
    yield *connection.type_span, b"IP6" if Address(address, 0).is_ipv6 else b"IP4"
    yield *connection.host_span, address.encode()


def _removals(lines: Iterable[Line]) -> Iterator[_Change]:
    for line in lines:
        if line.attribute in _REMOVED or (line.attribute == b"acap" and _capability(line) in _ICE):
            yield line.start, line.next, b""


def _capability(line: Line) -> bytes:
    """The attribute name inside ``a=acap:1 candidate:...`` (RFC 5939 3.4.1)."""
    words = line.argument.split(None, 1)
    return words[1].partition(b":")[0].strip().lower() if len(words) == 2 else b""


def _apply(raw: bytes, changes: Iterable[_Change]) -> bytes:
    pieces, position = [], 0
    for start, end, new in sorted(changes):
        pieces += [raw[position:start], new]
        position = end
    return b"".join([*pieces, raw[position:]])
