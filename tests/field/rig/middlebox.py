"""The middlebox as a program of the rig: see `polite_relay.py` for what it does."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from field.rig.firewall import MIDDLEBOX_PORT, SERVER, TUNNEL_PORT
from field.rig.network import Network
from field.rig.program import Program

__all__ = ["Middlebox", "middlebox"]

_SCRIPT = Path(__file__).with_name("polite_relay.py")


class Middlebox(Program):
    def end_politely(self) -> None:
        """FIN to both ends of every connection that it carries; new ones are carried as before."""
        self.process.send_signal(signal.SIGUSR1)


@contextmanager
def middlebox(network: Network, folder: Path) -> Iterator[Middlebox]:
    """While it stands there, new tunnel connections go through it."""
    argv = [sys.executable, str(_SCRIPT), str(MIDDLEBOX_PORT), SERVER, str(TUNNEL_PORT)]
    with Middlebox(network.gateway, "middlebox", argv, folder) as box:
        box.await_output("carrying")
        with network.firewall.detour():
            yield box
