from __future__ import annotations

import ssl
import stat
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trio
from support.certificates import SECRET, credentials_of, listening_context, open_authority, token_of

from inside_agent.join import credentials_path, join, load_credentials, save_credentials
from outside_server.authority import Authority
from outside_server.enrol import answer_untrusted
from outside_server.join_listener import serve_join
from outside_server.tenant_store import SqliteTenants
from outside_server.tenants import hash_of
from tunnel.address import Address
from tunnel.errors import BadPacket, CarrierLost, LocalMisuse, PeerMisbehaved, Refused
from tunnel.link.identity import make_csr, new_key
from tunnel.link.joining import Joined, decode_request_untrusted, encode

Answer = Callable[[bytes], bytes]
Listen = Callable[..., Awaitable[Address]]


def real_now() -> datetime:
    return datetime.now(UTC)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return open_authority(tmp_path / "server", real_now())


@pytest.fixture
def listen(nursery: trio.Nursery, authority: Authority) -> Listen:
    """Starts a server on loopback that gives requests to ``answer``; ``context`` is what it shows itself with."""

    async def start(answer: Answer, context: ssl.SSLContext | None = None) -> Address:
        tls = context or listening_context(authority, real_now())

        async def serve(stream: trio.SocketStream) -> None:
            secure = trio.SSLStream(stream, tls, server_side=True, https_compatible=True)
            try:
                await serve_join(secure, answer)
            except (trio.BrokenResourceError, CarrierLost):
                await trio.aclose_forcefully(stream)

        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, serve, [listener])
        return Address("127.0.0.1", listener.socket.getsockname()[1])

    return start


@pytest.fixture
def office(authority: Authority, tmp_path: Path) -> Answer:
    """The server's real answers, with one invitation."""
    store = SqliteTenants(tmp_path / "server" / "tenants.db")
    store.add("acme")
    store.invite("acme", hash_of(SECRET), real_now() + timedelta(hours=1))
    servers = [Address("203.0.113.10", 443)]
    return lambda request: answer_untrusted(request, authority, store, servers, real_now()).data


async def test_a_token_becomes_credentials(listen: Listen, office: Answer, authority: Authority) -> None:
    token = token_of(authority, await listen(office))
    credentials = await join(token, "pbx-host", real_now())
    assert (credentials.tenant, credentials.identity.name) == ("acme", "pbx-host")
    assert credentials.servers == (Address("203.0.113.10", 443),)
    assert credentials.authority == authority.der


async def test_the_key_is_never_sent(listen: Listen, office: Answer, authority: Authority) -> None:
    requests: list[bytes] = []

    def listening(request: bytes) -> bytes:
        requests.append(request)
        return office(request)

    credentials = await join(token_of(authority, await listen(listening)), "pbx-host", real_now())
    secret_number = credentials.key.private_numbers().private_value.to_bytes(32, "big")
    assert secret_number not in requests[0]
    assert decode_request_untrusted(requests[0]).secret == SECRET


async def test_a_used_token_is_refused_in_words(listen: Listen, office: Answer, authority: Authority) -> None:
    token = token_of(authority, await listen(office))
    await join(token, "pbx-host", real_now())
    with pytest.raises(Refused, match="was used before; ask the operator"):
        await join(token, "pbx-host", real_now())


async def test_an_expired_token_asks_nobody(authority: Authority) -> None:
    token = token_of(authority, Address("127.0.0.1", 9), expires=real_now())
    with pytest.raises(Refused, match="has expired"):
        await join(token, "pbx-host", real_now())


async def test_a_server_of_another_authority_never_sees_the_secret(
    listen: Listen, authority: Authority, tmp_path: Path
) -> None:
    stranger = open_authority(tmp_path / "stranger", real_now())
    address = await listen(pytest.fail, listening_context(stranger, real_now()))
    with pytest.raises(PeerMisbehaved, match=r"is not the server that made this TOKEN \(.*\); nothing was sent to it"):
        await join(token_of(authority, address), "pbx-host", real_now())


