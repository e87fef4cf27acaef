from __future__ import annotations

import contextlib
import multiprocessing
import sqlite3
import stat
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from support.certificates import NOW, SECRET

from outside_server.tenant_store import SqliteTenants
from outside_server.tenants import hash_of
from tunnel.errors import LocalMisuse, Refused
from tunnel.link.identity import AgentIdentity

SOON = NOW + timedelta(hours=24)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "tenants.db"


@pytest.fixture
def store(path: Path) -> Iterator[SqliteTenants]:
    store = SqliteTenants(path)
    yield store
    store.close()


def test_a_tenant_comes_back_as_it_was_added(store: SqliteTenants) -> None:
    trunks = ["sip:198.51.100.20:5060", "sips:itsp.example"]
    domains = ["Acme.Example.", "pbx.acme.example"]
    added = store.add("acme", domains=domains, trunks=trunks, max_calls=30, calls_per_second=2.5)
    assert added.domains == ("acme.example", "pbx.acme.example")
    assert added.trunks == tuple(trunks)
    assert store.snapshot().tenants == {added.id: added}


def test_the_file_is_private(store: SqliteTenants, tmp_path: Path) -> None:
    store.add("acme")
    assert {stat.S_IMODE(each.stat().st_mode) for each in tmp_path.iterdir()} == {0o600}


def test_a_name_is_taken_once(store: SqliteTenants) -> None:
    store.add("acme")
    with pytest.raises(LocalMisuse, match="there is a tenant 'ACME' already"):
        store.add("ACME")


def test_a_domain_belongs_to_one_tenant(store: SqliteTenants) -> None:
    acme = store.add("acme", domains=["acme.example"])
    with pytest.raises(LocalMisuse, match=r"'acme\.example' belongs to the tenant 'acme'"):
        store.add("globex", domains=["globex.example", "ACME.example"])
    assert store.snapshot().tenants == {acme.id: acme}
    store.add("globex", domains=["globex.example"])


def test_a_domain_in_any_script(store: SqliteTenants) -> None:
    assert store.add("acme", domains=["bücher.example"]).domains == ("xn--bcher-kva.example",)


@pytest.mark.parametrize("name", ["", "-acme", "a b", "ä", "x" * 64, "a\n", "a/b"])
def test_what_is_no_name(store: SqliteTenants, name: str) -> None:
    with pytest.raises(LocalMisuse, match="is no tenant name"):
        store.add(name)


@pytest.mark.parametrize("domain", ["", "a b", "-a.example", "a..b", "sip:acme.example", "x" * 64, "a_b.example"])
def test_what_is_no_domain(store: SqliteTenants, domain: str) -> None:
    with pytest.raises(LocalMisuse, match="is no SIP domain"):
        store.add("acme", domains=[domain])


def test_what_is_no_trunk(store: SqliteTenants) -> None:
    with pytest.raises(LocalMisuse, match="is no trunk"):
        store.add("acme", trunks=["198.51.100.20"])


def test_a_number_is_never_given_again(store: SqliteTenants) -> None:
    first = store.add("acme")
    store.remove("acme")
    assert store.add("acme").id > first.id


def test_whoever_is_not_there_is_named_with_those_who_are(store: SqliteTenants) -> None:
    with pytest.raises(LocalMisuse, match="no tenant 'globex'; known: none yet"):
        store.remove("globex")
    store.add("acme")
    for ask in (store.remove, lambda name: store.invite(name, b"h", SOON), lambda name: store.revoke(name, None)):
        with pytest.raises(LocalMisuse, match="no tenant 'globex'; known: acme"):
            ask("globex")


# --- invitations ---


def refusal(redeem: Callable[[], object]) -> str:
    with pytest.raises(Refused) as caught:
        redeem()
    return caught.value.reason


