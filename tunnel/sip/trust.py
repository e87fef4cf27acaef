"""Whose word counts: who may assert identities (RFC 3325), and who may ask an inside phone for credentials (H4)."""

from __future__ import annotations

from tunnel.errors import BadPacket
from tunnel.sip.half import Half
from tunnel.sip.message import Message
from tunnel.sip.name_addr import NameAddr
from tunnel.sip.uri import SipUri
from tunnel.sip.wall import RequestCrossed

__all__ = ["is_at_home", "trusts"]


def trusts(half: Half, host: str, now: float) -> bool:
    """Whether the peer at ``host`` is trusted: anybody inside, a trunk, a registrar of somebody inside."""
    return not half.outside or half.policy.is_trusted(host) or half.index.is_registrar(host, half.number, now)


def is_at_home(half: Half, request: Message, crossed: RequestCrossed, now: float) -> bool:
    """Whether ``request`` goes where its sender has an account, so that a challenge to it may be honest.

    That is where the agent's configuration or the phone's own outbound proxy says, the domain that somebody inside is
    registered with, or the domain of the phone itself. Nobody who calls or transfers it can choose any of these.
    """
    if request.method == "REGISTER" or crossed.target:
        return True
    if crossed.routes and not request.to_tag:
        return True
    uri = request.uri
    return uri is not None and (uri.host == _home(request) or half.index.is_home(uri.host, half.number, now))


def _home(request: Message) -> str:
    header = request.header("from")
    if header is None:
        return ""
    try:
        uri = NameAddr.parse_untrusted(header.value).uri
    except BadPacket:
        return ""
    return uri.host if isinstance(uri, SipUri) else ""
