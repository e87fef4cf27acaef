"""The answer to a STUN Binding request on a SIP port: the keep-alive of RFC 5626 section 4.4.2 (RFC 8489)."""

from __future__ import annotations

import struct

from tunnel.address import Address
from tunnel.errors import BadPacket

__all__ = ["answer_binding_untrusted"]

# Wire format (RFC 8489 sections 5 and 14).
HEADER = struct.Struct("!HHI12s")  # type, length of the attributes, magic cookie, transaction id
ATTRIBUTE = struct.Struct("!HH")  # type, length without padding to 4 bytes
MAGIC_COOKIE = 0x2112A442
BINDING_REQUEST = 0x0001
BINDING_SUCCESS = 0x0101
BINDING_ERROR = 0x0111
ERROR_CODE = 0x0009
UNKNOWN_ATTRIBUTES = 0x000A
XOR_MAPPED_ADDRESS = 0x0020
FAMILY_IPV4 = 1
FAMILY_IPV6 = 2
FIRST_OPTIONAL = 0x8000  # attributes below must be understood
# Ours: what goes in one packet anywhere (RFC 8489 section 6.1 asks for no more); bounds the list of unknown attributes.
MOST_BYTES = 1280
UNKNOWN_ATTRIBUTE_ERROR = struct.pack("!HBB", 0, 4, 20) + b"Unknown Attribute..."


def answer_binding_untrusted(data: bytes, source: Address) -> bytes:
    """The response to the Binding request ``data`` from ``source`` (an IP address). Raises BadPacket for all else."""
    if not HEADER.size <= len(data) <= MOST_BYTES:
        raise BadPacket("too short or too long for a Binding request")
    kind, length, cookie, transaction = HEADER.unpack_from(data)
    if kind != BINDING_REQUEST or cookie != MAGIC_COOKIE or length != len(data) - HEADER.size or length % 4:
        raise BadPacket("no STUN Binding request")
    unknown = _unknown_attributes_untrusted(data)
    if unknown:
        listed = struct.pack(f"!{len(unknown)}H", *unknown)
        attributes = _attribute(ERROR_CODE, UNKNOWN_ATTRIBUTE_ERROR) + _attribute(UNKNOWN_ATTRIBUTES, listed)
        return HEADER.pack(BINDING_ERROR, len(attributes), MAGIC_COOKIE, transaction) + attributes
    mapped = _attribute(XOR_MAPPED_ADDRESS, _xor_mapped(source, transaction))
    return HEADER.pack(BINDING_SUCCESS, len(mapped), MAGIC_COOKIE, transaction) + mapped


def _unknown_attributes_untrusted(data: bytes) -> list[int]:
    """The attributes that must be understood; we understand none, since the keep-alive usage has none."""
    unknown = []
    offset = HEADER.size
    while offset < len(data):
        kind, length = ATTRIBUTE.unpack_from(data, offset)
        offset += ATTRIBUTE.size + length + -length % 4
        if offset > len(data):
            raise BadPacket("a STUN attribute is cut short")
        if kind < FIRST_OPTIONAL and kind not in unknown:
            unknown.append(kind)
    return unknown


def _xor_mapped(source: Address, transaction: bytes) -> bytes:
    address = source.ip
    mask = MAGIC_COOKIE.to_bytes(4, "big") + transaction
    packed = bytes(octet ^ key for octet, key in zip(address.packed, mask, strict=False))
    family = FAMILY_IPV6 if source.is_ipv6 else FAMILY_IPV4
    return struct.pack("!BBH", 0, family, source.port ^ (MAGIC_COOKIE >> 16)) + packed


def _attribute(kind: int, value: bytes) -> bytes:
    return ATTRIBUTE.pack(kind, len(value)) + value + bytes(-len(value) % 4)
