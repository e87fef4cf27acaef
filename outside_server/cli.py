"""The commands of the outside end: ``wallpass server``, ``wallpass tenant ...`` and ``wallpass demo``."""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from outside_server.config import ServerConfig
    from outside_server.tenant_store import SqliteTenants
    from outside_server.tenants import Agent, Snapshot, Tenant
    from tunnel.address import Address

__all__ = ["commands"]

INVITATION_SECRET_BYTES = 16

config_option = click.option(
    "--config", "config", required=True, type=click.Path(path_type=Path), help="path to server.toml"
)


# --- the server -------------------------------------------------------------------------------------------------------


@click.command("server")
@config_option
def server_command(config: Path) -> None:
    """Run the outside end: public SIP and media ports, and the place where agents connect.

    Prints a line that begins with `ready` once it serves. SIGTERM lets live calls finish, SIGHUP reads the
    configuration again.

    \b
    wallpass server --config server.toml
    """
    from outside_server.config import load, warnings_of
    from outside_server.server import serve
    from tunnel.face_tls import check_certificate
    from tunnel.launcher import run_end

    def load_all() -> ServerConfig:
        settings = load(config)
        check_certificate(settings.public, settings.file)
        return settings

    run_end(serve, load_all, warnings_of)


# --- tenants ----------------------------------------------------------------------------------------------------------


