"""Masks: what goes in comes out, and nothing else ever does (C6)."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunnel.sip.mask import MAX_TOKEN, ContactMask, MaskKey, TenantHint, uri_digest
from tunnel.sip.uri import SipUri

HINT = TenantHint(b"m" * 32)
SERVER = MaskKey(b"k" * 32, 7, HINT)
AGENT = MaskKey(b"k" * 32, 7)
URI = b"sip:alice@192.168.0.10:5060;transport=tcp;ob"
NUMBERS = st.integers(0, 2**32 - 1)


@given(st.sampled_from([SERVER, AGENT]), NUMBERS, NUMBERS, st.binary(max_size=120))
def test_a_contact_comes_back_to_the_byte_or_as_its_digest(key: MaskKey, agent: int, expiry: int, uri: bytes) -> None:
    token = key.seal_contact(agent, expiry, uri)
    assert len(token) <= MAX_TOKEN
    assert re.fullmatch(rb"[A-Za-z0-9_-]+", token)
    opened = key.open(token)
    assert isinstance(opened, ContactMask)
    assert (opened.agent, opened.expiry, opened.digest) == (agent, expiry, uri_digest(uri))
    assert opened.uri == (uri if len(uri) <= (61 if key is SERVER else 65) else None)


def test_a_usual_contact_fits_whole() -> None:
    opened = SERVER.open(SERVER.seal_contact(1, 2, URI))
    assert isinstance(opened, ContactMask)
    assert opened.uri == URI


def test_each_end_opens_the_masks_of_the_other() -> None:
    mask = ContactMask(1, 2, URI, uri_digest(URI))
    assert SERVER.open(AGENT.seal_contact(1, 2, URI)) == mask
    assert AGENT.open(SERVER.seal_contact(1, 2, URI)) == mask


def test_the_same_contact_always_looks_the_same_and_others_do_not() -> None:
    token = SERVER.seal_contact(1, 1000, URI)
    assert SERVER.seal_contact(1, 1000, URI) == token
    others = [SERVER.seal_contact(2, 1000, URI), SERVER.seal_contact(1, 1001, URI), SERVER.seal_contact(1, 1000, b"")]
    assert token not in others


@pytest.mark.parametrize(("key", "opener"), [(SERVER, SERVER), (AGENT, AGENT), (AGENT, SERVER)])
@pytest.mark.parametrize("uri", [b"", URI, b"sip:" + b"x" * 100])
def test_a_token_with_any_bit_flipped_never_opens(key: MaskKey, opener: MaskKey, uri: bytes) -> None:
    token = key.seal_contact(3, 4, uri)
    for position in range(len(token)):
        for bit in range(8):
            flipped = bytearray(token)
            flipped[position] ^= 1 << bit
            assert opener.open(bytes(flipped)) is None


def test_only_the_key_and_tenant_that_sealed_can_open() -> None:
    token = AGENT.seal_contact(1, 2, URI)
    assert MaskKey(b"j" * 32, 7).open(token) is None
    assert MaskKey(b"k" * 32, 8).open(token) is None
    hinted = SERVER.seal_contact(1, 2, URI)
    assert MaskKey(b"k" * 32, 8).open(hinted) is None
    assert MaskKey(b"k" * 32, 8, HINT).open(hinted) is None
    assert MaskKey(b"k" * 32, 7, TenantHint(b"n" * 32)).open(hinted) is None


@given(NUMBERS)
def test_the_server_finds_the_tenant_of_a_token(tenant: int) -> None:
    assert HINT.tenant_of(MaskKey(b"k" * 32, tenant, HINT).seal_contact(1, 2, URI)) == tenant
    assert HINT.tenant_of(MaskKey(b"k" * 32, tenant, HINT).seal_contact(1, 2, b"")) == tenant


def test_the_tenant_does_not_show() -> None:
    heads = {SERVER.seal_contact(1, expiry, URI)[:5] for expiry in range(50)}
    assert len(heads) == 50


@given(st.binary(max_size=130) | st.text("AZaz09-_=+/", max_size=130).map(str.encode))
def test_any_bytes_open_to_nothing(token: bytes) -> None:
    assert SERVER.open(token) is None
    assert AGENT.open(token) is None
    tenant = HINT.tenant_of(token)
    assert tenant is None or 0 <= tenant < 2**32


def test_a_token_survives_in_a_uri_as_user_and_as_parameter() -> None:
    token = SERVER.seal_contact(1, 2, URI)
    assert SipUri.parse_untrusted(b"sip:" + token + b"@203.0.113.10").user == token
    shown = SipUri.parse_untrusted(URI).with_param("wp", token)
    assert SipUri.parse_untrusted(shown).param("wp") == token
