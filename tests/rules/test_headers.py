"""What is touched of each header and what is not, byte for byte (SIP-RULES E, A2, A3)."""

from __future__ import annotations

import pytest
from support.ladder import Dialog, Phone, uri_in
from support.messages import compose
from support.pair import World

from tunnel.sip.message import Message, parse_untrusted

TRUNK = "203.0.113.30:5060"


def lines_but(message: Message, *names: str) -> list[bytes]:
    """The header lines as they stand, folds included, but those of ``names``."""
    return [message.line(header) for header in message.headers if header.name not in names]


OURS = ("via", "record-route", "route", "max-forwards", "contact", "content-length")

UNTOUCHED = [
    "Accept: application/sdp, multipart/mixed;q=0.5",
    "Accept-Language: de ,\ten;q=0.1",
    'Alert-Info: <http://www.example.com/a,b.wav>;x="y"',
    "allow-events: dialog, x.y",
    "Call-Info: <sip:a@x.example>;purpose=icon",
    "Date: Sat, 21 Nov 2026 23:29:00 GMT",
    "Diversion: <sip:a@itsp.example>;reason=unconditional, <sip:b@itsp.example>",
    "Error-Info: <sip:x@itsp.example>",
    "Event: foo;id=1",
    "Expires: 060",
    "Geolocation: <cid:alice@itsp.example>",
    "History-Info: <sip:a@itsp.example?Reason=sip%3Bcause%3D302>;index=1",
    "Identity: eyJhbGciOiJFUzI1NiJ9.e30.sig;info=<https://cert.example/a.pem>;alg=ES256",
    "In-Reply-To: 70710@x, 17320@x",
    "Join: 98732@x;from-tag=r33th4x0r;to-tag=ff87ff",
    "Max-Breadth: 60",
    "MIME-Version: 1.0",
    "Min-SE: 90",
    "Organization: \xe4\xb8\xad,, x".encode("latin-1").decode("latin-1"),
    "P-Access-Network-Info: IEEE-802.11;i-wlan-node-id=0011",
    'P-Asserted-Identity: "A, B" <sip:a@itsp.example>,<tel:+4930>',
    "P-Called-Party-ID: <sip:a@itsp.example>",
    'P-Charging-Vector: icid-value="1234;x"',
    "P-Preferred-Identity: <sip:a@itsp.example>",
    "Priority: non-urgent",
    "Privacy: none",
    'Reason: Q.850;cause=16;text="x,y"',
    'Remote-Party-ID: "A" <sip:a@itsp.example>;privacy=off',
    "Replaces: 425928@x;to-tag=7743;from-tag=6472",
    "Require: 100rel",
    "Retry-After: 18000;duration=3600 (in a meeting)",
    "SeRvEr:\tX",
    "Security-Client: ipsec-3gpp;alg=a;q=0.1",
    "Security-Verify: tls;q=0.2",
    "Session-Expires: 1800;refresher=uac",
    "Session-ID: ab30317f1a784dc48ff824d0d3715d86;remote=00000000000000000000000000000000",
    "SIP-ETag: x",
    "SIP-If-Match: y",
    "Subject:    two  blanks ",
    "Supported: timer ,replaces,  100rel",
    "Target-Dialog: fa77as7dad8-sd98ajzz@x ;local-tag=kkaz-",
    'Unknown-Thing: \\x00 < > " @ : ; , = 10% \u00fc',
    "User-Agent: Softphone Beta1.5 (10; build)",
    "User-to-User: 56a390f3d2b7310023a2;encoding=hex",
    'X-Odd:  a,\t"b" ; c',
    "x-folded: one\r\n  two,\r\n\tthree",
    'WARNING: 399 pbx.itsp.example:5060 "text, with comma", 370 other "x"',
]


