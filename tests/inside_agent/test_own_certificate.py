from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from inside_agent.own_certificate import own_certificate

NOW = datetime(2030, 1, 1, tzinfo=UTC)
HOSTS = ["10.1.0.2", "fd00:1::2"]


def read(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


def test_it_names_the_lan_addresses_and_is_kept_between_starts(tmp_path: Path) -> None:
    """M4, M5: a phone that has imported it believes it after a restart as well."""
    path = own_certificate(tmp_path, HOSTS, NOW)
    before = path.read_bytes()
    names = read(path).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [str(address) for address in names.get_values_for_type(x509.IPAddress)] == HOSTS
    assert own_certificate(tmp_path, HOSTS, NOW + timedelta(days=1000)).read_bytes() == before
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(("hosts", "years"), [(["10.1.0.3"], 0), (HOSTS, 8)], ids=["moved", "old"])
def test_another_one_has_the_same_key(tmp_path: Path, hosts: list[str], years: int) -> None:
    old = read(own_certificate(tmp_path, HOSTS, NOW))
    new = read(own_certificate(tmp_path, hosts, NOW + timedelta(days=365 * years)))
    assert new.serial_number != old.serial_number
    assert new.public_key() == old.public_key()


def test_a_damaged_file_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "lan.pem").write_text("-----BEGIN PRIVATE KEY-----")
    assert read(own_certificate(tmp_path, HOSTS, NOW)).not_valid_after_utc > NOW
