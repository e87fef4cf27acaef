"""One end of the pair without SIP: pump, session and TLS over TCP, as the product has them. For measuring the media path.

Arguments: agent or server, the tunnel's IP:PORT, the face's IP, PEM files of the certificate, its key, the authority.
Standard input: JSON, a list of [HOST, PORT], the party of each call. Standard output: JSON lines, from the server first
"listening", then the addresses to which each party is to send. Ends when standard input is closed.
"""

from __future__ import annotations

import gc
import json
import secrets
import ssl
import sys
from pathlib import Path

import trio

from tunnel.address import Address, parse_address
from tunnel.carriers.direct import DirectCarrier, connect_direct
from tunnel.counters import Counters
from tunnel.link.driver import Link
from tunnel.link.events import SessionEvent, SessionUp
from tunnel.link.secure import SecureChannel, agent_context, server_context
from tunnel.link.session import Role, Session
from tunnel.media.lease import PortLedger
from tunnel.media.plane import Aim
from tunnel.media.pump import FaceAddress, Pump
from tunnel.media.sockets import raise_file_limit

FIRST_CHANNEL = 16


class Outlet:
    def __init__(self, link: Link) -> None:
        self.send_media = link.session.send_media
        self.flush = link.flush


def say(what: object) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


def tls(is_server: bool, certificate: str, key: str, authority: str) -> ssl.SSLContext:
    authority_pem = Path(authority).read_text()
    if is_server:
        return server_context(Path(certificate), Path(key), authority_pem)
    return agent_context(authority_pem, Path(certificate), Path(key))


async def main() -> None:
    role, tunnel, face, certificate, key, authority = sys.argv[1:]
    raise_file_limit()
    is_server = role == "server"
    context = tls(is_server, certificate, key, authority)
    counters = Counters()
    up = trio.Event()

    def deliver(event: SessionEvent) -> None:
        if isinstance(event, SessionUp):
            up.set()

    link = Link(Session(Role.SERVER if is_server else Role.AGENT, counters, secrets.token_bytes), deliver)
    pump = Pump((FaceAddress(face, face),), PortLedger(20000, 29999), Outlet(link), link.sinks, counters)
    parties = [Address(host, port) for host, port in json.loads(sys.stdin.readline())]
    ports = []
    for call, party in enumerate(parties):
        now = trio.current_time()
        lease = pump.take(call, now)
        channel = FIRST_CHANNEL + 2 * call
        pump.tie(lease.id, channel, now)
        rtcp = Address(party.host, party.port + 1)
        pump.aim(lease.id, channel, Aim(party, rtcp, False, party.host, True, True, frozenset()), now)
        ports.append(str(lease.rtp))

    async with trio.open_nursery() as nursery:
        await nursery.start(link.run)
        await nursery.start(pump.run)
        address = parse_address(tunnel)
        if is_server:
            listeners = await trio.open_tcp_listeners(address.port, host=address.host)
            say("listening")
            carrier = DirectCarrier.adopt(await listeners[0].accept())
        else:
            carrier = await connect_direct(address, 5.0)
        nursery.start_soon(link.run_carrier, carrier, SecureChannel(context, server_side=is_server))
        await up.wait()
        gc.collect()
        gc.freeze()
        gc.set_threshold(50_000, 20, 100)
        say(ports)
        await trio.to_thread.run_sync(sys.stdin.readline)
        nursery.cancel_scope.cancel()
    sys.stderr.write(f"{role}: {dict(counters.values)}\n")


if __name__ == "__main__":
    trio.run(main)
