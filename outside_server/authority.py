"""[io] The server's own certificate authority and the keys of its masks; all of it lives in ``data_dir``.

| file | holds |
| --- | --- |
| ``authority.pem`` | key and certificate of the authority, which agents pin; made at first start, never replaced |
| ``server.pem`` | key and chain for agents' connections; renewed by itself |
| ``public.pem`` | key and chain for ``tls:`` SIP listeners that have no certificate of their own; renewed by itself |
| ``masks.key`` | 32 bytes, from which the key of every tenant's masks is derived |

Each file holds all that belongs together, so that it can be replaced in one step. The server and a ``tenant`` command
may start at the same time: a lock file lets one of them make what is missing.
"""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tunnel.errors import LocalMisuse
from tunnel.files import locked, read_file, write_atomic
from tunnel.link.identity import (
    PrivateKey,
    agent_uri,
    key_to_pem,
    load_csr_untrusted,
    load_key,
    needs_renewal,
    new_key,
)

__all__ = ["Authority", "CertificateFile"]

SERVER_NAME = "server.wallpass.internal"  # agents look at who vouches, not at the name
AUTHORITY_LIFE = timedelta(days=30 * 365)  # agents pin it; replacing it means joining every agent again
SERVER_LIFE = timedelta(days=365)
AGENT_LIFE = timedelta(days=90)
CLOCK_SKEW = timedelta(hours=1)  # an agent whose clock is that much behind still takes a new certificate
MASK_KEY_BYTES = 32

DER = serialization.Encoding.DER
PEM = serialization.Encoding.PEM
CRITICAL = True


@dataclass(frozen=True, slots=True)
class CertificateFile:
    """Key and chain in one PEM file, as ``SSLContext.load_cert_chain`` takes it; ``not_after`` is aware."""

    path: Path
    not_after: datetime


