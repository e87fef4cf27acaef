"""One machine of the rig: a network namespace with one address, its name table, and programs run inside it."""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path

__all__ = ["Host", "remove_abandoned", "run"]

_CLONE_NEWNET = 0x40000000
_PREFIX = "wpf"
_EPHEMERAL_PORTS = "50000 60999"  # away from every media range of the rig: an end refuses a range that overlaps it
_NETNS_ETC = Path("/etc/netns")


def run(*argv: str, stdin: str | None = None) -> str:
    """What the command printed. Raises `RuntimeError` with its stderr when it fails."""
    done = subprocess.run(argv, input=stdin, capture_output=True, text=True, check=False, timeout=30)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(argv)} -> {done.returncode}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


class Host:
    """A namespace named after this process, so that two runs on one machine never meet.

    `name` is what it is called in the rig ("agent"), `namespace` what the kernel calls it, `address` its main address
    ("" for a switch). Made by the constructor, removed with everything that still runs in it by `remove()`.
    """

    def __init__(self, name: str, names: dict[str, str] | None = None) -> None:
        self.name = name
        self.namespace = f"{_PREFIX}{os.getpid()}-{name}"
        self.address = ""
        run("ip", "netns", "add", self.namespace)
        self._write_name_table(names or {})
        self.sysctl("net.ipv6.conf.all.disable_ipv6", "1")
        self.sysctl("net.ipv6.conf.default.disable_ipv6", "1")
        self.sysctl("net.ipv4.ip_local_port_range", _EPHEMERAL_PORTS)
        self.ip("link", "set", "lo", "up")

    def remove(self) -> None:
        _remove_namespace(self.namespace)

    def argv(self, *argv: str) -> list[str]:
        """The command line that runs `argv` on this host."""
        return ["ip", "netns", "exec", self.namespace, *argv]

    def run(self, *argv: str, stdin: str | None = None) -> str:
        return run(*self.argv(*argv), stdin=stdin)

    def ip(self, *argv: str) -> str:
        return run("ip", "-n", self.namespace, *argv)

    def sysctl(self, key: str, value: str) -> None:
        self.run("tee", f"/proc/sys/{key.replace('.', '/')}", stdin=value)

    def open_socket(self, kind: socket.SocketKind) -> socket.socket:
        """An IPv4 socket that lives on this host, though this process does not.

        A namespace belongs to a thread; a socket keeps the one it was made in. So a short-lived thread steps over.
        """
        made: list[socket.socket] = []
        failed: list[OSError] = []

        def step_over() -> None:
            libc = ctypes.CDLL(None, use_errno=True)
            with open(f"/run/netns/{self.namespace}", "rb") as handle:
                if libc.setns(handle.fileno(), _CLONE_NEWNET) != 0:
                    failed.append(OSError(ctypes.get_errno(), "setns"))
                    return
            made.append(socket.socket(socket.AF_INET, kind))

        thread = threading.Thread(target=step_over)
        thread.start()
        thread.join()
        if failed:
            raise failed[0]
        return made[0]

    def established_ports(self, peer: str, port: int) -> set[int]:
        """Local ports of this host's live TCP connections to `peer`:`port`."""
        lines = self.run("ss", "-Htn", "state", "established", "dst", peer, "dport", "=", str(port)).splitlines()
        return {int(line.split()[2].rpartition(":")[2]) for line in lines if line.strip()}

    def _write_name_table(self, names: dict[str, str]) -> None:
        """`/etc/hosts` and a resolver that refuses at once; `ip netns exec` lays them over the machine's own."""
        folder = _NETNS_ETC / self.namespace
        folder.mkdir(parents=True, exist_ok=True)
        lines = ["127.0.0.1 localhost", *(f"{address} {name}" for name, address in names.items())]
        (folder / "hosts").write_text("\n".join(lines) + "\n")
        (folder / "resolv.conf").write_text("nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")


def remove_abandoned() -> None:
    """Remove what runs of this rig left behind that were killed before they could clean up."""
    listed = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=False).stdout
    for line in listed.splitlines():
        namespace = line.split()[0] if line.split() else ""
        owner = namespace.removeprefix(_PREFIX).partition("-")[0]
        if namespace.startswith(_PREFIX) and owner.isdigit() and not Path(f"/proc/{owner}").exists():
            _remove_namespace(namespace)


def _remove_namespace(namespace: str) -> None:
    """End what still runs in it, by process id, then remove the namespace and its name table."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        pids = subprocess.run(["ip", "netns", "pids", namespace], capture_output=True, text=True, check=False).stdout
        for pid in pids.split():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), number)
        if pids.strip():
            time.sleep(0.2)
    subprocess.run(["ip", "netns", "del", namespace], capture_output=True, check=False)
    shutil.rmtree(_NETNS_ETC / namespace, ignore_errors=True)
    with contextlib.suppress(OSError):
        _NETNS_ETC.rmdir()
