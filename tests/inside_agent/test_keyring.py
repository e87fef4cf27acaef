from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from structlog.testing import capture_logs
from support.certificates import credentials_of, open_authority

from inside_agent.join import credentials_path, load_credentials, save_credentials
from inside_agent.keyring import Keyring
from tunnel.errors import BadConfig, LocalMisuse
from tunnel.link.credentials import AgentCredentials
from tunnel.link.identity import load_csr_untrusted


def keyring(directory: Path, age_days: float = 0.0) -> Keyring:
    authority = open_authority(directory / "server", datetime.now(UTC))
    credentials = credentials_of(authority, now=datetime.now(UTC) - timedelta(days=age_days))
    save_credentials(directory, credentials)
    return Keyring.open("agent.toml", directory)


def test_before_join_the_operator_is_told_to_join(tmp_path: Path) -> None:
    with pytest.raises(BadConfig, match="run wallpass join TOKEN") as failure:
        Keyring.open("agent.toml", tmp_path)
    assert failure.value.key == "data_dir"


def test_damaged_credentials_say_so(tmp_path: Path) -> None:
    keyring(tmp_path)
    credentials_path(tmp_path).write_text("tenant: acme\n")
    with pytest.raises(LocalMisuse, match="--replace"):
        Keyring.open("agent.toml", tmp_path)


def test_a_new_certificate_is_asked_for_in_the_last_third(tmp_path: Path) -> None:
    assert keyring(tmp_path, 50).renewal_request() is None
    request = keyring(tmp_path, 70).renewal_request()
    assert request is not None
    assert load_csr_untrusted(request).is_signature_valid


def test_a_renewed_certificate_is_kept_and_used(tmp_path: Path) -> None:
    ring = keyring(tmp_path, 80)
    old = ring.credentials
    request = ring.renewal_request()
    assert request is not None
    authority = open_authority(tmp_path / "server", datetime.now(UTC))
    ring.renew(authority.issue_agent_untrusted(request, 1, 1, "pbx-host", datetime.now(UTC)))
    kept = load_credentials(tmp_path)
    assert kept is not None
    assert ring.credentials.certificate == kept.certificate != old.certificate
    assert ring.renewal_request() is None


def test_somebody_elses_certificate_changes_nothing(tmp_path: Path) -> None:
    ring = keyring(tmp_path, 80)
    old = ring.credentials
    other = credentials_of(open_authority(tmp_path / "server", datetime.now(UTC)), now=datetime.now(UTC))
    with capture_logs() as logs:
        ring.renew(other.certificate)
        ring.renew(b"nonsense")
    assert [entry["event"] for entry in logs] == ["certificate.not_renewed"] * 2
    assert ring.credentials is old
    assert isinstance(load_credentials(tmp_path), AgentCredentials)


def test_connections_go_on_when_the_file_is_gone(tmp_path: Path) -> None:
    ring = keyring(tmp_path)
    credentials_path(tmp_path).unlink()
    assert ring.new_channel().drain_ciphertext()
