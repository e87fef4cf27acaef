"""What an agent keeps: its key, its certificate, the authority it trusts, and where the server is."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from tunnel.address import Address, parse_address
from tunnel.errors import BadPacket
from tunnel.link.identity import (
    NOT_X509,
    AgentIdentity,
    PrivateKey,
    der_to_pem,
    key_to_pem,
    load_certificate_untrusted,
    load_key,
    needs_renewal,
)

__all__ = ["AgentCredentials"]


@dataclass(frozen=True, slots=True)
class AgentCredentials:
    """All that ``join`` leaves in the agent's ``data_dir``: one PEM text, so that one write replaces the whole.

    The facts stand as ``name: value`` lines above the PEM blocks, where OpenSSL skips them; therefore the file itself
    can be given to ``SSLContext.load_cert_chain``.
    """

    key: PrivateKey
    certificate: bytes
    """The agent's certificate, DER."""
    authority: bytes
    """The server's CA certificate, DER: the only one this agent ever trusts for the session."""
    servers: tuple[Address, ...]
    """Where the server listens for agents, best first."""
    tenant: str
    """The tenant's name, for people."""

    def __post_init__(self) -> None:
        """Raises BadPacket when the certificate is none, names no agent, or is for another key."""
        if load_certificate_untrusted(self.certificate).public_key() != self.key.public_key():
            raise BadPacket("the certificate is not for our key")
        _ = self.identity

    @property
    def identity(self) -> AgentIdentity:
        return AgentIdentity.from_certificate_untrusted(self.certificate)

    @property
    def authority_pem(self) -> str:
        """The pinned authority, to give to ``SSLContext.load_verify_locations(cadata=...)``."""
        return der_to_pem(self.authority).decode()

    def needs_renewal(self, now: datetime) -> bool:
        """Whether the agent should ask for a new certificate; ``now`` is aware."""
        return needs_renewal(load_certificate_untrusted(self.certificate), now)

    def __bytes__(self) -> bytes:
        identity = self.identity
        facts = [
            "Who this wallpass agent is; the private key below must stay on this host.",
            f"tenant: {self.tenant}",
            f"agent: {identity.name}",
            f"expires: {identity.not_after.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}",
            *(f"server: {server}" for server in self.servers),
        ]
        text = "\n".join(facts).encode() + b"\n"
        return text + key_to_pem(self.key) + der_to_pem(self.certificate) + der_to_pem(self.authority)

    @classmethod
    def parse(cls, text: bytes) -> AgentCredentials:
        """The credentials in the bytes of the file. Raises BadPacket when they are damaged."""
        facts = [line.partition(": ") for line in text.partition(b"-----")[0].decode(errors="replace").splitlines()]
        try:
            key = load_key(text)
            certificate, authority = x509.load_pem_x509_certificates(text)
            tenant = next(value for name, _, value in facts if name == "tenant")
        except (*NOT_X509, StopIteration) as error:
            raise BadPacket(f"the credentials are damaged: {error}") from None
        servers = tuple(parse_address(value) for name, _, value in facts if name == "server")
        der = serialization.Encoding.DER
        return cls(key, certificate.public_bytes(der), authority.public_bytes(der), servers, tenant)
