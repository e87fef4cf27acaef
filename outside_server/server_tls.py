"""[io] The TLS of a running server: what it shows to agents and on its ``tls:`` SIP listeners, renewed as it runs."""

from __future__ import annotations

from datetime import datetime

from outside_server.authority import Authority
from outside_server.config import PublicFace
from tunnel.face_tls import FaceTls
from tunnel.link.secure import SecureChannel, server_context

__all__ = ["ServerTls"]


class ServerTls:
    """Certificates are changed under the contexts, so that the next connection has the new one. Raises LocalMisuse."""

    def __init__(self, authority: Authority, face: PublicFace, now: datetime) -> None:
        self._authority = authority
        own = authority.server_certificate(now)
        self._not_after = own.not_after
        self._tunnel = server_context(own.path, own.path, authority.pem)
        self.public = FaceTls(face, lambda at: authority.public_certificate(tuple(face.address), at).path, now)

    def new_channel(self) -> SecureChannel:
        """TLS for one connection of an agent."""
        return SecureChannel(self._tunnel, server_side=True)

    def renew(self, now: datetime) -> bool:
        """Replace certificates of our own authority that have less than a third of their life left; whether any had."""
        own = self._authority.server_certificate(now)
        is_new = own.not_after != self._not_after
        if is_new:
            self._tunnel.load_cert_chain(own.path)
            self._not_after = own.not_after
        self.public.renew(now)
        return is_new