class Duration(click.ParamType[timedelta]):
    """A number with a unit: 90s, 30m, 24h, 7d."""

    name = "duration"
    _units = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}  # noqa: RUF012

    def convert(self, value: str | timedelta, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        if isinstance(value, timedelta):
            return value
        match = re.fullmatch(r"([1-9][0-9]{0,5})([smhd])", value)
        if match is None:
            self.fail(f"{value!r} is no duration: one looks like 90s, 30m, 24h or 7d", param, ctx)
        return timedelta(**{self._units[match[2]]: int(match[1])})


@click.group("tenant")
def tenant_group() -> None:
    """Who may use the server: enterprises and their agents.

    Works while the server runs and takes effect without a restart.

    \b
    wallpass tenant add acme --domain acme.example --config server.toml
    wallpass tenant add globex --trunk sip:198.51.100.20 --max-calls 30 --config server.toml
    wallpass tenant invite acme --expires 24h --config server.toml
    wallpass tenant list --config server.toml
    wallpass tenant revoke acme --agent pbx-host --config server.toml
    """


@tenant_group.command("add")
@click.argument("name")
@click.option("--domain", "domains", multiple=True, help="SIP domain whose PBX or registrar is inside; repeatable")
@click.option("--trunk", "trunks", multiple=True, help="SIP URI of an outside peer that calls the PBX; repeatable")
@click.option(
    "--trunk-ca",
    type=click.Path(path_type=Path),
    help="PEM file of the only ones who may vouch for these trunks by TLS; default: the system's store",
)
@click.option("--max-calls", type=click.IntRange(min=1), help="calls at the same time; default: no limit")
@click.option(
    "--calls-per-second", type=click.FloatRange(min=0, min_open=True), help="new calls a second; default: no limit"
)
@config_option
def add_command(
    name: str,
    domains: tuple[str, ...],
    trunks: tuple[str, ...],
    trunk_ca: Path | None,
    max_calls: int | None,
    calls_per_second: float | None,
    config: Path,
) -> None:
    """Add a tenant."""
    from tunnel.face_tls import check_authorities

    with _store(config) as (_, store):
        store.add(
            name,
            domains=domains,
            trunks=trunks,
            max_calls=max_calls,
            calls_per_second=calls_per_second,
            trunk_ca="" if trunk_ca is None else check_authorities("wallpass tenant add", "--trunk-ca", trunk_ca),
        )
    click.echo(f"added {name}; now: wallpass tenant invite {name} --config {config}")


@tenant_group.command("list")
@click.option("--json", "as_json", is_flag=True, help="print one JSON array")
@config_option
def list_command(as_json: bool, config: Path) -> None:
    """List tenants and their agents."""
    with _store(config) as (_, store):
        snapshot = store.snapshot()
    if as_json:
        click.echo(json.dumps([_as_json(tenant, snapshot) for tenant in snapshot.tenants.values()]))
    else:
        _print_table(snapshot)


@tenant_group.command("remove")
@click.argument("name")
@config_option
def remove_command(name: str, config: Path) -> None:
    """Remove a tenant with its agents and invitations; live sessions are cut."""
    with _store(config) as (_, store):
        store.remove(name)
    click.echo(f"removed {name}")


@tenant_group.command("invite")
@click.argument("name")
@click.option("--expires", type=Duration(), default="24h", show_default=True, help="how long the TOKEN is good")
@config_option
def invite_command(name: str, expires: timedelta, config: Path) -> None:
    """Print a TOKEN with which one agent may join, once."""
    from outside_server.authority import Authority
    from outside_server.tenants import hash_of
    from tunnel.link.token import Token

    now = datetime.now(UTC)
    secret = os.urandom(INVITATION_SECRET_BYTES)
    with _store(config) as (settings, store):
        servers = _join_addresses(settings)
        authority = Authority.open(settings.data_dir, now, os.urandom)
        tenant = store.invite(name, hash_of(secret), now + expires)
    token = Token(servers, authority.der, tenant.name, secret, int((now + expires).timestamp()))
    click.echo(str(token))


@tenant_group.command("revoke")
@click.argument("name")
@click.option("--agent", help="only this agent; default: all of the tenant's")
@config_option
def revoke_command(name: str, agent: str | None, config: Path) -> None:
    """Take agents their certificates; live sessions are cut."""
    with _store(config) as (_, store):
        revoked = store.revoke(name, agent)
    for each in revoked:
        click.echo(f"revoked {each.name}")


@contextlib.contextmanager
def _store(config: Path) -> Iterator[tuple[ServerConfig, SqliteTenants]]:
    from outside_server.config import load
    from outside_server.tenant_store import SqliteTenants
    from tunnel.files import check_data_dir

    settings = load(config)
    check_data_dir(settings.file, settings.data_dir)
    with contextlib.closing(SqliteTenants(settings.data_dir / "tenants.db")) as store:
        yield settings, store


def _join_addresses(settings: ServerConfig) -> tuple[Address, ...]:
    """Where agents find the server; which port stands for port 0 only the running server knows."""
    from tunnel.address import parse_address
    from tunnel.errors import BadConfig, LocalMisuse
    from tunnel.status import fetch_status

    if settings.tunnel.listen.port:
        return settings.join_addresses()
    try:
        addresses = fetch_status(settings.data_dir)["addresses"]
        assert isinstance(addresses, dict)
        return settings.join_addresses(parse_address(addresses["tunnel"]).port)
    except LocalMisuse:
        mend = "port 0 is any free one: start the server first, or name a port"
        raise BadConfig(settings.file, "tunnel.listen", str(settings.tunnel.listen), mend) from None


def _as_json(tenant: Tenant, snapshot: Snapshot) -> dict[str, object]:
    agents = [
        {"name": agent.name, "serial": agent.serial, "revoked": agent.revoked} for agent in _agents(tenant, snapshot)
    ]
    return {**asdict(tenant), "agents": agents}


def _print_table(snapshot: Snapshot) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("tenant", "domains", "trunks", "limits", "agents")
    for tenant in snapshot.tenants.values():
        agents = [f"{agent.name} (revoked)" if agent.revoked else agent.name for agent in _agents(tenant, snapshot)]
        columns = [tenant.domains, tenant.trunks, _limits(tenant), agents]
        table.add_row(tenant.name, *("\n".join(lines) for lines in columns))
    Console().print(table)


def _agents(tenant: Tenant, snapshot: Snapshot) -> list[Agent]:
    return [agent for agent in snapshot.agents.values() if agent.tenant_id == tenant.id]


def _limits(tenant: Tenant) -> list[str]:
    limits = {"calls": tenant.max_calls, "calls/s": tenant.calls_per_second}
    return [f"{limit:g} {what}" for what, limit in limits.items() if limit is not None]


def commands() -> list[click.Command]:
    """For the entry point ``wallpass.commands``."""
    from outside_server.demo import demo_command

    return [server_command, tenant_group, demo_command]