def test_an_invitation_is_good_once(store: SqliteTenants) -> None:
    acme = store.add("acme")
    store.invite("acme", hash_of(SECRET), SOON)
    grant = store.redeem(SECRET, "pbx-host", NOW)
    assert (grant.tenant, grant.agent_name) == (acme, "pbx-host")
    assert refusal(lambda: store.redeem(SECRET, "pbx-host", NOW)) == "replayed"


def test_an_invitation_expires(store: SqliteTenants) -> None:
    store.add("acme")
    store.invite("acme", hash_of(SECRET), SOON)
    assert refusal(lambda: store.redeem(SECRET, "pbx-host", SOON)) == "expired"
    assert store.redeem(SECRET, "pbx-host", SOON - timedelta(seconds=1)).agent_name == "pbx-host"


def test_an_invitation_goes_with_its_tenant(store: SqliteTenants) -> None:
    store.add("acme")
    store.invite("acme", hash_of(SECRET), SOON)
    store.remove("acme")
    assert refusal(lambda: store.redeem(SECRET, "pbx-host", NOW)) == "unknown"


def test_whoever_reads_the_file_cannot_join(store: SqliteTenants, tmp_path: Path) -> None:
    store.add("acme")
    store.invite("acme", hash_of(SECRET), SOON)
    assert all(SECRET not in each.read_bytes() for each in tmp_path.iterdir())


def test_a_taken_name_gets_a_number(store: SqliteTenants) -> None:
    store.add("acme")
    names = []
    for number in range(3):
        store.invite("acme", hash_of(bytes([number]) * 16), SOON)
        names.append(store.redeem(bytes([number]) * 16, "PBX" if number else "pbx", NOW).agent_name)
    assert names == ["pbx", "PBX-2", "PBX-3"]


def _redeem(path: Path, name: str, results: multiprocessing.SimpleQueue[str]) -> None:
    store = SqliteTenants(path)
    try:
        store.redeem(SECRET, name, NOW)
        results.put("joined")
    except Refused as refused:
        results.put(refused.reason)
    finally:
        store.close()


