from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme
from support.certificates import connecting_context, credentials_of, open_authority

from outside_server.authority import Authority
from outside_server.config import PublicFace
from outside_server.server_tls import ServerTls
from tunnel.config import FaceAddresses, SipListener
from tunnel.errors import LocalMisuse
from tunnel.link.identity import load_certificate_untrusted
from tunnel.link.secure import SecureChannel

NOW = datetime.now(UTC)
FACE = PublicFace(address=FaceAddresses(["127.0.0.1"]), sip=(SipListener("tls", 0),))


def shown_to_agents(tls: ServerTls, authority: Authority, directory: Path) -> datetime:
    """When the certificate ends that a new connection shows to an agent."""
    context = connecting_context(credentials_of(authority, now=NOW), directory / "agent.pem")
    agent, server = SecureChannel(context, server_side=False), tls.new_channel()
    while not (agent.established and server.established):
        for one, other in ((agent, server), (server, agent)):
            if data := one.drain_ciphertext():
                other.feed(data)
    certificate = agent.peer_certificate
    assert certificate is not None
    return load_certificate_untrusted(certificate).not_valid_after_utc


def shown_in_public(context: ssl.SSLContext | None) -> bytes:
    """The certificate that a new connection to a tls: listener shows, DER."""
    assert context is not None
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    asking = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    asking.check_hostname = False
    asking.verify_mode = ssl.CERT_NONE
    client = asking.wrap_bio(back, there)
    server = context.wrap_bio(there, back, server_side=True)
    for end in (client, server, client):
        try:
            end.do_handshake()
        except ssl.SSLWantReadError:
            continue
    certificate = client.getpeercert(binary_form=True)
    assert certificate is not None
    return certificate


def test_a_server_that_runs_for_months_shows_a_new_certificate(tmp_path: Path) -> None:
    authority = open_authority(tmp_path / "data", NOW)
    tls = ServerTls(authority, FACE, NOW - timedelta(days=300))
    old, old_public = shown_to_agents(tls, authority, tmp_path), shown_in_public(tls.public.server)
    assert not tls.renew(NOW - timedelta(days=200))
    assert shown_to_agents(tls, authority, tmp_path) == old
    assert tls.renew(NOW)
    assert shown_to_agents(tls, authority, tmp_path) > old + timedelta(days=200)
    assert shown_in_public(tls.public.server) != old_public


def test_the_operators_certificate_is_not_ours_to_renew(tmp_path: Path) -> None:
    face = with_certificate(tmp_path)
    tls = ServerTls(open_authority(tmp_path / "data", NOW), face, NOW)
    shown = shown_in_public(tls.public.server)
    tls.renew(NOW + timedelta(days=300))
    assert shown_in_public(tls.public.server) == shown


def test_files_that_cannot_be_used_leave_the_old_certificate(tmp_path: Path) -> None:
    face = with_certificate(tmp_path)
    tls = ServerTls(open_authority(tmp_path / "data", NOW), face, NOW)
    shown = shown_in_public(tls.public.server)
    (tmp_path / "sip.pem").write_text("nonsense")
    with pytest.raises(LocalMisuse, match=r"sip\.pem cannot be used"):
        tls.public.use(face, NOW)
    assert shown_in_public(tls.public.server) == shown


def test_without_a_tls_listener_there_is_no_public_context(tmp_path: Path) -> None:
    face = PublicFace(address=FaceAddresses(["127.0.0.1"]), sip=(SipListener("udp", 0),))
    assert ServerTls(open_authority(tmp_path / "data", NOW), face, NOW).public.server is None


def with_certificate(directory: Path) -> PublicFace:
    issued = trustme.CA().issue_cert("sip.example")
    issued.private_key_pem.write_to_path(directory / "sip.key")
    (directory / "sip.pem").write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    return PublicFace(
        address=FACE.address, sip=FACE.sip, certificate=directory / "sip.pem", private_key=directory / "sip.key"
    )
