from __future__ import annotations

import ipaddress
from pathlib import Path

import pytest

from inside_agent.config import AgentConfig, LanFace, load, warnings_of
from tunnel.address import Address
from tunnel.config import FaceAddresses, PortRange, SipListener, SipUriText
from tunnel.errors import BadConfig

EVERYTHING = """
data_dir = "/var/lib/wallpass-agent"
drain_seconds = 5

[tunnel]
server = "203.0.113.10:443"
transport = "auto"
proxy = "http://10.1.0.3:3128"
https_ca = "corporate.pem"

[lan]
address = "10.1.0.2"
sip = ["udp:5060", "tcp:5060"]
media_ports = "30000-39999"
pbx = "sip:10.1.0.5:5060"
allow = ["10.1.0.0/16"]
outside = "sip:itsp.example"
hide = "basic"

[admin]
listen = "127.0.0.1:9081"
"""


def lan(**changes: object) -> LanFace:
    settings = {"address": FaceAddresses(["10.1.0.2"]), "allow": (ipaddress.ip_network("10.1.0.0/16"),), **changes}
    return LanFace(**settings)  # type: ignore[arg-type]


def test_every_key_of_the_contract_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "agent.toml"
    path.write_text(EVERYTHING)
    config = load(path)
    assert config.tunnel.server == Address("203.0.113.10", 443)
    assert config.tunnel.https_ca == tmp_path / "corporate.pem"
    assert config.lan.pbx == "sip:10.1.0.5:5060"
    assert config.lan.hide == "basic"
    assert config.drain_seconds == 5
    assert config.admin is not None
    assert config.admin.listen.port == 9081


def test_a_config_can_be_made_in_python() -> None:
    config = AgentConfig(data_dir=Path("data"), lan=lan(sip=(SipListener("udp", 0),)))
    assert config.lan.media_ports == PortRange(30000, 39999)


def test_what_python_makes_is_checked_as_well() -> None:
    with pytest.raises(BadConfig, match="must lie in"):
        lan(pbx=SipUriText("sip:10.2.0.5"))


def test_a_pbx_by_name_is_looked_up_later() -> None:
    assert lan(pbx=SipUriText("sip:pbx.acme.example")).pbx == "sip:pbx.acme.example"


def test_to_allow_everything_is_worth_a_warning() -> None:
    config = AgentConfig(data_dir=Path("data"), lan=lan(allow=(ipaddress.ip_network("0.0.0.0/0"),)))
    (warning,) = warnings_of(config, None)
    assert "'0.0.0.0/0' lets the agent send anywhere" in warning


def test_to_stand_for_somebody_elses_domain_is_worth_a_warning() -> None:
    """H6: a phone that takes the agent's address for its domain has a digest that a strict provider refuses."""
    config = AgentConfig(data_dir=Path("data"), lan=lan(outside="sip:itsp.example"))
    (warning,) = warnings_of(config, None)
    assert "lan.outside = 'sip:itsp.example'" in warning
    assert "outbound proxy" in warning


def test_media_ports_that_the_kernel_gives_away_are_worth_a_warning() -> None:
    config = AgentConfig(data_dir=Path("data"), lan=lan())
    (warning,) = warnings_of(config, (32768, 60999))
    assert "lan.media_ports = '30000-39999' overlaps the ports 32768-60999" in warning
    assert warnings_of(config, (40000, 60999)) == []


def test_the_lan_face_takes_tls_with_its_certificate(tmp_path: Path) -> None:
    """M5: relative paths are those of the file's directory."""
    path = tmp_path / "agent.toml"
    tls = 'sip = ["udp:5060", "tcp:5060", "tls:5061"]\ncertificate = "l.pem"\nprivate_key = "l.key"\ntls_ca = "ca.pem"'
    path.write_text(EVERYTHING.replace('sip = ["udp:5060", "tcp:5060"]', tls))
    face = load(path).lan
    assert face.sip[2] == SipListener("tls", 5061)
    assert (face.certificate, face.private_key) == (tmp_path / "l.pem", tmp_path / "l.key")
    assert face.tls_ca == tmp_path / "ca.pem"


@pytest.mark.parametrize(
    ("pbx", "missing"),
    [
        ("sips:10.1.0.5", "tls:5061"),
        ("sip:10.1.0.5;transport=TLS", "tls:5061"),
        ("sip:10.1.0.5;transport=tcp", "tcp:5060"),
    ],
)
def test_a_pbx_that_no_listener_leads_to_is_refused(pbx: str, missing: str) -> None:
    with pytest.raises(BadConfig, match=f'add "{missing}" to lan.sip'):
        lan(pbx=SipUriText(pbx), sip=(SipListener("udp", 5060),))


def test_an_address_with_a_zone_is_none_to_show(tmp_path: Path) -> None:
    """C7: zone ids are never emitted."""
    path = tmp_path / "agent.toml"
    path.write_text(EVERYTHING.replace('address = "10.1.0.2"', 'address = "fe80::1%eth0"'))
    with pytest.raises(BadConfig, match=r"lan\.address = 'fe80::1%eth0': a zone means nothing to others"):
        load(path)
