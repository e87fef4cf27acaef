"""The outside end: public SIP and media, and the tunnel's listener. [io]

acceptor -> seat of the agent (link, pump, half proxy) <-> face (listeners, gatekeeper)
"""

from __future__ import annotations

import ipaddress
import secrets
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import msgpack
import structlog
import trio

from outside_server.acceptor import Acceptor
from outside_server.authority import Authority
from outside_server.config import ServerConfig
from outside_server.enrol import answer_untrusted, renew_untrusted
from outside_server.gatekeeper import Gatekeeper
from outside_server.policy import PublicPolicy, never_sent_to
from outside_server.tenancy import Tenancy
from outside_server.tenant_store import SqliteTenants
from outside_server.tenants import TenantStore
from tunnel.address import Address, is_private
from tunnel.admin import bind_admin, serve_admin
from tunnel.assembly import FaceParts, bind_listeners, epoch_s, listen_specs, make_seat
from tunnel.counters import Counters
from tunnel.errors import BadPacket, Refused
from tunnel.face import Face, Verdict
from tunnel.files import bind_error, check_data_dir
from tunnel.link.driver import Link
from tunnel.link.events import RenewRequested, SessionDown, SessionEvent, SessionExpired, SessionUp
from tunnel.link.identity import AgentIdentity
from tunnel.link.joining import Joined
from tunnel.link.secure import SecureChannel, server_context
from tunnel.media.lease import PortLedger
from tunnel.media.sockets import raise_file_limit
from tunnel.metrics import AgentFigures, EndFigures
from tunnel.seat import Seat
from tunnel.sip.bindings import Bindings
from tunnel.sip.contacts import ContactMasks
from tunnel.sip.flow import Flow
from tunnel.sip.half import CallClosed, CallOpened, FaceIndex, RelayEvent
from tunnel.sip.listener import Listeners
from tunnel.sip.mask import MaskKey, TenantHint
from tunnel.sip.message import Message
from tunnel.sip.resolve import Resolver
from tunnel.status import serve_status

__all__ = ["Server", "serve"]

log = structlog.get_logger()

STORE_FILE = "tenants.db"
# Our number: how often a UDP flow through somebody's NAT gets a keep-alive; the shortest NATs forget after 30 s.
KEEPALIVE_S = 20.0


@dataclass(slots=True)
class _Agent:
    """One agent's place at the server, from its first connection until its session has expired."""

    identity: AgentIdentity
    seat: Seat
    masks: ContactMasks
    scope: trio.CancelScope
    connected_at: float | None = None

    @property
    def number(self) -> int:
        return self.identity.agent_id

    @property
    def tenant(self) -> int:
        return self.identity.tenant_id

    @property
    def is_up(self) -> bool:
        return self.seat.link.session.is_live

    @property
    def has_pbx(self) -> bool:
        return self.seat.peer_has_pbx

    def figures(self, tenant_name: str) -> AgentFigures:
        """What a scrape reads of this agent."""
        session, book = self.seat.link.session, self.seat.book
        return AgentFigures(
            tenant=tenant_name,
            agent=self.identity.name,
            connected=session.is_up,
            rtt_s=session.keepalive.smoothed_rtt_s,
            registrations=self.seat.proxy.half.bindings.registered,
            calls_active=book.active,
            calls_total=book.total,
        )


