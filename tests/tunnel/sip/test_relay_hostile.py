from __future__ import annotations

import contextlib
from typing import cast

import msgpack
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from support.calls import INSIDE, OUTSIDE, PBX, PhoneCall, collect, new_world, post, sdp
from support.faces import AGENT, SERVER
from support.hostile import STRANGER, face_of, real_messages, stop_the_clock, talking
from support.messages import INVITE, REGISTER, mutations, odd_messages
from support.pair import World

from tunnel.address import parse_address
from tunnel.errors import BadPacket
from tunnel.sip.flow import Flow
from tunnel.sip.message import parse_untrusted
from tunnel.sip.response import build_response
from tunnel.sip.wall import (
    CancelCrossed,
    Failed,
    PeerFacts,
    RequestCrossed,
    ResponseCrossed,
    WallMessage,
    decode_untrusted,
    encode,
)

HUGE = "9" * 5000
slow = settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@pytest.fixture
def virtual_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    stop_the_clock(monkeypatch)


# Lines that a message of an honest user agent has otherwise, or not at all.
odd_lines = st.sampled_from(
    [
        "Contact: <sip:a@10.1.0.50",
        'Contact: "a <sip:a@10.1.0.50>',
        "Contact: *",
        "Contact: <tel:+1>, <sip:x@[::1]:0;maddr=127.0.0.1>",
        "Contact: <sip:me@10.1.0.50;wp=AAAA>;expires=" + HUGE,
        "Contact:",
        "Record-Route: <sip:a",
        "Record-Route: sip:a;lr",
        "Record-Route: <tel:1>",
        f"Route: <sip:{SERVER};lr>, <sip:{AGENT};lr>",
        "Route: <sip:a@203.0.113.9;lr",
        "Route: <sip:203.0.113.99>",
        "Route: <http://x>",
        "Route: ,,,",
        "RAck: 1 1 INVITE",
        f"RAck: {HUGE} {HUGE} INVITE",
        "RAck: x",
        "RSeq: " + HUGE,
        "RSeq: 1",
        "Require: 100rel",
        "Expires: " + HUGE,
        "Expires: -1",
        "Max-Forwards: 0",
        "Refer-To: <sip:a@10.1.0.9?Replaces=1>",
        "Refer-To: <sip:a",
        "Referred-By: \u00ff",
        "Supported: outbound, outbound,, path",
        "Proxy-Require: x",
        'WWW-Authenticate: Digest realm="a", qop="auth,auth-int", qop="auth-int,auth"',
        'Authorization: Digest realm="',
        "Content-Encoding: gzip",
        "Content-Type: multipart/mixed",
        "Content-Type: application/sdp",
        "Session-Expires: 0",
        "Via: SIP/2.0/UDP 0.0.0.0:0;branch=z9hG4bKx;rport=70000",
    ]
)


@st.composite
def twisted(draw: st.DrawFn, originals: list[bytes]) -> bytes:
    """A real message with odd lines added, in the place of its own of that name or beside them; perhaps mutated."""
    lines = draw(st.sampled_from(originals)).partition(b"\r\n\r\n")
    head = lines[0].split(b"\r\n")
    for odd in draw(st.lists(odd_lines, max_size=4)):
        name = odd.partition(":")[0].lower().encode() + b":"
        if draw(st.booleans()):
            head = [head[0], *(line for line in head[1:] if not line.lower().startswith(name))]
        head.insert(draw(st.integers(1, len(head))), odd.encode())
    if draw(st.booleans()):
        head = [b"CSeq: %d %s" % (draw(st.sampled_from([0, 1, 2, 2**32 - 1])), line.split()[-1])
                if line.startswith(b"CSeq") else line for line in head]  # fmt: skip
    data = b"\r\n".join(head) + b"\r\n\r\n" + lines[2]
    return draw(mutations([data])) if draw(st.integers(0, 3)) == 0 else data


def retyped(number: int, kind: bytes, body: bytes = b"") -> tuple[str, bytes]:
    """The INVITE of an inside phone with ``kind`` in the place of its Content-Type line."""
    call = PhoneCall(new_world(), True, number)
    call.invite()
    data = call.sent[-1][1].replace(b"Content-Type: application/sdp", kind)
    return INSIDE, data.replace(b"v=0", body + b"v=0")


