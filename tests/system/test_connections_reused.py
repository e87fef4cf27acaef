"""Connections that user agents made, and those that we made: what goes by them, and what when they are gone."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.both_ends import until
from support.joined_site import Site, site
from support.sip_ends import Heard, SipEnd, call_through, open_end

from tunnel.address import Address

BINDING = bytes.fromhex("000100002112a442") + b"\0" * 12


async def registered(at: Site) -> Heard:
    """The phone has registered with the peer; returns the REGISTER as it came there."""
    await at.phone.ask("REGISTER", at.peer.uri.replace("end@", ""), at.agent_at)
    came = await at.peer.hears("REGISTER")
    contact = came.message.values("contact")[0].text.decode()
    came.reply(at.peer.answer(Heard(came.message, lambda data: None, came.source), 200).replace(
        f"Contact: <{at.peer.uri}>".encode(), f"Contact: {contact};expires=600".encode()
    ))  # fmt: skip
    await at.phone.hears(200)
    return came


def target(came: Heard) -> str:
    return came.message.values("contact")[0].text.decode().partition("<")[2].partition(">")[0]


@pytest.mark.parametrize("transport", ["tcp", "tls"])
async def test_a_registered_phone_is_called_by_its_own_connection(tmp_path: Path, transport: str) -> None:
    """M4, D5: a phone behind a firewall of its own takes no connection; when it is gone, its address is tried."""
    async with site(tmp_path, transport, "udp") as at:
        uri = target(await registered(at))
        await call_through(at.peer, at.phone, uri, at.server_at)
        assert at.phone.connections == 0
        at.phone.hang_up()
        await until(lambda: _open(at) == 0)
        await call_through(at.peer, at.phone, uri, at.server_at)
        assert at.phone.connections == 1, "RFC 3261 section 18.2.2"


async def test_a_connection_is_used_again_but_not_for_what_it_was_not_made_for(tmp_path: Path) -> None:
    """M4, RFC 5923: one connection of ours for many calls to a trunk. What the trunk connected for itself carries its own
    calls, also where it offers ``alias``, which we neither offer nor take."""
    async with site(tmp_path, "udp", "tcp") as at:
        for _ in range(2):
            seen, _ = await call_through(at.phone, at.peer, at.peer.uri, at.agent_at)
            assert b"alias" not in seen.top_via.text
        assert at.peer.connections == 1
    async with site(tmp_path / "again", "udp", "tcp") as at:
        await _with_alias(at.peer, at.server_at)
        await call_through(at.phone, at.peer, at.peer.uri, at.agent_at)
        assert at.peer.connections == 1


async def _with_alias(peer: SipEnd, server: Address) -> None:
    """The trunk calls and is refused, by a connection that stays open."""
    request = await peer.ask("INVITE", f"sip:{server}", server, body=peer.sdp())
    again = request.raw.replace(b";rport", b";rport;alias").replace(b"z9hG4bK", b"z9hG4bKa")
    await peer.send(again, server)
    await peer.hears(200, 404, 480, 486, 100)


@pytest.mark.parametrize("transport", ["tcp", "tls"])
async def test_every_stream_answers_a_double_crlf(tmp_path: Path, transport: str) -> None:
    """A4, RFC 5626 section 4.4.1: on connections that others made on either face, and on those that we made."""
    async with site(tmp_path, transport, transport) as at:
        came = (await _half_a_call(at)).reply
        came(b"\r\n\r\n")  # by the connection that the server made
        await until(lambda: at.peer.pongs == 1)
        await at.phone.send(b"\r\n\r\n", at.agent_at)
        await until(lambda: at.phone.pongs == 1)
        await at.peer.ask("INVITE", f"sip:100@{at.server_at}", at.server_at, body=at.peer.sdp())
        by_agent = await at.phone.hears("INVITE")
        await at.peer.send(b"\r\n\r\n", at.server_at)
        await until(lambda: at.peer.pongs == 2)
        by_agent.reply(b"\r\n\r\n")
        await until(lambda: at.phone.pongs == 2)


async def test_stun_is_answered_on_the_sip_ports_of_both_faces(tmp_path: Path) -> None:
    """A5, RFC 5626 section 4.4.2: to phones on the LAN at once, outside to whom was let in."""
    async with site(tmp_path, "udp", "udp") as at:
        await at.phone.send(BINDING, at.agent_at)
        await until(lambda: at.phone.pongs == 1)
        await at.peer.send(BINDING, at.server_at)
        await until(lambda: at.peer.pongs == 1)  # a trunk
        async with open_end("udp", "127.0.0.3") as stranger:
            await stranger.send(BINDING, at.server_at)
            assert await stranger.hears_nothing(0.1)
            assert stranger.pongs == 0
            uri = target(await registered(at))
            await stranger.ask("OPTIONS", uri, at.server_at)
            at.phone.answer(await at.phone.hears("OPTIONS"), 200)
            await stranger.hears(200)
            await stranger.send(BINDING, at.server_at)
            await until(lambda: stranger.pongs == 1)


async def _half_a_call(at: Site) -> Heard:
    await at.phone.ask("INVITE", at.peer.uri, at.agent_at, body=at.phone.sdp())
    return await at.peer.hears("INVITE")


def _open(at: Site) -> int:
    return at.agent._listeners.open_connections
