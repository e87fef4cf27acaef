from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from support.certificates import credentials_of, open_authority, token_of

from inside_agent import join as join_module
from inside_agent.cli import commands
from inside_agent.join import load_credentials
from tunnel.errors import Refused
from tunnel.launcher import make_group
from tunnel.link.credentials import AgentCredentials
from tunnel.link.token import Token

CONFIG = """
data_dir = "data"
[lan]
address = "10.1.0.2"
allow = ["10.1.0.0/16"]
"""


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "agent.toml").write_text(CONFIG)
    return tmp_path


@pytest.fixture
def token(tmp_path: Path) -> str:
    return str(token_of(open_authority(tmp_path / "server")))


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[tuple[str, list[str]]]:
    """Names and servers that ``join`` was called with; each call gets credentials of its own."""
    calls: list[tuple[str, list[str]]] = []

    async def join(token: Token, agent: str, now: datetime, servers: list[object]) -> AgentCredentials:
        calls.append((agent, list(map(str, servers))))
        return credentials_of(open_authority(tmp_path / "server"), name=agent, agent_id=len(calls))

    monkeypatch.setattr(join_module, "join", join)
    return calls


def run(directory: Path, *arguments: str) -> Result:
    group = make_group([])
    for command in commands():
        group.add_command(command)
    return CliRunner().invoke(group, [*arguments, "--config", str(directory / "agent.toml")])


def agent_number(directory: Path) -> int:
    credentials = load_credentials(directory / "data")
    assert credentials is not None
    return credentials.identity.agent_id


def test_join_leaves_an_identity(directory: Path, token: str, asked: list[tuple[str, list[str]]]) -> None:
    result = run(directory, "join", token, "--name", "pbx-host")
    assert result.exit_code == 0, result.stderr
    assert "joined acme as pbx-host" in result.stdout
    assert asked == [("pbx-host", [])]
    assert agent_number(directory) == 1


def test_a_server_in_the_file_is_asked_first(directory: Path, token: str, asked: list[tuple[str, list[str]]]) -> None:
    (directory / "agent.toml").write_text('tunnel = { server = "relay.example:443" }\n' + CONFIG)
    run(directory, "join", token, "--name", "x")
    assert asked == [("x", ["relay.example:443"])]


def test_an_identity_is_only_given_up_when_told_so(
    directory: Path, token: str, asked: list[tuple[str, list[str]]]
) -> None:
    run(directory, "join", token)
    result = run(directory, "join", token)
    assert result.exit_code == 1
    assert "holds an identity already: --replace gives it up" in result.stderr
    assert len(asked) == 1
    assert run(directory, "join", token, "--replace").exit_code == 0
    assert agent_number(directory) == 2


def test_a_refused_join_leaves_the_old_identity(
    directory: Path, token: str, asked: list[tuple[str, list[str]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    run(directory, "join", token)

    async def join(*_: object) -> AgentCredentials:
        raise Refused("this TOKEN was used before")

    monkeypatch.setattr(join_module, "join", join)
    result = run(directory, "join", token, "--replace")
    assert (result.exit_code, result.stderr) == (1, "wallpass: this TOKEN was used before\n")
    assert agent_number(directory) == 1


def test_what_is_no_token(directory: Path) -> None:
    result = run(directory, "join", "wp1.damaged")
    assert result.exit_code == 1
    assert "copy the whole line" in result.stderr


@pytest.mark.parametrize("arguments", [["join", "wp1.x"], ["agent"]])
def test_the_configuration_is_looked_at_first(directory: Path, arguments: list[str]) -> None:
    (directory / "agent.toml").write_text(CONFIG.replace("allow", "alow"))
    result = run(directory, *arguments)
    assert result.exit_code == 2
    assert 'did you mean "allow"?' in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_certificate_that_is_not_there_is_a_bad_configuration(directory: Path) -> None:
    """M5: exit 2 and one message with file, key, value and mend."""
    files = 'certificate = "lan.pem"\nprivate_key = "lan.key"\n'
    (directory / "agent.toml").write_text(CONFIG + files)
    result = run(directory, "agent")
    assert result.exit_code == 2
    assert f"lan.certificate = '{directory}/lan.pem': No such file or directory: name a file" in result.stderr