@pytest.mark.parametrize("outbound", [True, False], ids=["out", "in"])
def test_every_header_of_the_table_passes_byte_exact_between_trusted_peers(
    world: World, pbx: Phone, trunk: Phone, outbound: bool
) -> None:
    """E, A3: order, spelling, folding and bytes of whatever we do not edit, in a request and in its answer."""
    caller, callee = (pbx, trunk) if outbound else (trunk, pbx)
    uri = "sip:+4930@10.1.0.2" if outbound else "sip:+4930@203.0.113.10"
    sent = caller.invite(uri, headers=UNTOUCHED)
    arrived = callee.got("INVITE")
    assert lines_but(arrived, *OURS) == lines_but(sent, *OURS)
    assert arrived.max_forwards == 69
    raw = callee.answer(arrived, 486, headers=UNTOUCHED)
    answer = caller.got(486)
    assert lines_but(answer, *OURS) == lines_but(parse_untrusted(raw), *OURS)


def test_an_unknown_header_drops_no_call(world: World, pbx: Phone, trunk: Phone) -> None:
    """E: X-*: unknown header dropped the call: a header that nobody has ever seen passes, in every message of a call."""
    odd = 'X-Never-Seen-Before: "a" <b>;c, d'
    sent = trunk.invite("sip:+4930@203.0.113.10", headers=[odd])
    invite = pbx.got("INVITE")
    assert invite.lines("x-never-seen-before") == [odd.encode()]
    pbx.answer(invite, 200, headers=[odd], body=pbx.sdp())
    ok = trunk.got(200)
    assert ok.lines("x-never-seen-before") == [odd.encode()]
    caller = Dialog.of_caller(trunk, sent, ok)
    caller.ack()
    pbx.got("ACK")
    caller.send("BYE", headers=[odd])
    assert pbx.got("BYE").lines("x-never-seen-before") == [odd.encode()]


COMPACT = [
    "o: presence",
    "u: dialog",
    "s: hi, there",
    "r: <sip:carol@203.0.113.99>",
    "b: <sip:dave@203.0.113.98>",
    "x: 1800",
    "a: *;audio",
    "d: proxy, no-fork",
    "j: *;video",
    "y: eyJ.e30.s;info=<https://c.example/x>",
    "n: <https://c.example/y>",
    "e: identity",
    "K: timer,  replaces",
]


@pytest.mark.parametrize("outbound", [True, False], ids=["out", "in"])
def test_compact_forms_and_odd_case_stay_as_the_sender_wrote_them(
    world: World, pbx: Phone, trunk: Phone, outbound: bool
) -> None:
    """A2, E: compact forms keep the sender's form, also where the value is edited (m, l)."""
    source, callee = ("10.1.0.5:5060", trunk) if outbound else (TRUNK, pbx)
    uri = "sip:+4930@10.1.0.2" if outbound else "sip:+4930@203.0.113.10"
    body = (pbx if outbound else trunk).sdp()
    data = compose(
        f"INVITE {uri} SIP/2.0",
        f"v: SIP/2.0/UDP {source};rport;branch=z9hG4bKcompact",
        "mAx-FoRwArDs : 20",
        'f: "A" <sip:a@itsp.example>;tag=1',
        "T: <sip:b@itsp.example>",
        "i: compact-1",
        "cseq: 7   INVITE",
        f'm: "x" <sip:a@{source};line=3>;+sip.foo',
        *COMPACT,
        "c: application/sdp",
        f"l:   {len(body)}",
        body=body,
    )
    (world.lan if outbound else world.public)(source, data)
    arrived = callee.got("INVITE")
    names = [header.raw_name for header in arrived.headers if header.raw_name not in (b"Via", b"Record-Route")]
    wanted = [line.split(b":")[0].strip() for line in data.split(b"\r\n\r\n")[0].split(b"\r\n")[2:]]
    assert names == wanted
    assert [arrived.line(h) for h in arrived.headers if h.raw_name.lower() in b"o u s r b x a d j y n e k".split()] == [
        line.encode() for line in COMPACT
    ]
    assert arrived.line(arrived.all("content-length")[0]) == b"l:   %d" % len(arrived.body)
    assert arrived.line(arrived.all("max-forwards")[0]) == b"mAx-FoRwArDs : 19"
    assert arrived.line(arrived.all("cseq")[0]) == b"cseq: 7   INVITE"
    contact = arrived.line(arrived.all("contact")[0])
    assert contact.startswith(b'm: "x" <sip:a@')
    assert contact.endswith(b">;+sip.foo")


