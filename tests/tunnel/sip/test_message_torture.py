"""The messages of RFC 4475 and RFC 5118: what a proxy must pass passes byte-exact but for our edits, in both directions; what
it must not gets the answer of the rules. One row for each message, with its section and the reason.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from support import faces
from support.calls import PBX
from support.hostile import face_of, stop_the_clock
from support.messages import torture
from support.pair import World
from support.spans import assert_only_allowed

from tunnel.address import Address, parse_address
from tunnel.errors import BadPacket
from tunnel.sip.flow import Flow
from tunnel.sip.framing import StreamFramer
from tunnel.sip.message import Message, parse_untrusted
from tunnel.sip.response import build_response

MESSAGES = {**torture("accepted"), **torture("refused")}

PASSES = 0  # it leaves on the other side, and its answer finds the way back
SILENCE = -1  # a response that is discarded, or a request that cannot be answered

PHONE, STRANGER = "10.1.0.50:5060", "203.0.113.40:5060"
HOSTS = [f"{name}example.com" for name in ("", "registrar.", "services.", "chair-dnrc.")]
HOSTS += ["example.net", "host.example.net", "example.org", "example.edu", "company.com"]


@dataclass(frozen=True, slots=True)
class Row:
    """``out``: what becomes of it when a phone inside sends it; ``inward``: whether it passes from outside to the PBX too.

    ``mended``: what is replaced first so that the row shows what it is about: a To tag goes, for there is no dialog.
    """

    section: str
    out: int
    inward: bool = False
    mended: tuple[bytes, bytes] = (b"", b"")


ROWS = {
    # 3.1.1: valid
    "rfc4475_wsinv": Row("3.1.1.1", PASSES, True, (b" ;   tag    = 1918181833n", b"")),
    "rfc4475_intmeth": Row("3.1.1.2", PASSES, True),
    "rfc4475_esc01": Row("3.1.1.3", PASSES, True),
    "rfc4475_escnull": Row("3.1.1.4", PASSES, True),
    "rfc4475_esc02": Row("3.1.1.5", PASSES, True),
    "rfc4475_lwsdisp": Row("3.1.1.6", PASSES, True),
    "rfc4475_longreq": Row("3.1.1.7", PASSES, True),
    "rfc4475_dblreq": Row("3.1.1.8", PASSES, True),  # the second request is noise behind the first
    "rfc4475_semiuri": Row("3.1.1.9", PASSES, True),
    "rfc4475_transports": Row("3.1.1.10", PASSES, True),
    "rfc4475_mpart01": Row("3.1.1.11", PASSES, True, (b"Route: <sip:127.0.0.1:5080>\r\n", b"")),
    "rfc4475_unreason": Row("3.1.1.12", SILENCE),  # nobody asked; it is given as an answer below
    "rfc4475_noreason": Row("3.1.1.13", SILENCE),
    # 3.1.2: invalid
    "rfc4475_badinv01": Row("3.1.2.1", 400),
    "rfc4475_clerr": Row("3.1.2.2", 400),
    "rfc4475_ncl": Row("3.1.2.3", 400),
    "rfc4475_scalar02": Row("3.1.2.4", 400),
    "rfc4475_scalarlg": Row("3.1.2.5", SILENCE),
    "rfc4475_quotbal": Row("3.1.2.6", 400),
    "rfc4475_ltgtruri": Row("3.1.2.7", 400),
    "rfc4475_lwsruri": Row("3.1.2.8", 400),
    "rfc4475_lwsstart": Row("3.1.2.9", 400),
    "rfc4475_trws": Row("3.1.2.10", 400),
    "rfc4475_escruri": Row("3.1.2.11", PASSES, True),  # liberal, and the headers are not in what is passed on
    "rfc4475_baddate": Row("3.1.2.12", PASSES, True),  # Date is none of our business
    "rfc4475_regbadct": Row("3.1.2.13", 400),  # the Contact cannot be masked, and not be left out
    "rfc4475_badaspec": Row("3.1.2.14", PASSES, True),  # liberal: the blanks stay
    "rfc4475_baddn": Row("3.1.2.15", PASSES, True),  # liberal: it is clear where the URI stands
    "rfc4475_badvers": Row("3.1.2.16", 505),
    "rfc4475_mismatch01": Row("3.1.2.17", 400),
    "rfc4475_mismatch02": Row("3.1.2.18", 400),
    "rfc4475_bigcode": Row("3.1.2.19", SILENCE),
    # 3.2, 3.3: the transaction and the application
    "rfc4475_badbranch": Row("3.2.1", PASSES, True),
    "rfc4475_insuf": Row("3.3.1", SILENCE),  # without From, To and Call-ID there is no answer that anybody could read
    "rfc4475_unkscm": Row("3.3.2", 416),
    "rfc4475_novelsc": Row("3.3.3", 416),
    "rfc4475_unksm2": Row("3.3.4", PASSES, True),  # in To and Contact a scheme is the registrar's affair
    "rfc4475_bext01": Row("3.3.5", 420),
    "rfc4475_invut": Row("3.3.6", PASSES, True),
    "rfc4475_regaut01": Row("3.3.7", PASSES, True),
    "rfc4475_multi01": Row("3.3.8", 400),
    "rfc4475_mcl01": Row("3.3.9", 400),
    "rfc4475_bcast": Row("3.3.10", SILENCE),  # never to the broadcast address below our Via
    "rfc4475_zeromf": Row("3.3.11", 483),
    "rfc4475_cparam01": Row("3.3.12", PASSES, True),
    "rfc4475_cparam02": Row("3.3.13", PASSES, True),
    "rfc4475_regescrt": Row("3.3.14", PASSES, True),
    "rfc4475_sdp01": Row("3.3.15", PASSES, True),
    # 3.4: an element of RFC 2543
    "rfc4475_inv2543": Row("3.4.1", PASSES, True),
    # RFC 5118
    "rfc5118_ipv6_good": Row("4.1", PASSES),
    "rfc5118_ipv6_bad": Row("4.2", 400),
    "rfc5118_port_ambiguous": Row("4.3", PASSES),  # all of it is the address
    "rfc5118_port_unambiguous": Row("4.4", PASSES),
    "rfc5118_via_received_param_with_delim": Row("4.5", PASSES),
    "rfc5118_via_received_param_no_delim": Row("4.5", PASSES),
    "rfc5118_ipv6_in_sdp": Row("4.6", PASSES),
    "rfc5118_mult_ip_in_header": Row("4.7", PASSES, True),
    "rfc5118_mult_ip_in_sdp": Row("4.8", PASSES),
    "rfc5118_ipv4_mapped_ipv6": Row("4.9", PASSES, True),
    "rfc5118_ipv6_bug_abnf_3_colons": Row("4.10", PASSES),  # three colons are read as two
    "rfc5118_ipv6_correct_abnf_2_colons": Row("4.10", PASSES),
}


def text_of(name: str) -> bytes:
    before, after = ROWS[name].mended
    assert before in MESSAGES[name]
    return MESSAGES[name].replace(before, after) if before else MESSAGES[name]


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """RFC 5118 talks to an address that is the server's own elsewhere in these tests."""
    monkeypatch.setattr(faces, "SERVER6", Address("2001:db8:9::10", 5060))
    world = World(pbx=f"sip:{PBX}")
    world.set_tenant(domains=tuple(HOSTS))
    world.names = dict.fromkeys(HOSTS, "203.0.113.40")
    stop_the_clock(monkeypatch, lambda: world.now)
    yield world
    for side in (world.lan_side, world.public_side):
        assert not side.counters["internal.errors"]


