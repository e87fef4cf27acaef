from __future__ import annotations

import json
import stat
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from support.certificates import open_authority

from outside_server.cli import server_command, tenant_group
from outside_server.tenant_store import SqliteTenants
from tunnel.address import Address
from tunnel.launcher import make_group
from tunnel.link.token import Token

CONFIG = """
data_dir = "data"
[tunnel]
listen = "203.0.113.10:443"
[public]
address = "203.0.113.10"
"""


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "server.toml").write_text(CONFIG)
    return tmp_path


def run(directory: Path, *arguments: str) -> Result:
    group = make_group([])
    group.add_command(server_command)
    group.add_command(tenant_group)
    result = CliRunner().invoke(group, [*arguments, "--config", str(directory / "server.toml")])
    assert not isinstance(result.exception, Exception), result.exception
    return result


def good(directory: Path, *arguments: str) -> str:
    result = run(directory, *arguments)
    assert result.exit_code == 0, result.stderr
    return result.stdout


def listed(directory: Path) -> list[dict[str, object]]:
    tenants: list[dict[str, object]] = json.loads(good(directory, "tenant", "list", "--json"))
    return tenants


def test_a_tenant_from_beginning_to_end(directory: Path) -> None:
    limits = ["--max-calls", "30", "--calls-per-second", "2.5"]
    good(directory, "tenant", "add", "acme", "--domain", "acme.example", "--domain", "acme.test", *limits)
    good(directory, "tenant", "add", "globex", "--trunk", "sip:198.51.100.20:5060")
    acme, globex = listed(directory)
    assert acme == {
        "id": 1,
        "name": "acme",
        "domains": ["acme.example", "acme.test"],
        "trunks": [],
        "max_calls": 30,
        "calls_per_second": 2.5,
        "trunk_ca": "",
        "agents": [],
    }
    assert globex["trunks"] == ["sip:198.51.100.20:5060"]
    table = good(directory, "tenant", "list")
    assert "acme.test" in table
    assert "30 calls" in table
    good(directory, "tenant", "remove", "acme")
    assert [tenant["name"] for tenant in listed(directory)] == ["globex"]


def test_an_invitation_is_one_token_on_stdout(directory: Path) -> None:
    good(directory, "tenant", "add", "acme")
    out = good(directory, "tenant", "invite", "acme", "--expires", "30m")
    assert out.count("\n") == 1
    token = Token.parse_untrusted(out)
    assert token.servers == (Address("203.0.113.10", 443),)
    assert token.tenant == "acme"
    assert token.expires == pytest.approx(datetime.now(UTC).timestamp() + 1800, abs=60)


def test_each_invitation_opens_once(directory: Path) -> None:
    good(directory, "tenant", "add", "acme")
    secrets = [Token.parse_untrusted(good(directory, "tenant", "invite", "acme")).secret for _ in range(2)]
    assert secrets[0] != secrets[1]
    store = SqliteTenants(directory / "data" / "tenants.db")
    names = [store.redeem(secret, "pbx", datetime.now(UTC)).agent_name for secret in secrets]
    store.close()
    assert names == ["pbx", "pbx-2"]
    assert good(directory, "tenant", "revoke", "acme", "--agent", "pbx") == "revoked pbx\n"
    (acme,) = listed(directory)
    assert acme["agents"] == [
        {"name": "pbx", "serial": "", "revoked": True},
        {"name": "pbx-2", "serial": "", "revoked": False},
    ]
    assert good(directory, "tenant", "revoke", "acme") == "revoked pbx-2\n"
    assert "pbx (revoked)" in good(directory, "tenant", "list")


def test_what_the_commands_leave_is_private(directory: Path) -> None:
    good(directory, "tenant", "add", "acme")
    good(directory, "tenant", "invite", "acme")
    assert stat.S_IMODE((directory / "data").stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in (directory / "data").iterdir()} == {0o600}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["tenant", "add", "a b"], "is no tenant name"),
        (["tenant", "add", "acme", "--domain", "a b"], "is no SIP domain"),
        (["tenant", "add", "acme", "--trunk", "x"], "is no trunk"),
        (["tenant", "remove", "acme"], "there is no tenant 'acme'"),
        (["tenant", "invite", "acme"], "there is no tenant 'acme'"),
        (["tenant", "revoke", "acme"], "there is no tenant 'acme'"),
    ],
)
def test_what_cannot_be_done_is_one_message_and_exit_1(directory: Path, arguments: list[str], message: str) -> None:
    result = run(directory, *arguments)
    assert (result.exit_code, result.stdout) == (1, "")
    assert message in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("expires", ["", "24", "0h", "-1h", "1w", "9999999h"])
def test_what_is_no_duration(directory: Path, expires: str) -> None:
    result = run(directory, "tenant", "invite", "acme", "--expires", expires)
    assert result.exit_code == 2
    assert "one looks like 90s, 30m, 24h or 7d" in result.stderr


@pytest.mark.parametrize("arguments", [["server"], ["tenant", "list"], ["tenant", "add", "acme"]])
def test_a_bad_configuration_is_one_message_and_exit_2(directory: Path, arguments: list[str]) -> None:
    (directory / "server.toml").write_text(CONFIG.replace("listen", "lisen"))
    result = run(directory, *arguments)
    assert result.exit_code == 2
    assert "tunnel.lisen = '203.0.113.10:443': there is no such key; did you mean \"listen\"?" in result.stderr
    assert result.stderr.count("\n") == 1


def test_an_unwritable_data_dir_is_a_bad_configuration(directory: Path) -> None:
    (directory / "server.toml").write_text(CONFIG.replace('"data"', '"/proc/wallpass"'))
    result = run(directory, "tenant", "list")
    assert result.exit_code == 2
    assert "data_dir = '/proc/wallpass'" in result.stderr


def test_port_0_can_only_be_invited_to_while_the_server_runs(directory: Path) -> None:
    (directory / "server.toml").write_text(CONFIG.replace(":443", ":0"))
    good(directory, "tenant", "add", "acme")
    result = run(directory, "tenant", "invite", "acme")
    assert result.exit_code == 2
    assert "start the server first, or name a port" in result.stderr


def test_port_0_is_asked_of_the_running_server(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    status = {"addresses": {"tunnel": "203.0.113.10:40443"}}
    monkeypatch.setattr("tunnel.status.fetch_status", lambda data_dir: status)
    (directory / "server.toml").write_text(CONFIG.replace(":443", ":0"))
    good(directory, "tenant", "add", "acme")
    token = Token.parse_untrusted(good(directory, "tenant", "invite", "acme"))
    assert token.servers == (Address("203.0.113.10", 40443),)


def test_who_may_vouch_for_a_trunk_is_kept_with_the_tenant(directory: Path) -> None:
    """M4: ``--trunk-ca`` names a PEM file; one that is none is refused, and nothing was added."""
    (directory / "ca.pem").write_text("nonsense")
    trunk = ["--trunk", "sips:trunk.example", "--trunk-ca", str(directory / "ca.pem")]
    refused = run(directory, "tenant", "add", "acme", *trunk)
    assert refused.exit_code == 2
    assert "--trunk-ca" in refused.stderr
    assert "PEM file" in refused.stderr
    assert listed(directory) == []
    pem = open_authority(directory / "authority").pem
    (directory / "ca.pem").write_text(pem)
    good(directory, "tenant", "add", "acme", *trunk)
    assert listed(directory)[0]["trunk_ca"] == pem