def test_of_many_processes_with_one_token_one_joins(store: SqliteTenants, path: Path) -> None:
    store.add("acme")
    store.invite("acme", hash_of(SECRET), SOON)
    context = multiprocessing.get_context("spawn")
    results: multiprocessing.SimpleQueue[str] = context.SimpleQueue()
    processes = [context.Process(target=_redeem, args=(path, f"agent-{number}", results)) for number in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(30)
    assert sorted(results.get() for _ in processes) == ["joined", "replayed", "replayed", "replayed"]
    assert len(store.snapshot().agents) == 1


def test_of_many_threads_with_one_token_one_joins(store: SqliteTenants, path: Path) -> None:
    store.add("acme")
    store.invite("acme", hash_of(SECRET), SOON)
    results: multiprocessing.SimpleQueue[str] = multiprocessing.SimpleQueue()
    threads = [threading.Thread(target=_redeem, args=(path, f"agent-{number}", results)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results.get() for _ in threads) == ["joined", *["replayed"] * 15]


# --- agents ---


@pytest.fixture
def identity(store: SqliteTenants) -> AgentIdentity:
    store.add("acme")
    store.invite("acme", hash_of(SECRET), SOON)
    grant = store.redeem(SECRET, "pbx-host", NOW)
    return AgentIdentity(grant.tenant.id, grant.agent_id, grant.agent_name, 0xABC, SOON)


def test_an_agent_that_joined_may_connect(store: SqliteTenants, identity: AgentIdentity) -> None:
    store.note_serial(identity.agent_id, identity.serial)
    snapshot = store.snapshot()
    assert snapshot.refusal(identity) is None
    assert snapshot.agents[identity.agent_id].serial == "abc"


@pytest.mark.parametrize("agent", [None, "pbx-host", "PBX-HOST"])
def test_a_revoked_agent_may_not(store: SqliteTenants, identity: AgentIdentity, agent: str | None) -> None:
    (revoked,) = store.revoke("acme", agent)
    assert (revoked.id, revoked.name, revoked.revoked) == (identity.agent_id, "pbx-host", True)
    assert store.snapshot().refusal(identity) == "revoked"


def test_the_name_of_a_revoked_agent_is_free_again_and_the_old_one_stays_out(
    store: SqliteTenants, identity: AgentIdentity
) -> None:
    store.revoke("acme", None)
    store.invite("acme", hash_of(b"x" * 16), SOON)
    grant = store.redeem(b"x" * 16, "pbx-host", NOW)
    assert (grant.agent_name, grant.agent_id != identity.agent_id) == ("pbx-host", True)
    assert store.snapshot().refusal(identity) == "revoked"


def test_only_an_agent_that_is_there_can_be_revoked(store: SqliteTenants, identity: AgentIdentity) -> None:
    with pytest.raises(LocalMisuse, match="no agent 'other'"):
        store.revoke("acme", "other")
    store.revoke("acme", None)
    assert store.revoke("acme", None) == []


def test_the_agents_of_a_removed_tenant_are_unknown(store: SqliteTenants, identity: AgentIdentity) -> None:
    store.remove("acme")
    store.add("acme")
    assert store.snapshot().refusal(identity) == "unknown"


def test_a_certificate_of_another_tenants_agent_is_unknown(store: SqliteTenants, identity: AgentIdentity) -> None:
    other = store.add("globex")
    mixed = AgentIdentity(other.id, identity.agent_id, identity.name, identity.serial, identity.not_after)
    assert store.snapshot().refusal(mixed) == "unknown"


# --- two programs, one file ---


def test_the_mark_tells_of_ones_own_changes_and_of_others(store: SqliteTenants, path: Path) -> None:
    other = SqliteTenants(path)
    marks = [store.change_mark(), store.change_mark()]
    other.add("acme")
    marks += [store.change_mark(), store.change_mark()]
    store.add("globex")
    marks += [store.change_mark(), store.change_mark()]
    other.close()
    assert [marks.index(mark) for mark in marks] == [0, 0, 2, 2, 4, 4]


def test_what_failed_is_no_change(store: SqliteTenants) -> None:
    store.add("acme")
    mark = store.change_mark()
    with pytest.raises(LocalMisuse):
        store.add("acme")
    assert store.change_mark() == mark


def test_a_file_of_a_newer_version_is_left_alone(path: Path) -> None:
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(LocalMisuse, match="newer wallpass"):
        SqliteTenants(path)


def test_a_file_that_is_no_database(path: Path) -> None:
    path.write_bytes(b"not a database, but long enough to be one" * 100)
    with pytest.raises(LocalMisuse, match=r"cannot use .*tenants\.db: file is not a database"):
        SqliteTenants(path)


def test_a_file_of_the_first_version_is_taken_over(path: Path) -> None:
    """Tenants of before live on; what they could not say then has its default."""
    with sqlite3.connect(path) as db:
        db.executescript(
            "CREATE TABLE tenants (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE COLLATE NOCASE,"
            " max_calls INTEGER, calls_per_second REAL);"
            "CREATE TABLE domains (domain TEXT PRIMARY KEY, tenant INTEGER);"
            "CREATE TABLE trunks (tenant INTEGER, uri TEXT);"
            "CREATE TABLE agents (id INTEGER PRIMARY KEY, tenant INTEGER, name TEXT, serial TEXT, revoked INTEGER);"
            "CREATE TABLE invitations (secret_hash BLOB, tenant INTEGER, expires INTEGER, used_at INTEGER);"
            "INSERT INTO tenants (name) VALUES ('acme'); PRAGMA user_version = 1;"
        )
    db.close()
    for _ in range(2):
        with contextlib.closing(SqliteTenants(path)) as store:
            assert store.snapshot().tenants[1].trunk_ca == ""
    with contextlib.closing(SqliteTenants(path)) as store:
        assert store.add("globex", trunk_ca="PEM").trunk_ca == "PEM"
        assert store.snapshot().tenants[2].trunk_ca == "PEM"
