"""Bodies: SDP wherever it is, everything else byte-exact (SIP-RULES G; T9)."""

from __future__ import annotations

import pytest
from support.ladder import Dialog, Phone, uri_in
from support.messages import compose
from support.pair import World
from support.scripted_phone import values

from tunnel.sip.message import Message, parse_untrusted
from tunnel.sip.response import build_response

ISUP = bytes(range(256)) + b"\r\n\r\n--nearly\r\n\x00\r\n--\r\n"
PIDF = (
    b'<?xml version="1.0"?>\r\n<presence entity="pres:alice@10.1.0.50">\n<gml:pos>-34.407 150.883</gml:pos></presence>'
)


def part(headers: str, content: bytes, *, length: bool = False) -> bytes:
    more = f"\r\ncontent-length :  {len(content)}" if length else ""
    return (headers + more + "\r\n\r\n").encode() + content


def multipart(boundary: str, *parts: bytes, preamble: bytes = b"", epilogue: bytes = b"\r\n") -> bytes:
    delimiter = b"\r\n--" + boundary.encode()
    return preamble + b"".join(delimiter + b"\r\n" + each for each in parts) + delimiter + b"--" + epilogue


SDP_PART = "Content-Type: application/sdp\r\nContent-ID: <sdp1@alice>\r\nContent-Disposition: session;handling=required"
ISUP_PART = "Content-Type: application/ISUP;version=nxv3;base=etsi121\r\nContent-Transfer-Encoding: binary"
PIDF_PART = "Content-Type: application/pidf+xml\r\nContent-ID: <target123@atlanta.example.com>"


def send(world: World, sender: Phone, uri: str, kind: str, body: bytes, *more: str) -> Message:
    """An INVITE with that body."""
    source = sender.seen_from
    data = compose(
        f"INVITE {uri} SIP/2.0",
        f"Via: {sender.via()}",
        "Max-Forwards: 70",
        f"From: <{sender.aor}>;tag=b",
        "To: <sip:x@itsp.example>",
        f"Call-ID: body-{id(body)}",
        "CSeq: 1 INVITE",
        f"Contact: {sender.contact}",
        *more,
        f"Content-Type: {kind}",
        f"Content-Length: {len(body)}",
        body=body,
    )
    (world.public if sender.outside else world.lan)(source, data)
    return parse_untrusted(data)


def only_sdp_differs(before: bytes, after: bytes, sdp: bytes, address: bytes) -> None:
    """``after`` is ``before`` with each copy of ``sdp`` changed in addresses and ports, and the lengths of its parts."""
    pieces = before.split(sdp)
    assert len(pieces) > 1
    rest = after
    for piece in pieces:
        piece_without_length = piece
        if b"content-length" in piece:  # the length of the part that follows may have changed
            head, _, tail = piece.rpartition(b"content-length :  ")
            assert head in rest
            rest = rest[rest.index(head) + len(head) :]
            piece_without_length = tail.lstrip(b"0123456789")
        assert piece_without_length in rest
        rest = rest[rest.index(piece_without_length) + len(piece_without_length) :]
    assert address in after
    assert sdp not in after


