"""TLS between the ends: who is let in, and what is said when somebody is not (S1-4, S1-6, S4-12)."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
from cryptography import x509
from support.tls import Authority, exchange, secure_pair

from tunnel.errors import CarrierLost, PeerMisbehaved, Refused
from tunnel.link.secure import ALPN_JOIN, ALPN_LINK, SecureChannel, agent_context


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("stranger"), "stranger")


def up(authority: Authority) -> tuple[SecureChannel, SecureChannel]:
    agent, server = secure_pair(authority.agent("agent7"), authority.server())
    assert exchange(agent, server) == []
    return agent, server


def test_both_ends_know_each_other(authority: Authority) -> None:
    agent, server = up(authority)
    assert agent.established
    assert server.established
    assert agent.alpn == server.alpn == ALPN_LINK
    assert server.peer_certificate is not None
    name = x509.load_der_x509_certificate(server.peer_certificate).subject.rfc4514_string()
    assert name == "CN=agent7"


def test_bytes_cross_in_both_directions_one_record_for_each_write(authority: Authority) -> None:
    agent, server = up(authority)
    record = agent.seal(b"x" * 16000)
    assert len(record) == 16000 + 22
    server.feed(record[:100])
    assert server.read() == []
    server.feed(record[100:] + agent.seal(b"more"))
    assert server.read() == [b"x" * 16000, b"more"]
    agent.feed(server.seal(b"back"))
    assert agent.read() == [b"back"]


def test_the_server_sends_no_tickets(authority: Authority) -> None:
    agent, server = secure_pair(authority.agent(), authority.server())
    server.feed(agent.drain_ciphertext())
    agent.feed(server.drain_ciphertext())
    server.feed(agent.drain_ciphertext())
    assert server.established
    assert server.drain_ciphertext() == b""


def test_an_agent_without_a_certificate_may_join_and_nothing_else(authority: Authority) -> None:
    agent, server = secure_pair(agent_context(authority.pem), authority.server())
    assert exchange(agent, server) == []
    assert server.alpn == ALPN_JOIN
    assert server.peer_certificate is None

    pretender = agent_context(authority.pem)
    pretender.set_alpn_protocols([ALPN_LINK])
    agent, server = secure_pair(pretender, authority.server())
    complaints = exchange(agent, server)
    assert isinstance(complaints[0], PeerMisbehaved)
    assert "join first" in str(complaints[0])
    assert not server.established


def test_something_else_that_speaks_tls_is_told_apart(authority: Authority) -> None:
    browser = agent_context(authority.pem)
    browser.set_alpn_protocols(["http/1.1"])
    agent, server = secure_pair(browser, authority.server())
    complaints = exchange(agent, server)
    assert any("does not speak wallpass" in str(complaint) for complaint in complaints)
    assert not server.established


def test_an_agent_of_another_authority_is_refused_and_told_so(authority: Authority, stranger: Authority) -> None:
    context = agent_context(authority.pem, *stranger.issue("agent", "agent"))
    complaints = exchange(*secure_pair(context, authority.server()))
    assert isinstance(complaints[0], PeerMisbehaved)
    assert "certificate is not accepted" in str(complaints[0])
    assert isinstance(complaints[1], Refused)
    assert str(complaints[1]) == "the other end refuses: unknown ca"


def test_an_agent_refuses_a_server_of_another_authority(authority: Authority, stranger: Authority) -> None:
    complaints = exchange(*secure_pair(authority.agent(), stranger.server()))
    assert isinstance(complaints[0], PeerMisbehaved)
    assert isinstance(complaints[1], Refused)
    assert "unknown ca" in str(complaints[1])


def test_an_expired_agent_is_told_that_it_is_expired(authority: Authority) -> None:
    complaints = exchange(*secure_pair(authority.agent("old", expired=True), authority.server()))
    assert str(complaints[0]) == "the other end's certificate is not accepted: certificate has expired"
    assert str(complaints[1]) == "the other end refuses: certificate expired"


def test_one_agent_cannot_pose_as_the_server_of_another(authority: Authority) -> None:
    complaints = exchange(*secure_pair(authority.agent(), authority.server("agent8", usage="agent")))
    assert isinstance(complaints[0], PeerMisbehaved)
    assert "purpose" in str(complaints[0])


def test_the_servers_certificate_does_not_make_an_agent(authority: Authority) -> None:
    complaints = exchange(*secure_pair(authority.agent("server2", usage="server"), authority.server()))
    assert isinstance(complaints[0], PeerMisbehaved)
    assert "purpose" in str(complaints[0])


def test_older_tls_is_refused(authority: Authority) -> None:
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.check_hostname = False
    old.verify_mode = ssl.CERT_NONE
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    complaints = exchange(*secure_pair(old, authority.server()))
    assert isinstance(complaints[0], PeerMisbehaved)
    assert str(complaints[0]) == "the other end does not speak TLS 1.3 as it should: unsupported protocol"


def test_something_that_speaks_no_tls_is_told_apart(authority: Authority) -> None:
    server = SecureChannel(authority.server(), server_side=True)
    with pytest.raises(PeerMisbehaved, match="http request"):
        server.feed(b"GET / HTTP/1.1\r\nHost: sip.example\r\n\r\n")


def test_a_changed_bit_is_noticed(authority: Authority) -> None:
    agent, server = up(authority)
    record = bytearray(agent.seal(b"INVITE"))
    record[-1] ^= 1
    server.feed(bytes(record))
    with pytest.raises(PeerMisbehaved, match="bad record mac"):
        server.read()
    agent.feed(server.drain_ciphertext())
    with pytest.raises(Refused, match="bad record mac"):
        agent.read()


def test_last_words_are_read_before_the_end(authority: Authority) -> None:
    agent, server = up(authority)
    server.feed(agent.seal(b"bye") + agent.close())
    assert server.read() == [b"bye"]
    with pytest.raises(CarrierLost):
        server.read()


def test_an_end_in_the_middle_of_the_handshake_is_a_lost_carrier(authority: Authority) -> None:
    agent = SecureChannel(authority.agent(), server_side=False)
    with pytest.raises(CarrierLost):
        agent.feed(b"")


def test_the_key_need_not_be_in_the_certificates_file(authority: Authority, tmp_path: Path) -> None:
    certificate, key = authority.issue("agent9", "agent")
    moved = key.rename(tmp_path / "elsewhere.key")
    assert exchange(*secure_pair(agent_context(authority.pem, certificate, moved), authority.server())) == []
