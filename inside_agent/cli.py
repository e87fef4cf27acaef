"""The commands of the inside end: ``wallpass agent`` and ``wallpass join``."""

from __future__ import annotations

import platform
from datetime import UTC, datetime
from pathlib import Path

import click

__all__ = ["commands"]

config_option = click.option(
    "--config", "config", required=True, type=click.Path(path_type=Path), help="path to agent.toml"
)


@click.command("agent")
@config_option
def agent_command(config: Path) -> None:
    """Run the inside end: a SIP address on the LAN, one connection out.

    Prints a line that begins with `ready` once the tunnel is up. SIGTERM lets live calls finish, SIGHUP reads the
    configuration again.

    \b
    wallpass agent --config agent.toml
    """
    from inside_agent.agent import serve
    from inside_agent.config import AgentConfig, load, warnings_of
    from tunnel.face_tls import check_certificate
    from tunnel.launcher import run_end

    def load_all() -> AgentConfig:
        settings = load(config)
        check_certificate(settings.lan, settings.file)
        return settings

    run_end(serve, load_all, warnings_of)


@click.command("join")
@click.argument("token", metavar="TOKEN")
@config_option
@click.option("--name", help="what to call this agent; default: the name of this host")
@click.option("--replace", is_flag=True, help="give up the identity that this agent has")
def join_command(token: str, config: Path, name: str | None, replace: bool) -> None:
    """Make this host an agent, with a TOKEN from the operator of the server.

    The TOKEN is good once. The key is made here and never leaves this host.

    \b
    wallpass join wp1.lahzZXJ2... --config agent.toml
    wallpass agent --config agent.toml
    """
    import trio

    from inside_agent.config import load
    from inside_agent.join import credentials_path, join, save_credentials
    from tunnel.errors import BadPacket, LocalMisuse
    from tunnel.files import check_data_dir
    from tunnel.link.token import Token

    settings = load(config)
    check_data_dir(settings.file, settings.data_dir)
    if credentials_path(settings.data_dir).exists() and not replace:
        raise LocalMisuse(f"{settings.data_dir} holds an identity already: --replace gives it up")
    try:
        invitation = Token.parse_untrusted(token)
    except BadPacket as error:
        raise LocalMisuse(error.reason) from None
    servers = [settings.tunnel.server] if settings.tunnel.server else []
    credentials = trio.run(join, invitation, name or platform.node(), datetime.now(UTC), servers)
    save_credentials(settings.data_dir, credentials)
    click.echo(f"joined {credentials.tenant} as {credentials.identity.name}; now: wallpass agent --config {config}")


def commands() -> list[click.Command]:
    """For the entry point ``wallpass.commands``."""
    return [agent_command, join_command]