class Authority:
    """Vouches for one server and its agents. Make one with `open`."""

    def __init__(self, data_dir: Path, key: PrivateKey, certificate: x509.Certificate, master: bytes) -> None:
        self._data_dir = data_dir
        self._key = key
        self._master = master
        self.certificate = certificate
        """The certificate that agents pin."""

    @classmethod
    def open(cls, data_dir: Path, now: datetime, entropy: Callable[[int], bytes]) -> Authority:
        """The authority in ``data_dir``, made at ``now`` if there is none. Raises LocalMisuse when it is damaged."""
        with locked(data_dir / "authority.lock"):
            path = data_dir / "authority.pem"
            text = read_file(path)
            if text is None:
                text = _new_authority(now)
                write_atomic(path, text)
            master = read_file(data_dir / "masks.key")
            if master is None:
                master = entropy(MASK_KEY_BYTES)
                write_atomic(data_dir / "masks.key", master)
        key, chain = _parse(path, text)
        if len(master) != MASK_KEY_BYTES:
            raise LocalMisuse(f"{data_dir / 'masks.key'} is damaged: restore it from a backup")
        return cls(data_dir, key, chain[0], master)

    @property
    def der(self) -> bytes:
        """The authority's certificate, as a TOKEN carries it."""
        return self.certificate.public_bytes(DER)

    @property
    def pem(self) -> str:
        """The authority's certificate, to give to ``SSLContext.load_verify_locations(cadata=...)``."""
        return self.certificate.public_bytes(PEM).decode()

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the certificate as hexadecimal digits: what people compare."""
        return hashlib.sha256(self.der).hexdigest()

    # --- the server's own certificates ---

    def server_certificate(self, now: datetime) -> CertificateFile:
        """The certificate for agents' connections, renewed when less than a third of its life remains."""
        return self._certificate_file("server.pem", [SERVER_NAME], now)

    def public_certificate(self, names: Sequence[str], now: datetime) -> CertificateFile:
        """A certificate for ``tls:`` SIP listeners that bears ``names`` (domains and IP addresses); renewed likewise."""
        return self._certificate_file("public.pem", names, now)

    def _certificate_file(self, file: str, names: Sequence[str], now: datetime) -> CertificateFile:
        path = self._data_dir / file
        wanted = x509.SubjectAlternativeName([_general_name(name) for name in names])
        with locked(self._data_dir / "authority.lock"):
            certificate = self._usable(path, wanted, now)
            if certificate is None:
                key = new_key()
                certificate = self._issue(key.public_key(), _name(CN=names[0]), wanted, SERVER_LIFE, now)
                write_atomic(path, key_to_pem(key) + certificate.public_bytes(PEM) + self.pem.encode())
        return CertificateFile(path, certificate.not_valid_after_utc)

    def _usable(self, path: Path, wanted: x509.SubjectAlternativeName, now: datetime) -> x509.Certificate | None:
        """The certificate in the file, None when another one must be made."""
        text = read_file(path)
        if text is None:
            return None
        try:
            _, chain = _parse(path, text)
        except LocalMisuse:
            return None
        names = chain[0].extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        current = chain[-1] == self.certificate and names == wanted and not needs_renewal(chain[0], now)
        return chain[0] if current else None

    # --- agents' certificates ---

    def issue_agent_untrusted(self, csr: bytes, tenant_id: int, agent_id: int, name: str, now: datetime) -> bytes:
        """A certificate (DER) for the key in the request ``csr`` (DER); its names are ours. Raises BadPacket."""
        request = load_csr_untrusted(csr)
        key = request.public_key()
        assert isinstance(key, ec.EllipticCurvePublicKey)
        uri = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(agent_uri(tenant_id, agent_id))])
        return self._issue(key, _name(O=str(tenant_id), CN=name), uri, AGENT_LIFE, now).public_bytes(DER)

    def _issue(
        self,
        key: ec.EllipticCurvePublicKey,
        subject: x509.Name,
        names: x509.SubjectAlternativeName,
        life: timedelta,
        now: datetime,
    ) -> x509.Certificate:
        """An agent (its name is a URI) may only be a client, anything else only a server."""
        is_agent = bool(names.get_values_for_type(x509.UniformResourceIdentifier))
        purpose = ExtendedKeyUsageOID.CLIENT_AUTH if is_agent else ExtendedKeyUsageOID.SERVER_AUTH
        return (
            _builder(subject, self.certificate.subject, key, life, now)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), CRITICAL)
            .add_extension(_usage(x509.KeyUsage, digital_signature=True), CRITICAL)
            .add_extension(x509.ExtendedKeyUsage([purpose]), not CRITICAL)
            .add_extension(names, not CRITICAL)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), not CRITICAL)
            .sign(self._key, hashes.SHA256())
        )

    # --- masks ---

    def tenant_mask_key(self, tenant_id: int) -> bytes:
        """The key (32 bytes) that seals one tenant's masks; no tenant's key tells anything about another's."""
        return self._derive(f"wallpass masks of tenant {tenant_id}")

    def mask_hint_key(self) -> bytes:
        """The key (32 bytes) that hides the tenant's number in front of a mask; it stays on the server."""
        return self._derive("wallpass hints of tenants")

    def _derive(self, purpose: str) -> bytes:
        return HKDF(hashes.SHA256(), MASK_KEY_BYTES, salt=None, info=purpose.encode()).derive(self._master)


def _new_authority(now: datetime) -> bytes:
    key = new_key()
    subject = _name(CN="wallpass authority")
    certificate = (
        _builder(subject, subject, key.public_key(), AUTHORITY_LIFE, now)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), CRITICAL)
        .add_extension(_usage(x509.KeyUsage, key_cert_sign=True, crl_sign=True), CRITICAL)
        .sign(key, hashes.SHA256())
    )
    return key_to_pem(key) + certificate.public_bytes(PEM)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, life: timedelta, now: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_SKEW)
        .not_valid_after(now + life)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), not CRITICAL)
    )


def _parse(path: Path, text: bytes) -> tuple[PrivateKey, list[x509.Certificate]]:
    try:
        key, chain = load_key(text), x509.load_pem_x509_certificates(text)
    except ValueError as error:
        raise LocalMisuse(f"{path} is damaged ({error}): restore it from a backup") from None
    if chain[0].public_key() != key.public_key():
        raise LocalMisuse(f"{path} is damaged (key and certificate do not belong together): restore it from a backup")
    return key, chain


def _name(**parts: str) -> x509.Name:
    kinds = {"CN": NameOID.COMMON_NAME, "O": NameOID.ORGANIZATION_NAME}
    return x509.Name([x509.NameAttribute(kinds[kind], value[:64]) for kind, value in parts.items()])


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _usage(kind: type[x509.KeyUsage], **allowed: bool) -> x509.KeyUsage:
    uses = (
        "digital_signature content_commitment key_encipherment data_encipherment key_agreement key_cert_sign crl_sign"
    )
    every = dict.fromkeys([*uses.split(), "encipher_only", "decipher_only"], False)
    return kind(**(every | allowed))
