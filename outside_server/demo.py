"""wallpass demo (being written)."""

import click


@click.command("demo")
def demo_command() -> None:
    """Both ends and two phones on this host."""