def without_headers(request: Message) -> bytes:
    """What stands in the Request-URI may be passed on, without headers (3.1.2.11)."""
    return request.request_uri[: request.uri.params_span[1]] if request.uri is not None else request.request_uri


def deliver(world: World, outside: bool, data: bytes) -> list[int]:
    """The bytes arrive at the face, over the transport that the message talks of; returns with what statuses the face itself
    refuses them, in answers that copy what was wrong."""
    transport = "tcp" if re.search(rb"(?i)(via|v)[ \t]*:[ \t]*SIP/2.0/TCP", data.partition(b"\r\n\r\n")[0]) else "udp"
    face, listeners = face_of(world, outside, stranger="")
    side = world.public_side if outside else world.lan_side
    at = side.addresses.pick(transport, False)
    assert at is not None
    flow = Flow(transport, at, parse_address(STRANGER if outside else PHONE), 1 if transport == "tcp" else 0)
    framed = StreamFramer().feed_untrusted(data, 0.0)[:1] if transport == "tcp" else [data]
    for piece in framed:
        assert isinstance(piece, bytes)
        face.deliver(piece, flow)
    return [int(sent.split(b" ", 2)[1]) for sent, _ in listeners.sent]


def test_every_message_of_both_rfcs_has_its_row() -> None:
    """A1: 49 of RFC 4475; RFC 5118 has ten sections with twelve messages."""
    assert set(ROWS) == set(MESSAGES)
    assert sum(name.startswith("rfc4475_") for name in ROWS) == 49
    assert sum(name.startswith("rfc5118_") for name in ROWS) == 12
    sections = [row.section for name, row in ROWS.items() if name.startswith("rfc4475_")]
    assert len(set(sections)) == 49


