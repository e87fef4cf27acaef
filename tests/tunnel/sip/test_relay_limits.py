"""The limits of a tenant: calls at once, new calls a second (K)."""

from __future__ import annotations

from support.ends import HidingWorld, offer, request
from support.workers import (
    NAT,
    PBX,
    finals_in,
    register,
    requests_in,
    worker_calls,
    world_with_domain,
)

from tunnel.sip.response import build_response


def limited(max_calls: int, calls_per_second: float) -> HidingWorld:
    world = world_with_domain()
    limits = world.public_side.limits
    limits.max_calls, limits.calls_per_second = max_calls, calls_per_second
    return world


def test_a_tenant_has_so_many_calls_and_no_more_until_one_ends() -> None:
    world = limited(1, 0)
    [(_, invite)] = worker_calls(world)
    world.take_public()
    assert worker_calls(world, call="second") == []
    [(_, refused)] = finals_in(world.take_public())
    assert refused.status == 503
    assert refused.header("retry-after") is not None
    world.lan(PBX, build_response(invite, 486, "Busy Here", b"p9"))
    world.take_lan()
    assert len(worker_calls(world, call="third")) == 1


def test_the_limit_holds_for_calls_from_inside_too() -> None:
    world = limited(1, 0)
    contact = register(world, "bob", NAT)
    worker_calls(world)
    world.take_public()
    data = request("INVITE", contact, PBX, call="out", contact="<sip:100@10.1.0.5>", body=offer("10.1.0.5", 10000))
    world.lan(PBX, data)
    assert requests_in(world.take_public()) == []
    [(_, refused)] = finals_in(world.take_lan())
    assert (refused.status, refused.header("retry-after") is not None) == (503, True)
    assert world.public_side.limits.active == 1
    assert len(world.lan_side.half.calls) == 2  # the refused one is remembered a little for its late messages
    world.wait(40)
    assert len(world.lan_side.half.calls) == 1


def test_a_tenant_begins_so_many_calls_a_second_and_no_more() -> None:
    world = limited(0, 2)
    begun = [len(worker_calls(world, call=f"call-{number}")) for number in range(4)]
    assert begun == [1, 1, 0, 0]
    assert [m.status for _, m in finals_in(world.take_public())] == [503, 503]
    world.wait(0.5)
    assert len(worker_calls(world, call="later")) == 1


def test_registrations_and_in_dialog_requests_are_not_counted() -> None:
    world = limited(1, 1)
    worker_calls(world)
    world.take_public()
    register(world, "bob", NAT)
