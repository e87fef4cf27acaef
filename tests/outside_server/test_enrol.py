from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.certificates import NOW, SECRET, SERVER, credentials_of, open_authority

from outside_server.authority import Authority
from outside_server.enrol import JoinAnswer, answer_untrusted, renew_untrusted
from outside_server.tenant_store import SqliteTenants
from outside_server.tenants import hash_of
from tunnel.errors import BadPacket, LocalMisuse, Refused
from tunnel.link.identity import AgentIdentity, load_certificate_untrusted, make_csr, new_key
from tunnel.link.joining import Joined, JoinRefused, JoinRequest, decode_response_untrusted, encode

KEY = new_key()


class Office:
    """A server's side, with one open invitation to acme."""

    def __init__(self, data_dir: Path) -> None:
        self.authority: Authority = open_authority(data_dir)
        self.store = SqliteTenants(data_dir / "tenants.db")
        self.store.add("acme")
        self.store.invite("acme", hash_of(SECRET), NOW + timedelta(hours=24))

    def answer(self, request: bytes, now: datetime = NOW) -> JoinAnswer:
        return answer_untrusted(request, self.authority, self.store, [SERVER], now)

    def join(self, secret: bytes = SECRET, agent: str = "pbx-host", now: datetime = NOW) -> Joined | JoinRefused:
        answer = self.answer(encode(JoinRequest(secret, make_csr(KEY, agent), agent)), now)
        assert decode_response_untrusted(answer.data) == answer.message
        return answer.message


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    office = Office(tmp_path)
    yield office
    office.store.close()


def test_a_good_token_gives_a_certificate_for_the_agents_key(office: Office) -> None:
    joined = office.join()
    assert isinstance(joined, Joined)
    assert (joined.tenant, joined.agent, joined.servers) == ("acme", "pbx-host", ("203.0.113.10:443",))
    assert load_certificate_untrusted(joined.certificate).public_key() == KEY.public_key()
    identity = AgentIdentity.from_certificate_untrusted(joined.certificate)
    snapshot = office.store.snapshot()
    assert snapshot.refusal(identity) is None
    assert snapshot.agents[identity.agent_id].serial == f"{identity.serial:x}"


@pytest.mark.parametrize(
    ("secret", "later", "reason"),
    [(SECRET, timedelta(hours=25), "expired"), (b"guess" * 4, timedelta(0), "unknown"), (b"", timedelta(0), "unknown")],
)
def test_a_token_that_is_not_good_is_refused_with_its_reason(
    office: Office, secret: bytes, later: timedelta, reason: str
) -> None:
    refused = office.join(secret, now=NOW + later)
    assert isinstance(refused, JoinRefused)
    assert refused.reason == reason
    assert office.store.snapshot().agents == {}


def test_a_token_is_good_once(office: Office) -> None:
    office.join()
    again = office.join()
    assert isinstance(again, JoinRefused)
    assert again.reason == "replayed"
    assert "used before" in again.explanation


def test_a_request_that_cannot_be_signed_does_not_use_the_token_up(office: Office) -> None:
    refused = office.answer(encode(JoinRequest(SECRET, b"no request", "pbx-host"))).message
    assert isinstance(refused, JoinRefused)
    assert refused.reason == "malformed"
    assert isinstance(office.join(), Joined)


@pytest.mark.parametrize(
    ("wished", "fit"),
    [
        ("pbx.acme.example", "pbx.acme.example"),
        ("büro 1\x1b[2J", "b-ro-1-2J"),
        ("", "agent"),
        ("..", "agent"),
        ("x" * 99, "x" * 48),
    ],
)
def test_a_name_is_made_fit(office: Office, wished: str, fit: str) -> None:
    joined = office.join(agent=wished)
    assert isinstance(joined, Joined)
    assert joined.agent == fit


def test_a_store_that_cannot_be_used_is_an_answer_too(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise LocalMisuse("cannot use tenants.db: database or disk is full")

    monkeypatch.setattr(office.store, "redeem", full)
    refused = office.join()
    assert isinstance(refused, JoinRefused)
    assert refused.reason == "unavailable"
    monkeypatch.setattr(office.store, "note_serial", full)
    identity = credentials_of(office.authority).identity
    with pytest.raises(Refused):
        renew_untrusted(make_csr(KEY, "x"), identity, office.authority, office.store, NOW)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=300), st.integers(0, 400), st.integers(0, 255))
def test_any_bytes_get_an_answer(office: Office, noise: bytes, place: int, value: int) -> None:
    bent = bytearray(encode(JoinRequest(b"x" * 16, make_csr(KEY, "x"), "x")))
    bent[place % len(bent)] = value
    for request in (noise, bytes(bent)):
        assert isinstance(office.answer(request).message, JoinRefused)


# --- renewal ---


def test_an_agent_gets_a_new_certificate_for_the_same_identity(office: Office) -> None:
    joined = office.join()
    assert isinstance(joined, Joined)
    old = AgentIdentity.from_certificate_untrusted(joined.certificate)
    later = NOW + timedelta(days=70)
    new = AgentIdentity.from_certificate_untrusted(
        renew_untrusted(make_csr(KEY, "any name"), old, office.authority, office.store, later)
    )
    assert (new.tenant_id, new.agent_id, new.name) == (old.tenant_id, old.agent_id, old.name)
    assert new.not_after == later + timedelta(days=90)
    assert office.store.snapshot().agents[old.agent_id].serial == f"{new.serial:x}"


def test_a_revoked_agent_gets_none(office: Office) -> None:
    joined = office.join()
    assert isinstance(joined, Joined)
    identity = AgentIdentity.from_certificate_untrusted(joined.certificate)
    office.store.revoke("acme", None)
    with pytest.raises(Refused, match="revoked"):
        renew_untrusted(make_csr(KEY, "x"), identity, office.authority, office.store, NOW)


def test_a_renewal_without_a_request_is_a_bad_packet(office: Office) -> None:
    joined = office.join()
    assert isinstance(joined, Joined)
    identity = AgentIdentity.from_certificate_untrusted(joined.certificate)
    with pytest.raises(BadPacket):
        renew_untrusted(b"", identity, office.authority, office.store, NOW)
