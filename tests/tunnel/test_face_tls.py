"""What a face shows by TLS and whom it believes; the handshakes themselves are tested with sockets."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime
from pathlib import Path

import pytest
import trustme
from msgspec import structs
from support.certificates import open_authority

from outside_server.config import PublicFace
from tunnel.config import FaceAddresses, SipListener
from tunnel.errors import BadConfig, LocalMisuse
from tunnel.face_tls import FaceTls, check_authorities

NOW = datetime.now(UTC)
AUTHORITY = trustme.CA()


def never(now: datetime) -> Path:
    raise AssertionError("the configured certificate is there")


def face(directory: Path, name: str = "sip.example") -> PublicFace:
    leaf = AUTHORITY.issue_cert(name)
    leaf.private_key_pem.write_to_path(directory / "sip.key")
    (directory / "sip.pem").write_bytes(b"".join(blob.bytes() for blob in leaf.cert_chain_pems))
    return PublicFace(
        address=FaceAddresses(["127.0.0.1"]),
        sip=(SipListener("tls", 0),),
        certificate=directory / "sip.pem",
        private_key=directory / "sip.key",
    )


def handshake(server: ssl.SSLContext, client: ssl.SSLContext, name: str) -> ssl.SSLObject:
    """Both ends' handshake; returns the server's."""
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    caller = client.wrap_bio(back, there, server_hostname=name)
    callee = server.wrap_bio(there, back, server_side=True)
    for _ in range(3):
        for end in (caller, callee):
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
    return callee


def asking() -> ssl.SSLContext:
    """A peer that wants to know who connects."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    AUTHORITY.issue_cert("peer.example").configure_cert(context)
    AUTHORITY.configure_trust(context)
    context.verify_mode = ssl.CERT_OPTIONAL
    return context


def test_a_peer_that_asks_sees_the_configured_certificate(tmp_path: Path) -> None:
    """M4: carriers that know their customers by certificate."""
    tls = FaceTls(face(tmp_path), never, NOW)
    client = tls.client(AUTHORITY.cert_pem.bytes().decode())
    seen = handshake(asking(), client, "peer.example").getpeercert()
    assert seen is not None
    assert ("DNS", "sip.example") in seen["subjectAltName"]
    tls.use(face(tmp_path, "new.example"), NOW)
    seen = handshake(asking(), client, "peer.example").getpeercert()
    assert seen is not None
    assert ("DNS", "new.example") in seen["subjectAltName"]


def test_a_certificate_for_servers_only_is_not_shown_as_a_clients(tmp_path: Path) -> None:
    """Most peers refuse it outright, though they would have taken none."""
    own = open_authority(tmp_path / "authority", NOW).public_certificate(["sip.example"], NOW).path
    named = structs.replace(face(tmp_path), certificate=own, private_key=own)
    client = FaceTls(named, never, NOW).client(AUTHORITY.cert_pem.bytes().decode())
    assert handshake(asking(), client, "peer.example").getpeercert() is None


def test_who_is_believed_is_asked_for_once(tmp_path: Path) -> None:
    """Connections are used again by their context."""
    tls = FaceTls(face(tmp_path), never, NOW)
    text = AUTHORITY.cert_pem.bytes().decode()
    assert tls.client(text) is tls.client(text)
    assert tls.client() is tls.client("")
    assert tls.client() is not tls.client(text)
    with pytest.raises(LocalMisuse, match="no authority can be read"):
        tls.client("nonsense")


def test_the_systems_store_is_what_the_environment_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """M4: SSL_CERT_FILE is honoured."""
    AUTHORITY.cert_pem.write_to_path(tmp_path / "store.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "store.pem"))
    client = FaceTls(face(tmp_path), never, NOW).client()
    assert handshake(asking(), client, "peer.example").version() == "TLSv1.3"
    monkeypatch.delenv("SSL_CERT_FILE")
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(asking(), FaceTls(face(tmp_path), never, NOW).client(), "peer.example")


def test_files_that_went_bad_leave_what_was_shown(tmp_path: Path) -> None:
    named = face(tmp_path)
    tls = FaceTls(named, never, NOW)
    assert tls.server is not None
    (tmp_path / "sip.pem").write_text("nonsense")
    with pytest.raises(LocalMisuse, match=r"sip\.pem cannot be used"):
        tls.use(named, NOW)
    client = ssl.create_default_context()
    AUTHORITY.configure_trust(client)
    assert handshake(tls.server, client, "sip.example").version() == "TLSv1.3"


@pytest.mark.parametrize("text", [None, "", "nonsense"])
def test_who_may_vouch_is_in_a_file_that_can_be_read(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "ca.pem").write_text(text)
    with pytest.raises(BadConfig, match=r"lan\.tls_ca = .*ca\.pem'.*: name a"):
        check_authorities("agent.toml", "lan.tls_ca", tmp_path / "ca.pem")
