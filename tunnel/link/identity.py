"""Who the two ends are: keys, certificate requests, and the facts in a certificate.

An identity is a certificate made by the server's own authority, never an address. The server's certificate
may only serve; an agent's bears ``wallpass:tenant/3/agent/7`` and may only be a client, so that none can pose as the other.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tunnel.errors import BadPacket

__all__ = [
    "NOT_X509",
    "AgentIdentity",
    "PrivateKey",
    "agent_uri",
    "der_to_pem",
    "key_to_pem",
    "load_certificate_untrusted",
    "load_csr_untrusted",
    "load_key",
    "make_csr",
    "needs_renewal",
    "new_key",
]

PrivateKey = ec.EllipticCurvePrivateKey
"""P-256: the one kind that every OpenSSL, every TLS 1.3 stack and every inspecting middlebox takes."""

MAX_COMMON_NAME = 64  # RFC 5280 appendix A.1, ub-common-name
SHARE_LEFT_TO_RENEW = 1 / 3

T = TypeVar("T")

# What `cryptography` raises for a certificate or a request that is not one.
NOT_X509 = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.InvalidVersion,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
)


# --- keys and requests ----------------------------------------------------------------------------------------------


def new_key() -> PrivateKey:
    """A fresh key pair from the operating system's generator."""
    return ec.generate_private_key(ec.SECP256R1())


def key_to_pem(key: PrivateKey) -> bytes:
    """The private key as unencrypted PKCS#8 PEM: for files of mode 0600 only."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def load_key(pem: bytes) -> PrivateKey:
    """The first private key in the PEM text; ValueError when there is none or it is of another kind."""
    key = serialization.load_pem_private_key(pem, password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ValueError("the private key is not an elliptic curve key")
    return key


def make_csr(key: PrivateKey, agent: str) -> bytes:
    """A certificate request (PKCS#10, DER) that proves possession of ``key``.

    ``agent`` is for whoever looks at it; the server decides every name in the certificate.
    """
    common_name = agent.encode("ascii", "replace").decode()[:MAX_COMMON_NAME] or "agent"
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    request = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    return request.public_bytes(serialization.Encoding.DER)


def load_csr_untrusted(der: bytes) -> x509.CertificateSigningRequest:
    """A request whose own signature holds and whose key is P-256. Raises BadPacket."""
    request = _x509("certificate request", x509.load_der_x509_csr, der)
    try:
        key = request.public_key()
        if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
            raise BadPacket("the certificate request is not for a P-256 key")
        valid = request.is_signature_valid
    except (*NOT_X509, InvalidSignature) as error:
        raise BadPacket(f"the certificate request has a key or signature that cannot be read: {error}") from None
    if not valid:
        raise BadPacket("the certificate request is not signed with its own key")
    return request


# --- certificates ---------------------------------------------------------------------------------------------------


def load_certificate_untrusted(der: bytes) -> x509.Certificate:
    """A certificate from DER; whoever uses it has still to verify it. Raises BadPacket."""
    return _x509("certificate", x509.load_der_x509_certificate, der)


def der_to_pem(certificate_der: bytes) -> bytes:
    """A certificate as PEM text."""
    body = base64.encodebytes(certificate_der).replace(b"\n", b"")
    lines = [body[at : at + 64] for at in range(0, len(body), 64)]
    return b"\n".join([b"-----BEGIN CERTIFICATE-----", *lines, b"-----END CERTIFICATE-----", b""])


def needs_renewal(certificate: x509.Certificate, now: datetime) -> bool:
    """Whether less than a third of the certificate's life remains (or none); ``now`` is aware."""
    end = certificate.not_valid_after_utc
    return end - now < (end - certificate.not_valid_before_utc) * SHARE_LEFT_TO_RENEW


def agent_uri(tenant_id: int, agent_id: int) -> str:
    """The URI that stands as subject alternative name in an agent's certificate."""
    return f"wallpass:tenant/{tenant_id}/agent/{agent_id}"


@dataclass(frozen=True, slots=True)
class AgentIdentity:
    """Who an agent is, as its certificate says; ``not_after`` is aware, UTC."""

    tenant_id: int
    agent_id: int
    name: str
    serial: int
    not_after: datetime

    @classmethod
    def from_certificate_untrusted(cls, der: bytes) -> AgentIdentity:
        """The facts in a peer's certificate, whose chain TLS has already verified. Raises BadPacket."""
        certificate = load_certificate_untrusted(der)
        try:
            names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
            uris = names.get_values_for_type(x509.UniformResourceIdentifier)
            common = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
            not_after = certificate.not_valid_after_utc
        except (*NOT_X509, x509.ExtensionNotFound) as error:
            raise BadPacket(f"the certificate names no agent: {error}") from None
        if len(uris) != 1 or len(common) != 1 or not isinstance(common[0].value, str):
            raise BadPacket("the certificate names no agent")
        tenant_id, agent_id = _ids_untrusted(uris[0])
        return cls(tenant_id, agent_id, common[0].value, certificate.serial_number, not_after)


def _ids_untrusted(uri: str) -> tuple[int, int]:
    match uri.split("/"):
        case ["wallpass:tenant", tenant, "agent", agent] if _is_id(tenant) and _is_id(agent):
            return int(tenant), int(agent)
    raise BadPacket(f"the certificate names no agent: {uri!r}")


def _is_id(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 10 and int(text) < 1 << 32


def _x509(what: str, load: Callable[[bytes], T], der: bytes) -> T:
    try:
        return load(der)
    except NOT_X509 as error:
        raise BadPacket(f"these bytes are no {what}: {error}") from None