@pytest.mark.parametrize("name", [name for name, row in ROWS.items() if row.out == PASSES])
def test_a_valid_message_leaves_with_nothing_changed_but_what_is_ours(world: World, name: str) -> None:
    """A1, A2, A3: from a phone inside to the internet; and the answer comes back with its Via stack."""
    data = text_of(name)
    answers = deliver(world, False, data)
    came = parse_untrusted(data, stream=False)
    [(_, sent)] = world.take_public()
    assert answers == []
    assert_only_allowed(came, sent)
    assert sent.request_uri == without_headers(came)
    assert sent.max_forwards == (70 if came.max_forwards is None else came.max_forwards - 1)
    assert_answered(world, came, sent)


@pytest.mark.parametrize("name", [name for name, row in ROWS.items() if row.inward])
def test_a_valid_message_comes_in_with_nothing_changed_but_what_is_ours(world: World, name: str) -> None:
    """A1, A2, A3: from the internet to the PBX of the domain it names."""
    data = text_of(name)
    world.said_outside.update(re.findall(rb"10\.1\.[0-9.]+", data))
    answers = deliver(world, True, data)
    came = parse_untrusted(data)
    [sent] = [message for _, message in world.take_lan()]
    assert answers == []
    assert_only_allowed(came, sent)
    assert sent.request_uri == without_headers(came)
    assert_answered(world, came, sent, outside=True)


def assert_answered(world: World, came: Message, sent: Message, outside: bool = False) -> None:
    """The answer to ``sent`` reaches whoever sent ``came``, with the Via stack that it had."""
    raw = build_response(sent, 404, "Not Found", b"t", [b"X-Odd: \xff ;;,,"])
    (world.lan if outside else world.public)(f"{PBX}:5060" if outside else STRANGER, raw)
    taken = world.take_public() if outside else world.take_lan()
    [answer] = [message for _, message in taken if message.status == 404]
    assert answer.lines("x-odd") == [b"X-Odd: \xff ;;,,"]
    assert answer.lines("via")[1:] == came.lines("via")[1:]
    assert [value.text for value in answer.values("via")[1:]] == [value.text for value in came.values("via")[1:]]
    assert answer.top_via.branch == came.top_via.branch
    for line in ("from", "call-id", "cseq"):
        assert answer.lines(line) == came.lines(line)


