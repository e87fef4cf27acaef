"""[io] The agent's certificate while it runs: what it connects with, and its renewal long before it ends."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime
from pathlib import Path

import structlog

from inside_agent.join import credentials_path, load_credentials, save_credentials
from tunnel.errors import BadConfig, BadPacket, LocalMisuse
from tunnel.link.credentials import AgentCredentials
from tunnel.link.identity import make_csr
from tunnel.link.secure import SecureChannel, agent_context

__all__ = ["Keyring"]

log = structlog.get_logger()


class Keyring:
    """The credentials in ``data_dir``; ``data_dir`` is looked at when it is made and after a renewal, never in between."""

    def __init__(self, data_dir: Path, credentials: AgentCredentials) -> None:
        self._data_dir = data_dir
        self.credentials = credentials
        self._context = self._new_context(credentials)

    @classmethod
    def open(cls, file: str, data_dir: Path) -> Keyring:
        """What ``join`` left there. Raises BadConfig (for the configuration ``file``) before ``join``, LocalMisuse."""
        credentials = load_credentials(data_dir)
        if credentials is None:
            mend = "holds no identity: run wallpass join TOKEN --config with this file first"
            raise BadConfig(file, "data_dir", str(data_dir), mend)
        return cls(data_dir, credentials)

    def new_channel(self) -> SecureChannel:
        """TLS for one connection, with the certificate of the moment."""
        return SecureChannel(self._context, server_side=False)

    def renewal_request(self) -> bytes | None:
        """The request for a new certificate when it is time to ask for one."""
        if not self.credentials.needs_renewal(datetime.now(UTC)):
            return None
        return make_csr(self.credentials.key, self.credentials.identity.name)

    def renew(self, certificate: bytes) -> None:
        """Go on with ``certificate``, if it is one for us and can be kept; else with the old one."""
        old = self.credentials
        try:
            new = AgentCredentials(old.key, certificate, old.authority, old.servers, old.tenant)
            save_credentials(self._data_dir, new)
            self._context = self._new_context(new)
        except (BadPacket, LocalMisuse) as error:
            log.error("certificate.not_renewed", reason=str(error))
            return
        self.credentials = new
        log.info("certificate.renewed", expires=new.identity.not_after.isoformat())

    def _new_context(self, credentials: AgentCredentials) -> ssl.SSLContext:
        path = credentials_path(self._data_dir)
        try:
            return agent_context(credentials.authority_pem, path, path)
        except (OSError, ssl.SSLError) as error:
            raise LocalMisuse(f"{path} cannot be used: {error}") from None
