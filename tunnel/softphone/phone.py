"""[io] A scripted SIP phone on real sockets.

    async with open_phone(Account("1001", "127.0.0.1:5070", "secret", outbound=agent)) as phone:
        await phone.register()
        call = await phone.call(b"sip:1002@127.0.0.1:5070", Tune(7))
        await call.talk(3.0)
        await call.hang_up()
        print(call.ear.verdict())

One nursery per phone, which `open_phone` shows; the tasks of a call live in it. All protocol is in `user_agent.py`.
"""

from __future__ import annotations

from tunnel.address import Address

__all__ = ["Phone", "open_phone"]

LOOPBACK = Address("127.0.0.1", 0)
MOST_WAITING = 64
"""placeholder"""
