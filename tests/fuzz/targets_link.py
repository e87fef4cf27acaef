"""Targets of what reads the link and the way to join it: bytes of whoever connects to the tunnel port, or answers there."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable
from datetime import timedelta
from functools import cache
from pathlib import Path

from fuzz.seeds import (
    certificates,
    link_frames,
)
from fuzz.target import add
from support.certificates import NOW, SECRET, SERVER, open_authority, token_of

from inside_agent.join import _credentials_untrusted
from outside_server.enrol import _certificate_untrusted, _join_untrusted, answer_untrusted, renew_untrusted
from outside_server.tenant_store import SqliteTenants
from outside_server.tenants import hash_of
from tunnel.address import Address
from tunnel.counters import Counters
from tunnel.errors import BadPacket, Refused
from tunnel.link import control, frames, joining
from tunnel.link.identity import (
    AgentIdentity,
    _ids_untrusted,
    load_certificate_untrusted,
    load_csr_untrusted,
    make_csr,
    new_key,
)
from tunnel.link.inbox import Inbox
from tunnel.link.priority import Classifier
from tunnel.link.resume import Reliable
from tunnel.link.session import Role, Session
from tunnel.link.token import Token

PEER = Address("203.0.113.66", 5060)
LOCAL = Address("203.0.113.10", 5060)
KEY = new_key()


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


# --- the link ---

LINK = "tunnel.link."
add(LINK + "control:parse_link_untrusted", control.parse_link_untrusted, link_frames)
add(LINK + "control:parse_reliable_untrusted", control.parse_reliable_untrusted, link_frames)
add(LINK + "frames:dispatch_untrusted", lambda data: frames.dispatch_untrusted(data, frames.Sinks()), link_frames)


def _inbox() -> Inbox:
    inbox = Inbox(Classifier(), Counters())
    inbox.open()
    return inbox


add(LINK + "inbox:Inbox.dispatch_untrusted", lambda data: _inbox().dispatch_untrusted(data, 0), link_frames)
add(
    LINK + "inbox:Inbox.hear_clock_untrusted",
    lambda data: _inbox().hear_clock_untrusted(data, 1.0),
    lambda: [bytes(4), bytes(8)],
)


def _numbers(data: bytes) -> list[int]:
    return [int.from_bytes(data[at : at + 4], "big") for at in range(0, len(data), 4)]


def _reliable(feed: Callable[[Reliable, bytes], object]) -> Callable[[bytes], object]:
    def run(data: bytes) -> None:
        reliable = Reliable(Counters())
        for _ in range(3):
            reliable.send(b"x" * 10)
        reliable.take(10_000)
        feed(reliable, data)

    return run


add(
    LINK + "resume:Reliable.acknowledge_untrusted",
    _reliable(lambda r, data: [r.acknowledge_untrusted(n) for n in _numbers(data)]),
    lambda: [b"\0\0\0\1\0\0\0\2"],
)
add(
    LINK + "resume:Reliable.resume_untrusted",
    _reliable(lambda r, data: [r.resume_untrusted(n) for n in _numbers(data)]),
    lambda: [b"\0\0\0\2"],
)
add(
    LINK + "resume:Reliable.receive_untrusted",
    _reliable(lambda r, data: [r.receive_untrusted(data[at : at + 32]) for at in range(0, len(data), 32)]),
    lambda: [b"".join((b"\0\0\0%c\0" % n).ljust(32, b"x") for n in (1, 2, 2, 3))],
)


def _session(data: bytes) -> None:
    for role in Role:
        session = Session(role, Counters(), bytes)
        session.attach(1.0)
        with contextlib.suppress(BadPacket):
            more = session.receive_untrusted(data, 2.0)
            while more:
                session.events()
                more = session.receive_untrusted(b"", 2.0)
        session.events()
        session.outgoing(3.0)
        session.tick(4.0)


add(LINK + "session:Session.receive_untrusted", _session, link_frames)
add(LINK + "joining:decode_request_untrusted", joining.decode_request_untrusted, lambda: [_join_request()])
add(LINK + "joining:decode_response_untrusted", joining.decode_response_untrusted, lambda: [joining.encode(_JOINED)])
add(
    LINK + "token:Token.parse_untrusted",
    lambda data: Token.parse_untrusted(_text(data)),
    lambda: [str(_office()[2]).encode()],
)
add(LINK + "identity:load_csr_untrusted", load_csr_untrusted, lambda: [make_csr(KEY, "a")])
add(LINK + "identity:load_certificate_untrusted", load_certificate_untrusted, certificates)
add(LINK + "identity:AgentIdentity.from_certificate_untrusted", AgentIdentity.from_certificate_untrusted, certificates)
add(LINK + "identity:_ids_untrusted", lambda data: _ids_untrusted(_text(data)), lambda: [b"wallpass:tenant/1/agent/2"])

# --- joining ---


@cache
def _office() -> tuple[object, SqliteTenants, Token]:
    """An authority, a store with one tenant, and a TOKEN. It goes with the process."""
    place = Path(tempfile.mkdtemp(prefix="wallpass-fuzz-"))
    authority, store = open_authority(place / "data"), SqliteTenants(place / "tenants.db")
    store.add("acme")
    store.invite("acme", hash_of(SECRET), NOW + timedelta(hours=24))
    return authority, store, token_of(authority)


def _join_request() -> bytes:
    return joining.encode(joining.JoinRequest(b"guess" * 4, make_csr(KEY, "a"), "a"))


_JOINED = joining.Joined(b"der", "acme", "pbx-host", ("203.0.113.10:443", "[2001:db8::1]:443"))
IDENTITY = AgentIdentity(1, 1, "a", 1, NOW + timedelta(days=90))
ENROL = "outside_server.enrol:"


def _refusing(run: Callable[[bytes], object]) -> Callable[[bytes], None]:
    """``Refused`` is an answer too, where the docstring says so."""

    def tried(data: bytes) -> None:
        with contextlib.suppress(Refused):
            run(data)

    return tried


def _credentials(data: bytes) -> None:
    answer = joining.decode_response_untrusted(data)
    if isinstance(answer, joining.Joined):
        _credentials_untrusted(answer, KEY, _office()[2])


add(
    ENROL + "answer_untrusted",
    lambda data: answer_untrusted(data, *_office()[:2], [SERVER], NOW),
    lambda: [_join_request()],
)
add(
    ENROL + "_join_untrusted",
    _refusing(lambda data: _join_untrusted(data, *_office()[:2], [SERVER], NOW)),
    lambda: [_join_request()],
)
add(
    ENROL + "renew_untrusted",
    _refusing(lambda data: renew_untrusted(data, IDENTITY, *_office()[:2], NOW)),
    lambda: [make_csr(KEY, "a")],
)
add(
    ENROL + "_certificate_untrusted",
    lambda data: _certificate_untrusted(*_office()[:2], data, 1, 1, "a", NOW),
    lambda: [make_csr(KEY, "a")],
)
add(
    "outside_server.authority:Authority.issue_agent_untrusted",
    lambda data: _office()[0].issue_agent_untrusted(data, 1, 1, "a", NOW),
    lambda: [make_csr(KEY, "a")],
)
add("inside_agent.join:_credentials_untrusted", _credentials, lambda: [joining.encode(_JOINED)])
