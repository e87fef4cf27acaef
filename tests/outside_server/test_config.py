from __future__ import annotations

from pathlib import Path

import pytest
from support.certificates import NOW, open_authority

from outside_server.config import ServerConfig, load, warnings_of
from tunnel.address import Address
from tunnel.config import PortRange, SipListener
from tunnel.errors import BadConfig
from tunnel.face_tls import check_certificate
from tunnel.link.identity import key_to_pem, new_key

EVERYTHING = """
data_dir = "/var/lib/wallpass"
drain_seconds = 0.5

[tunnel]
listen = "203.0.113.10:443"

[public]
address = "203.0.113.10"
bind = "0.0.0.0"
sip = ["udp:5060", "tcp:5060", "tls:5061"]
certificate = "sip.pem"
private_key = "sip.key"
media_ports = "20000-29999"
hide = "full"

[admin]
listen = "127.0.0.1:9080"
"""


def server(tmp_path: Path, text: str) -> ServerConfig:
    path = tmp_path / "server.toml"
    path.write_text(text)
    return load(path)


def changed(old: str, new: str) -> str:
    assert old in EVERYTHING
    return EVERYTHING.replace(old, new)


def test_every_key_of_the_contract_is_taken(tmp_path: Path) -> None:
    config = server(tmp_path, EVERYTHING)
    assert config.tunnel.listen == Address("203.0.113.10", 443)
    assert config.public.address == ("203.0.113.10",)
    assert config.public.sip[2] == SipListener("tls", 5061)
    assert config.public.certificate == tmp_path / "sip.pem"
    assert config.public.media_ports == PortRange(20000, 29999)
    assert config.drain_seconds == 0.5


def test_a_cloud_nat_binds_another_address_of_the_same_family(tmp_path: Path) -> None:
    text = changed('address = "203.0.113.10"', 'address = ["203.0.113.10", "2001:db8::1"]')
    public = server(tmp_path, text).public
    assert [public.bind_host(address) for address in public.address] == ["0.0.0.0", "2001:db8::1"]


def test_without_bind_the_address_itself_is_bound(tmp_path: Path) -> None:
    public = server(tmp_path, changed('bind = "0.0.0.0"', "")).public
    assert public.bind_host("203.0.113.10") == "203.0.113.10"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('private_key = "sip.key"', "", "set certificate and private_key, or neither"),
        ('bind = "0.0.0.0"', 'bind = "::"', "must be of the same family"),
        ('bind = "0.0.0.0"', 'bind = "eth0"', "an IP address to bind"),
        ('listen = "203.0.113.10:443"', 'listen = "relay.example:443"', "listen on an IP address"),
        ('"tls:5061"', '"tls:5060"', "one port for one listener"),
        ("[public]", "[pubic]", 'did you mean "public"'),
    ],
)
def test_what_does_not_belong_together_is_refused(tmp_path: Path, old: str, new: str, message: str) -> None:
    with pytest.raises(BadConfig, match=message):
        server(tmp_path, changed(old, new))


@pytest.mark.parametrize(
    ("listen", "expected"),
    [
        ("203.0.113.11:443", ["203.0.113.11:443"]),
        ("0.0.0.0:8443", ["203.0.113.10:8443"]),
        ("[::]:443", ["203.0.113.10:443", "[2001:db8::1]:443"]),
    ],
)
def test_agents_are_told_an_address_that_they_can_reach(tmp_path: Path, listen: str, expected: list[str]) -> None:
    text = changed('listen = "203.0.113.10:443"', f'listen = "{listen}"')
    config = server(tmp_path, text.replace('address = "203.0.113.10"', 'address = ["203.0.113.10", "2001:db8::1"]'))
    assert [str(address) for address in config.join_addresses()] == expected


def test_a_wildcard_of_a_family_without_public_address_is_refused(tmp_path: Path) -> None:
    text = changed('address = "203.0.113.10"', 'address = "2001:db8::1"').replace('bind = "0.0.0.0"', "")
    with pytest.raises(BadConfig, match="agents could not be told where to connect"):
        server(tmp_path, text.replace('listen = "203.0.113.10:443"', 'listen = "0.0.0.0:443"'))


def test_media_ports_that_the_kernel_gives_away_are_worth_a_warning(tmp_path: Path) -> None:
    config = server(tmp_path, EVERYTHING)
    assert warnings_of(config, (32768, 60999)) == []
    assert "reserve them with" in warnings_of(config, (1024, 60999))[0]


# --- the files of [public] certificate ---


@pytest.fixture
def with_files(tmp_path: Path) -> ServerConfig:
    both = open_authority(tmp_path / "authority").public_certificate(["203.0.113.10"], NOW).path.read_bytes()
    (tmp_path / "sip.pem").write_bytes(both)
    (tmp_path / "sip.key").write_bytes(both)
    return server(tmp_path, EVERYTHING)


def test_a_certificate_with_its_key_is_taken(with_files: ServerConfig) -> None:
    check_certificate(with_files.public, with_files.file)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("sip.pem", b"", r"public\.certificate = '.*sip\.pem': not a PEM chain"),
        ("sip.key", b"-----BEGIN", r"public\.private_key = '.*sip\.key': not a PEM key without a passphrase"),
        ("sip.key", key_to_pem(new_key()), r"public\.private_key = .*: not the key of public\.certificate"),
        ("sip.pem", None, r"public\.certificate = .*: No such file or directory: name a file that can be read"),
        ("sip.key", None, r"public\.private_key = .*: No such file or directory: name a file that can be read"),
    ],
)
def test_a_certificate_that_cannot_be_used(
    with_files: ServerConfig, tmp_path: Path, name: str, text: bytes | None, message: str
) -> None:
    (tmp_path / name).unlink()
    if text is not None:
        (tmp_path / name).write_bytes(text)
    with pytest.raises(BadConfig, match=message):
        check_certificate(with_files.public, with_files.file)
