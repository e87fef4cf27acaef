"""How a message changes when it leaves: its addresses and its hop, nothing else."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from support.ends import contact_of, request

from tunnel.address import Address
from tunnel.sip.bindings import Bindings
from tunnel.sip.contacts import ContactMasks
from tunnel.sip.face_index import FaceAddresses
from tunnel.sip.mask import MaskKey
from tunnel.sip.message import Message, parse_untrusted
from tunnel.sip.response import build_response
from tunnel.sip.rewrite import Rewriter, own_record_route

SERVER = Address("203.0.113.10", 5060)
AGENT = Address("10.1.0.2", 5060)
FACE = FaceAddresses([("udp", SERVER), ("tls", Address("203.0.113.10", 5061))])
PHONE = "10.1.0.50:5060"


def rewriter(*, outside: bool = True, hide_full: bool = True) -> Rewriter:
    masks = ContactMasks(outside=outside, epoch_s=1_700_000_000.0, bindings=Bindings())
    masks.use(MaskKey(b"k" * 32, 7), 3)
    return Rewriter(masks, FACE, outside=outside, hide_full=hide_full)


def sent_on(
    data: bytes,
    *,
    by: Rewriter | None = None,
    at: Address = SERVER,
    transport: str = "udp",
    routes: Sequence[bytes] = (),
    natted: bool = False,
    body: bytes | None = None,
) -> Message:
    message = parse_untrusted(data)
    raw = (by or rewriter()).request(
        message,
        request_uri=message.request_uri,
        routes=routes,
        at=at,
        transport=transport,
        branch=b"z9hG4bKours",
        binding=b"8 bytes.",
        natted=natted,
        body=body,
        now=5.0,
    )
    return parse_untrusted(raw, stream=transport != "udp")


def answered(data: bytes, *, by: Rewriter | None = None, natted: bool = False, at: Address = SERVER) -> Message:
    raw = (by or rewriter()).response(
        parse_untrusted(data),
        vias=[b"Via: SIP/2.0/UDP sender.example;branch=z9hG4bKtheirs"],
        record_routes=[],
        at=at,
        transport="udp",
        binding=b"8 bytes.",
        natted=natted,
        body=None,
        now=5.0,
    )
    return parse_untrusted(raw)


def test_nothing_changes_that_need_not() -> None:
    odd = ('X-Odd:  a,\t"b" ; c', "sUBJECT: 10.1.0.50 told me", "Alert-Info: <http://x/,y>;q")
    data = request("MESSAGE", "sip:bob@acme.example;x=1", PHONE, more=odd).replace(
        b"Max-Forwards: 70", b"MAX-forwards :  7"
    )
    before = data.split(b"\r\n")
    after = sent_on(data).raw.split(b"\r\n")
    assert [line for line in after if line not in before] == [
        b"Via: SIP/2.0/UDP 203.0.113.10:5060;rport;branch=z9hG4bKours",
        b"MAX-forwards :  6",
    ]
    assert len(after) == len(before)


@pytest.mark.parametrize("method", ["INVITE", "SUBSCRIBE", "REFER", "NOTIFY", "UPDATE"])
def test_we_stay_on_the_path_of_dialogs(method: str) -> None:
    assert sent_on(request(method, "sip:b@x", PHONE)).values("record-route")[0].text == b"<sip:203.0.113.10:5060;lr>"


@pytest.mark.parametrize("method", ["BYE", "REGISTER", "MESSAGE", "OPTIONS", "PUBLISH"])
def test_we_stay_on_no_other_path(method: str) -> None:
    assert sent_on(request(method, "sip:b@x", PHONE)).values("record-route") == []


def test_the_record_route_names_the_transport() -> None:
    assert own_record_route(SERVER, "tls", b"sip:a@b.example") == b"<sip:203.0.113.10:5060;transport=tls;lr>"
    assert own_record_route(Address("2001:db8::1", 5060), "udp", b"sips:a@b.example") == b"<sip:[2001:db8::1]:5060;lr>"


def test_for_a_sips_uri_the_record_route_is_one_too() -> None:
    """C2, RFC 3261 section 16.6 step 4: and it stays on TLS."""
    secure = Address("203.0.113.10", 5061)
    assert own_record_route(secure, "tls", b"SIPS:a@b.example") == b"<sips:203.0.113.10:5061;lr>"


def test_a_sips_contact_is_shown_where_tls_is_listened_for() -> None:
    """C2: sips: stays sips:, also in a message that leaves by UDP."""
    sent = sent_on(request("INVITE", "sip:b@x", PHONE, contact="<sips:alice@10.1.0.50>"))
    assert contact_of(sent).startswith(b"sips:alice@203.0.113.10:5061;wp=")


def test_over_a_stream_there_is_always_a_length() -> None:
    data = request("OPTIONS", "sip:b@x", PHONE).replace(b"Content-Length: 0\r\n", b"")
    assert sent_on(data, transport="tcp").raw.endswith(b"Content-Length: 0\r\n\r\n")


def test_a_missing_hop_count_begins_at_70() -> None:
    data = request("OPTIONS", "sip:b@x", PHONE).replace(b"Max-Forwards: 70\r\n", b"")
    assert sent_on(data).max_forwards == 70


def test_routes_are_those_that_are_left() -> None:
    data = request(
        "INVITE", "sip:b@x", PHONE, more=("Route: <sip:10.1.0.2;lr>, <sip:p.example;lr>", "route: <sip:q;lr>")
    )
    assert [v.text for v in sent_on(data, routes=[b"<sip:p.example;lr>"]).values("route")] == [b"<sip:p.example;lr>"]
    assert sent_on(data).values("route") == []


def test_hide_basic_keeps_what_is_below_ours() -> None:
    more = ("Via: SIP/2.0/TCP 10.1.0.51;branch=z9hG4bKlow", "Record-Route: <sip:10.1.0.5;lr>")
    data = request("INVITE", "sip:b@x", PHONE, more=more)
    basic = sent_on(data, by=rewriter(hide_full=False))
    assert len(basic.values("via")) == 3
    assert basic.values("via")[2].text == b"SIP/2.0/TCP 10.1.0.51;branch=z9hG4bKlow"
    assert [v.text for v in basic.values("record-route")] == [b"<sip:203.0.113.10:5060;lr>", b"<sip:10.1.0.5;lr>"]
    full = sent_on(data)
    assert len(full.values("via")) == len(full.values("record-route")) == 1


@pytest.mark.parametrize(
    ("contact", "masked"),
    [
        ("<sip:eve@10.1.0.50>", True),
        ("<sip:eve@pbx.local>", True),
        ("sip:eve@10.1.0.50;expires=5", True),
        ("<sip:eve@acme.example;gr=urn:uuid:1>", False),
        ("<sip:eve@10.1.0.5;gr=urn:uuid:1>", True),
        ("<tel:+4930>", False),
    ],
)
def test_no_contact_leaves_outside_as_it_is_but_gruus(contact: str, masked: bool) -> None:
    sent = sent_on(request("INVITE", "sip:b@x", PHONE, contact=contact))
    assert (b"wp=" in sent.values("contact")[0].text) is masked


def test_towards_the_lan_only_what_cannot_be_reached_is_masked() -> None:
    data = request("INVITE", "sip:b@x", "203.0.113.20:5060", contact="<sip:eve@203.0.113.20>")
    inside = rewriter(outside=False)
    assert contact_of(sent_on(data, by=inside, at=AGENT)) == b"sip:eve@203.0.113.20"
    assert contact_of(sent_on(data, by=inside, at=AGENT, natted=True)).startswith(b"sip:eve@10.1.0.2:5060;wp=")


def test_several_contacts_are_each_masked_and_keep_their_parameters() -> None:
    contact = (
        '"A, B" <sip:eve@10.1.0.50>;q=0.5;+sip.instance="<urn:uuid:1>" , '
        "<sip:eve@10.1.0.51>;reg-id=2;expires=9, <tel:+1>"
    )
    sent = sent_on(request("REGISTER", "sip:x", PHONE, contact=contact, more=("Supported: outbound",)))
    first, second, third = [value.text for value in sent.values("contact")]
    assert first.startswith(b'"A, B" <sip:eve@203.0.113.10:5060;wp=')
    assert first.endswith(b'>;q=0.5;+sip.instance="<urn:uuid:1>"')
    assert second.startswith(b"<sip:eve@203.0.113.10:5060;wp=")
    assert second.endswith(b">;expires=9")
    assert third == b"<tel:+1>"
    assert not sent.all("supported")


def test_a_redirection_shows_its_targets_but_for_those_inside() -> None:
    moved = request("INVITE", "sip:b@x", PHONE)
    contacts = [b"Contact: <sip:b@203.0.113.99>;q=1, <sip:b@10.1.0.51>;q=0.5"]
    seen = answered(build_response(parse_untrusted(moved), 302, "Moved", b"t", contacts)).values("contact")
    assert seen[0].text == b"<sip:b@203.0.113.99>;q=1"
    assert seen[1].text.startswith(b"<sip:b@203.0.113.10:5060;wp=")
    inside = rewriter(outside=False)
    unchanged = answered(build_response(parse_untrusted(moved), 302, "Moved", b"t", contacts), by=inside, at=AGENT)
    assert [value.text for value in unchanged.values("contact")][1] == b"<sip:b@10.1.0.51>;q=0.5"


def test_who_is_referred_to_inside_is_masked_and_comes_back_exact() -> None:
    target = "<sip:carol@10.1.0.51?Replaces=c%40x%3Bto-tag%3D1>"
    more = (f"Refer-To: {target}", "Referred-By: <sip:eve@10.1.0.5>")
    sent = sent_on(request("REFER", "sip:b@x", PHONE, contact="<sip:eve@10.1.0.50>", more=more))
    refer_to = sent.values("refer-to")[0].text
    assert refer_to.startswith(b"<sip:carol@203.0.113.10:5060;wp=")
    assert refer_to.endswith(b"?Replaces=c%40x%3Bto-tag%3D1>")
    assert b"10.1." not in sent.values("referred-by")[0].text
    inside = rewriter(outside=False)
    back = sent_on(
        request("REFER", "sip:eve@x", "203.0.113.20:5060", more=(b"Refer-To: " + refer_to,)), by=inside, at=AGENT
    )
    assert back.values("refer-to")[0].text == target.encode()


@pytest.mark.parametrize(
    ("offered", "left"),
    [
        (b'qop="auth,auth-int"', b'qop="auth"'),
        (b'qop="auth-int, auth"', b'qop="auth"'),
        (b'qop="auth-int"', b'qop="auth-int"'),
        (b'qop="auth"', b'qop="auth"'),
        (b"opaque=x", b"opaque=x"),
    ],
)
def test_auth_int_is_not_offered_where_there_is_a_choice(offered: bytes, left: bytes) -> None:
    register = parse_untrusted(request("REGISTER", "sip:x", PHONE))
    challenge = b'WWW-Authenticate: Digest realm="a", nonce="n", ' + offered + b", algorithm=MD5"
    other = b'Proxy-Authenticate: Digest realm="b", algorithm=SHA-256, ' + offered
    heard = answered(build_response(register, 401, "Unauthorized", b"t", [challenge, other]))
    assert heard.line(heard.all("www-authenticate")[0]) == challenge.replace(offered, left)
    assert heard.line(heard.all("proxy-authenticate")[0]) == other.replace(offered, left)


def test_folds_stay_where_they_were() -> None:
    """A3: around what is edited, a line that was folded stays folded."""
    folded = b'WWW-Authenticate: Digest realm="a",\r\n\tqop="auth,auth-int",\r\n nonce="b"'
    register = parse_untrusted(request("REGISTER", "sip:x", PHONE))
    heard = answered(build_response(register, 401, "Unauthorized", b"t", [folded]))
    assert heard.lines("www-authenticate") == [folded.replace(b",auth-int", b"")]
    contacts = "Contact: <sip:a@10.1.0.50>\r\n ;q=1,\r\n\t<sip:b@10.1.0.50>;reg-id=1\r\n ;expires=9"
    sent = sent_on(request("REGISTER", "sip:x", PHONE, more=(contacts,)))
    first, second, third, fourth = sent.lines("contact")[0].split(b"\r\n")
    assert first.startswith(b"Contact: <sip:a@203.0.113.10:5060;wp=")
    assert (second, fourth) == (b" ;q=1,", b" ;expires=9")
    assert third.startswith(b"\t<sip:b@203.0.113.10:5060;wp=")
    assert third.endswith(b">")


def test_credentials_leave_only_for_realms_that_asked_outside() -> None:
    by = rewriter()
    asked = 'Authorization: Digest realm="asked", uri="sip:x", response="1"'
    pbx = 'Proxy-Authorization: Digest realm="pbx", uri="sip:10.1.0.5", response="2"'
    data = request("REGISTER", "sip:x", PHONE, more=(pbx, asked))
    assert b"uthorization" not in sent_on(data, by=by).raw
    challenge = build_response(
        parse_untrusted(data), 407, "Proxy Authentication Required", b"t", [b'Proxy-Authenticate: Digest realm="asked"']
    )
    by.note_challenge(parse_untrusted(challenge))
    sent = sent_on(data, by=by)
    assert sent.line(sent.all("authorization")[0]) == asked.encode()
    assert not sent.all("proxy-authorization")
    inside = sent_on(data, by=rewriter(outside=False), at=AGENT)
    assert len(inside.all("authorization")) == len(inside.all("proxy-authorization")) == 1


def test_another_body_has_another_length() -> None:
    data = request("INVITE", "sip:b@x", PHONE, body=b"v=0\r\n")
    sent = sent_on(data, body=b"v=0\r\ns=-\r\n")
    assert sent.body == b"v=0\r\ns=-\r\n"
    assert sent.header("content-length").value == b"10"  # type: ignore[union-attr]


def test_who_is_referred_to_in_a_way_that_nobody_can_read_does_not_leave_in_an_answer() -> None:
    """E: a request with it gets 400, in an answer it has no meaning; it might name an inside address."""
    refer = parse_untrusted(request("REFER", "sip:x", PHONE))
    answer = build_response(refer, 202, "Accepted", b"t", [b"Refer-To: <sip:a@10.1.0.9Replaces=1>"])
    assert answered(answer).all("refer-to") == []
