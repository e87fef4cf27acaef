"""Names of the hosts file."""

from __future__ import annotations

import os
from pathlib import Path

from tunnel.sip.hosts_file import HostsFile


def test_names_and_aliases_lead_to_all_their_addresses(tmp_path: Path) -> None:
    path = tmp_path / "hosts"
    path.write_text(
        "# ours\n10.1.0.5 pbx.example PBX # the switch\nnonsense line\n2001:db8::5\tpbx.example\nfe80::1%eth0 pbx\n"
    )
    hosts = HostsFile(path)
    assert hosts.addresses("PBX.example.") == ["10.1.0.5", "2001:db8::5"]
    assert hosts.addresses("pbx") == ["10.1.0.5"]
    assert hosts.addresses("switch") == hosts.addresses("line") == []


def test_a_change_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "hosts"
    path.write_text("10.1.0.5 pbx\n")
    hosts = HostsFile(path)
    assert hosts.addresses("pbx") == ["10.1.0.5"]
    path.write_text("10.1.0.6 pbx\n")
    os.utime(path, ns=(1, 1))
    assert hosts.addresses("pbx") == ["10.1.0.6"]


def test_without_a_file_no_names_are_known(tmp_path: Path) -> None:
    assert HostsFile(tmp_path / "none").addresses("pbx") == []
