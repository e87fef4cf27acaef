"""``agent.toml`` as frozen structs; the names of tables and keys are those of the file."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Literal, TypeAlias

import msgspec

from tunnel.address import Address
from tunnel.config import (
    AdminConfig,
    FaceConfig,
    IPNetwork,
    PortRange,
    ProxyUrl,
    Seconds,
    SipUriText,
    sip_uri_host,
    sip_uri_transport,
    warn_of_media_ports,
)
from tunnel.errors import BadConfig
from tunnel.toml_file import build, load_toml

__all__ = ["AgentConfig", "AgentTunnel", "LanFace", "Transport", "load", "warnings_of"]

Transport: TypeAlias = Literal["auto", "quic", "tls", "proxy", "websocket"]


class AgentTunnel(msgspec.Struct, frozen=True, kw_only=True):
    """``[tunnel]``: the way out of the building."""

    server: Address | None = None
    """The server's "host:port". Default: what the TOKEN said."""
    transport: Transport = "auto"
    """Which carrier to use. Default "auto": whichever gets through."""
    proxy: ProxyUrl | None = None
    """HTTP proxy, "http://[user:password@]host:port". Default: HTTPS_PROXY and NO_PROXY of the environment."""
    https_ca: Path | None = None
    """PEM file of those who may vouch for the outer TLS of proxies. Default: SSL_CERT_FILE or the system's store."""


class LanFace(FaceConfig, frozen=True, kw_only=True):
    """``[lan]``: the face towards the enterprise network."""

    media_ports: PortRange = PortRange(30000, 39999)
    """UDP ports for RTP and RTCP, "low-high", low even; each stream holds two. Default "30000-39999"."""
    allow: tuple[IPNetwork, ...]
    """The only LAN addresses this agent ever sends to."""
    pbx: SipUriText | None = None
    """Where incoming calls and outside registrations go. Default: to the phones that registered through the pair."""
    outside: SipUriText | None = None
    """Where a request addressed to the agent itself goes. Default: such a request is refused."""
    tls_ca: Path | None = None
    """PEM file of those who may vouch for a PBX or phone that the agent connects to by TLS. Default: the system's store,
    for which SSL_CERT_FILE is honoured."""

    @classmethod
    def table(cls) -> str:
        return "lan"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.allow:
            raise BadConfig("settings", "lan.allow", [], 'name the networks of the phones, for example ["10.1.0.0/16"]')
        if self.pbx is not None and not self._allows(sip_uri_host(self.pbx)):
            raise BadConfig("settings", "lan.pbx", self.pbx, "must lie in lan.allow, or nothing could be sent to it")
        transport = sip_uri_transport(self.pbx) if self.pbx is not None else ""
        if transport and transport not in {listener.transport for listener in self.sip}:
            mend = (
                f'can only be reached from a listener of its own kind: add "{transport}:{_port(transport)}" to lan.sip'
            )
            raise BadConfig("settings", "lan.pbx", self.pbx, mend)

    def _allows(self, host: str) -> bool:
        """Whether ``host`` is allowed as far as can be said without DNS."""
        try:
            ip = ipaddress.ip_address(host)
        except ValueError:
            return True
        return any(ip in network for network in self.allow)


def _port(transport: str) -> int:
    return 5061 if transport == "tls" else 5060


class AgentConfig(msgspec.Struct, frozen=True, kw_only=True):
    """All that ``wallpass agent`` can be told."""

    data_dir: Path
    """Directory for the agent's key and certificate; made 0700 if absent."""
    tunnel: AgentTunnel = AgentTunnel()
    """The way out of the building."""
    lan: LanFace
    """The face towards the enterprise network."""
    admin: AdminConfig | None = None
    """For the operator. Default: nothing is served."""
    drain_seconds: Seconds = 30.0
    """How long after SIGTERM live calls may go on, in seconds. Default 30; a service manager must wait longer."""
    file: str = "settings"
    """The file this was read from, for error messages; no key of the file."""


def load(path: Path) -> AgentConfig:
    """The configuration in the file ``path``. Raises BadConfig."""
    return build(AgentConfig, load_toml(path), path)


def warnings_of(config: AgentConfig, ephemeral: tuple[int, int] | None) -> list[str]:
    """Settings that will work but may surprise; ``ephemeral`` is the kernel's own range of ports."""
    everything = [str(network) for network in config.lan.allow if network.prefixlen == 0]
    warnings = [f"lan.allow = {network!r} lets the agent send anywhere: name your networks" for network in everything]
    if config.lan.outside is not None:
        warnings.append(
            f"lan.outside = {config.lan.outside!r}: what is addressed to the agent itself leaves with another Request-URI, "
            "so a provider that compares it with a digest's uri refuses; phones do better to name the provider's domain "
            "and use the agent as their outbound proxy"
        )
    return warnings + warn_of_media_ports(config.lan, ephemeral)
