"""The server's side of ``join``: a request's bytes in, the response's bytes out, and what happened for the log."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from outside_server.tenants import TenantStore
from tunnel.address import Address
from tunnel.errors import BadPacket, LocalMisuse, Refused
from tunnel.link.identity import AgentIdentity, load_certificate_untrusted, load_csr_untrusted
from tunnel.link.joining import Joined, JoinRefused, decode_request_untrusted, encode

if TYPE_CHECKING:
    from outside_server.authority import Authority

__all__ = ["JoinAnswer", "answer_untrusted", "renew_untrusted"]

EXPLANATIONS = {
    "replayed": "this TOKEN was used before; ask the operator for another (wallpass tenant invite)",
    "expired": "this TOKEN has expired; ask the operator for another (wallpass tenant invite)",
    "unknown": "this server knows no such TOKEN; perhaps its tenant was removed",
    "unavailable": "the server cannot take agents at the moment; its log says why; the TOKEN may still be good",
    "malformed": "the server did not understand the request: are both ends of the same version?",
}
MAX_NAME_CHARACTERS = 48


@dataclass(frozen=True, slots=True)
class JoinAnswer:
    """The bytes to send back, and the message they hold, for the log (it holds no secret)."""

    data: bytes
    message: Joined | JoinRefused


def answer_untrusted(
    request: bytes, authority: Authority, tenants: TenantStore, servers: Sequence[Address], now: datetime
) -> JoinAnswer:
    """Redeem the invitation in ``request`` and sign the agent's key; every refusal is an answer, nothing is raised."""
    try:
        message: Joined | JoinRefused = _join_untrusted(request, authority, tenants, servers, now)
    except Refused as refused:
        message = JoinRefused(refused.reason, EXPLANATIONS[refused.reason])
    except LocalMisuse as error:
        message = JoinRefused("unavailable", f"{EXPLANATIONS['unavailable']} ({error})")
    except BadPacket as error:
        message = JoinRefused("malformed", f"{EXPLANATIONS['malformed']} ({error})")
    return JoinAnswer(encode(message), message)


def _join_untrusted(
    data: bytes, authority: Authority, tenants: TenantStore, servers: Sequence[Address], now: datetime
) -> Joined:
    request = decode_request_untrusted(data)
    load_csr_untrusted(request.csr)  # before the invitation is used up
    grant = tenants.redeem(request.secret, _agent_name(request.agent), now)
    certificate = _certificate_untrusted(
        authority, tenants, request.csr, grant.tenant.id, grant.agent_id, grant.agent_name, now
    )
    return Joined(certificate, grant.tenant.name, grant.agent_name, tuple(map(str, servers)))


def renew_untrusted(
    csr: bytes, agent: AgentIdentity, authority: Authority, tenants: TenantStore, now: datetime
) -> bytes:
    """A new certificate (DER) for an agent that is connected with a valid one. Raises BadPacket, or Refused."""
    try:
        reason = tenants.snapshot().refusal(agent)
        if reason:
            raise Refused(reason)
        return _certificate_untrusted(authority, tenants, csr, agent.tenant_id, agent.agent_id, agent.name, now)
    except LocalMisuse as error:
        raise Refused(f"unavailable: {error}") from None


def _certificate_untrusted(
    authority: Authority, tenants: TenantStore, csr: bytes, tenant_id: int, agent_id: int, name: str, now: datetime
) -> bytes:
    certificate = authority.issue_agent_untrusted(csr, tenant_id, agent_id, name, now)
    tenants.note_serial(agent_id, load_certificate_untrusted(certificate).serial_number)
    return certificate


def _agent_name(wished: str) -> str:
    """A name from whatever the agent calls itself: its host name as a rule."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", wished)[:MAX_NAME_CHARACTERS].strip("-._") or "agent"
