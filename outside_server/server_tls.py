"""[io] The TLS of a running server: what it shows to agents and on its ``tls:`` SIP listeners, renewed as it runs."""

from __future__ import annotations

import ssl
from datetime import datetime

from outside_server.authority import Authority
from outside_server.config import PublicFace
from tunnel.errors import LocalMisuse
from tunnel.link.secure import SecureChannel, server_context

__all__ = ["ServerTls"]


class ServerTls:
    """Certificates are changed under the contexts, so that the next connection has the new one. Raises LocalMisuse.

    ``public`` is None where there is no ``tls:`` listener.
    """

    def __init__(self, authority: Authority, face: PublicFace, now: datetime) -> None:
        self._authority = authority
        self._face = face
        own = authority.server_certificate(now)
        self._not_after = own.not_after
        self._tunnel = server_context(own.path, own.path, authority.pem)
        self.public: ssl.SSLContext | None = None
        if any(listener.transport == "tls" for listener in face.sip):
            self.public = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.public.minimum_version = ssl.TLSVersion.TLSv1_2
            self._load_public(self.public, now)

    def new_channel(self) -> SecureChannel:
        """TLS for one connection of an agent."""
        return SecureChannel(self._tunnel, server_side=True)

    def use(self, face: PublicFace, now: datetime) -> None:
        """Show the certificate that ``face`` names, as its files are now."""
        old, self._face = self._face, face
        try:
            if self.public is not None:
                self._load_public(self.public, now)
        except LocalMisuse:
            self._face = old
            raise

    def renew(self, now: datetime) -> bool:
        """Replace certificates of our own authority that have less than a third of their life left; whether any had."""
        own = self._authority.server_certificate(now)
        is_new = own.not_after != self._not_after
        if is_new:
            self._tunnel.load_cert_chain(own.path)
            self._not_after = own.not_after
        if self.public is not None and self._face.certificate is None:
            self._load_public(self.public, now)
        return is_new

    def _load_public(self, context: ssl.SSLContext, now: datetime) -> None:
        certificate, private_key = self._face.certificate, self._face.private_key
        if certificate is None:
            certificate = private_key = self._authority.public_certificate(tuple(self._face.address), now).path
        try:
            context.load_cert_chain(certificate, private_key)
        except (OSError, ssl.SSLError) as error:
            raise LocalMisuse(f"{certificate} cannot be used: {error}") from None
