from __future__ import annotations

from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from support.calls import DOMAIN, INSIDE, OUTSIDE, PhoneCall, collect, new_world, post, sdp
from support.messages import compose, odd_messages
from support.pair import World

from tunnel.errors import BadPacket
from tunnel.sip.half import contact_uri, sip_uri, uri_of_value
from tunnel.sip.message import Message, parse_untrusted
from tunnel.sip.response import build_response

examples = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])

# What the pair may change in a message; everything else leaves as it came.
MAY_DIFFER = {"via", "route", "record-route", "contact", "max-forwards", "content-length"}
MAY_DIFFER_IN_SDP = (b"o=", b"c=", b"m=", b"a=rtcp", b"a=candidate", b"a=ice")

users = st.sampled_from(["", "a@", "a:pw@", "+1;x=y@", "%41%2F@", "a/b?c@", "\u00fc@", "a&=+$,@"])
hosts = st.sampled_from(["10.1.0.50", "10.1.0.50:5062", "[2001:db8::1]:5060", "Phone.Example", "10.1.0.50:05060"])
params = st.lists(
    st.sampled_from(
        [
            ";ob",
            ";transport=UDP",
            ";transport=tcp",
            ";Maddr=10.1.0.9",
            ";lr",
            ";X-a=10.1.0.5",
            ";user=phone",
            ";a=%3b",
            ";line=" + "x" * 90,
            ";;",
            ";",
            ";TTL=1",
            ";alias=10.1.0.5~5060~1",
        ]
    ),
    max_size=4,
).map("".join)
headers = st.sampled_from(["", "", "?Replaces=1%3Bto-tag%3D2", "?a=b&c=d"])
contact_uris = st.tuples(st.sampled_from(["sip:", "SIP:", "sips:"]), users, hosts, params, headers).map("".join)


def readable(uri: str) -> bytes:
    text = uri.encode()
    assume(sip_uri(text) is not None)
    return text


def register(world: World, contact: bytes, host: str = INSIDE) -> Message:
    """The REGISTER of a phone with that Contact value, as the registrar gets it."""
    lines: list[str | bytes] = [
        f"REGISTER sip:{OUTSIDE} SIP/2.0",
        f"Via: SIP/2.0/UDP {host}:5060;branch=z9hG4bKreg",
        f"From: <sip:a@{DOMAIN}>;tag=1",
        f"To: <sip:a@{DOMAIN}>",
        "Call-ID: reg",
        "CSeq: 1 REGISTER",
        b"Contact: " + contact,
        "Content-Length: 0",
    ]
    post(world, host, compose(*lines))
    found = world.take_public()
    assert len(found) == 1
    return found[0][1]


def split(message: Message) -> tuple[list[bytes], list[bytes]]:
    """The header lines that must not differ, and the lines of the body that must not."""
    kept = [message.line(header) for header in message.headers if header.name not in MAY_DIFFER]
    body = [line for line in message.body.split(b"\r\n") if not line.startswith(MAY_DIFFER_IN_SDP)]
    return kept, body


@examples
@given(
    contact_uris, st.sampled_from([b"<%s>", b'"A, <B>" <%s>;q=0.5;expires=60', b"B  < %s >".replace(b" %s ", b"%s")])
)
def test_a_registrar_hands_back_what_it_was_shown_and_the_phone_sees_its_own_contact(uri: str, form: bytes) -> None:
    text = readable(uri)
    world = new_world()
    seen = register(world, form % text)
    shown = contact_uri(seen)
    assert shown is not None
    assert b"10.1.0." not in shown.text.partition(b"?")[0], "an inside address is told outside"
    answer = build_response(seen, 200, "OK", b"t", [b"Contact: " + seen.lines("contact")[0].partition(b": ")[2]])
    post(world, OUTSIDE, answer)
    got = world.take_lan()[-1][1]
    assert got.lines("contact") == [b"Contact: " + form % text]


@examples
@given(contact_uris)
def test_a_call_to_a_mask_is_a_call_to_the_exact_contact(uri: str) -> None:
    text = readable(uri)
    parsed = sip_uri(text)
    assert parsed is not None
    assume(parsed.host == INSIDE and not parsed.has_param("maddr") and parsed.scheme == "sip")
    assume(parsed.transport in ("", "udp"))
    world = new_world()
    shown = contact_uri(register(world, b"<" + text + b">"))
    assert shown is not None
    dialled = shown.text[: -len(shown.headers) - 1] if b"?" in shown.text[shown.params_span[1] :] else shown.text
    call = PhoneCall(world, False)
    call.uri = dialled.decode()
    call.invite()
    sent = [m for to, m in world.take_lan() if m.method == "INVITE"]
    assert [m.request_uri for m in sent] == [text[: parsed.params_span[1]]]


