from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import given
from hypothesis import strategies as st
from support.certificates import NOW, credentials_of, open_authority

from tunnel.errors import BadPacket
from tunnel.link.identity import (
    AgentIdentity,
    der_to_pem,
    key_to_pem,
    load_certificate_untrusted,
    load_csr_untrusted,
    load_key,
    make_csr,
    needs_renewal,
    new_key,
)


def test_a_key_survives_its_file() -> None:
    key = new_key()
    assert load_key(key_to_pem(key)).private_numbers() == key.private_numbers()


def test_a_key_of_another_kind_is_refused() -> None:
    pem = rsa.generate_private_key(65537, 2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    with pytest.raises(ValueError, match="not an elliptic curve key"):
        load_key(pem)


@pytest.mark.parametrize("agent", ["pbx-host", "", "büro", "a.very.long.host.name." * 5])
def test_a_request_proves_its_key(agent: str) -> None:
    key = new_key()
    assert load_csr_untrusted(make_csr(key, agent)).public_key() == key.public_key()


def test_a_request_with_a_bad_signature_is_refused() -> None:
    der = bytearray(make_csr(new_key(), "pbx-host"))
    der[-1] ^= 1
    with pytest.raises(BadPacket):
        load_csr_untrusted(bytes(der))


def test_a_request_for_another_kind_of_key_is_refused() -> None:
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    der = request.sign(ec.generate_private_key(ec.SECP384R1()), hashes.SHA256())
    with pytest.raises(BadPacket, match="not for a P-256 key"):
        load_csr_untrusted(der.public_bytes(serialization.Encoding.DER))


def test_an_agents_certificate_says_who_it_is(tmp_path: Path) -> None:
    credentials = credentials_of(open_authority(tmp_path), tenant_id=3, agent_id=7, name="pbx-host")
    identity = AgentIdentity.from_certificate_untrusted(credentials.certificate)
    assert (identity.tenant_id, identity.agent_id, identity.name) == (3, 7, "pbx-host")
    assert identity.not_after == NOW + timedelta(days=90)
    assert identity.serial == load_certificate_untrusted(credentials.certificate).serial_number


def test_a_certificate_that_is_no_agents_names_none(tmp_path: Path) -> None:
    authority = open_authority(tmp_path)
    server = x509.load_pem_x509_certificate(authority.server_certificate(NOW).path.read_bytes())
    for certificate in (authority.certificate, server):
        with pytest.raises(BadPacket, match="names no agent"):
            AgentIdentity.from_certificate_untrusted(certificate.public_bytes(serialization.Encoding.DER))


@pytest.mark.parametrize(
    "uri", ["wallpass:tenant/3", "wallpass:tenant/x/agent/7", "wallpass:tenant/3/agent/4294967296"]
)
def test_a_uri_that_is_not_ours_names_no_agent(uri: str) -> None:
    key = new_key()
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "x")])
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), 1, NOW, NOW + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    with pytest.raises(BadPacket, match="names no agent"):
        AgentIdentity.from_certificate_untrusted(certificate.public_bytes(serialization.Encoding.DER))


def test_pem_of_a_certificate_is_what_openssl_writes(tmp_path: Path) -> None:
    authority = open_authority(tmp_path)
    assert der_to_pem(authority.der).decode() == authority.pem


def test_renewal_is_due_when_a_third_of_the_life_remains(tmp_path: Path) -> None:
    certificate = load_certificate_untrusted(credentials_of(open_authority(tmp_path)).certificate)
    assert not needs_renewal(certificate, NOW)
    assert not needs_renewal(certificate, NOW + timedelta(days=59))
    assert needs_renewal(certificate, NOW + timedelta(days=61))
    assert needs_renewal(certificate, NOW + timedelta(days=900))


@given(st.binary(max_size=300), st.data())
def test_any_bytes_are_only_ever_a_bad_packet(noise: bytes, data: st.DataObject) -> None:
    genuine = bytearray(GENUINE)
    for _ in range(data.draw(st.integers(1, 4))):
        genuine[data.draw(st.integers(0, len(genuine) - 1))] = data.draw(st.integers(0, 255))
    for text in (noise, bytes(genuine)):
        for parse in (load_csr_untrusted, load_certificate_untrusted, AgentIdentity.from_certificate_untrusted):
            try:
                parse(text)
            except BadPacket:
                continue


def _genuine() -> bytes:
    key = new_key()
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "x")])
    uri = x509.UniformResourceIdentifier("wallpass:tenant/3/agent/7")
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), 1, NOW, NOW + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([uri]), critical=False)
        .sign(key, hashes.SHA256())
    )
    return certificate.public_bytes(serialization.Encoding.DER)


GENUINE = _genuine()
