"""[io] The certificate that the agent makes itself for ``tls:`` listeners on the LAN, in ``lan.pem`` of its ``data_dir``.

Nobody vouches for it: a phone has to import it, or not to ask. So its key never changes, and it changes itself only when
the LAN address does or when it has come to its last third.
"""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

import structlog
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tunnel.files import read_file, write_atomic
from tunnel.link.identity import PrivateKey, key_to_pem, load_key, needs_renewal, new_key

__all__ = ["own_certificate"]

log = structlog.get_logger()

LIFE = timedelta(days=10 * 365)  # our number: what imported it once need not do so again
CLOCK_SKEW = timedelta(days=1)  # phones without a battery start with yesterday
CRITICAL = True


def own_certificate(data_dir: Path, hosts: Sequence[str], now: datetime) -> Path:
    """The PEM file, key and certificate, for the IP addresses ``hosts``; made when it is missing or of no more use.

    Raises LocalMisuse when it cannot be read or written.
    """
    path = data_dir / "lan.pem"
    text = read_file(path) or b""
    names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(host)) for host in hosts])
    try:
        key = load_key(text)
    except (ValueError, TypeError):
        key, text = new_key(), b""
    if not _is_good(text, names, now):
        certificate = _self_signed(key, hosts[0], names, now)
        write_atomic(path, key_to_pem(key) + certificate.public_bytes(serialization.Encoding.PEM))
        der = certificate.public_bytes(serialization.Encoding.DER)
        log.info("lan.certificate_made", file=str(path), sha256=hashlib.sha256(der).hexdigest())
    return path


def _is_good(text: bytes, names: x509.SubjectAlternativeName, now: datetime) -> bool:
    try:
        certificate = x509.load_pem_x509_certificate(text)
        shown = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (ValueError, x509.ExtensionNotFound):
        return False
    return shown == names and not needs_renewal(certificate, now)


def _self_signed(key: PrivateKey, host: str, names: x509.SubjectAlternativeName, now: datetime) -> x509.Certificate:
    """Its own authority as well: what is imported as one is then believed by every library."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    usage = x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_SKEW)
        .not_valid_after(now + LIFE)
        .add_extension(names, not CRITICAL)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), CRITICAL)
        .add_extension(usage, CRITICAL)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), not CRITICAL)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), not CRITICAL)
        .sign(key, hashes.SHA256())
    )
