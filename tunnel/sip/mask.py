"""Masks: sealed tokens that stand for an address of the other side in a URI that a face emits (C6).

A mask needs no memory: whoever hands it back hands back what it stands for. Sealing is deterministic (AES-SIV, RFC
5297), so the same Contact is always shown the same way. Layout before base64url without padding:

    hint     4 bytes  only with a TenantHint: tenant XOR keyed hash of the next 16 bytes
    siv     16 bytes  synthetic IV, which is the authentication tag
    sealed   n bytes  kind u8, then  CONTACT: agent u32, expiry u32, exact URI
                                     DIGEST:  agent u32, expiry u32, digest of a URI that does not fit
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import struct
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

__all__ = ["DIGEST_BYTES", "MAX_TOKEN", "ContactMask", "MaskKey", "TenantHint", "uri_digest"]

# Our numbers. C6 wants at most 120 characters: 90 bytes.
MAX_TOKEN = 120
DIGEST_BYTES = 8
_SIV_BYTES = 16
_HINT_BYTES = 4
_CONTACT, _DIGEST = 1, 2
_CONTACT_HEAD = struct.Struct("!BII")
_SMALLEST_BYTES = _SIV_BYTES + _CONTACT_HEAD.size
_PURPOSE = b"wallpass mask 1 "


@dataclass(frozen=True, slots=True)
class ContactMask:
    """A Contact of ``agent``'s network. ``expiry`` in unix seconds is the caller's to check.

    ``uri`` is None when it did not fit: then look for ``digest`` among the bindings.
    """

    agent: int
    expiry: int
    uri: bytes | None
    digest: bytes


class TenantHint:
    """Lets the server, which has a key for each tenant, find the tenant of a token; nobody else can read it."""

    def __init__(self, master_key: bytes) -> None:
        self._key = master_key

    def tenant_of(self, token: bytes) -> int | None:
        """The tenant whose key may open ``token``; None for what cannot be a token. Takes any bytes, raises nothing.

        A forged token yields some number: only ``MaskKey.open`` says whether it is true.
        """
        sealed = _decoded(token)
        if sealed is None or len(sealed) < _HINT_BYTES + _SMALLEST_BYTES:
            return None
        return int.from_bytes(sealed[:_HINT_BYTES]) ^ self._pad(sealed[_HINT_BYTES:])

    def _hinted(self, tenant: int, sealed: bytes) -> bytes:
        return (tenant ^ self._pad(sealed)).to_bytes(_HINT_BYTES) + sealed

    def _pad(self, sealed: bytes) -> int:
        digest = hmac.digest(self._key, b"wallpass hint 1 " + sealed[:_SIV_BYTES], "sha256")
        return int.from_bytes(digest[:_HINT_BYTES])


class MaskKey:
    """Seals and opens the masks of one tenant. ``key`` has 32, 48 or 64 bytes; ``tenant`` is a u32.

    With ``hint`` (the server's masks) tokens begin with the tenant's number, hidden; without it (the agent's) not.
    Both ends open the masks of both; only who has the hint checks it, to anybody else it says nothing.
    """

    def __init__(self, key: bytes, tenant: int, hint: TenantHint | None = None) -> None:
        self._aead = AESSIV(key)
        self._tenant = tenant
        self._hint = hint
        self._bound_to = [_PURPOSE + tenant.to_bytes(4)]

    def seal_contact(self, agent: int, expiry: int, uri: bytes) -> bytes:
        """A token for a Contact; ``expiry`` in unix seconds. A URI that does not fit is sealed as its digest."""
        room = MAX_TOKEN * 3 // 4 - _SIV_BYTES - _CONTACT_HEAD.size - (_HINT_BYTES if self._hint else 0)
        if len(uri) <= room:
            return self._seal(_CONTACT_HEAD.pack(_CONTACT, agent, expiry) + uri)
        return self._seal(_CONTACT_HEAD.pack(_DIGEST, agent, expiry) + uri_digest(uri))

    def open(self, token: bytes) -> ContactMask | None:
        """What ``token`` stands for, or None if it was not sealed with this key. Takes any bytes, raises nothing."""
        sealed = _decoded(token)
        if sealed is None:
            return None
        payload = self._decrypted(sealed)
        if payload is None and (self._hint is None or self._hint.tenant_of(token) == self._tenant):
            payload = self._decrypted(sealed[_HINT_BYTES:])
        return None if payload is None else _unpack(payload)

    def _decrypted(self, sealed: bytes) -> bytes | None:
        if len(sealed) < _SMALLEST_BYTES:
            return None
        try:
            return self._aead.decrypt(sealed, self._bound_to)
        except InvalidTag:
            return None

    def _seal(self, payload: bytes) -> bytes:
        sealed = self._aead.encrypt(payload, self._bound_to)
        if self._hint is not None:
            sealed = self._hint._hinted(self._tenant, sealed)
        return base64.urlsafe_b64encode(sealed).rstrip(b"=")


def uri_digest(uri: bytes) -> bytes:
    """What stands in a mask for a URI that is too long for it."""
    return hashlib.blake2b(uri, digest_size=DIGEST_BYTES).digest()


def _unpack(payload: bytes) -> ContactMask | None:
    """Sealed by us, so only the kind is asked for."""
    kind, agent, expiry = _CONTACT_HEAD.unpack_from(payload)
    rest = payload[_CONTACT_HEAD.size :]
    if kind == _DIGEST:
        return ContactMask(agent, expiry, None, rest)
    return ContactMask(agent, expiry, rest, uri_digest(rest)) if kind == _CONTACT else None


def _decoded(token: bytes) -> bytes | None:
    """The bytes of a token; None unless it is base64url in its one canonical form."""
    if not token or len(token) > MAX_TOKEN:
        return None
    try:
        decoded = base64.b64decode(token + b"=" * (-len(token) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return None
    # Else the unused bits of the last character could be flipped and the token would still open.
    return decoded if base64.urlsafe_b64encode(decoded).rstrip(b"=") == token else None
