from __future__ import annotations

import ipaddress
import re
from pathlib import Path

import pytest

from inside_agent.config import AgentConfig
from inside_agent.config import load as load_agent
from tunnel.config import SipListener
from tunnel.errors import BadConfig
from tunnel.toml_file import load_toml

AGENT = """
data_dir = "data"
[lan]
address = "10.1.0.2"
allow = ["10.1.0.0/16"]
"""


def agent(tmp_path: Path, text: str) -> AgentConfig:
    path = tmp_path / "agent.toml"
    path.write_text(text)
    return load_agent(path)


def complaint(tmp_path: Path, text: str) -> str:
    with pytest.raises(BadConfig) as caught:
        agent(tmp_path, text)
    message = str(caught.value)
    assert message.startswith(f"{tmp_path / 'agent.toml'}: ")
    assert "\n" not in message
    return message.removeprefix(f"{tmp_path / 'agent.toml'}: ")


def test_what_is_not_set_has_its_default(tmp_path: Path) -> None:
    config = agent(tmp_path, AGENT)
    assert config.drain_seconds == 30
    assert config.lan.sip == (SipListener("udp", 5060), SipListener("tcp", 5060))
    assert config.lan.allow == (ipaddress.ip_network("10.1.0.0/16"),)
    assert config.tunnel.server is None
    assert config.admin is None
    assert config.file == str(tmp_path / "agent.toml")


def test_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    assert agent(tmp_path, AGENT).data_dir == tmp_path / "data"
    assert agent(tmp_path, AGENT.replace('"data"', '"/var/x"')).data_dir == Path("/var/x")


def test_an_unknown_key_is_refused_and_the_right_one_guessed(tmp_path: Path) -> None:
    message = complaint(tmp_path, AGENT + 'pbxx = "sip:10.1.0.5"')
    assert message.startswith("lan.pbxx = 'sip:10.1.0.5': there is no such key")
    assert 'did you mean "pbx"?' in message


def test_the_name_of_the_file_is_no_key(tmp_path: Path) -> None:
    assert complaint(tmp_path, 'file = "x"\n' + AGENT).startswith("file = 'x': there is no such key")


def test_a_missing_key_is_named_with_an_example(tmp_path: Path) -> None:
    message = complaint(tmp_path, AGENT.replace("allow", "#"))
    assert message == 'lan.allow = (not set): must be set: a list, each a network, for example "10.1.0.0/16"'
    assert complaint(tmp_path, "").startswith("data_dir = (not set)")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ('address = "10.1.0.2/16"', "lan.address = '10.1.0.2/16'"),
        ('sip = "udp:5060"', "lan.sip = 'udp:5060': a list in brackets, each for example"),
        ('sip = ["udp:x"]', "lan.sip = 'udp:x': for example \"udp:5060\""),
        ("sip = []", "lan.sip = []: name at least one listener"),
        ('certificate = "sip.pem"', ": set certificate and private_key, or neither"),
        ('sip = ["udp:5060", "udp:5060"]', "lan.sip = ['udp:5060', 'udp:5060']: one port for one listener"),
        ('sip = ["udp:30002"]', "lan.media_ports = '30000-39999': leave out the SIP port udp:30002"),
        ('media_ports = "30001-39999"', "lan.media_ports = '30001-39999': the low port must be even"),
        ("media_ports = 30000", "lan.media_ports = 30000: this must be text in quotes"),
        ('hide = "half"', 'lan.hide = \'half\': one of "full", "basic"'),
        ('pbx = "10.1.0.5"', "lan.pbx = '10.1.0.5': a SIP URI, for example"),
        ('pbx = "sip:10.2.0.5"', "lan.pbx = 'sip:10.2.0.5': must lie in lan.allow"),
        (
            'allow = ["10.1.0.5/16"]',
            "lan.allow = '10.1.0.5/16': bits are set behind the prefix; did you mean '10.1.0.0/16'",
        ),
        ("allow = []", "lan.allow = []: name the networks"),
    ],
)
def test_a_wrong_value_is_one_message_with_key_value_and_mend(tmp_path: Path, line: str, expected: str) -> None:
    key = line.partition(" ")[0]
    text = re.sub(rf"(?m)^{key} = .*\n", "", AGENT) + line
    assert expected in complaint(tmp_path, text)


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        ("drain_seconds = -1", "drain_seconds = -1: a number from 0 to 86400"),
        ('drain_seconds = "30"', "drain_seconds = '30': a number from 0 to 86400"),
        ("admin = 5", "admin = 5: a table: write it as [admin]"),
        ('admin = { listen = "localhost:9081" }', "admin.listen = 'localhost:9081': listen on an IP address"),
        ('tunnel = { transport = "udp" }', 'tunnel.transport = \'udp\': one of "auto", "quic"'),
    ],
)
def test_a_wrong_value_elsewhere(tmp_path: Path, head: str, expected: str) -> None:
    assert expected in complaint(tmp_path, f"{head}\n{AGENT}")


def test_a_proxys_password_is_never_printed(tmp_path: Path) -> None:
    message = complaint(tmp_path, 'tunnel = { proxy = "ftp://user:hunter2@10.1.0.3" }\n' + AGENT)
    assert "hunter2" not in message
    assert "ftp://***@10.1.0.3" in message


def test_a_proxy_with_a_password_is_taken(tmp_path: Path) -> None:
    config = agent(tmp_path, 'tunnel = { proxy = "http://user:hunter2@10.1.0.3:3128" }\n' + AGENT)
    assert config.tunnel.proxy == "http://user:hunter2@10.1.0.3:3128"


def test_a_file_that_is_not_toml_is_shown_by_its_line(tmp_path: Path) -> None:
    assert complaint(tmp_path, 'data_dir = "x"\nlisten = 10.1.0.2\n').startswith(
        "line 2 = 'listen = 10.1.0.2': not TOML"
    )


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(BadConfig, match="No such file"):
        load_toml(tmp_path / "absent.toml")
    with pytest.raises(BadConfig, match="Is a directory"):
        load_toml(tmp_path)
    (tmp_path / "latin.toml").write_bytes(b'x = "\xe4"')
    with pytest.raises(BadConfig, match="UTF-8"):
        load_toml(tmp_path / "latin.toml")
