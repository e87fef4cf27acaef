"""``server.toml`` as frozen structs; the names of tables and keys are those of the file."""

from __future__ import annotations

from pathlib import Path

import msgspec

from tunnel.address import Address
from tunnel.config import (
    AdminConfig,
    BindHost,
    FaceConfig,
    Seconds,
    check_listen,
    warn_of_media_ports,
)
from tunnel.errors import BadConfig
from tunnel.toml_file import build, load_toml

__all__ = ["PublicFace", "ServerConfig", "ServerTunnel", "load", "warnings_of"]


class ServerTunnel(msgspec.Struct, frozen=True, kw_only=True):
    """``[tunnel]``: where agents connect."""

    listen: Address
    """TCP address for agents, "host:port"; 443 is what firewalls let out. Port 0 is any free one."""

    def __post_init__(self) -> None:
        check_listen("tunnel.listen", self.listen)


class PublicFace(FaceConfig, frozen=True, kw_only=True):
    """``[public]``: the face towards the internet."""

    bind: BindHost | None = None
    """What to bind when ``address`` is not on this host (cloud NAT), for example "0.0.0.0"; it stands in for the
    address of its own family. Default: ``address``."""

    @classmethod
    def table(cls) -> str:
        return "public"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.bind is not None and self.address.of_family(ipv6=":" in self.bind) is None:
            raise BadConfig("settings", "public.bind", self.bind, "must be of the same family as public.address")

    def bind_host(self, address: str) -> str:
        if self.bind is not None and (":" in self.bind) is (":" in address):
            return self.bind
        return address


class ServerConfig(msgspec.Struct, frozen=True, kw_only=True):
    """All that ``wallpass server`` can be told."""

    data_dir: Path
    """Directory for the authority, tenants and keys; made 0700 if absent. Back it up: agents trust what is in it."""
    tunnel: ServerTunnel
    """Where agents connect."""
    public: PublicFace
    """The face towards the internet."""
    admin: AdminConfig | None = None
    """For the operator. Default: nothing is served."""
    drain_seconds: Seconds = 30.0
    """How long after SIGTERM live calls may go on, in seconds. Default 30; a service manager must wait longer."""
    file: str = "settings"
    """The file this was read from, for error messages; no key of the file."""

    def __post_init__(self) -> None:
        if not self.join_addresses():
            mend = "agents could not be told where to connect: name an address, or one of that family in public.address"
            raise BadConfig("settings", "tunnel.listen", str(self.tunnel.listen), mend)

    def join_addresses(self, port: int | None = None) -> tuple[Address, ...]:
        """Where an agent finds this server: the tunnel's own address, or behind a wildcard the public ones."""
        listen = self.tunnel.listen
        port = port or listen.port
        if not listen.ip.is_unspecified:
            return (Address(listen.host, port),)
        return tuple(Address(host, port) for host in self.public.address if listen.is_ipv6 or ":" not in host)


def load(path: Path) -> ServerConfig:
    """The configuration in the file ``path``. Raises BadConfig."""
    return build(ServerConfig, load_toml(path), path)


def warnings_of(config: ServerConfig, ephemeral: tuple[int, int] | None) -> list[str]:
    """Settings that will work but may surprise; ``ephemeral`` is the kernel's own range of ports."""
    return warn_of_media_ports(config.public, ephemeral)