LAYOUTS = {
    "first": lambda sdp: ("multipart/mixed;boundary=xx", multipart("xx", part(SDP_PART, sdp), part(ISUP_PART, ISUP))),
    "last, with a length, a preamble and an epilogue": lambda sdp: (
        'Multipart/Mixed ; charset=x; Boundary="a b:c?"',
        multipart(
            "a b:c?",
            part(PIDF_PART, PIDF, length=True),
            part(SDP_PART, sdp, length=True),
            preamble=b"If you can read this\r\nv=0\r\n",
            epilogue=b"\r\nthe end\r\nc=IN IP4 10.9.9.9\r\n",
        ),
    ),
    "between binary parts": lambda sdp: (
        "multipart/mixed; boundary=simple-boundary",
        multipart("simple-boundary", part(ISUP_PART, ISUP), part(SDP_PART, sdp), part(ISUP_PART, ISUP * 3)),
    ),
    "nested": lambda sdp: (
        'multipart/related;boundary=out;type="multipart/alternative"',
        multipart(
            "out",
            part(PIDF_PART, PIDF),
            part(
                "Content-Type: multipart/alternative;boundary=in",
                multipart("in", part("Content-Type: text/plain", b"--out-side"), part(SDP_PART, sdp)),
            ),
        ),
    ),
    "twice, as alternatives": lambda sdp: (
        "multipart/alternative;boundary=xx",
        multipart("xx", part(SDP_PART, sdp), part("c: application/SDP", sdp)),
    ),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("outbound", [True, False], ids=["out", "in"])
def test_only_the_session_description_changes(
    world: World, pbx: Phone, trunk: Phone, layout: str, outbound: bool
) -> None:
    """T9, G1: SDP beside ISUP and PIDF-LO, at any place and depth: only its span and the lengths around it differ."""
    sender, receiver = (pbx, trunk) if outbound else (trunk, pbx)
    sdp = sender.sdp()
    kind, body = LAYOUTS[layout](sdp)
    if outbound and b"10.9.9.9" in body:
        body = body.replace(b"10.9.9.9", b"203.0.113.9")
    body = body if not outbound else body.replace(b"@10.1.0.50", b"@example.com")
    geolocation = 'Geolocation: <cid:target123@atlanta.example.com>;inserted-by="x"'
    uri = "sip:1@10.1.0.2" if outbound else "sip:1@203.0.113.10"
    send(world, sender, uri, kind, body, geolocation, "MIME-Version: 1.0")
    arrived = receiver.got("INVITE")
    assert arrived.lines("content-type") == [f"Content-Type: {kind}".encode()]
    assert arrived.lines("geolocation") == [geolocation.encode()]
    assert arrived.lines("content-length") == [b"Content-Length: %d" % len(arrived.body)]
    only_sdp_differs(body, arrived.body, sdp, b"203.0.113.10" if outbound else b"10.1.0.2")
    assert b"<target123@atlanta.example.com>" in arrived.body or b"PIDF" not in body
    receiver.answer(arrived, 486)
    sender.got(486)


def test_lengths_of_parts_are_exact(world: World, pbx: Phone, trunk: Phone) -> None:
    """G1: the Content-Length of a part follows its description, that of other parts stays."""
    sdp = pbx.sdp()
    body = multipart("xx", part(PIDF_PART, b"12345", length=True), part(SDP_PART, sdp, length=True))
    send(world, pbx, "sip:1@10.1.0.2", "multipart/mixed;boundary=xx", body)
    arrived = trunk.got("INVITE")
    new = arrived.body.split(SDP_PART.encode())[1].split(b"\r\n\r\n", 1)[1].split(b"\r\n--xx--")[0]
    assert b"content-length :  5\r\n" in arrived.body
    assert b"content-length :  %d\r\n" % len(new) in arrived.body


@pytest.mark.parametrize("outbound", [True, False], ids=["out", "in"])
def test_a_description_in_an_answer_is_found_as_well(world: World, pbx: Phone, trunk: Phone, outbound: bool) -> None:
    """T9, G1: in the 200, beside ISUP."""
    caller, callee = (pbx, trunk) if outbound else (trunk, pbx)
    caller.invite("sip:1@10.1.0.2" if outbound else "sip:1@203.0.113.10")
    invite = callee.got("INVITE")
    sdp = callee.sdp()
    body = multipart("yy", part(ISUP_PART, ISUP), part(SDP_PART, sdp))
    extra = [f"Contact: {callee.contact}".encode(), b"Content-Type: multipart/mixed;boundary=yy"]
    callee.send(build_response(invite, 200, "OK", b"t", extra, body))
    ok = caller.got(200)
    only_sdp_differs(body, ok.body, sdp, b"10.1.0.2" if outbound else b"203.0.113.10")


SEALED = {
    "signed": (
        'multipart/signed;protocol="application/pkcs7-signature";micalg=sha1;boundary=ss',
        lambda sdp: multipart("ss", part(SDP_PART, sdp), part("Content-Type: application/pkcs7-signature", b"\x30\x82")),
        493,
    ),
    "encrypted": ("application/pkcs7-mime;smime-type=enveloped-data", lambda sdp: b"\x30\x82\x01", 493),
    "compressed": ("application/sdp\r\nContent-Encoding: gzip", lambda sdp: b"\x1f\x8b\x08", 415),
    "too deep": (
        "multipart/mixed;boundary=a",
        lambda sdp: multipart(
            "a", *[part("Content-Type: multipart/mixed;boundary=b", multipart("b", part(
                "Content-Type: multipart/mixed;boundary=c", multipart("c", part(
                    "Content-Type: multipart/mixed;boundary=d", multipart("d", part(
                        "Content-Type: multipart/mixed;boundary=e", multipart("e", part(SDP_PART, sdp))))))))
            )]
        ),
        493,
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", SEALED)
@pytest.mark.parametrize("outbound", [True, False], ids=["out", "in"])
def test_what_cannot_be_edited_is_refused(world: World, pbx: Phone, trunk: Phone, kind: str, outbound: bool) -> None:
    """G2, A8: signed and encrypted bodies never pass with private addresses in them: 493 with a Warning, 415 if encoded."""
    sender, receiver = (pbx, trunk) if outbound else (trunk, pbx)
    content_type, make, status = SEALED[kind]
    send(world, sender, "sip:1@10.1.0.2" if outbound else "sip:1@203.0.113.10", content_type, make(sender.sdp()))
    answer = sender.got(status)
    assert answer.lines("warning")[0].startswith(b"Warning: 399 wallpass")
    receiver.got_nothing()


@pytest.mark.parametrize("kind", ["signed", "encrypted"])
@pytest.mark.parametrize("outbound", [True, False], ids=["out", "in"])
def test_what_cannot_be_edited_does_not_come_back_in_an_answer(
    world: World, pbx: Phone, trunk: Phone, kind: str, outbound: bool
) -> None:
    """G2: nor in answers: the caller hears of a failure, and of no private address."""
    caller, callee = (pbx, trunk) if outbound else (trunk, pbx)
    caller.invite("sip:1@10.1.0.2" if outbound else "sip:1@203.0.113.10")
    invite = callee.got("INVITE")
    content_type, make, _ = SEALED[kind]
    extra = [f"Contact: {callee.contact}".encode(), f"Content-Type: {content_type}".encode()]
    callee.send(build_response(invite, 200, "OK", b"t", extra, make(callee.sdp())))
    final = next(message for message in caller.inbox if message.status >= 200)
    assert final.status >= 400
    assert final.lines("warning")
    assert not final.body


@pytest.mark.parametrize("kind", ["application/pkcs7-mime", "multipart/signed;boundary=ss"])
def test_sealed_bodies_without_media_pass(world: World, pbx: Phone, trunk: Phone, kind: str) -> None:
    """G2, G4: a message that is signed or encrypted is its parties' own affair where it opens no media."""
    body = multipart("ss", part("Content-Type: text/plain", b"hi"), part("Content-Type: x/y", b"\x00\xff"))
    pbx.request("MESSAGE", "sip:1@10.1.0.2", headers=[f"Content-Type: {kind}"], body=body)
    assert trunk.got("MESSAGE").body == body


OTHER_BODIES = {
    "message/sipfrag;version=2.0": b"SIP/2.0 180 Ringing\r\nContact: <sip:a@198.51.100.5>\r\n",
    "application/simple-message-summary": b"Messages-Waiting: yes\r\nVoice-Message: 2/8 (0/2)\r\n",
    "application/conference-info+xml": b'<conference-info entity="sip:c@203.0.113.10:5060;wp=AAAA"/>',
    "application/pidf+xml": PIDF,
    "application/resource-lists+xml": b"<resource-lists>\x00\xff\r\n\r\n</resource-lists>",
    "application/reginfo+xml": b"<reginfo><contact><uri>sip:a@203.0.113.10:5060;wp=AAAA</uri></contact></reginfo>",
    "text/plain;charset=UTF-8": "grüße\r\n".encode(),
    "application/dtmf-relay": b"Signal=5\r\nDuration=160\r\n",
}


@pytest.mark.parametrize("kind", OTHER_BODIES)
def test_other_bodies_are_untouched(world: World, pbx: Phone, trunk: Phone, kind: str) -> None:
    """G3, G4, F5: whatever is no SDP passes byte-exact, in requests and answers."""
    body = OTHER_BODIES[kind]
    for method in ("MESSAGE", "NOTIFY", "INFO", "PUBLISH"):
        trunk.request(method, "sip:1@203.0.113.10", headers=[f"Content-Type: {kind}", "Event: x"], body=body)
        arrived = pbx.got(method)
        assert arrived.body == body
        assert arrived.lines("content-type") == [f"Content-Type: {kind}".encode()]
        pbx.answer(arrived, 200)
        trunk.got(200)


DIALOG_INFO = (
    b'<?xml version="1.0"?>\n<dialog-info xmlns="urn:ietf:params:xml:ns:dialog-info" version="0" state="full" '
    b'entity="sip:alice@itsp.example">\r\n <dialog id="as7d900as8" call-id="a84b4c76e66710" local-tag="1928301774" '
    b'remote-tag="456248" direction="recipient">\n  <state>confirmed</state>\n  <local><identity>sip:alice@itsp.example'
    b'</identity>\n   <target uri="%s"/></local>\n  <remote><target uri="sip:bob@203.0.113.77;x=1&amp;2"/></remote>'
    b"\n </dialog></dialog-info>"
)
REGINFO = (
    b'<?xml version="1.0"?><reginfo xmlns="urn:ietf:params:xml:ns:reginfo" version="0" state="full">'
    b'<registration aor="sip:alice@itsp.example" id="1" state="active"><contact id="2" state="active" event="registered">'
    b'<uri>%s</uri><unknown-param name="wp">;wp=AAAA</unknown-param></contact></registration></reginfo>'
)


@pytest.mark.parametrize(
    ("kind", "template"), [("application/dialog-info+xml", DIALOG_INFO), ("application/reginfo+xml", REGINFO)]
)
def test_a_lamp_reads_inside_addresses_of_inside_phones(
    world: World, pbx: Phone, trunk: Phone, kind: str, template: bytes
) -> None:
    """G3: our masks in dialog-info and reginfo become the exact URIs on their own side, and no other byte changes."""
    carol = Phone(world, "10.1.0.60:5060", "carol", contact="<sip:carol@10.1.0.60:5060;a=b&c;x='y'>")
    carol.invite("sip:x@203.0.113.30")
    mask = uri_in(values(trunk.got("INVITE"), "contact")[0])
    shown = mask.replace(b"&", b"&amp;").replace(b"'", b"&apos;")
    body = template % shown
    trunk.request("NOTIFY", "sip:1@203.0.113.10", headers=[f"Content-Type: {kind}", "Event: dialog"], body=body)
    arrived = pbx.got("NOTIFY")
    exact = b"sip:carol@10.1.0.60:5060;a=b&amp;c;x=&apos;y&apos;"
    assert arrived.body == template % exact
    assert arrived.lines("content-length") == [b"Content-Length: %d" % len(arrived.body)]


def test_a_lamp_outside_keeps_reading_masks(world: World, pbx: Phone, trunk: Phone) -> None:
    """G3: towards the outside a mask of an inside phone stays one, so that a pickup from there arrives."""
    carol = Phone(world, "10.1.0.60:5060", "carol")
    carol.invite("sip:x@203.0.113.30")
    mask = uri_in(values(trunk.got("INVITE"), "contact")[0])
    body = DIALOG_INFO % mask
    kind = "Content-Type: application/dialog-info+xml"
    pbx.request("NOTIFY", "sip:1@10.1.0.2", headers=[kind, "Event: dialog"], body=body)
    assert trunk.got("NOTIFY").body == body
    carol.lose()
    sent = trunk.invite(mask, headers=["Replaces: a84b4c76e66710;to-tag=1928301774;from-tag=456248"])
    arrived = carol.got("INVITE")
    assert arrived.lines("replaces") == sent.lines("replaces")
    callee = carol.accept(arrived)
    Dialog.of_caller(trunk, sent, trunk.got(200)).ack()
    carol.got("ACK")
    callee.send("BYE")
    trunk.got("BYE")


def test_a_lamp_inside_picks_up_through_the_agent(world: World, pbx: Phone, trunk: Phone) -> None:
    """G3: a phone whose outbound proxy is the agent calls the inside address that it has read, with Replaces intact."""
    carol = Phone(world, "10.1.0.60:5060", "carol")
    dave = Phone(world, "10.1.0.70:5060", "dave")
    replaces = ["Replaces: a84b4c76e66710;to-tag=1928301774;from-tag=456248"]
    sent = dave.invite("sip:carol@10.1.0.60:5060", routes=["<sip:10.1.0.2;lr>"], headers=replaces)
    arrived = carol.got("INVITE")
    assert arrived.request_uri == b"sip:carol@10.1.0.60:5060"
    assert arrived.lines("replaces") == [replaces[0].encode()]
    callee = carol.accept(arrived)
    caller = Dialog.of_caller(dave, sent, dave.got(200))
    caller.ack()
    carol.got("ACK")
    callee.send("BYE")
    dave.answer(dave.got("BYE"), 200)
    carol.got(200)
    world.wait(200)
    world.assert_empty()
