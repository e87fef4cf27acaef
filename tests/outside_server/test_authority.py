from __future__ import annotations

import ipaddress
import os
import stat
import threading
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from support.certificates import NOW, credentials_of, open_authority

from outside_server.authority import Authority, CertificateFile
from tunnel.errors import BadPacket, LocalMisuse
from tunnel.link.identity import load_certificate_untrusted, make_csr, new_key

SECRET_FILES = ["authority.pem", "masks.key", "public.pem", "server.pem"]


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return open_authority(tmp_path / "data")


def leaf(file: CertificateFile) -> x509.Certificate:
    return x509.load_pem_x509_certificates(file.path.read_bytes())[0]


def purposes(certificate: x509.Certificate) -> list[str]:
    return [each._name for each in certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value]


def test_the_authority_is_made_once(tmp_path: Path) -> None:
    first = open_authority(tmp_path / "data")
    again = open_authority(tmp_path / "data", NOW + timedelta(days=1000))
    assert again.pem == first.pem
    assert again.tenant_mask_key(1) == first.tenant_mask_key(1)


def test_ends_that_start_together_make_one_authority(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    found: list[tuple[str, bytes, bytes]] = []

    def start() -> None:
        authority = Authority.open(tmp_path / "data", NOW, os.urandom)
        file = authority.server_certificate(NOW)
        found.append((authority.pem, authority.tenant_mask_key(1), file.path.read_bytes()))

    threads = [threading.Thread(target=start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(found)) == 1


def test_every_file_is_private(authority: Authority, tmp_path: Path) -> None:
    authority.server_certificate(NOW)
    authority.public_certificate(["203.0.113.10"], NOW)
    files = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "data").iterdir()}
    assert files.keys() >= set(SECRET_FILES)
    assert set(files.values()) == {0o600}


@pytest.mark.parametrize("file", ["authority.pem", "masks.key"])
@pytest.mark.parametrize("left", [0, 20])
def test_a_damaged_file_is_never_replaced(authority: Authority, tmp_path: Path, file: str, left: int) -> None:
    path = tmp_path / "data" / file
    path.write_bytes(path.read_bytes()[:left])
    with pytest.raises(LocalMisuse, match=f"{file} is damaged.*restore it from a backup"):
        open_authority(tmp_path / "data")
    assert len(path.read_bytes()) == left


def test_the_servers_certificate_serves_and_carries_its_chain(authority: Authority) -> None:
    file = authority.server_certificate(NOW)
    certificate, issuer = x509.load_pem_x509_certificates(file.path.read_bytes())
    assert issuer == authority.certificate
    assert purposes(certificate) == ["serverAuth"]
    certificate.verify_directly_issued_by(authority.certificate)


def test_the_servers_certificate_is_renewed_when_a_third_remains(authority: Authority) -> None:
    first = authority.server_certificate(NOW)
    assert authority.server_certificate(NOW + timedelta(days=240)) == first
    later = authority.server_certificate(NOW + timedelta(days=250))
    assert later.not_after == NOW + timedelta(days=250 + 365)
    assert later.path == first.path


def test_a_damaged_server_certificate_is_made_again(authority: Authority) -> None:
    file = authority.server_certificate(NOW)
    file.path.write_bytes(file.path.read_bytes()[:300])
    assert leaf(authority.server_certificate(NOW)).subject == x509.Name(
        [x509.NameAttribute(x509.NameOID.COMMON_NAME, "server.wallpass.internal")]
    )


def test_the_public_certificate_bears_the_names_asked_for(authority: Authority) -> None:
    first = authority.public_certificate(["203.0.113.10", "2001:db8::1", "acme.example"], NOW)
    names = leaf(first).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    addresses = [ipaddress.ip_address("203.0.113.10"), ipaddress.ip_address("2001:db8::1")]
    assert names.get_values_for_type(x509.IPAddress) == addresses
    assert names.get_values_for_type(x509.DNSName) == ["acme.example"]


def test_the_public_certificate_is_made_again_for_other_names(authority: Authority) -> None:
    serial = leaf(authority.public_certificate(["203.0.113.10"], NOW)).serial_number
    assert leaf(authority.public_certificate(["203.0.113.10"], NOW)).serial_number == serial
    assert leaf(authority.public_certificate(["203.0.113.11"], NOW)).serial_number != serial


def test_an_agents_certificate_is_only_for_a_client_and_bears_our_names(authority: Authority) -> None:
    der = authority.issue_agent_untrusted(make_csr(new_key(), "CN of its own choice"), 3, 7, "pbx-host", NOW)
    certificate = load_certificate_untrusted(der)
    assert purposes(certificate) == ["clientAuth"]
    assert certificate.subject.rfc4514_string() == "CN=pbx-host,O=3"
    assert certificate.not_valid_after_utc == NOW + timedelta(days=90)
    certificate.verify_directly_issued_by(authority.certificate)


def test_what_is_no_request_is_not_signed(authority: Authority) -> None:
    with pytest.raises(BadPacket):
        authority.issue_agent_untrusted(b"\x30\x00", 3, 7, "pbx-host", NOW)


def test_serial_numbers_differ(authority: Authority) -> None:
    assert len({credentials_of(authority).identity.serial for _ in range(5)}) == 5


def test_every_tenant_has_a_key_of_its_own(authority: Authority, tmp_path: Path) -> None:
    keys = {authority.tenant_mask_key(1), authority.tenant_mask_key(2), authority.mask_hint_key()}
    keys.add((tmp_path / "data" / "masks.key").read_bytes())
    assert len(keys) == 4
    assert {len(key) for key in keys} == {32}
