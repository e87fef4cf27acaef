"""[io] The agent's side of ``join``: from a TOKEN to credentials in ``data_dir``.

The key is made here and never leaves the host. The secret of the TOKEN is sent only after the server has proven, in a
TLS 1.3 handshake, that the authority in the TOKEN vouches for it.
"""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import trio

from tunnel.address import Address, parse_address
from tunnel.carriers.direct import why_not_connected
from tunnel.errors import BadPacket, CarrierLost, LocalMisuse, PeerMisbehaved, Refused, WallpassError
from tunnel.files import read_file, write_atomic
from tunnel.link.credentials import AgentCredentials
from tunnel.link.identity import (
    PrivateKey,
    der_to_pem,
    make_csr,
    new_key,
)
from tunnel.link.join_wire import receive_message, send_message
from tunnel.link.joining import JOIN_DEADLINE_S, Joined, JoinRequest, decode_response_untrusted, encode
from tunnel.link.secure import ALPN_JOIN, agent_context
from tunnel.link.token import Token

__all__ = ["credentials_path", "join", "load_credentials", "save_credentials"]

CREDENTIALS = "identity.pem"


# --- what stays ---


def credentials_path(data_dir: Path) -> Path:
    """The file with key, certificate and authority, as ``SSLContext.load_cert_chain`` takes it."""
    return data_dir / CREDENTIALS


def load_credentials(data_dir: Path) -> AgentCredentials | None:
    """What ``join`` left in ``data_dir``, None before the first. Raises LocalMisuse when it cannot be read."""
    text = read_file(credentials_path(data_dir))
    if text is None:
        return None
    try:
        return AgentCredentials.parse(text)
    except BadPacket as error:
        mend = "ask the operator for a TOKEN and run wallpass join with --replace"
        raise LocalMisuse(f"{credentials_path(data_dir)}: {error.reason}: {mend}") from None


def save_credentials(data_dir: Path, credentials: AgentCredentials) -> None:
    """Keep the credentials, in one step, mode 0600. Raises LocalMisuse."""
    write_atomic(credentials_path(data_dir), bytes(credentials))


# --- getting them ---


async def join(token: Token, agent: str, now: datetime, servers: Sequence[Address] = ()) -> AgentCredentials:
    """Ask for a certificate at ``servers`` (default: those of the TOKEN), one after the other until one answers.

    ``agent`` is the name to ask for. Raises Refused, or what kept the last of the servers from answering.
    """
    if token.expires <= now.timestamp():
        raise Refused("this TOKEN has expired; ask the operator for another (wallpass tenant invite)")
    key = new_key()
    request = encode(JoinRequest(token.secret, make_csr(key, agent), agent))
    failures: list[WallpassError] = []
    for server in servers or token.servers:
        try:
            answer = await _ask(server, token, request)
        except (CarrierLost, PeerMisbehaved) as error:
            failures.append(error)
        else:
            return _credentials_untrusted(answer, key, token)
    raise failures[-1]


async def _ask(server: Address, token: Token, request: bytes) -> Joined:
    try:
        with trio.fail_after(JOIN_DEADLINE_S):
            stream = await _connect(server, token)
            async with stream:
                await send_message(stream, request)
                response = decode_response_untrusted(await receive_message(stream))
    except trio.TooSlowError:
        raise CarrierLost(f"{server} did not answer within {JOIN_DEADLINE_S:.0f} s") from None
    if isinstance(response, Joined):
        return response
    raise Refused(response.explanation)


async def _connect(server: Address, token: Token) -> trio.SSLStream[trio.SocketStream]:
    """A TLS connection whose other end is the server that made the TOKEN. Raises CarrierLost, PeerMisbehaved."""
    try:
        tcp = await trio.open_tcp_stream(server.host, server.port)
    except OSError as error:
        raise CarrierLost(f"cannot connect to {server}: {why_not_connected(error)}") from None
    stream = trio.SSLStream(tcp, agent_context(der_to_pem(token.authority).decode()), https_compatible=True)
    try:
        await stream.do_handshake()
    except trio.BrokenResourceError as error:
        await trio.aclose_forcefully(stream)
        if isinstance(error.__cause__, ssl.SSLCertVerificationError):
            raise PeerMisbehaved(_not_ours(server, error.__cause__)) from None
        raise CarrierLost(f"{server} does not speak TLS 1.3 with us: {error.__cause__ or error}") from None
    except BaseException:
        await trio.aclose_forcefully(stream)
        raise
    if stream.selected_alpn_protocol() != ALPN_JOIN:
        await trio.aclose_forcefully(stream)
        raise PeerMisbehaved(f"{server} does not take agents that join")
    return stream


def _not_ours(server: Address, error: ssl.SSLCertVerificationError) -> str:
    if error.verify_code in (9, 10):  # X509_V_ERR_CERT_NOT_YET_VALID, X509_V_ERR_CERT_HAS_EXPIRED
        return f"the certificate of {server} is not valid now ({error.verify_message}): is this host's clock right?"
    return (
        f"{server} is not the server that made this TOKEN ({error.verify_message}); nothing was sent to it: "
        "is the address right, does something on the way open TLS connections?"
    )


def _credentials_untrusted(answer: Joined, key: PrivateKey, token: Token) -> AgentCredentials:
    """Raises BadPacket when the certificate is not for our key."""
    servers = tuple(map(parse_address, answer.servers)) or token.servers
    return AgentCredentials(key, answer.certificate, token.authority, servers, answer.tenant)
