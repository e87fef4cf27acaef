"""TLS of a face: what its ``tls:`` listeners show, and whom it believes when it connects out. [io]"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID

from tunnel.config import FaceConfig
from tunnel.errors import BadConfig, LocalMisuse

__all__ = ["FaceTls", "check_authorities", "check_certificate"]


class FaceTls:
    """``own`` makes or finds the certificate of an end that none was configured for: a PEM file with key and chain.

    Certificates are changed under the contexts, so that the next connection has the new one and live ones go on.
    All methods raise LocalMisuse when a file cannot be used.
    """

    def __init__(self, face: FaceConfig, own: Callable[[datetime], Path], now: datetime) -> None:
        self._face = face
        self._own = own
        self._clients: dict[str, ssl.SSLContext] = {}
        self.server: ssl.SSLContext | None = None
        """For ``tls:`` listeners; None where there is none."""
        if any(listener.transport == "tls" for listener in face.sip):
            self.server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.server.minimum_version = ssl.TLSVersion.TLSv1_2
            self._load(self.server, now)

    def client(self, authorities: str = "") -> ssl.SSLContext:
        """For connections that we make: a peer must show the name or address it is reached by.

        ``authorities``: PEM text of the only ones who may vouch for it; by default the system's store, for which
        SSL_CERT_FILE is honoured. The same text gives the same context.
        """
        context = self._clients.get(authorities)
        if context is None:
            try:
                context = ssl.create_default_context(cadata=authorities or None)
            except ssl.SSLError as error:
                raise LocalMisuse(f"no authority can be read from the PEM text: {error}") from None
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            self._clients[authorities] = context
            self._show_as_client(context)
        return context

    def use(self, face: FaceConfig, now: datetime) -> None:
        """Show the certificate that ``face`` names, as its files are now."""
        old, self._face = self._face, face
        try:
            if self.server is not None:
                self._load(self.server, now)
            for context in self._clients.values():
                self._show_as_client(context)
        except LocalMisuse:
            self._face = old
            raise

    def renew(self, now: datetime) -> None:
        """Look after a certificate of our own, which may have little of its life left."""
        if self.server is not None and self._face.certificate is None:
            self._load(self.server, now)

    def _load(self, context: ssl.SSLContext, now: datetime) -> None:
        certificate, private_key = self._face.certificate, self._face.private_key
        if certificate is None:
            certificate = private_key = self._own(now)
        _load_chain(context, certificate, private_key)

    def _show_as_client(self, context: ssl.SSLContext) -> None:
        """Peers that ask who connects see the configured certificate, if it may be a client's: most refuse any other."""
        certificate = self._face.certificate
        if certificate is not None and _may_be_client(certificate):
            _load_chain(context, certificate, self._face.private_key)


def check_certificate(face: FaceConfig, file: str) -> None:
    """Raises BadConfig, for the configuration ``file``, when ``certificate`` and ``private_key`` do not go together."""
    if face.certificate is None or face.private_key is None:
        return
    table = face.table()
    chain = _read(file, f"{table}.certificate", face.certificate)
    key = _read(file, f"{table}.private_key", face.private_key)
    try:
        shown = x509.load_pem_x509_certificates(chain)[0].public_key()
    except ValueError:
        raise BadConfig(file, f"{table}.certificate", str(face.certificate), "not a PEM chain") from None
    try:
        own = load_pem_private_key(key, password=None).public_key()
    except (ValueError, TypeError, UnsupportedAlgorithm):
        mend = "not a PEM key without a passphrase"
        raise BadConfig(file, f"{table}.private_key", str(face.private_key), mend) from None
    if shown != own:
        mend = f"not the key of {table}.certificate, whose chain begins with the certificate of this end itself"
        raise BadConfig(file, f"{table}.private_key", str(face.private_key), mend)


def check_authorities(file: str, key: str, path: Path) -> str:
    """The PEM text in ``path``, which has at least one certificate in it. Raises BadConfig for ``key`` of ``file``."""
    text = _read(file, key, path)
    try:
        x509.load_pem_x509_certificates(text)
        return text.decode("ascii")
    except ValueError:
        mend = "name a PEM file with the certificates of those who may vouch for a peer"
        raise BadConfig(file, key, str(path), mend) from None


def _read(file: str, key: str, path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise BadConfig(file, key, str(path), f"{error.strerror}: name a file that can be read") from None


def _load_chain(context: ssl.SSLContext, certificate: Path, private_key: Path | None) -> None:
    try:
        context.load_cert_chain(certificate, private_key)
    except (OSError, ssl.SSLError) as error:
        raise LocalMisuse(f"{certificate} cannot be used: {error}") from None


def _may_be_client(path: Path) -> bool:
    """Whether the first certificate in the file is good for a client too (RFC 5280 section 4.2.1.12)."""
    try:
        shown = x509.load_pem_x509_certificates(path.read_bytes())[0]
        purposes = shown.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return True
    except (OSError, ValueError) as error:
        raise LocalMisuse(f"{path} cannot be used: {error}") from None
    return ExtendedKeyUsageOID.CLIENT_AUTH in purposes or ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE in purposes