def test_the_identifiers_of_a_dialog_are_never_edited(world: World, pbx: Phone, trunk: Phone) -> None:
    """E: From, To, tags, Call-ID, CSeq: not even where they name an inside address (a known leak)."""
    odd = 'Call-ID: "x"@10.1.0.5/%()'
    data = compose(
        "INVITE sip:+4930@10.1.0.2 SIP/2.0",
        "Via: SIP/2.0/UDP 10.1.0.5:5060;branch=z9hG4bKids",
        'From:"Anonymous, me" <sip:100@10.1.0.5:5060;x=y>;tag=a-b.c!;epid=7',
        "To  :  sip:+4930@10.1.0.2;weird",
        odd,
        "CSeq: 0004294 INVITE",
        "Contact: <sip:100@10.1.0.5>",
        "Content-Length: 0",
    )
    world.lan("10.1.0.5:5060", data)
    arrived = trunk.got("INVITE")
    kept = [arrived.line(arrived.all(name)[0]) for name in ("from", "to", "call-id", "cseq")]
    assert kept == [line for line in data.split(b"\r\n") if line.startswith((b"From", b"To", b"Call-ID", b"CSeq"))]


def test_the_request_uri_is_untouched_on_the_way_out(world: World, pbx: Phone) -> None:
    """E, DEC7: Request-URI: with its order, escapes and parameters; headers may not stand in it (RFC 3261 section 19.1.1)."""
    provider = Phone(world, "203.0.113.40:6060", "provider")
    uri = "sip:%62ob;day=tu@203.0.113.40:6060;transport=udp;lr;maddr=203.0.113.40;X=%2C"
    pbx.invite(uri + "?Subject=a%20b", to="sip:bob@203.0.113.40")
    assert provider.got("INVITE").request_uri == uri.encode()


# Refer-To and Referred-By


def refer(world: World, sender: Phone, receiver: Phone, uri: str, *headers: str) -> Message:
    sender.request("REFER", uri, headers=headers)
    return receiver.got("REFER")


def test_an_inside_target_is_masked_on_the_way_out_and_exact_when_it_comes_back(
    world: World, pbx: Phone, trunk: Phone
) -> None:
    """E: Refer-To, Referred-By: inside addresses are masked outward; Replaces in the URI is left alone; masks come back."""
    target = '"C" <sip:carol@10.1.0.60:5070;x=1?Replaces=c%4010.1%3Bto-tag%3D1%3Bfrom-tag%3D2&Subject=a%2Cb>;p=1'
    by = "sip:boss@10.1.0.61;p=q"
    out = refer(world, pbx, trunk, "sip:+4930@10.1.0.2", f"Refer-To: {target}", f"Referred-By: {by}")
    shown, referrer = out.values("refer-to")[0].text, out.values("referred-by")[0].text
    assert shown.startswith(b'"C" <sip:carol@203.0.113.10:5060;x=1;wp=')
    assert shown.endswith(b"?Replaces=c%4010.1%3Bto-tag%3D1%3Bfrom-tag%3D2&Subject=a%2Cb>;p=1")
    assert b"10.1.0" not in referrer
    back = refer(
        world, trunk, pbx, "sip:1@203.0.113.10", f"Refer-To: {shown.decode()}", f"r-x: {by}", f"b: {referrer.decode()}"
    )
    assert back.lines("refer-to") == [f"Refer-To: {target}".encode()]
    assert uri_in(back.values("referred-by")[0].text) == b"sip:boss@10.1.0.61"