async def test_another_agent_cannot_pose_as_the_server(listen: Listen, authority: Authority, tmp_path: Path) -> None:
    (tmp_path / "agent.pem").write_bytes(bytes(credentials_of(authority, now=real_now())))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "agent.pem")
    context.set_alpn_protocols(["wallpass-join/1"])
    with pytest.raises(PeerMisbehaved, match="nothing was sent to it"):
        await join(token_of(authority, await listen(pytest.fail, context)), "pbx-host", real_now())


async def test_an_expired_server_hints_at_the_clock(listen: Listen, authority: Authority) -> None:
    long_ago = real_now() - timedelta(days=1000)
    address = await listen(pytest.fail, listening_context(authority, long_ago))
    with pytest.raises(PeerMisbehaved, match="is this host's clock right"):
        await join(token_of(authority, address), "pbx-host", real_now())


async def test_a_server_that_speaks_another_protocol_never_sees_the_secret(
    listen: Listen, authority: Authority
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.server_certificate(real_now()).path)
    with pytest.raises(PeerMisbehaved, match="does not take agents that join"):
        await join(token_of(authority, await listen(pytest.fail, context)), "pbx-host", real_now())


async def test_a_certificate_for_another_key_is_not_taken(listen: Listen, authority: Authority) -> None:
    other = authority.issue_agent_untrusted(make_csr(new_key(), "x"), 1, 1, "x", real_now())
    address = await listen(lambda request: encode(Joined(other, "acme", "x", ())))
    with pytest.raises(BadPacket, match="not for our key"):
        await join(token_of(authority, address), "pbx-host", real_now())


async def test_each_server_is_tried(listen: Listen, office: Answer, authority: Authority) -> None:
    token = replace(token_of(authority), servers=(Address("127.0.0.1", 1), await listen(office)))
    assert (await join(token, "pbx-host", real_now())).tenant == "acme"


async def test_the_configured_server_is_asked_instead_of_the_tokens(
    listen: Listen, office: Answer, authority: Authority
) -> None:
    address = await listen(office)
    token = token_of(authority, Address("127.0.0.1", 1))
    assert (await join(token, "pbx-host", real_now(), [address])).tenant == "acme"


async def test_nobody_there(authority: Authority) -> None:
    with pytest.raises(CarrierLost, match=r"cannot connect to 127\.0\.0\.1:1: Connection refused"):
        await join(token_of(authority, Address("127.0.0.1", 1)), "pbx-host", real_now())


async def test_something_that_does_not_speak_tls(nursery: trio.Nursery, authority: Authority) -> None:
    async def shout(stream: trio.SocketStream) -> None:
        await stream.send_all(b"SSH-2.0-x\r\n")
        await stream.receive_some()
        await stream.aclose()

    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    nursery.start_soon(trio.serve_listeners, shout, [listener])
    address = Address("127.0.0.1", listener.socket.getsockname()[1])
    with pytest.raises(CarrierLost, match=r"does not speak TLS 1\.3 with us"):
        await join(token_of(authority, address), "pbx-host", real_now())


# --- what stays ---


def test_credentials_are_kept_in_one_private_file(authority: Authority, tmp_path: Path) -> None:
    credentials = credentials_of(authority)
    assert load_credentials(tmp_path) is None
    save_credentials(tmp_path, credentials)
    assert stat.S_IMODE(credentials_path(tmp_path).stat().st_mode) == 0o600
    kept = load_credentials(tmp_path)
    assert kept is not None
    assert bytes(kept) == bytes(credentials)


def test_a_damaged_file_says_what_to_do(tmp_path: Path) -> None:
    credentials_path(tmp_path).write_bytes(b"-----BEGIN")
    with pytest.raises(LocalMisuse, match="run wallpass join with --replace"):
        load_credentials(tmp_path)
