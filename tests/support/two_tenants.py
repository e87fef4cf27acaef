"""Two tenants whose LANs have the same addresses and the same extensions, behind one server: 200 phones.

| of each tenant | names | where | registered |
| --- | --- | --- | --- |
| 40 hosted | 201-240 | LAN 10.1.0.11-50 | at the hosted PBX outside, which both tenants have, in a domain of the tenant |
| 30 desk | 401-430 | LAN 10.1.0.61-90 | at the tenant's own PBX 10.1.0.5 |
| 30 remote | 301-330 | at home, all at 192.168.77.10, behind three NATs that both tenants share | at the tenant's own PBX |
"""

from __future__ import annotations

from dataclasses import dataclass

from support.faces import AGENT
from support.ladder import Phone
from support.pair import World
from support.proxies import Registrar
from support.stage import AUTHORIZATION
from tunnel.address import Address
from tunnel.sip.flow import Flow
from tunnel.sip.message import Message

__all__ = ["HOSTED", "PBX", "TRUNK", "Extension", "Tenant", "TwoTenants", "hears", "where"]

PBX, HOSTED, TRUNK = "10.1.0.5:5060", "203.0.113.20:5060", "203.0.113.30:5060"
HOME = "192.168.77.10:5060"
NATS = ("198.51.100.7", "198.51.100.8", "198.51.100.9")


class HostedPbx(Registrar):
    """The registrar of many domains."""

    def _callees(self, request: Message) -> list[bytes]:
        uri = request.uri
        if uri is None or not uri.user:
            return []
        return list(self.bindings.get(b"sip:%s@%s" % (uri.user, uri.host.encode()), ()))


class PatientPhone(Phone):
    """It takes its time, and passes over what is repeated meanwhile."""

    def __init__(self, *args: object, **more: object) -> None:
        self._heard: set[tuple[object, ...]] = set()
        super().__init__(*args, **more)  # type: ignore[arg-type]

    def arrive(self, message: Message, source: Flow) -> None:
        what = message.top_via.branch, message.cseq, message.status, message.call_id, message.to_tag
        if what not in self._heard:
            self._heard.add(what)
            super().arrive(message, source)


@dataclass
class Extension:
    """One phone, its tenant, and of which kind it is."""

    phone: Phone
    tenant: Tenant
    kind: str
    registered: int = 0

    def register(self, *, port: int = 0) -> None:
        """(Again); ``port``: its NAT has given it another one."""
        phone = self.phone
        if port:
            phone.seen_from = f"{phone.seen_at}:{port}"
            phone.world.attach(True, phone.seen_from, phone)
        self.registered += 2
        domain = phone.aor.partition("@")[2]
        name = f"reg-{phone.aor}"
        phone.register(f"sip:{domain}", call_id=name, cseq=self.registered)
        challenge = phone.got(401).lines("www-authenticate")[0].decode()
        headers = (AUTHORIZATION(challenge.split('"')[1], phone.user),)
        phone.register(f"sip:{domain}", call_id=name, cseq=self.registered + 1, headers=headers)
        phone.got(200)


class Tenant:
    """One of them: its part of the world, its PBX, its phones."""

    def __init__(self, name: str, world: World) -> None:
        self.name = name
        self.world = world
        self.phones: list[Extension] = []
        self.office, self.hosted = f"{name}.example", f"{name}.hosted.example"
        self.pbx = Registrar(world, PBX, self.office, gateway=str(AGENT))
        world.names[self.office] = "203.0.113.10"  # for everybody outside, and for the agent's phones
        world.set_tenant(domains=(self.office,), trunks=(TRUNK.partition(":")[0],))

    def hosted_phone(self, number: int) -> Extension:
        phone = PatientPhone(self.world, f"10.1.0.{10 + number}:5060", f"{200 + number}", domain=self.hosted, port=6000)
        return Extension(phone, self, "hosted")

    def desk_phone(self, number: int) -> Extension:
        at = f"10.1.0.{60 + number}:5060"
        phone = PatientPhone(self.world, at, f"{400 + number}", domain=self.office, outbound=PBX, port=6000)
        return Extension(phone, self, "desk")

    def remote_phone(self, number: int, nat: str, port: int) -> Extension:
        phone = PatientPhone(
            self.world,
            HOME,
            f"{300 + number}",
            domain=self.office,
            seen_from=f"{nat}:{port}",
            port=20_000 + port % 9973,
        )
        return Extension(phone, self, "remote")


class TwoTenants:
    """``extensions``: all 200, registered."""

    def __init__(self) -> None:
        first = World(pbx=f"sip:{PBX}")
        second = World(pbx=f"sip:{PBX}", beside=first)
        self.world = first
        self.tenants = (Tenant("red", first), Tenant("blue", second))
        self.hosted = HostedPbx(first, HOSTED, "hosted.example")
        self.extensions: list[Extension] = []
        for index, tenant in enumerate(self.tenants):
            first.names[tenant.hosted] = HOSTED.partition(":")[0]
            self.extensions += [tenant.hosted_phone(n) for n in range(1, 41)]
            self.extensions += [tenant.desk_phone(n) for n in range(1, 31)]
            self.extensions += [
                tenant.remote_phone(n, NATS[n % len(NATS)], 40_000 + 1000 * index + n) for n in range(1, 31)
            ]
        for extension in self.extensions:
            extension.tenant.phones.append(extension)
            extension.register()

    def assert_quiet(self) -> None:
        """Nobody has an unread message."""
        for extension in self.extensions:
            extension.phone.got_nothing()

    def assert_empty(self) -> None:
        """After a while nothing is left of what has passed, of either tenant."""
        self.assert_quiet()
        self.world.wait(200)
        self.assert_quiet()
        for tenant in self.tenants:
            tenant.world.assert_empty()


def where(speaker: Phone) -> tuple[World | None, Address | str | None]:
    """Where an RTP packet of ``speaker`` ends: in whose LAN (None: outside), and at which address (see Stage.where)."""
    source, sent_to = speaker.speaks_from(), speaker.speaks_to()
    lan: World | None = None if speaker.outside else speaker.world
    while sent_to is not None:
        if lan is not None:
            if not lan.lan_side.is_own(sent_to.host):
                return lan, sent_to
            world = lan
        else:
            if not speaker.world.public_side.is_own(sent_to.host):
                return None, sent_to
            held = [w for w in speaker.world.internet if sent_to in [x.rtp for x in w.public_side.plane.held.values()]]
            if not held:
                return None, None
            world = held[0]
        near, far = (world.lan_side, world.public_side) if lan is not None else (world.public_side, world.lan_side)
        channel = near.plane.from_network(source, sent_to)
        if channel is None:
            return lan, None
        onward = far.plane.to_network(channel)
        lan = world if lan is None else None
        if onward is None:
            aim = far.plane.aim_of(channel)
            return lan, None if aim is None else aim.sip_source
        source, sent_to = onward
    return lan, None


def hears(listener: Phone, speaker: Phone) -> bool:
    """Whether what ``speaker`` says arrives where ``listener`` waits for it, in its LAN if it has one."""
    lan, at = where(speaker)
    return lan is (None if listener.outside else listener.world) and at in (listener.listens_at(), listener.seen_at)
