"""The inside end: SIP and media on the LAN, one connection outwards. [io]"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Mapping
from datetime import UTC, datetime

import msgpack
import structlog
import trio

from inside_agent.config import AgentConfig
from inside_agent.dialer import Dialer
from inside_agent.keyring import Keyring
from inside_agent.own_certificate import own_certificate
from inside_agent.policy import LanPolicy
from tunnel.address import Address
from tunnel.admin import bind_admin, serve_admin
from tunnel.assembly import FaceParts, bind_listeners, epoch_s, listen_specs, make_seat
from tunnel.changes import changed_keys
from tunnel.counters import Counters
from tunnel.errors import BadConfig, LocalMisuse
from tunnel.face import Face, Verdict
from tunnel.face_tls import FaceTls, check_authorities, check_certificate
from tunnel.files import check_data_dir
from tunnel.link.events import PeerDraining, RenewalReceived, SessionDown, SessionEvent, SessionExpired, SessionUp
from tunnel.link.resume import SignalNotTaken
from tunnel.media.lease import PortLedger
from tunnel.media.sockets import raise_file_limit
from tunnel.metrics import AgentFigures, CallFigures, EndFigures
from tunnel.sip.bindings import Bindings
from tunnel.sip.contacts import ContactMasks
from tunnel.sip.flow import Flow
from tunnel.sip.half import FaceIndex, RelayEvent
from tunnel.sip.keepalives import STEP_S, Keepalives
from tunnel.sip.listener import Listeners, StreamLimits
from tunnel.sip.mask import MaskKey
from tunnel.sip.message import Message
from tunnel.sip.resolve import Resolver
from tunnel.sip.wall import PeerFacts
from tunnel.status import serve_status

__all__ = ["Agent", "serve"]

log = structlog.get_logger()

# Our number: how often the agent looks whether its certificate wants renewing.
RENEWAL_LOOK_S = 3600.0
# Our number: a PBX, or a switch between it and us, holds a connection for each of its phones.
MOST_LAN_CONNECTIONS = 2048
ONLY_SEAT = 1

# What a configuration that is read again may change without a restart; ``drain_seconds`` is the launcher's.
RELOADED = frozenset(
    {
        "lan.allow",
        "lan.pbx",
        "lan.outside",
        "lan.certificate",
        "lan.private_key",
        "lan.tls_ca",
        "drain_seconds",
        "file",
    }
)


class Agent:
    """The running agent; what ``serve`` hands out."""

    def __init__(self, config: AgentConfig, keyring: Keyring) -> None:
        self._config = config
        self._keyring = keyring
        self._counters = Counters()
        self._connected = trio.Event()
        self._connected_at: float | None = None
        self._down_reason = "not connected yet"
        self._draining = False
        self._dialing = trio.CancelScope()
        index = FaceIndex()
        face = Face(
            index=index,
            gate=self._gate,
            seat=lambda number: self._seat,
            known=lambda flow: self._policy.allows(flow.remote.ip),
            counters=self._counters,
            entropy=secrets.token_bytes,
        )
        lan = config.lan
        self._tls = FaceTls(lan, lambda at: own_certificate(config.data_dir, lan.address, at), _utc())
        self._lan_authorities = _authorities(config)
        self._listeners = Listeners(
            listen_specs(lan),
            deliver=face.deliver,
            failed=face.failed,
            refused=face.refused,
            counters=self._counters,
            server_tls=self._tls.server,
            client_tls=self._tls.client(self._lan_authorities),
            answer_stun=face.welcomes,
            limits=StreamLimits(per_source=MOST_LAN_CONNECTIONS),
        )
        face.use(self._listeners)
        self._addresses = bind_listeners(self._listeners, lan, config.file)
        self._policy = self._new_policy(config)
        self._has_pbx = lan.pbx is not None
        self._bindings = Bindings()
        self._masks = ContactMasks(outside=False, epoch_s=epoch_s(), bindings=self._bindings)
        self._ledger = PortLedger(lan.media_ports.low, lan.media_ports.high)
        parts = FaceParts(
            config=lan,
            listeners=self._listeners,
            addresses=self._addresses,
            index=index,
            resolver=Resolver(),
            ledger=self._ledger,
            counters=self._counters,
            outside=False,
        )
        self._seat = make_seat(
            parts,
            number=ONLY_SEAT,
            greeting=b"",
            policy=self._policy,
            masks=self._masks,
            bindings=self._bindings,
            usable=lambda host: self._policy.may_send(Address(host, 0)),
            trusted=lambda host: True,
            on_session=self._session_event,
            on_call=self._call_event,
            counters=self._counters,
            trust=lambda name, host: self._tls.client(self._lan_authorities),
        )

    # --- what a caller of serve sees -------------------------------------------------------------------------------

    @property
    def addresses(self) -> Mapping[str, str]:
        """``sip``: where this agent listens; ``tunnel``: what its session runs over."""
        bound = ",".join(f"{transport}:{address}" for transport, address in self._addresses.bound)
        return {"sip": bound, "tunnel": self._seat.link.carrier_name.replace(" ", ":")}

    async def drain(self, seconds: float) -> None:
        """Refuse new calls from either side, wait for the live ones, at most ``seconds``, and say goodbye."""
        self._draining = True
        self._seat.drain()
        self._seat.tell_draining(seconds)
        with trio.move_on_after(seconds):
            await self._seat.book.wait_empty()
        self._dialing.cancel()
        self._seat.say_goodbye()

    def reload(self, config: AgentConfig) -> None:
        """Work by another ``allow``, ``pbx`` and ``outside`` from now on, and by what its certificate files say now; the
        rest needs a restart, and the log says so. Raises BadConfig."""
        check_certificate(config.lan, config.file)
        authorities = _authorities(config)
        try:
            self._tls.use(config.lan, _utc())
        except LocalMisuse as error:
            raise BadConfig(config.file, "lan.certificate", str(config.lan.certificate), str(error)) from None
        self._lan_authorities = authorities
        waiting = changed_keys(self._config, config, RELOADED)
        if waiting:
            log.warning("config.needs_restart", keys=waiting)
        self._policy = self._new_policy(config)
        self._has_pbx = config.lan.pbx is not None
        self._seat.use_policy(self._policy)
        self._tell_facts()

    def status(self) -> dict[str, object]:
        """What the agent is doing now; ``wallpass status`` shows it."""
        session = self._seat.link.session
        rtt_s = session.keepalive.smoothed_rtt_s
        now = trio.current_time()
        return {
            "end": "agent",
            "addresses": dict(self.addresses),
            "tenant": self._keyring.credentials.tenant,
            "agent": self._keyring.credentials.identity.name,
            "tunnel": {
                "connected": session.is_up,
                "connected_s": round(now - self._connected_at, 1) if self._connected_at is not None else None,
                "carrier": self._seat.link.carrier_name,
                "rtt_ms": None if rtt_s is None else round(rtt_s * 1000, 2),
                "down_because": None if session.is_up else self._down_reason,
            },
            "draining": self._draining,
            "calls_active": dict(self._seat.book.active),
            "calls_total": dict(self._seat.book.total),
            "registrations": self._bindings.registered,
            "media_ports": {"held": self._ledger.held, "resting": self._ledger.resting, "size": self._ledger.size},
            "counters": dict(self._counters.values),
        }

    @property
    def is_healthy(self) -> bool:
        """Whether calls can be made: the tunnel is up and this end is not shutting down."""
        return self._seat.link.session.is_up and not self._draining

    def figures(self) -> EndFigures:
        """What a scrape of /metrics reads."""
        session, book = self._seat.link.session, self._seat.book
        tenant = self._keyring.credentials.tenant
        agent = AgentFigures(
            tenant=tenant,
            agent=self._keyring.credentials.identity.name,
            connected=session.is_up,
            rtt_s=session.keepalive.smoothed_rtt_s,
            registrations=self._bindings.registered,
        )
        return EndFigures(
            agents=(agent,),
            calls=(CallFigures(tenant, book.active, book.total),),
            ports=(self._ledger.held, self._ledger.resting, self._ledger.size),
            events=self._counters.values,
        )

    # --- life ------------------------------------------------------------------------------------------------------

    async def run(self, task_status: trio.TaskStatus[Agent]) -> None:
        """Serve until cancelled; started once the tunnel is up."""
        config = self._config
        credentials = self._keyring.credentials
        servers = (config.tunnel.server,) if config.tunnel.server is not None else credentials.servers
        if not servers:
            raise BadConfig(config.file, "tunnel.server", None, "must be set: the TOKEN did not name a server")
        self._dialer = Dialer(self._seat.link, servers, self._keyring.new_channel)
        admin = None if config.admin is None else bind_admin(config.file, config.admin.listen)
        async with trio.open_nursery() as nursery:
            if admin is not None:
                await nursery.start(serve_admin, self, admin)
            await nursery.start(self._listeners.run)
            await nursery.start(self._seat.run)
            await nursery.start(serve_status, config.file, config.data_dir, self.status)
            nursery.start_soon(self._dial)
            nursery.start_soon(self._look_at_certificate)
            nursery.start_soon(self._keep_nats_open)
            await self._connected.wait()
            log.info("agent.ready", **self.addresses)
            task_status.started(self)

    def close(self) -> None:
        """Give back what was opened before ``run``; without effect after it."""
        self._listeners.close()
        self._seat.close()

    async def _dial(self) -> None:
        with self._dialing:
            await self._dialer.run()

    def _new_policy(self, config: AgentConfig) -> LanPolicy:
        lan = config.lan
        return LanPolicy(self._addresses, lan.allow, (lan.pbx or "").encode(), (lan.outside or "").encode())

    def _gate(self, message: Message, flow: Flow, now: float) -> Verdict:
        return self._seat, self._policy.admit(message, flow, self.is_healthy, self._draining)

    def _call_event(self, event: RelayEvent) -> None:
        """The seat keeps the book; an agent has no limits of its own."""

    def _session_event(self, event: SessionEvent) -> None:
        if isinstance(event, SessionUp):
            self._greeted(event.greeting)
            self._dialer.came_up()
            if not event.resumed:
                self._follow_peer(is_draining=False)
            self._connected_at = trio.current_time()
            log.info("tunnel.up", resumed=event.resumed, carrier=self._seat.link.carrier_name)
            self._tell_facts()
            self._ask_for_renewal()
            self._connected.set()
        elif isinstance(event, SessionDown):
            self._connected_at = None
            self._down_reason = event.reason
            say = log.info if event.is_orderly else log.warning
            say("tunnel.down", reason=event.reason)
        elif isinstance(event, SessionExpired):
            say = log.info if event.is_orderly else log.warning
            say("session.expired", reason=event.reason, lost_signals=event.lost_signals)
        elif isinstance(event, RenewalReceived):
            self._keyring.renew(event.chain)
        elif isinstance(event, PeerDraining):
            log.info("server.draining", retry_after_s=event.retry_after_s)
            self._follow_peer(is_draining=True)

    def _greeted(self, greeting: bytes) -> None:
        """The server says which key this tenant's masks are sealed with."""
        try:
            facts = msgpack.unpackb(greeting)
            self._masks.use(MaskKey(facts["key"], facts["tenant"]), facts["agent"])
        except (ValueError, KeyError, TypeError) as error:
            log.error("greeting.unreadable", reason=str(error))

    def _follow_peer(self, *, is_draining: bool) -> None:
        """While the server shuts down, our side's new calls are refused here; the next server takes them again."""
        self._seat.drain(is_draining or self._draining)

    def _tell_facts(self) -> None:
        if self._seat.link.session.is_live:
            self._seat.tell(PeerFacts(self._has_pbx))

    # --- certificate -----------------------------------------------------------------------------------------------

    async def _look_at_certificate(self) -> None:
        while True:
            await trio.sleep(RENEWAL_LOOK_S)
            self._ask_for_renewal()
            try:
                self._tls.renew(_utc())
            except LocalMisuse as error:
                log.error("certificate.not_renewed", of="lan", reason=str(error))

    def _ask_for_renewal(self) -> None:
        """Ask for a new certificate if it is time to; whoever is not heard now is heard at the next look."""
        session = self._seat.link.session
        csr = self._keyring.renewal_request() if session.is_up else None
        if csr is not None:
            with contextlib.suppress(SignalNotTaken):
                session.request_renewal(csr, trio.current_time())
                self._seat.link.flush()

    async def _keep_nats_open(self) -> None:
        """Phones behind a NAT inside the LAN stay reachable."""
        keepalives = Keepalives(self._bindings, secrets.token_bytes)
        while True:
            await trio.sleep(STEP_S)
            for emission in keepalives.due(self._seat.proxy.half.calls, trio.current_time()):
                self._listeners.send(emission.data, emission.flow)


async def serve(config: AgentConfig, *, task_status: trio.TaskStatus[Agent] = trio.TASK_STATUS_IGNORED) -> None:
    """Run the inside end in the caller's nursery: ``agent = await nursery.start(inside_agent.serve, config)``.

    Started once the tunnel is up. Raises BadConfig when it cannot start by ``config``, LocalMisuse when its own files
    cannot be used. Cancelled, it closes every call, port and connection.
    """
    check_data_dir(config.file, config.data_dir)
    check_certificate(config.lan, config.file)
    raise_file_limit()
    agent = Agent(config, Keyring.open(config.file, config.data_dir))
    try:
        await agent.run(task_status)
    finally:
        agent.close()


def _authorities(config: AgentConfig) -> str:
    """PEM text of who may vouch for TLS peers on the LAN; empty for the system's store. Raises BadConfig."""
    path = config.lan.tls_ca
    return "" if path is None else check_authorities(config.file, "lan.tls_ca", path)


def _utc() -> datetime:
    return datetime.now(UTC)