REAL = real_messages(1)
OTHERS = real_messages(101)  # of calls that are none of those in ``talking``


def inject(world: World, host: str, data: bytes) -> None:
    """A datagram through the boundary of the face: what the parser refuses goes no further."""
    with contextlib.suppress(BadPacket):
        (world.lan if host.startswith("10.") else world.public)(f"{host}:5060", data)


def assert_still_talking(world: World, calls: list[PhoneCall]) -> None:
    """Both answered calls can still be hung up, and all that was taken comes back."""
    world.take_lan()
    world.take_public()
    for call in calls[:2]:
        for party in call.got.values():
            party[:] = [m for m in party if m.method != "BYE"]
        assert call.within("BYE", True)
        collect(world, calls)
        assert call.answer(False, "BYE", 200), "BYE did not arrive"
        collect(world, calls)
        assert call.got[True][-1].status == 200


@slow
@given(st.lists(st.tuples(st.sampled_from([INSIDE, PBX, OUTSIDE, STRANGER]), twisted(REAL)), min_size=1, max_size=6))
@example([retyped(1, b"Content-Type:\x80 application/sdp")])
@example([retyped(9, b"Content-Type:\x80 application/sdp")])
@example([retyped(9, b"Content-Type:")])
@example([retyped(9, b"c: application /\r\n SDP ; a=b")])
@example([retyped(9, b"X: no type at all", b"\r\n")])
@example([retyped(9, b"X: no type at all", b"\x00")])
def test_whatever_arrives_nothing_breaks_and_all_is_forgotten(arrivals: list[tuple[str, bytes]]) -> None:
    world, _ = talking()
    for host, data in arrivals:
        inject(world, host, data)
        world.wait(1)
    world.wait(4000)
    for side in (world.lan_side, world.public_side):
        side.proxy.close(world.now)
        assert not side.plane.held
        assert side.channels.in_use == 0
        assert side.proxy.transactions == 0
        assert not side.index.transactions
        assert not side.index.branches
        assert not side.index.dialogs
        assert not side.index.registrars


@slow
@given(st.data())
def test_answers_to_our_requests_may_be_as_odd_as_they_like(data: st.DataObject) -> None:
    world, calls = talking()
    for call in calls[2:]:
        answers = [raw for host, raw in call.sent if raw.startswith(b"SIP/2.0")]
        for _ in range(data.draw(st.integers(1, 3))):
            status = data.draw(st.sampled_from([b"100", b"183", b"200", b"302", b"401", b"503", b"699"]))
            twist = data.draw(twisted(answers))
            inject(world, call.callee, twist.replace(b"183", status, 1))
    world.wait(1)
    assert_still_talking(world, calls)
    world.wait(300)
    world.take_lan()
    for side in (world.lan_side, world.public_side):
        assert side.proxy.transactions == 0
        assert not side.index.branches


@slow
@given(st.lists(st.tuples(st.sampled_from([STRANGER, "10.1.0.99"]), twisted(OTHERS)), max_size=5))
def test_nobody_elses_call_is_disturbed_by_what_strangers_make_up(arrivals: list[tuple[str, bytes]]) -> None:
    world, calls = talking()
    for host, data in arrivals:
        inject(world, host, data)
    world.wait(1)
    assert_still_talking(world, calls)


@pytest.mark.parametrize(
    "line",
    ["Contact: <sip:a,b", 'Record-Route: "a, b', "Route: x, <sip:a", "Refer-To: <,", "Supported: <x, y"],
)
def test_a_list_that_is_not_closed_is_answered_400_and_takes_nothing(virtual_clock: None, line: str) -> None:
    world = new_world()
    call = PhoneCall(world, True)
    call.invite()
    data = call.sent.pop()[1]
    name = line.partition(":")[0].encode()
    head = [h for h in data.split(b"\r\n") if not h.startswith(name + b":")]
    world = new_world()
    face, listeners = face_of(world, False)
    unclosed = b"\r\n".join([head[0], line.encode(), *head[1:]])
    face.deliver(unclosed, Flow("udp", AGENT, parse_address(f"{INSIDE}:5060")))
    refused = [int(raw.split()[1]) for raw, _ in listeners.sent] + [m.status for _, m in world.take_lan()]
    assert refused == [400]
    assert world.take_public() == []
    world.wait(40)
    assert world.lan_side.proxy.transactions == 0
    assert len(world.lan_side.half.calls) == 0


