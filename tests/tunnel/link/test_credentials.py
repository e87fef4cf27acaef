from __future__ import annotations

import ssl
from datetime import timedelta
from pathlib import Path

import pytest
from support.certificates import NOW, connecting_context, credentials_of, open_authority

from tunnel.errors import BadPacket
from tunnel.link.credentials import AgentCredentials
from tunnel.link.identity import load_key, new_key


@pytest.fixture
def credentials(tmp_path: Path) -> AgentCredentials:
    return credentials_of(open_authority(tmp_path), tenant_id=3, agent_id=7)


def test_credentials_come_back_from_their_file(credentials: AgentCredentials) -> None:
    back = AgentCredentials.parse(bytes(credentials))
    assert bytes(back) == bytes(credentials)
    assert back.servers == credentials.servers
    assert back.tenant == "acme"
    assert back.identity == credentials.identity


def test_the_file_tells_people_who_it_is(credentials: AgentCredentials) -> None:
    head = bytes(credentials).partition(b"-----")[0].decode()
    assert "tenant: acme\nagent: pbx-host\nexpires: 2030-04-01T12:00:00Z\nserver: 203.0.113.10:443\n" in head


def test_openssl_takes_the_file_as_it_is(credentials: AgentCredentials, tmp_path: Path) -> None:
    context = connecting_context(credentials, tmp_path / "identity.pem")
    (trusted,) = context.get_ca_certs()
    assert dict(*trusted["subject"]) == {"commonName": "wallpass authority"}
    assert context.verify_mode is ssl.CERT_REQUIRED


def test_the_key_does_not_show_in_a_log(credentials: AgentCredentials) -> None:
    assert "PRIVATE" not in repr(credentials)


@pytest.mark.parametrize("cut", [0, 200, 400, 900, -20])
def test_a_torn_file_is_refused(credentials: AgentCredentials, cut: int) -> None:
    with pytest.raises(BadPacket, match="damaged"):
        AgentCredentials.parse(bytes(credentials)[:cut])


def test_a_certificate_for_another_key_is_refused(credentials: AgentCredentials) -> None:
    with pytest.raises(BadPacket, match="not for our key"):
        AgentCredentials(new_key(), credentials.certificate, credentials.authority, credentials.servers, "acme")


def test_the_key_in_the_file_is_the_agents(credentials: AgentCredentials) -> None:
    assert load_key(bytes(credentials)).private_numbers() == credentials.key.private_numbers()


def test_when_to_renew(credentials: AgentCredentials) -> None:
    assert not credentials.needs_renewal(NOW + timedelta(days=30))
    assert credentials.needs_renewal(NOW + timedelta(days=70))
