"""A throw-away certificate authority, and TLS contexts made with it."""

from __future__ import annotations

import datetime
import ssl
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tunnel.errors import CarrierLost
from tunnel.link.secure import SecureChannel, agent_context, server_context

__all__ = ["Authority", "exchange", "secure_pair"]

_USAGES = {"server": ExtendedKeyUsageOID.SERVER_AUTH, "agent": ExtendedKeyUsageOID.CLIENT_AUTH}
_DAY = datetime.timedelta(days=1)


class Authority:
    """Issues certificates into ``folder``."""

    def __init__(self, folder: Path, name: str = "authority") -> None:
        self._folder = folder
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self._key = ec.generate_private_key(ec.SECP256R1())
        now = datetime.datetime.now(datetime.UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(self._name)
            .issuer_name(self._name)
            .public_key(self._key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - _DAY)
            .not_valid_after(now + _DAY)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(self._key, hashes.SHA256())
        )
        self.pem = certificate.public_bytes(serialization.Encoding.PEM).decode()

    def issue(self, name: str, usage: str, *, expired: bool = False) -> tuple[Path, Path]:
        """The files of a certificate for a "server" or an "agent", and of its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        now = datetime.datetime.now(datetime.UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - 3 * _DAY)
            .not_valid_after(now - _DAY if expired else now + _DAY)
            .add_extension(x509.ExtendedKeyUsage([_USAGES[usage]]), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        certificate_file, key_file = self._folder / f"{name}.pem", self._folder / f"{name}.key"
        certificate_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        key_file.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return certificate_file, key_file

    def server(self, name: str = "server", usage: str = "server") -> ssl.SSLContext:
        """A context for the server's end."""
        return server_context(*self.issue(name, usage), self.pem)

    def agent(self, name: str = "agent", usage: str = "agent", *, expired: bool = False) -> ssl.SSLContext:
        """A context for the agent's end."""
        return agent_context(self.pem, *self.issue(name, usage, expired=expired))


def secure_pair(agent: ssl.SSLContext, server: ssl.SSLContext) -> tuple[SecureChannel, SecureChannel]:
    """Both ends of a connection, the handshake not yet made."""
    return SecureChannel(agent, server_side=False), SecureChannel(server, server_side=True)


def exchange(left: SecureChannel, right: SecureChannel) -> list[Exception]:
    """Carry bytes both ways until nobody has more to say: returns what either end complained of, in order."""
    complaints: list[Exception] = []
    moved = True
    while moved:
        moved = False
        for sender, receiver in ((left, right), (right, left)):
            if data := sender.drain_ciphertext():
                moved = True
                try:
                    receiver.feed(data)
                    if receiver.established and receiver.read():
                        raise CarrierLost("plaintext came during the handshake")
                except Exception as error:
                    complaints.append(error)
    return complaints