def test_a_call_with_as_many_headers_as_we_bear_can_still_be_refused_and_given_up() -> None:
    world = new_world()
    call = PhoneCall(world, True)
    call.invite()
    data = call.sent.pop()[1].replace(b"z9hG4bK", b"z9hG4bKx").replace(b"call-", b"callx-")
    world.take_public()
    missing = 200 - len(parse_untrusted(data).headers)
    inject(world, INSIDE, data.replace(b"Max-Forwards", b"X: y\r\n" * missing + b"Max-Forwards"))
    world.wait(40)
    answers = [m.status for _, m in world.take_lan() if m.call_id == b"callx-%d" % call.number]
    assert 513 in answers


@pytest.mark.parametrize("kind", [b"\x80 application/sdp", b"application", b"application/sdp, text/plain", b"a/b/c"])
def test_a_request_whose_body_is_of_no_readable_type_is_refused(virtual_clock: None, kind: bytes) -> None:
    """A1: what we cannot read may be SDP to its reader, with an inside address in it."""
    world = new_world()
    face, listeners = face_of(world, False)
    host, data = retyped(9, b"Content-Type: " + kind)
    face.deliver(data, Flow("udp", AGENT, parse_address(f"{host}:5060")))
    assert [parse_untrusted(answer).status for answer, _ in listeners.sent] == [400]
    assert world.take_public() == []


@pytest.mark.parametrize("kind", [b"\x80 application/sdp", b"application/sdp(x)"])
def test_an_answer_whose_body_is_of_no_readable_type_does_not_pass(kind: bytes) -> None:
    """A1: the caller is told, and nothing of the body gets out."""
    world = new_world()
    call = PhoneCall(world, False)
    call.invite()
    collect(world, [call])
    body = sdp(PBX)
    extra = [b"Contact: <sip:b@%s>" % PBX.encode(), b"Content-Type: " + kind]
    post(world, PBX, build_response(call.got[False][0], 200, "OK", b"to", extra, body))
    collect(world, [call])
    assert [m.status for m in call.got[True]] == [100, 500]


# The face


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.booleans(),
    st.sampled_from([INSIDE, OUTSIDE, STRANGER, "2001:db8::5"]),
    st.sampled_from(["udp", "tcp"]),
    st.one_of(st.binary(max_size=80), twisted(OTHERS), odd_messages(), mutations(OTHERS)),
)
def test_a_face_bears_any_bytes_and_tells_strangers_nothing(
    virtual_clock: None, outside: bool, host: str, transport: str, data: bytes
) -> None:
    world, calls = talking()
    face, listeners = face_of(world, outside)
    at = parse_address(f"[{host}]:5060" if ":" in host else f"{host}:5060")
    flow = Flow(transport, SERVER if outside else AGENT, at, 0 if transport == "udp" else 1)
    face.deliver(data, flow)
    assert not (world.public_side if outside else world.lan_side).counters["internal.errors"]
    for answer, to in listeners.sent:
        assert answer.startswith(b"SIP/2.0 ")
        assert to.remote.host == host
        if outside and host == STRANGER:
            assert parse_untrusted(answer).status in (404, 480), "only to a tenant's domain"
    world.settle()
    assert_still_talking(world, calls)


# The wall

