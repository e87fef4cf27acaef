"""[io] The tenants in SQLite: one file in ``data_dir`` that the server and the ``tenant`` commands open at the same time.

Write-ahead logging lets them read while one writes; the running server looks at `SqliteTenants.change_mark` every
second. Each method is one transaction.
"""

from __future__ import annotations

import contextlib
import re
import sqlite3
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path

from outside_server.tenants import Agent, Grant, Snapshot, Tenant, hash_of
from tunnel.config import parse_sip_uri
from tunnel.errors import LocalMisuse, Refused
from tunnel.files import create_private, locked

__all__ = ["SqliteTenants"]

BUSY_TIMEOUT_S = 10.0
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
DOMAIN = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)(\.(?!-)[a-z0-9-]{1,63}(?<!-))*")
LAYOUT = 2  # `PRAGMA user_version`

TABLES = """
CREATE TABLE IF NOT EXISTS tenants (
    id INTEGER PRIMARY KEY AUTOINCREMENT,   -- never given again: certificates and masks bear it
    name TEXT NOT NULL UNIQUE COLLATE NOCASE,
    max_calls INTEGER,
    calls_per_second REAL,
    trunk_ca TEXT NOT NULL DEFAULT ''       -- PEM; since layout 2
);
CREATE TABLE IF NOT EXISTS domains (
    domain TEXT PRIMARY KEY,
    tenant INTEGER NOT NULL REFERENCES tenants ON DELETE CASCADE
);
CREATE TABLE IF NOT EXISTS trunks (
    tenant INTEGER NOT NULL REFERENCES tenants ON DELETE CASCADE,
    uri TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS agents (
    id INTEGER PRIMARY KEY AUTOINCREMENT,   -- never given again: certificates and masks bear it
    tenant INTEGER NOT NULL REFERENCES tenants ON DELETE CASCADE,
    name TEXT NOT NULL,
    serial TEXT NOT NULL DEFAULT '',        -- of the newest certificate, hexadecimal
    revoked INTEGER NOT NULL DEFAULT 0
);
CREATE UNIQUE INDEX IF NOT EXISTS agent_names ON agents (tenant, name COLLATE NOCASE) WHERE NOT revoked;
CREATE TABLE IF NOT EXISTS invitations (
    secret_hash BLOB PRIMARY KEY,           -- SHA-256; whoever reads the file cannot join
    tenant INTEGER NOT NULL REFERENCES tenants ON DELETE CASCADE,
    expires INTEGER NOT NULL,               -- Unix time, seconds
    used_at INTEGER
);
"""

TO_LAYOUT_2 = "ALTER TABLE tenants ADD COLUMN trunk_ca TEXT NOT NULL DEFAULT '';"