def test_a_mask_of_the_other_side_stays_a_mask(world: World, pbx: Phone, trunk: Phone) -> None:
    """E: Refer-To: what routes through us is kept while its receiver is not on its own side."""
    out = refer(world, pbx, trunk, "sip:+4930@10.1.0.2", "Refer-To: <sip:carol@10.1.0.60>")
    mask = out.values("refer-to")[0].text
    again = refer(world, pbx, trunk, "sip:+4930@10.1.0.2", f"Refer-To: {mask.decode()}")
    assert again.values("refer-to")[0].text == mask


@pytest.mark.parametrize(
    "value",
    ["<tel:+4930;ext=1>", "<sip:carol@203.0.113.99?Replaces=a%3Bto-tag%3Db>", "<http://x.example/>"],
)
def test_other_targets_pass_as_they_are(world: World, pbx: Phone, trunk: Phone, value: str) -> None:
    """E: Refer-To: public addresses and other schemes are not ours to change."""
    arrived = refer(world, trunk, pbx, "sip:1@203.0.113.10", f"Refer-To: {value}", f"Referred-By: {value}")
    assert arrived.lines("refer-to") == [f"Refer-To: {value}".encode()]
    assert arrived.lines("referred-by") == [f"Referred-By: {value}".encode()]


# Warning


def test_an_inside_host_that_warns_is_hidden(world: World, pbx: Phone, trunk: Phone) -> None:
    """E: Warning: with hide = "full" an inside host in the agent field becomes ours, and so does one that the text names;
    what else is in the text and other agents stay."""
    trunk.invite("sip:+4930@203.0.113.10")
    warnings = [
        'Warning: 399 10.1.0.5:5060 "a, b" ,370 x.example "y"',
        'wArning: 301 [fd00:1::5] "z"',
        'Warning: 392 10.1.0.5:5060 "Noisy feedback: req_src_ip=10.1.0.2 in_uri=sip:x@203.0.113.9 v=1.2.3"',
    ]
    pbx.answer(pbx.got("INVITE"), 488, headers=warnings)
    assert trunk.got(488).lines("warning") == [
        b'Warning: 399 203.0.113.10:5060 "a, b" ,370 x.example "y"',
        b'wArning: 301 203.0.113.10 "z"',
        b'Warning: 392 203.0.113.10:5060 "Noisy feedback: req_src_ip=203.0.113.10 in_uri=sip:x@203.0.113.9 v=1.2.3"',
    ]


def test_an_outside_host_that_warns_is_named(world: World, pbx: Phone, trunk: Phone) -> None:
    """E: Warning: passes."""
    pbx.invite("sip:+4930@10.1.0.2")
    trunk.answer(trunk.got("INVITE"), 488, headers=['Warning: 399 203.0.113.30 "x"'])
    assert pbx.got(488).lines("warning") == [b'Warning: 399 203.0.113.30 "x"']


# Supported, Security


@pytest.mark.parametrize("body", [None, b""], ids=["with an offer", "without"])
@pytest.mark.parametrize("outbound", [True, False], ids=["out", "in"])
def test_nobody_is_told_that_candidates_may_trickle(
    world: World, pbx: Phone, trunk: Phone, outbound: bool, body: bytes | None
) -> None:
    """E: Supported: ICE is stripped, so trickle-ice is not offered; nothing else of the list changes."""
    caller, callee = (pbx, trunk) if outbound else (trunk, pbx)
    supported = ["Supported: timer,  Trickle-ICE ,100rel", "k: trickle-ice", "Supported: gruu"]
    caller.invite("sip:1@10.1.0.2" if outbound else "sip:1@203.0.113.10", headers=supported, body=body)
    arrived = callee.got("INVITE")
    assert arrived.lines("supported") == [b"Supported: timer,  100rel", b"Supported: gruu"]
    callee.answer(arrived, 180, headers=["Supported: trickle-ice, timer"])
    assert caller.got(180).lines("supported") == [b"Supported: timer"]


