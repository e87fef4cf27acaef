"""A world in which some calls go on, with the faces before it that take raw bytes: where hostile input is let in."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import cast

import pytest

from support.calls import PhoneCall, collect, new_world
from support.leaks import INSIDE, hidden_places
from support.messages import INVITE, REGISTER, accepted
from support.pair import World
from tunnel import face as face_module
from tunnel.face import Face, Verdict
from tunnel.seat import Seat
from tunnel.sip.flow import Flow
from tunnel.sip.listener import Listeners
from tunnel.sip.message import Message

__all__ = ["STRANGER", "PaperListeners", "face_of", "real_messages", "stop_the_clock", "talking"]

STRANGER = "203.0.113.66"


def talking(first: int = 1) -> tuple[World, list[PhoneCall]]:
    """A world with two answered calls and two that ring, both ways; from now on twisted messages may come."""
    world = new_world()
    calls = [PhoneCall(world, number % 2 == 0, first + number) for number in range(4)]
    for number, call in enumerate(calls):
        call.invite()
        collect(world, calls)
        call.answer(False, "INVITE", 200 if number < 2 else 183, "to", True)
        collect(world, calls)
        if number < 2:
            call.ack()
            collect(world, calls)
    world.searched = hidden_places
    return world, calls


def real_messages(first: int) -> list[bytes]:
    """What parties of some calls say, requests and responses."""
    world, calls = talking(first)
    for call in calls[:2]:
        call.within("INVITE", True, with_sdp=True)
        collect(world, calls)
        call.answer(False, "INVITE", 488)
        call.within("BYE", False)
    calls[2].cancel()
    return [data for call in calls for _, data in call.sent] + [REGISTER, INVITE, *accepted.values()]


class PaperListeners:
    """Keeps what a face sends by itself."""

    def __init__(self) -> None:
        self.sent: list[tuple[bytes, Flow]] = []

    def send(self, data: bytes, flow: Flow, server_name: str = "") -> None:
        self.sent.append((data, flow))

    def hang_up(self, flow: Flow) -> None:
        pass


def face_of(world: World, outside: bool, stranger: str = STRANGER) -> tuple[Face, PaperListeners]:
    """The face before one side of ``world``, as the programs put it together; nobody knows ``stranger``."""
    side = world.public_side if outside else world.lan_side
    seat = cast(Seat, SimpleNamespace(proxy=side.proxy, settle=world.settle))

    def gate(message: Message, flow: Flow, now: float) -> Verdict:
        if outside:
            world.said_outside.update(INSIDE.findall(message.raw), [flow.remote.host.encode()])
            door, verdict = side.gatekeeper.admit(message, flow, world.now)
            return (seat if door is not None else None), verdict
        return seat, side.lan_policy.admit(message, flow, True)

    listeners = PaperListeners()
    face = Face(
        index=side.index,
        gate=gate,
        seat=lambda number: seat,
        known=lambda flow: flow.remote.host != stranger,
        counters=side.counters,
        entropy=lambda n: b"e" * n,
    )
    face.use(cast(Listeners, listeners))
    return face, listeners


def stop_the_clock(patch: pytest.MonkeyPatch, now: Callable[[], float] = lambda: 1000.0) -> None:
    """Faces read ``now`` in the place of a clock; by default it stands still."""
    patch.setattr(face_module, "trio", SimpleNamespace(current_time=now))
