"""Two phones on loopback, on real sockets and the real clock: short calls, judged by what was heard."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
import trio

from tunnel.softphone.account import Account
from tunnel.softphone.call import Call, CallFailed
from tunnel.softphone.measure import compare
from tunnel.softphone.passage import Passage
from tunnel.softphone.phone import Phone, open_phone
from tunnel.softphone.registrar import Registrar
from tunnel.softphone.tune import Tune

TALK_S = 0.7
LIMIT_S = 10


@asynccontextmanager
async def inside_and_provider(
    transport: str = "udp", password: str = "secret", watch: Callable[[Passage], None] = lambda passage: None
) -> AsyncIterator[tuple[Phone, Phone, Registrar]]:
    registrar = Registrar("provider.example", {"1001": "secret"}, os.urandom)
    with trio.fail_after(LIMIT_S):
        async with open_phone(
            Account("1002", "provider.example"), transport=transport, registrar=registrar
        ) as provider:
            account = Account("1001", str(provider.address), password)
            async with open_phone(account, transport=transport, watch=watch) as inside:
                yield inside, provider, registrar


def uri_of(phone: Phone, transport: str = "udp") -> bytes:
    suffix = "" if transport == "udp" else f";transport={transport}"
    return f"sip:{phone.account.user}@{phone.address}{suffix}".encode()


async def connect(caller: Phone, callee: Phone, uri: bytes) -> tuple[Call, Call]:
    """A call that talks, the caller's side first; the caller speaks tune 7, the callee tune 2000."""
    answered: list[Call] = []

    async def answer() -> None:
        answered.append(await callee.answer_next(Tune(2000)))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(answer)
        call = await caller.call(uri, Tune(7))
    return call, answered[0]


async def finish(call: Call, other: Call) -> None:
    """Let what was said last arrive, then hang up on ``call``'s side."""
    call.fall_silent()
    other.fall_silent()
    await trio.sleep(0.05)
    await call.hang_up()
    await other.ended()


@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_each_phone_hears_the_tune_of_the_other(transport: str) -> None:
    async with inside_and_provider(transport) as (inside, provider, _):
        there, here = await connect(inside, provider, uri_of(provider, transport))
        await there.talk(TALK_S)
        await finish(there, here)
        out, back = compare(there.mouth, here.ear), compare(here.mouth, there.ear)
        assert (out.heard.tune, back.heard.tune) == (7, 2000)
        assert out.verified, out.fault
        assert back.verified, back.fault
        assert (out.lost_packets, back.lost_packets) == (0, 0)
        assert out.mos is not None
        assert out.mos > 4


async def test_registered_phone_is_called_at_its_contact_and_hung_up_by_the_caller() -> None:
    async with inside_and_provider() as (inside, provider, registrar):
        await inside.register()
        contact = registrar.contact("1001", trio.current_time())
        assert contact is not None
        there, here = await connect(provider, inside, contact)
        await finish(there, here)
        assert here.end is not None
        assert not here.end.by_us
        await inside.unregister()
        assert registrar.contact("1001", trio.current_time()) is None


async def test_wrong_password_cannot_register() -> None:
    async with inside_and_provider(password="guess") as (inside, _, registrar):
        with pytest.raises(CallFailed) as failure:
            await inside.register()
        assert failure.value.status == 401
        assert registrar.contact("1001", trio.current_time()) is None


async def test_call_is_called_off_while_it_rings() -> None:
    async with inside_and_provider() as (inside, provider, _):
        there = await inside.dial(uri_of(provider), Tune(7))
        here = await provider.next_call()
        await here.ring()
        await there.ringing()
        await there.hang_up()
        end = await here.ended()
        assert (end.status, end.by_us) == (487, False)


async def test_busy_phone_makes_the_call_fail() -> None:
    async with inside_and_provider() as (inside, provider, _):
        there = await inside.dial(uri_of(provider), Tune(7))
        await (await provider.next_call()).reject(486)
        with pytest.raises(CallFailed, match="486 Busy Here"):
            await there.answered()


async def test_held_phone_is_silent_until_it_is_resumed() -> None:
    async with inside_and_provider() as (inside, provider, _):
        there, here = await connect(inside, provider, uri_of(provider))
        await there.hold()
        await there.talk(0.1)
        said = len(here.mouth.departures)
        await there.talk(0.2)
        assert len(here.mouth.departures) == said
        await there.resume()
        await there.talk(0.2)
        assert len(here.mouth.departures) > said
        await finish(there, here)


async def test_options_are_answered() -> None:
    async with inside_and_provider() as (inside, provider, _):
        await inside.ask_options(uri_of(provider))


async def test_every_message_of_a_call_is_seen_by_the_watch() -> None:
    seen: list[Passage] = []
    async with inside_and_provider(watch=seen.append) as (inside, provider, _):
        there, here = await connect(inside, provider, uri_of(provider))
        await finish(there, here)
        story = [("> " if passage.sent else "< ") + passage.title for passage in seen]
    assert story == [
        "> INVITE",
        "< 407 Proxy Authentication Required",
        "> ACK",
        "> INVITE",
        "< 100 Trying",
        "< 180 Ringing",
        "< 200 OK",
        "> ACK",
        "> BYE",
        "< 200 OK",
    ]


async def test_junk_on_the_sip_port_disturbs_nobody() -> None:
    async with inside_and_provider() as (inside, provider, _):
        stranger = trio.socket.socket(type=trio.socket.SOCK_DGRAM)
        with stranger:
            for junk in (b"", b"\x00" * 20, b"INVITE", b"SIP/2.0 200 OK\r\n\r\n", os.urandom(1200)):
                await stranger.sendto(junk, (provider.address.host, provider.address.port))
        await inside.ask_options(uri_of(provider))