REAL_WALL: list[WallMessage] = [
    RequestCrossed(5, 7, INVITE, "udp:10.1.0.7:5062", (16,), (), b"", "local", b"b" * 8, False),
    RequestCrossed(9, 7, INVITE.replace(b"INVITE", b"OPTIONS"), "x", (), (b"<sip:203.0.113.4;lr>",), b"sip:a@b"),
    RequestCrossed(0, 7, REGISTER, ""),
    ResponseCrossed(5, b"SIP/2.0 200 OK\r\n" + INVITE.partition(b"\r\n")[2], "", (32768,), True, b"b" * 8),
    CancelCrossed(5, (b"Reason: SIP;cause=200",)),
    Failed(5, 503, "Service Unavailable", "nothing", 5),
    PeerFacts(True),
]
numbers = st.integers() | st.sampled_from([0, 5, 7, 16, 17, 18, 32768, 65536])
any_raw = st.one_of(twisted(REAL), st.sampled_from(REAL), st.binary(max_size=30))
short = st.binary(max_size=12) | st.sampled_from([b"<sip:203.0.113.4;lr>", b"<sip:x>\r\nX: y", b"sip:a@203.0.113.5"])
wall_messages = st.one_of(
    st.builds(
        RequestCrossed,
        numbers,
        numbers,
        any_raw,
        st.text(max_size=5),
        st.lists(numbers, max_size=3).map(tuple),
        st.lists(short, max_size=3).map(tuple),
        short,
        st.text(max_size=5) | st.sampled_from(["mask", "dialog", "trunk"]),
        st.binary(max_size=9),
        st.booleans(),
    ),
    st.builds(ResponseCrossed, numbers, any_raw, st.just(""), st.lists(numbers, max_size=3).map(tuple), st.booleans()),
    st.builds(CancelCrossed, numbers, st.lists(short, max_size=2).map(tuple)),
    st.builds(Failed, numbers, st.integers(0, 1000), st.text(max_size=5), st.text(max_size=5), numbers),
)
msgpack_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text(max_size=8)
    | st.binary(max_size=8) | st.sampled_from(["request", "response", "cancel", "failed", "facts"]),
    lambda inner: st.lists(inner, max_size=8) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=12,
)  # fmt: skip


@settings(max_examples=500, deadline=None)
@given(
    st.one_of(
        st.binary(max_size=60),
        msgpack_values.map(lambda value: cast(bytes, msgpack.packb(value))),
        mutations([encode(message) for message in REAL_WALL]),
    )
)
def test_what_is_no_wall_message_is_refused_and_nothing_else_happens(payload: bytes) -> None:
    with contextlib.suppress(BadPacket):
        decode_untrusted(payload)


@pytest.mark.parametrize(
    "payload", [b"\x91" * 100_000, b"\xdd\xff\xff\xff\xff", b"\xd6\xff\x00\x00\x00\x01", b"\xc1", b""]
)
def test_hostile_msgpack_is_refused(payload: bytes) -> None:
    with pytest.raises(BadPacket):
        decode_untrusted(payload)


def with_living_ids(message: WallMessage, world: World, outside: bool, pick: int) -> WallMessage:
    """The same with transaction and call of somebody who is really there, as only the other end could name them."""
    crossed = [each for each in world.crossed if isinstance(each, RequestCrossed)]
    real = crossed[pick % len(crossed)]
    if isinstance(message, RequestCrossed):
        return RequestCrossed(real.transaction, real.call, message.raw, "", message.channels, message.routes)
    if isinstance(message, ResponseCrossed):
        return ResponseCrossed(real.transaction, message.raw, "", message.channels, message.natted, message.binding)
    if isinstance(message, Failed):
        return Failed(real.transaction, message.status, message.reason, message.warning)
    return CancelCrossed(real.transaction, message.reasons) if isinstance(message, CancelCrossed) else message


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(wall_messages, st.booleans(), st.none() | st.integers(0, 10)), max_size=5))
def test_a_half_proxy_bears_anything_that_the_other_end_says(
    said: list[tuple[WallMessage, bool, int | None]],
) -> None:
    world, _ = talking()
    for message, outside, pick in said:
        side = world.public_side if outside else world.lan_side
        chosen = message if pick is None else with_living_ids(message, world, outside, pick)
        try:
            decoded = decode_untrusted(encode(chosen))
        except (BadPacket, OverflowError):  # msgpack knows no integers beyond 64 bits
            continue
        tied = {channel for _, channel in side.plane.ties}
        if tied.intersection(getattr(decoded, "channels", ())):
            continue  # another call's channel: the pump lets the last one have it, the plane of paper forbids it
        side.proxy.wall(decoded, world.now)
        for emission in side.proxy.take_emissions():
            parse_untrusted(emission.data)
        side.proxy.take_crossings()
        side.proxy.take_lookups()
    world.wait(4000)
    for side in (world.lan_side, world.public_side):
        side.proxy.close(world.now)
        assert not side.plane.held
        assert side.channels.in_use == 0
        assert not side.index.branches
        assert not side.index.dialogs
