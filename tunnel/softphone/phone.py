"""[io] A scripted SIP phone on real sockets.

    async with open_phone(Account("1001", "127.0.0.1:5070", "secret", outbound=agent)) as phone:
        await phone.register()
        call = await phone.call(b"sip:1002@127.0.0.1:5070", Tune(7))
        await call.talk(3.0)
        await call.hang_up()
        print(call.ear.verdict())

One nursery per phone, which `open_phone` shows; its calls live in it. All protocol is in `user_agent.py`.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import trio

from tunnel.address import Address
from tunnel.softphone.account import Account
from tunnel.softphone.audio import AudioPort
from tunnel.softphone.call import Call, CallFailed
from tunnel.softphone.engine import Engine
from tunnel.softphone.passage import Passage
from tunnel.softphone.registrar import Registrar
from tunnel.softphone.requester import Exchange
from tunnel.softphone.tune import Tune
from tunnel.softphone.user_agent import UserAgent
from tunnel.softphone.wire import open_wire

__all__ = ["Phone", "open_phone"]

LOOPBACK = Address("127.0.0.1", 0)


@asynccontextmanager
async def open_phone(
    account: Account,
    *,
    bind: Address = LOOPBACK,
    transport: str = "udp",
    registrar: Registrar | None = None,
    watch: Callable[[Passage], None] = lambda passage: None,
) -> AsyncIterator[Phone]:
    """A phone that listens on ``bind`` (port 0: any) until the block is left; calls still alive are then dropped.

    ``registrar`` lets others register with it, and asks callers for their password. ``watch`` is told every message.
    Raises OSError when it cannot bind.
    """
    wire = await open_wire(transport, bind)
    agent = UserAgent(account, wire.address, transport, secrets.token_bytes, registrar)
    engine = Engine(agent, wire, watch)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(engine.run)
        yield Phone(account, wire.address, engine, nursery)
        nursery.cancel_scope.cancel()


class Phone:
    """``address`` is where it listens for SIP."""

    def __init__(self, account: Account, address: Address, engine: Engine, nursery: trio.Nursery) -> None:
        self.account = account
        self.address = address
        self._engine = engine
        self._nursery = nursery

    async def register(self, expires_s: int = 300) -> None:
        """Register for so many seconds. Raises CallFailed when the registrar refuses or says nothing."""
        exchange = self._engine.agent.register(expires_s, trio.current_time())
        await self._finish(exchange)

    async def unregister(self) -> None:
        """Take the registration back."""
        await self.register(0)

    async def ask_options(self, uri: bytes) -> None:
        """Ask whether anybody is there. Raises CallFailed."""
        await self._finish(self._engine.agent.ask_options(uri, trio.current_time()))

    async def dial(self, uri: bytes, tune: Tune) -> Call:
        """Begin a call and do not wait: ``ringing``, ``answered`` and ``hang_up`` are the call's."""
        audio = await AudioPort.open(self.address.host, tune)
        leg = self._engine.agent.call(uri, audio.address, trio.current_time())
        self._engine.carry_out()
        return Call(self._engine, self._nursery, self.address.host, leg, audio)

    async def call(self, uri: bytes, tune: Tune) -> Call:
        """Call and wait for the answer. Raises CallFailed."""
        call = await self.dial(uri, tune)
        await call.answered()
        return call

    async def next_call(self) -> Call:
        """Wait for somebody to call; the call neither rings nor is answered yet."""
        leg = await self._engine.next_offer()
        return Call(self._engine, self._nursery, self.address.host, leg)

    async def answer_next(self, tune: Tune) -> Call:
        """Wait for somebody to call, ring, answer and speak ``tune``. Raises CallFailed."""
        call = await self.next_call()
        await call.ring()
        await call.answer(tune)
        return call

    async def _finish(self, exchange: Exchange) -> None:
        self._engine.carry_out()
        await self._engine.until(lambda: exchange.finished)
        response = exchange.response
        if response is None:
            raise CallFailed(408, "no answer")
        if response.status >= 300:
            raise CallFailed(response.status, response.reason.decode("utf-8", "replace"))
