"""The outside end: public SIP and media, and the tunnel's listener. [io]

acceptor -> places (each agent's link, pump, half proxy) <-> face (listeners, gatekeeper)
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

import structlog
import trio

from outside_server.acceptor import Acceptor
from outside_server.authority import Authority
from outside_server.config import ServerConfig
from outside_server.enrol import answer_untrusted
from outside_server.gatekeeper import Gatekeeper
from outside_server.places import Places
from outside_server.policy import may_aim_media
from outside_server.server_tls import ServerTls
from outside_server.tenancy import Tenancy
from outside_server.tenant_store import SqliteTenants
from outside_server.tenants import TenantStore
from tunnel.address import Address
from tunnel.admin import bind_admin, serve_admin
from tunnel.assembly import FaceParts, bind_listeners, listen_specs
from tunnel.changes import changed_keys
from tunnel.contained import contained
from tunnel.counters import Counters
from tunnel.errors import BadConfig, LocalMisuse
from tunnel.face import Face, Verdict
from tunnel.face_tls import check_certificate
from tunnel.files import bind_error, check_data_dir
from tunnel.link.joining import Joined
from tunnel.media.lease import PortLedger
from tunnel.media.sockets import raise_file_limit
from tunnel.metrics import EndFigures
from tunnel.sip.flow import Flow
from tunnel.sip.half import FaceIndex
from tunnel.sip.keepalives import STEP_S
from tunnel.sip.listener import Listeners
from tunnel.sip.mask import TenantHint
from tunnel.sip.message import Message
from tunnel.sip.policy import Answer
from tunnel.sip.resolve import Resolver
from tunnel.status import serve_status

__all__ = ["Server", "serve"]

log = structlog.get_logger()

STORE_FILE = "tenants.db"
# Our number: how often the server looks whether its own certificates want renewing.
RENEWAL_LOOK_S = 3600.0

# What a configuration that is read again may change without a restart; ``drain_seconds`` is the launcher's.
RELOADED = frozenset({"public.certificate", "public.private_key", "drain_seconds", "file"})


SHUTTING_DOWN = Answer(503, "Service Unavailable", "this end is shutting down", 5, "draining")


class Server:
    """The running server; what ``serve`` hands out."""

    def __init__(self, config: ServerConfig, authority: Authority, store: TenantStore, nursery: trio.Nursery) -> None:
        public = config.public
        self._config = config
        self._authority = authority
        self._store = store
        self._nursery = nursery
        self._counters = Counters()
        self._draining = False
        index = FaceIndex()
        resolver = Resolver()
        self._gatekeeper = Gatekeeper(index, TenantHint(authority.mask_hint_key()))
        self._tenancy = Tenancy(store, resolver)
        self._ledger = PortLedger(public.media_ports.low, public.media_ports.high)
        self._tls = ServerTls(authority, public, _utc())
        face = Face(
            index=index,
            gate=self._gate,
            seat=lambda number: self._places.seat(number),
            known=lambda flow: flow.remote.host in self._gatekeeper.tenants.trunks,
            counters=self._counters,
            entropy=secrets.token_bytes,
        )
        self._listeners = Listeners(
            listen_specs(public),
            deliver=face.deliver,
            failed=face.failed,
            refused=face.refused,
            counters=self._counters,
            server_tls=self._tls.public.server,
            client_tls=self._tls.public.client(),
            answer_stun=face.welcomes,
        )
        face.use(self._listeners)
        self._addresses = bind_listeners(self._listeners, public, config.file)
        self._on_loopback = any(address.ip.is_loopback for _, address in self._addresses.bound)
        self._tunnel_address = config.tunnel.listen
        self._places = Places(
            nursery=nursery,
            authority=authority,
            store=store,
            tenancy=self._tenancy,
            gatekeeper=self._gatekeeper,
            parts=FaceParts(
                config=public,
                listeners=self._listeners,
                addresses=self._addresses,
                index=index,
                resolver=resolver,
                ledger=self._ledger,
                counters=self._counters,
                outside=True,
            ),
            usable=lambda host: may_aim_media(host, self._on_loopback),
            connect_tls=self._tls.public.client,
        )

    # --- what a caller of serve sees -----------------------------------------------------------------------------

    @property
    def addresses(self) -> Mapping[str, str]:
        """``sip`` and ``tunnel``: where this server listens."""
        bound = ",".join(f"{transport}:{address}" for transport, address in self._addresses.bound)
        return {"sip": bound, "tunnel": str(self._tunnel_address)}

    async def drain(self, seconds: float) -> None:
        """Refuse new calls from either side, wait for the live ones, at most ``seconds``, and say goodbye to the agents."""
        self._draining = True
        await self._places.drain(seconds)

    def reload(self, config: ServerConfig) -> None:
        """Show the certificate that ``config`` names; the rest needs a restart, and the log says so. Raises BadConfig."""
        check_certificate(config.public, config.file)
        try:
            self._tls.public.use(config.public, _utc())
        except LocalMisuse as error:
            raise BadConfig(config.file, "public.certificate", str(config.public.certificate), str(error)) from None
        waiting = changed_keys(self._config, config, RELOADED)
        if waiting:
            log.warning("config.needs_restart", keys=waiting)

    def status(self) -> dict[str, object]:
        """What the server is doing now; ``wallpass status`` shows it."""
        return {
            "end": "server",
            "addresses": dict(self.addresses),
            "draining": self._draining,
            "calls_active": sum(len(place.seat.book) for place in self._places),
            "media_ports": {"held": self._ledger.held, "resting": self._ledger.resting, "size": self._ledger.size},
            "agents": self._places.status(),
            "counters": dict(self._places.counted().values),
        }

    @property
    def is_healthy(self) -> bool:
        """Whether new calls are taken."""
        return not self._draining

    def figures(self) -> EndFigures:
        """What a scrape of /metrics reads."""
        return EndFigures(
            agents=self._places.figures(),
            calls=self._places.call_figures(),
            ports=(self._ledger.held, self._ledger.resting, self._ledger.size),
            events=self._places.counted().values,
        )

    # --- life ------------------------------------------------------------------------------------------------------

    async def run(self, task_status: trio.TaskStatus[Server]) -> None:
        """Open what agents and operators connect to, and serve in the nursery; cancel that to end it."""
        config, nursery = self._config, self._nursery
        with contextlib.ExitStack() as opened:
            tunnels = await self._listen_for_agents()
            for tunnel in tunnels:
                opened.callback(tunnel.socket.close)
            admin = None if config.admin is None else bind_admin(config.file, config.admin.listen)
            if admin is not None:
                opened.callback(admin.close)
            self._tunnel_address = Address(config.tunnel.listen.host, tunnels[0].socket.getsockname()[1])
            servers = config.join_addresses(self._tunnel_address.port)
            acceptor = Acceptor(self._tls.new_channel, self._places.admit, self._answer_join(servers), self._counters)
            await nursery.start(self._tenancy.run, self._tenants_changed)
            await nursery.start(self._listeners.run)
            await nursery.start(serve_status, config.file, config.data_dir, self.status)
            nursery.start_soon(self._keep_nats_open)
            nursery.start_soon(self._renew_certificates)
            if admin is not None:
                await nursery.start(serve_admin, self, admin)
            await nursery.start(trio.serve_listeners, acceptor.serve, tunnels)
            opened.pop_all()
        log.info("server.ready", **self.addresses)
        task_status.started(self)

    def close(self) -> None:
        """Give back what was opened before ``run``; without effect after it."""
        self._listeners.close()

    async def _listen_for_agents(self) -> list[trio.SocketListener]:
        listen = self._config.tunnel.listen
        try:
            return await trio.open_tcp_listeners(listen.port, host=listen.host)
        except OSError as error:
            raise bind_error(self._config.file, "tunnel.listen", str(listen), error) from None

    # --- agents ----------------------------------------------------------------------------------------------------

    def _answer_join(self, servers: tuple[Address, ...]) -> Callable[[bytes], bytes]:
        def answer(request: bytes) -> bytes:
            result = answer_untrusted(request, self._authority, self._store, servers, _utc())
            if isinstance(result.message, Joined):
                log.info("agent.joined", tenant=result.message.tenant, agent=result.message.agent)
            else:
                self._counters.bump("tunnel.refused.join")
                log.warning("join.refused", reason=result.message.reason)
            return result.data

        return answer

    def _tenants_changed(self) -> None:
        """Tenants, agents or trunks are not what they were."""
        self._gatekeeper.tenants = self._tenancy.doors()
        self._places.expect_agents()
        self._places.cut_refused()

    # --- the public face -------------------------------------------------------------------------------------------

    def _gate(self, message: Message, flow: Flow, now: float) -> Verdict:
        door, verdict = self._gatekeeper.admit(message, flow, now)
        asks_for_health = message.method == "OPTIONS" and isinstance(verdict, Answer) and verdict.status in (200, 503)
        if self._draining and asks_for_health:
            verdict = SHUTTING_DOWN
        return (None if door is None else self._places.seat(door.number)), verdict

    async def _keep_nats_open(self) -> None:
        """Remote workers behind NATs of their own stay reachable."""
        while True:
            await trio.sleep(STEP_S)
            for place in self._places:
                for emission in place.keepalives.due(place.seat.proxy.half.calls, trio.current_time()):
                    self._listeners.send(emission.data, emission.flow)

    async def _renew_certificates(self) -> None:
        """A server that runs for years still shows certificates that are good."""
        while True:
            await trio.sleep(RENEWAL_LOOK_S)
            with contained(self._counters, "certificates"):
                try:
                    if self._tls.renew(_utc()):
                        log.info("certificate.renewed", of="server")
                except LocalMisuse as error:
                    log.error("certificate.not_renewed", of="server", reason=str(error))


async def serve(config: ServerConfig, *, task_status: trio.TaskStatus[Server] = trio.TASK_STATUS_IGNORED) -> None:
    """Run the outside end in the caller's nursery: ``server = await nursery.start(outside_server.serve, config)``.

    Raises BadConfig when it cannot start by ``config``, LocalMisuse when its own files cannot be used. Cancelled, it
    closes every call, port and connection.
    """
    check_data_dir(config.file, config.data_dir)
    check_certificate(config.public, config.file)
    raise_file_limit()
    authority = Authority.open(config.data_dir, _utc(), secrets.token_bytes)
    with contextlib.closing(SqliteTenants(config.data_dir / STORE_FILE)) as store:
        async with trio.open_nursery() as nursery:
            server = Server(config, authority, store, nursery)
            try:
                await server.run(task_status)
            except BaseException:
                server.close()
                raise


def _utc() -> datetime:
    return datetime.now(UTC)