def test_agreed_security_is_between_the_neighbours(world: World, pbx: Phone, trunk: Phone) -> None:
    """S1-8, E: Security-*: passed untouched; as an extension that a proxy must know it is refused with its name."""
    headers = ["Security-Client: tls;q=0.1,ipsec-3gpp", "Security-Verify: x", "Require: sec-agree"]
    trunk.invite("sip:1@203.0.113.10", headers=headers)
    invite = pbx.got("INVITE")
    assert [invite.lines(name)[0] for name in ("security-client", "security-verify", "require")] == [
        header.encode() for header in headers
    ]
    pbx.answer(invite, 494, headers=["Security-Server: tls;q=0.2"])
    assert trunk.got(494).lines("security-server") == [b"Security-Server: tls;q=0.2"]
    trunk.invite("sip:1@203.0.113.10", headers=["Proxy-Require: sec-agree, foo"])
    answer = trunk.got(420)
    assert answer.lines("unsupported") == [b"Unsupported: sec-agree, foo"]
    assert answer.reason == b"Bad Extension"
    pbx.got("ACK")  # of the 494
    pbx.got_nothing()


# Odd and joined values


@pytest.mark.parametrize("outbound", [True, False], ids=["out", "in"])
@pytest.mark.parametrize(
    "line",
    [
        'Supported: timer, "unclosed',
        'Warning: 399 x "unclosed, 300 y',
        "Allow: INVITE,,  ,ACK,",
        "X-Bytes: \u00ff\u0001\t\u007f",
        "P-Asserted-Identity: <sip:a@b, c",
    ],
)
def test_an_odd_header_in_an_answer_loses_no_answer(
    world: World, pbx: Phone, trunk: Phone, line: str, outbound: bool
) -> None:
    """E, A3: what we need not understand passes byte-exact, be it as odd as it may."""
    caller, callee = (pbx, trunk) if outbound else (trunk, pbx)
    caller.invite("sip:1@10.1.0.2" if outbound else "sip:1@203.0.113.10")
    callee.answer(callee.got("INVITE"), 180, headers=[line])
    assert line.encode() in caller.got(180).raw.split(b"\r\n")


def test_joined_repeated_and_folded_values_are_edited_where_they_stand(world: World, pbx: Phone, trunk: Phone) -> None:
    """E, A3: one value of a folded, joined list changes; commas, folds, blanks and its neighbours do not."""
    folded = 'm: "a, b" <sip:a@10.1.0.5>;q=1 ,\r\n\t<sip:b@203.0.113.9;gr=1>;x="<,>"\r\n , <tel:+1>'
    repeated = "Contact:\t<sip:c@[fd00:1::5]:5070;a>"
    pbx.request("OPTIONS", "sip:1@10.1.0.2", contact=False, headers=[folded, "Subject: between", repeated])
    lines = trunk.got("OPTIONS").lines("contact")
    first, second = lines
    assert first.startswith(b'm: "a, b" <sip:a@203.0.113.10:5060;wp=')
    assert first.endswith(b'>;q=1 ,\r\n\t<sip:b@203.0.113.9;gr=1>;x="<,>"\r\n , <tel:+1>')
    assert second.startswith(b"Contact:\t<sip:c@203.0.113.10:5060;a;wp=")


def test_identifiers_that_name_an_inside_address_are_reported(world: World, pbx: Phone, trunk: Phone) -> None:
    """E: Call-ID: never changed; with hide = "full" what shows is counted, once for each call."""
    pbx.invite("sip:1@10.1.0.2", call_id="abc@10.1.0.5")
    trunk.got("INVITE")
    counters = world.public_side.counters
    assert counters["sip.known_leaks.call-id"] == 1
    assert counters["sip.known_leaks.to"] == 1
    assert counters["sip.known_leaks.from"] == 0
    pbx.invite("sip:1@203.0.113.30", call_id="1.10.1.0.5.9")
    assert counters["sip.known_leaks.call-id"] == 1