@pytest.mark.parametrize("name", [name for name, row in ROWS.items() if row.out > 0])
def test_an_invalid_message_gets_the_answer_of_the_rules(world: World, name: str) -> None:
    """A1, A9, A10: and it goes no further."""
    data = text_of(name)
    answers = deliver(world, False, data) + [message.status for _, message in world.take_lan()]
    assert [status for status in answers if status != 100] == [ROWS[name].out]
    assert world.take_public() == []
    world.wait(40)
    assert world.lan_side.proxy.transactions == 0


def test_the_420_names_each_extension_that_is_not_supported(world: World) -> None:
    """A10: RFC 3261 section 16.3 item 5."""
    deliver(world, False, MESSAGES["rfc4475_bext01"])
    [(_, answer)] = world.take_lan()
    assert answer.lines("unsupported") == [b"Unsupported: noProxiesSupportThis, norDoAnyProxiesSupportThis"]


@pytest.mark.parametrize("name", [name for name, row in ROWS.items() if row.out == SILENCE])
@pytest.mark.parametrize("outside", [False, True])
def test_what_nobody_waits_for_and_what_cannot_be_answered_is_dropped(world: World, name: str, outside: bool) -> None:
    """A1: responses to nothing; a request that names nobody to answer."""
    assert deliver(world, outside, MESSAGES[name]) == []
    assert world.take_lan() == []
    assert world.take_public() == []


@pytest.mark.parametrize("name", [name for name, row in ROWS.items() if row.out != PASSES])
def test_strangers_outside_get_no_further_with_it(world: World, name: str) -> None:
    """A1: whatever it says, nothing of it reaches the LAN."""
    deliver(world, True, MESSAGES[name])
    assert world.take_lan() == []


@pytest.mark.parametrize("name", ["rfc4475_wsinv", "rfc4475_mpart01"])
def test_as_they_stand_two_lead_nowhere(world: World, name: str) -> None:
    """A1: wsinv has a To tag and no dialog that we carry; mpart01 has a Route to a loopback address."""
    answers = deliver(world, False, MESSAGES[name]) + [message.status for _, message in world.take_lan()]
    assert [status for status in answers if status != 100] == [481 if name == "rfc4475_wsinv" else 403]
    assert world.take_public() == []


@pytest.mark.parametrize(("name", "status"), [("unreason", b"200"), ("noreason", b"180"), ("noreason", b"100")])
def test_a_reason_phrase_passes_whatever_it_is(world: World, name: str, status: bytes) -> None:
    """A1, A3, 3.1.1.12, 3.1.1.13: odd bytes in it, or nothing at all."""
    invite = MESSAGES["rfc4475_sdp01"]
    deliver(world, False, invite)
    world.take_lan()
    [(_, sent)] = world.take_public()
    original = MESSAGES[f"rfc4475_{name}"]
    start = original.partition(b"\r\n")[0].replace(b" 100", b" " + status)
    kept = [line for line in original.partition(b"\r\n\r\n")[0].split(b"\r\n") if line.startswith((b"Cont", b"X"))]
    own = build_response(sent, int(status), "x", b"tag").partition(b"\r\n")[2].split(b"\r\n")
    head = [line for line in own if line and not line.startswith(b"Content-Length")]
    answer = b"\r\n".join([start, *head, *kept, b"", original.partition(b"\r\n\r\n")[2]])
    world.public(STRANGER, answer)
    got = [message for _, message in world.take_lan()]
    if status == b"100":  # it ends here (B5); we have said 100 ourselves
        assert got == []
        return
    assert got[-1].raw.partition(b"\r\n")[0] == start
    assert_only_allowed(parse_untrusted(answer), got[-1])


def test_a_stream_cannot_be_told_apart_any_more_after_two_content_lengths() -> None:
    """A4, 3.3.9: whoever frames by the other one sees other messages: the connection is closed."""
    with pytest.raises(BadPacket):
        StreamFramer().feed_untrusted(MESSAGES["rfc4475_mcl01"], 0.0)
