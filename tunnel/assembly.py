"""How the parts of an end are put together; the same at both, with another policy. [io]"""

from __future__ import annotations

import errno
import ipaddress
import os
import secrets
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import trio

from tunnel.address import Address
from tunnel.call_book import CallBook
from tunnel.classified_plane import ClassifiedPlane
from tunnel.config import FaceConfig
from tunnel.counters import Counters
from tunnel.errors import BadConfig
from tunnel.files import bind_error
from tunnel.link.driver import Link
from tunnel.link.events import SessionEvent
from tunnel.link.session import Role, Session
from tunnel.media.channels import AGENT_CHANNELS, SERVER_CHANNELS, ChannelSpace
from tunnel.media.lease import PortLedger
from tunnel.media.offer_answer import CallMedia
from tunnel.media.pump import FaceAddress, Pump
from tunnel.media.sockets import open_doors
from tunnel.media.streams import FaceRules
from tunnel.seat import Seat, Trust
from tunnel.sip.bindings import Bindings
from tunnel.sip.contacts import ContactMasks
from tunnel.sip.half import FaceAddresses, FaceIndex, Half, RelayEvent
from tunnel.sip.listener import Listeners, ListenSpec
from tunnel.sip.policy import FacePolicy
from tunnel.sip.relay import HalfProxy
from tunnel.sip.resolve import Resolver
from tunnel.sip.rewrite import Rewriter

__all__ = ["FaceParts", "bind_listeners", "listen_specs", "make_seat"]


@dataclass(frozen=True, slots=True)
class FaceParts:
    """What all sessions of one face share."""

    config: FaceConfig
    listeners: Listeners
    addresses: FaceAddresses
    index: FaceIndex
    resolver: Resolver
    ledger: PortLedger
    counters: Counters
    outside: bool

    @property
    def media_faces(self) -> tuple[FaceAddress, ...]:
        return tuple(FaceAddress(self.config.bind_host(host), host) for host in self.config.address)


def listen_specs(config: FaceConfig) -> list[ListenSpec]:
    """Each configured listener on each address of the face."""
    return [
        ListenSpec(listener.transport, config.bind_host(host), listener.port, Address(host, listener.port))
        for listener in config.sip
        for host in config.address
    ]


def bind_listeners(listeners: Listeners, config: FaceConfig, file: str) -> FaceAddresses:
    """Bind every listener, after a look at the media ports. Raises BadConfig that says which key is to be changed."""
    for host in config.address:
        _check_media_ports(config, host, file)
    try:
        return FaceAddresses(listeners.bind())
    except OSError as error:
        raise _bind_error(config, file, error, f"{config.table()}.sip", str(error.filename)) from None


def _check_media_ports(config: FaceConfig, host: str, file: str) -> None:
    """Whether any pair of the range can be had at all; which ones are free shows with each call."""
    bind = config.bind_host(host)
    try:
        for pair in range(config.media_ports.low, config.media_ports.high, 2):
            doors = open_doors(bind, pair)
            if doors is not None:
                for door in doors:
                    door.close()
                return
        raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
    except OSError as error:
        raise _bind_error(config, file, error, f"{config.table()}.media_ports", str(config.media_ports)) from None


def _bind_error(config: FaceConfig, file: str, error: OSError, key: str, value: str) -> BadConfig:
    """An address that is not this host's is the fault of the address, whatever it was wanted for."""
    if error.errno == errno.EADDRNOTAVAIL:
        bad = next((host for host in config.address if not _is_ours(config.bind_host(host))), config.address[0])
        bound = config.bind_host(bad)
        key, value = f"{config.table()}.{'address' if bound == bad else 'bind'}", bound
    return bind_error(file, key, value, error)


def _is_ours(host: str) -> bool:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((host, 0))
        except OSError:
            return False
    return True


def make_seat(
    parts: FaceParts,
    *,
    number: int,
    greeting: bytes,
    policy: FacePolicy,
    masks: ContactMasks,
    bindings: Bindings,
    usable: Callable[[str], bool],
    trusted: Callable[[str], bool],
    on_session: Callable[[SessionEvent], None],
    on_call: Callable[[RelayEvent], None],
    counters: Counters,
    trust: Trust,
    book: CallBook | None = None,
) -> Seat:
    """One session's link, pump and half proxy. ``usable`` and ``trusted``: see FaceRules; ``trust``, ``book``: see Seat.

    Raises OSError when the system gives no more files.
    """
    outside = parts.outside
    session = Session(Role.SERVER if outside else Role.AGENT, counters, secrets.token_bytes, greeting)
    channels = ChannelSpace(SERVER_CHANNELS if outside else AGENT_CHANNELS)
    hosts = parts.config.address
    rules = FaceRules(
        hosts.of_family(ipv6=False), hosts.of_family(ipv6=True), ":" in hosts[0], usable=usable, trusted=trusted
    )
    if outside:
        rules = replace(rules, may_wait=trusted)
    hide_full = parts.config.hide == "full"
    rewriter = Rewriter(masks, parts.addresses, outside=outside, hide_full=hide_full)

    def new_pump(link: Link) -> Pump:
        return Pump(
            parts.media_faces,
            parts.ledger,
            _Outlet(link),
            link.sinks,
            counters,
            asymmetric=not outside,
            may_speak=(lambda host: False) if outside else usable,
            shares_host=not outside or any(ipaddress.ip_address(face.bind).is_loopback for face in parts.media_faces),
        )

    def new_proxy(pump: Pump) -> HalfProxy:
        plane = ClassifiedPlane(pump, session)
        return HalfProxy(
            Half(
                number=number,
                outside=outside,
                addresses=parts.addresses,
                index=parts.index,
                policy=policy,
                masks=masks,
                bindings=bindings,
                rewriter=rewriter,
                new_media=lambda call: CallMedia(call, plane, channels, rules, counters),
                entropy=secrets.token_bytes,
                counters=counters,
                hide_full=hide_full,
            )
        )

    return Seat(
        listeners=parts.listeners,
        resolver=parts.resolver,
        new_pump=new_pump,
        session=session,
        new_proxy=new_proxy,
        on_session=on_session,
        on_call=on_call,
        counters=counters,
        trust=trust,
        book=book,
    )


def epoch_s() -> float:
    """Unix time when the clock of this run said 0."""
    return time.time() - trio.current_time()


class _Outlet:
    """The pump's way into the link."""

    __slots__ = ("_link", "_session")

    def __init__(self, link: Link) -> None:
        self._link = link
        self._session = link.session

    def send_media(self, frames: bytes, packets: int, now: float) -> None:
        self._session.send_media(frames, packets, now)

    def flush(self) -> None:
        self._link.flush()

    def dropped(self, channel: int) -> int:
        return self._session.dropped(channel)