@examples
@given(contact_uris)
def test_an_inside_place_in_refer_to_is_the_same_when_it_comes_back(uri: str) -> None:
    text = readable(uri)
    parsed = sip_uri(text)
    assert parsed is not None
    assume(parsed.host == INSIDE)
    world = new_world()

    def refer(host: str, target: str, refer_to: bytes, number: int) -> None:
        lines: list[str | bytes] = [
            f"REFER {target} SIP/2.0",
            f"Via: SIP/2.0/UDP {host}:5060;branch=z9hG4bKr{number}",
            f"From: <sip:a@{DOMAIN}>;tag=1",
            f"To: <sip:b@{DOMAIN}>",
            f"Call-ID: refer-{number}",
            "CSeq: 1 REFER",
            f"Contact: <sip:a@{host}>",
            b"Refer-To: <" + refer_to + b">",
            "Content-Length: 0",
        ]
        post(world, host, compose(*lines))

    refer(INSIDE, f"sip:b@{OUTSIDE}", text, 1)
    out = world.take_public()[0][1].header("refer-to")
    assert out is not None
    shown = uri_of_value(out.value)
    assert shown is not None
    assert b"10.1.0." not in shown.text.partition(b"?")[0]
    refer(OUTSIDE, f"sip:b@{DOMAIN}", shown.text, 2)
    back = next(m for _, m in world.take_lan() if m.method == "REFER").header("refer-to")
    assert back is not None
    assert back.value == b"<" + text + b">"


@st.composite
def via_lines(draw: st.DrawFn) -> list[bytes]:
    """A Via stack below the sender's own, in every spelling."""
    values = [b"SIP/2.0/%s 203.0.113.%d;branch=z9hG4bKv%d" % (draw(st.sampled_from([b"UDP", b"tcp"])), n, n)
              for n in range(draw(st.integers(0, 6)))]  # fmt: skip
    lines = []
    while values:
        count = draw(st.integers(1, len(values)))
        name = draw(st.sampled_from([b"Via: ", b"v:", b"VIA :\t", b"v: \r\n "]))
        lines.append(name + draw(st.sampled_from([b",", b" , ", b",\r\n\t"])).join(values[:count]))
        del values[:count]
    return lines


@examples
@given(
    via_lines(),
    st.lists(st.sampled_from(["Record-Route: <sip:203.0.113.7;lr>", "record-route:<sip:p;lr>;x=1, <sip:q>"])),
)
def test_answers_bear_the_via_stack_and_route_set_that_the_request_had(vias: list[bytes], routes: list[str]) -> None:
    world = new_world()
    body = sdp(OUTSIDE)
    top = f"Via: SIP/2.0/UDP {OUTSIDE}:5060;branch=z9hG4bKtop"
    lines: list[str | bytes] = [
        f"INVITE sip:bob@{DOMAIN} SIP/2.0",
        top,
        *vias,
        *routes,
        f"From: <sip:alice@{DOMAIN}>;tag=f",
        f"To: <sip:bob@{DOMAIN}>",
        "Call-ID: stack",
        "CSeq: 1 INVITE",
        f"Contact: <sip:alice@{OUTSIDE}>",
        "Content-Type: application/sdp",
    ]
    post(world, OUTSIDE, compose(*lines, f"Content-Length: {len(body)}", body=body))
    inside = world.take_lan()[0][1]
    assert len(inside.values("via")) == 1
    assert len(inside.values("record-route")) == 1
    world.take_public()
    for status in (180, 200):
        post(world, "10.1.0.60", build_response(inside, status, "OK", b"t", [b"Contact: <sip:b@10.1.0.60>"]))
        (_, answer), *_ = world.take_public()
        assert answer.lines("via") == [top.encode(), *vias]
        assert answer.lines("record-route")[1:] == [line.encode() for line in routes]


@examples
@given(odd_messages(), st.booleans())
def test_only_what_has_to_change_changes(data: bytes, outbound: bool) -> None:
    world = new_world()
    uri = f"sip:b@{OUTSIDE}" if outbound else f"sip:b@{DOMAIN}"
    data = data.replace(b"INVITE sip:b@c", b"INVITE " + uri.encode(), 1)
    try:
        came = parse_untrusted(data)
    except BadPacket:
        return
    post(world, INSIDE if outbound else OUTSIDE, data)
    sent = [m for _, m in (world.take_public() if outbound else world.take_lan()) if m.method == "INVITE"]
    if not sent:
        return
    assert split(sent[0]) == split(came)
    assert sent[0].request_uri == came.request_uri
    extra = [b"X-Odd: \xff", b"k: a,b", b"Contact: <tel:1>", b"Content-Type: text/plain"]
    answer = build_response(sent[0], 480, "So\u00df", b"t", extra, b"c=IN\n\xff")
    post(world, OUTSIDE if outbound else "10.1.0.60", answer)
    finals = [m for _, m in (world.take_lan() if outbound else world.take_public()) if m.status == 480]
    assert finals
    assert split(finals[0]) == split(parse_untrusted(answer))
    assert finals[0].reason == parse_untrusted(answer).reason


@examples
@given(st.booleans(), st.lists(st.sampled_from([b"a=sendrecv", b"a=rtpmap:0 PCMU/8000", b"a=x:\xff", b"a=fmtp:0 a=b"])))
def test_of_a_session_description_only_addresses_change(outbound: bool, lines: list[bytes]) -> None:
    world = new_world()
    call = PhoneCall(world, outbound)
    call.invite()
    data = call.sent.pop()[1]
    world = new_world()
    more = b"".join(line + b"\r\n" for line in lines)
    old = len(sdp(call.caller))
    data = data.replace(b"Content-Length: %d" % old, b"Content-Length: %d" % (old + len(more))) + more
    call = PhoneCall(world, outbound)
    post(world, call.caller, data)
    collect(world, [call])
    came, sent = parse_untrusted(data), call.got[False][0]
    assert split(came) == split(sent)
    assert call.caller.encode() not in sent.body