class Server:
    """The running server; what ``serve`` hands out."""

    def __init__(self, config: ServerConfig, authority: Authority, store: TenantStore, nursery: trio.Nursery) -> None:
        self._config = config
        self._authority = authority
        self._store = store
        self._nursery = nursery
        self._counters = Counters()
        self._agents: dict[int, _Agent] = {}
        self._draining = False
        self._index = FaceIndex()
        self._resolver = Resolver()
        self._gatekeeper = Gatekeeper(self._index, TenantHint(authority.mask_hint_key()))
        self._tenancy = Tenancy(store, self._resolver)
        self._ledger = PortLedger(config.public.media_ports.low, config.public.media_ports.high)
        face = Face(
            index=self._index,
            gate=self._gate,
            seat=self._seat,
            known=lambda flow: flow.remote.host in self._gatekeeper.tenants.trunks,
            counters=self._counters,
            entropy=secrets.token_bytes,
        )
        self._listeners = Listeners(
            listen_specs(config.public),
            deliver=face.deliver,
            failed=face.failed,
            counters=self._counters,
            server_tls=self._public_tls(),
            client_tls=ssl.create_default_context(),
        )
        face.use(self._listeners)
        self._addresses = bind_listeners(self._listeners, config.public, config.file)
        self._parts = FaceParts(
            config=config.public,
            listeners=self._listeners,
            addresses=self._addresses,
            index=self._index,
            resolver=self._resolver,
            ledger=self._ledger,
            counters=self._counters,
            outside=True,
        )
        self._on_loopback = any(address.ip.is_loopback for _, address in self._addresses.bound)
        self._tunnel_address = config.tunnel.listen

    # --- what a caller of serve sees -----------------------------------------------------------------------------

    @property
    def addresses(self) -> Mapping[str, str]:
        """``sip`` and ``tunnel``: where this server listens."""
        bound = ",".join(f"{transport}:{address}" for transport, address in self._addresses.bound)
        return {"sip": bound, "tunnel": str(self._tunnel_address)}

    async def drain(self, seconds: float) -> None:
        """Refuse new calls and wait for the live ones, at most ``seconds``."""
        self._draining = True
        for agent in self._agents.values():
            agent.seat.drain()
        with trio.move_on_after(seconds):
            for agent in list(self._agents.values()):
                await agent.seat.book.wait_empty()

    def reload(self, config: ServerConfig) -> None:
        """Work by ``config`` where that is possible without touching live calls; the rest needs a restart."""
        self._config = config

    def status(self) -> dict[str, object]:
        """What the server is doing now; ``wallpass status`` shows it."""
        now = trio.current_time()
        agents = [
            {
                "tenant": self._tenant_name(agent.identity.tenant_id),
                "agent": agent.identity.name,
                "connected": agent.seat.link.session.is_up,
                "connected_s": round(now - agent.connected_at, 1) if agent.connected_at is not None else None,
                "rtt_ms": _ms(agent.seat.link.session.keepalive.smoothed_rtt_s),
                "calls_active": dict(agent.seat.book.active),
                "calls_total": dict(agent.seat.book.total),
                "media_leases": agent.seat.pump.leases,
            }
            for agent in self._agents.values()
        ]
        return {
            "end": "server",
            "addresses": dict(self.addresses),
            "draining": self._draining,
            "calls_active": sum(len(agent.seat.book) for agent in self._agents.values()),
            "media_ports": {"held": self._ledger.held, "resting": self._ledger.resting, "size": self._ledger.size},
            "agents": agents,
            "counters": dict(self._all_counters()),
        }

    @property
    def is_healthy(self) -> bool:
        """Whether new calls are taken."""
        return not self._draining

    def figures(self) -> EndFigures:
        """What a scrape of /metrics reads."""
        agents = tuple(agent.figures(self._tenant_name(agent.tenant)) for agent in self._agents.values())
        ports = self._ledger.held, self._ledger.resting, self._ledger.size
        return EndFigures(agents, ports, self._all_counters())

    # --- life ------------------------------------------------------------------------------------------------------

    async def run(self, task_status: trio.TaskStatus[Server]) -> None:
        """Serve until cancelled."""
        config = self._config
        listen = config.tunnel.listen
        try:
            tunnels = await trio.open_tcp_listeners(listen.port, host=listen.host)
        except OSError as error:
            raise bind_error(config.file, "tunnel.listen", str(listen), error) from None
        admin = None if config.admin is None else bind_admin(config.file, config.admin.listen)
        self._tunnel_address = Address(listen.host, tunnels[0].socket.getsockname()[1])
        servers = config.join_addresses(self._tunnel_address.port)
        certificate = self._authority.server_certificate(_utc())
        context = server_context(certificate.path, certificate.path, self._authority.pem)
        acceptor = Acceptor(
            lambda: SecureChannel(context, server_side=True), self._admit, self._answer_join(servers), self._counters
        )
        nursery = self._nursery
        await nursery.start(self._tenancy.run, self._tenants_changed)
        await nursery.start(self._listeners.run)
        await nursery.start(serve_status, config.file, config.data_dir, self.status)
        nursery.start_soon(self._keep_nats_open)
        if admin is not None:
            await nursery.start(serve_admin, self, admin)
        await nursery.start(trio.serve_listeners, acceptor.serve, tunnels)
        log.info("server.ready", **self.addresses)
        task_status.started(self)

    # --- agents ----------------------------------------------------------------------------------------------------

    def _admit(self, identity: AgentIdentity) -> Link:
        """The link of an agent whose certificate TLS has verified. Raises Refused."""
        refusal = self._tenancy.refusal(identity)
        if refusal is not None:
            raise Refused(refusal)
        known = self._agents.get(identity.agent_id)
        if known is None:
            known = self._agents[identity.agent_id] = self._new_agent(identity)
            self._nursery.start_soon(self._run_agent, known)
        known.identity = identity
        return known.seat.link

    def _new_agent(self, identity: AgentIdentity) -> _Agent:
        tenant = identity.tenant_id
        key = self._authority.tenant_mask_key(tenant)
        bindings = Bindings()
        masks = ContactMasks(outside=True, epoch_s=epoch_s(), bindings=bindings)
        masks.use(MaskKey(key, tenant, TenantHint(self._authority.mask_hint_key())), identity.agent_id)
        limits = self._tenancy.limits(tenant)
        greeting: bytes = msgpack.packb({"key": key, "tenant": tenant, "agent": identity.agent_id})

        def on_session(event: SessionEvent) -> None:
            self._session_event(identity.agent_id, event)

        def on_call(event: RelayEvent) -> None:
            if isinstance(event, CallOpened):
                limits.active += 1
            elif isinstance(event, CallClosed):
                limits.active -= 1

        seat = make_seat(
            self._parts,
            number=identity.agent_id,
            greeting=greeting,
            policy=PublicPolicy(self._addresses, limits),
            masks=masks,
            bindings=bindings,
            usable=self._usable,
            trusted=lambda ip: self._tenancy.is_trunk(ip, tenant),
            on_session=on_session,
            on_call=on_call,
            counters=Counters(),
        )
        if self._draining:
            seat.drain()
        return _Agent(identity, seat, masks, trio.CancelScope())

    async def _run_agent(self, agent: _Agent) -> None:
        number = agent.identity.agent_id
        self._gatekeeper.open(agent)
        try:
            with agent.scope:
                await agent.seat.run()
        finally:
            self._gatekeeper.close(number)
            if self._agents.get(number) is agent:
                del self._agents[number]

    def _session_event(self, number: int, event: SessionEvent) -> None:
        agent = self._agents.get(number)
        if agent is None:
            return
        bound = log.bind(tenant=self._tenant_name(agent.identity.tenant_id), agent=agent.identity.name)
        if isinstance(event, SessionUp):
            agent.connected_at = trio.current_time()
            bound.info("tunnel.up", resumed=event.resumed, carrier=agent.seat.link.carrier_name)
        elif isinstance(event, SessionDown):
            agent.connected_at = None
            bound.warning("tunnel.down", reason=event.reason)
        elif isinstance(event, SessionExpired):
            bound.warning("session.expired", reason=event.reason, lost_signals=event.lost_signals)
            if not agent.seat.link.session.is_up:
                agent.scope.cancel()
        elif isinstance(event, RenewRequested):
            self._renew(agent, event.csr)

    def _renew(self, agent: _Agent, csr: bytes) -> None:
        try:
            chain = renew_untrusted(csr, agent.identity, self._authority, self._store, _utc())
        except (BadPacket, Refused) as error:
            log.warning("certificate.not_renewed", agent=agent.identity.name, reason=str(error))
            return
        agent.seat.link.session.answer_renewal(chain, trio.current_time())
        agent.seat.link.flush()
        log.info("certificate.renewed", agent=agent.identity.name)

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
        for agent in list(self._agents.values()):
            refusal = self._tenancy.snapshot.refusal(agent.identity)
            if refusal is not None:
                log.warning("tunnel.cut", agent=agent.identity.name, reason=refusal)
                agent.seat.link.session.refuse(refusal, trio.current_time())
                agent.seat.link.flush()

    # --- the public face -------------------------------------------------------------------------------------------

    def _gate(self, message: Message, flow: Flow, now: float) -> Verdict:
        door, verdict = self._gatekeeper.admit(message, flow, now)
        return (None if door is None else self._seat(door.number)), verdict

    def _seat(self, number: int) -> Seat | None:
        agent = self._agents.get(number)
        return None if agent is None else agent.seat

    def _usable(self, host: str) -> bool:
        """Whether media may be aimed at this address of an SDP at once: a public one, or loopback in the demo."""
        ip = ipaddress.ip_address(host)
        return not never_sent_to(ip, self._on_loopback) and (self._on_loopback or not is_private(ip))

    def _public_tls(self) -> ssl.SSLContext | None:
        public = self._config.public
        if not any(listener.transport == "tls" for listener in public.sip):
            return None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if public.certificate is not None:
            context.load_cert_chain(public.certificate, public.private_key)
        else:
            own = self._authority.public_certificate(tuple(public.address), _utc())
            context.load_cert_chain(own.path)
        return context

    async def _keep_nats_open(self) -> None:
        """Remote workers behind NATs of their own stay reachable (RFC 5626 section 4.4.1)."""
        while True:
            await trio.sleep(KEEPALIVE_S)
            now = trio.current_time()
            for agent in self._agents.values():
                for flow in agent.seat.proxy.half.bindings.keepalive_flows(now):
                    self._listeners.send_keepalive(flow)

    # --- for people ------------------------------------------------------------------------------------------------

    def _tenant_name(self, tenant: int) -> str:
        found = self._tenancy.snapshot.tenants.get(tenant)
        return found.name if found is not None else f"#{tenant}"

    def _all_counters(self) -> Mapping[str, int]:
        total = self._counters.values.copy()
        for agent in self._agents.values():
            total.update(agent.seat.counters.values)
        return total


async def serve(config: ServerConfig, *, task_status: trio.TaskStatus[Server] = trio.TASK_STATUS_IGNORED) -> None:
    """Run the outside end in the caller's nursery: ``server = await nursery.start(outside_server.serve, config)``.

    Raises BadConfig when it cannot start by ``config``, LocalMisuse when its own files cannot be used. Cancelled, it
    closes every call, port and connection.
    """
    check_data_dir(config.file, config.data_dir)
    raise_file_limit()
    authority = Authority.open(config.data_dir, _utc(), secrets.token_bytes)
    store = SqliteTenants(config.data_dir / STORE_FILE)
    try:
        async with trio.open_nursery() as nursery:
            server = Server(config, authority, store, nursery)
            await server.run(task_status)
    finally:
        store.close()


def _utc() -> datetime:
    return datetime.now(UTC)


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 2)