class SqliteTenants:
    """A `TenantStore` in one file of mode 0600. One object belongs to one thread; many processes may share the file."""

    def __init__(self, path: Path) -> None:
        create_private(path)
        self._path = path
        self._own_changes = 0
        with locked(path.with_suffix(".lock")), self._translated():  # SQLite waits for nobody on the way to WAL
            self._db = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None)
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA foreign_keys = ON")
            self._lay_out()

    def close(self) -> None:
        self._db.close()

    def _lay_out(self) -> None:
        (layout,) = self._db.execute("PRAGMA user_version").fetchone()
        if layout > LAYOUT:
            raise LocalMisuse(f"{self._path} was written by a newer wallpass: use that one")
        if layout < LAYOUT:
            step = TABLES if layout == 0 else TO_LAYOUT_2
            self._db.executescript(f"BEGIN IMMEDIATE; {step} PRAGMA user_version = {LAYOUT}; COMMIT;")

    def change_mark(self) -> object:
        with self._translated():
            (others,) = self._db.execute("PRAGMA data_version").fetchone()
        return others, self._own_changes

    def snapshot(self) -> Snapshot:
        with self._reading():
            domains = _grouped(self._db.execute("SELECT tenant, domain FROM domains ORDER BY rowid"))
            trunks = _grouped(self._db.execute("SELECT tenant, uri FROM trunks ORDER BY rowid"))
            rows = self._db.execute(
                "SELECT id, name, max_calls, calls_per_second, trunk_ca FROM tenants ORDER BY id"
            ).fetchall()
            agents = self._db.execute("SELECT id, tenant, name, serial, revoked FROM agents ORDER BY id").fetchall()
        tenants = {
            number: Tenant(number, name, domains.get(number, ()), trunks.get(number, ()), calls, rate, ca)
            for number, name, calls, rate, ca in rows
        }
        return Snapshot(
            tenants, {row[0]: Agent(row[0], row[1], row[2], row[3], revoked=bool(row[4])) for row in agents}
        )

    def add(
        self,
        name: str,
        *,
        domains: Sequence[str] = (),
        trunks: Sequence[str] = (),
        max_calls: int | None = None,
        calls_per_second: float | None = None,
        trunk_ca: str = "",
    ) -> Tenant:
        _check_name("tenant", name)
        hosts = list(dict.fromkeys(_domain(domain) for domain in domains))
        uris = list(dict.fromkeys(_trunk(uri) for uri in trunks))
        with self._writing() as db:
            if db.execute("SELECT 1 FROM tenants WHERE name = ?", [name]).fetchone():
                raise LocalMisuse(f"there is a tenant {name!r} already: choose another name, or remove that one first")
            tenant = db.execute(
                "INSERT INTO tenants (name, max_calls, calls_per_second, trunk_ca) VALUES (?, ?, ?, ?)",
                [name, max_calls, calls_per_second, trunk_ca],
            ).lastrowid
            assert tenant is not None
            for host in hosts:
                owner = db.execute(
                    "SELECT name FROM tenants JOIN domains ON tenants.id = tenant WHERE domain = ?", [host]
                ).fetchone()
                if owner:
                    raise LocalMisuse(f"the domain {host!r} belongs to the tenant {owner[0]!r}")
                db.execute("INSERT INTO domains VALUES (?, ?)", [host, tenant])
            db.executemany("INSERT INTO trunks VALUES (?, ?)", [(tenant, uri) for uri in uris])
        return Tenant(tenant, name, tuple(hosts), tuple(uris), max_calls, calls_per_second, trunk_ca)

    def remove(self, name: str) -> None:
        with self._writing() as db:
            if not db.execute("DELETE FROM tenants WHERE name = ?", [name]).rowcount:
                raise self._no_tenant(name)

    def invite(self, name: str, secret_hash: bytes, expires: datetime) -> Tenant:
        with self._writing() as db:
            tenant = self._tenant(name)
            db.execute(
                "INSERT INTO invitations (secret_hash, tenant, expires) VALUES (?, ?, ?)",
                [secret_hash, tenant.id, int(expires.timestamp())],
            )
        return tenant

    def redeem(self, secret: bytes, agent: str, now: datetime) -> Grant:
        with self._writing() as db:
            row = db.execute(
                "SELECT name, expires, used_at FROM invitations JOIN tenants ON tenants.id = tenant"
                " WHERE secret_hash = ?",
                [hash_of(secret)],
            ).fetchone()
            if row is None:
                raise Refused("unknown")
            name, expires, used_at = row
            if used_at is not None:
                raise Refused("replayed")
            if expires <= now.timestamp():
                raise Refused("expired")
            tenant = self._tenant(name)
            free = self._free_name(tenant.id, agent)
            number = db.execute("INSERT INTO agents (tenant, name) VALUES (?, ?)", [tenant.id, free]).lastrowid
            assert number is not None
            db.execute(
                "UPDATE invitations SET used_at = ? WHERE secret_hash = ?", [int(now.timestamp()), hash_of(secret)]
            )
        return Grant(tenant, number, free)

    def note_serial(self, agent_id: int, serial: int) -> None:
        with self._writing() as db:
            db.execute("UPDATE agents SET serial = ? WHERE id = ?", [f"{serial:x}", agent_id])

    def revoke(self, name: str, agent: str | None) -> list[Agent]:
        with self._writing() as db:
            tenant = self._tenant(name)
            rows = db.execute(
                "UPDATE agents SET revoked = 1 WHERE tenant = ? AND NOT revoked AND (?2 IS NULL OR name = ?2"
                " COLLATE NOCASE) RETURNING id, tenant, name, serial",
                [tenant.id, agent],
            ).fetchall()
            if agent is not None and not rows:
                raise LocalMisuse(f"the tenant {name!r} has no agent {agent!r} that could be revoked")
        return [Agent(number, tenant_id, name, serial, revoked=True) for number, tenant_id, name, serial in rows]

    # --- helpers ---

    def _tenant(self, name: str) -> Tenant:
        row = self._db.execute(
            "SELECT id, name, max_calls, calls_per_second, trunk_ca FROM tenants WHERE name = ?", [name]
        ).fetchone()
        if row is None:
            raise self._no_tenant(name)
        domains = _grouped(self._db.execute("SELECT tenant, domain FROM domains WHERE tenant = ?", [row[0]]))
        trunks = _grouped(self._db.execute("SELECT tenant, uri FROM trunks WHERE tenant = ?", [row[0]]))
        return Tenant(row[0], row[1], domains.get(row[0], ()), trunks.get(row[0], ()), *row[2:])

    def _no_tenant(self, name: str) -> LocalMisuse:
        known = [row[0] for row in self._db.execute("SELECT name FROM tenants ORDER BY name LIMIT 20")]
        return LocalMisuse(f"there is no tenant {name!r}; known: {', '.join(known) or 'none yet'}")

    def _free_name(self, tenant: int, wished: str) -> str:
        """The wished name, or the first of name-2, name-3 ... that no living agent of the tenant bears."""
        rows = self._db.execute("SELECT lower(name) FROM agents WHERE tenant = ? AND NOT revoked", [tenant])
        taken = {row[0] for row in rows}
        name, number = wished, 1
        while name.lower() in taken:
            number += 1
            name = f"{wished[:56]}-{number}"
        return name

    @contextlib.contextmanager
    def _reading(self) -> Iterator[None]:
        with self._translated():
            self._db.execute("BEGIN")
            try:
                yield
            finally:
                self._db.execute("COMMIT")

    @contextlib.contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """One transaction that excludes every other writer from its beginning; an exception undoes it."""
        with self._translated():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise
            self._own_changes += 1

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise LocalMisuse(f"cannot use {self._path}: {error}") from None


def _grouped(rows: sqlite3.Cursor) -> dict[int, tuple[str, ...]]:
    groups: dict[int, tuple[str, ...]] = {}
    for tenant, text in rows:
        groups[tenant] = (*groups.get(tenant, ()), text)
    return groups


def _check_name(what: str, name: str) -> None:
    if not NAME.fullmatch(name):
        raise LocalMisuse(f"{name!r} is no {what} name: use letters, digits, dot, dash and underscore, at most 63")


def _domain(text: str) -> str:
    try:
        domain = text.strip().rstrip(".").encode("idna").decode().lower()
    except UnicodeError:
        domain = ""
    if len(domain) > 253 or not DOMAIN.fullmatch(domain):
        raise LocalMisuse(f"{text!r} is no SIP domain: one looks like acme.example")
    return domain


def _trunk(text: str) -> str:
    try:
        return parse_sip_uri(text)
    except ValueError:
        raise LocalMisuse(f"{text!r} is no trunk: one looks like sip:198.51.100.20:5060") from None
